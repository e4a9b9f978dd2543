"""The eisa dialect holds exactly a program, as operations and as text."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tile_models import MAIN, Graph, lower
from xdsl.context import Context
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.parser import Parser

from dialects.blob import Blob
from dialects.eisa import Eisa, from_program, to_program
from dialects.esc import Esc
from isa.errors import UserError
from isa.program import Layer, Port, Program
from isa.table import INSTRUCTIONS, make


def parse(text: str) -> ModuleOp:
    context = Context()
    for dialect in (Builtin, Eisa, Esc, Blob):
        context.load_dialect(dialect)
    return Parser(context, text).parse_module()


def model(seed: int = 0) -> ModuleOp:
    g = Graph(12, 12, 8, seed=seed)
    a = g.conv(g.x, 24)
    b = g.decomposed(a, 24, 4, residual=a)
    return g.module(g.pool(g.concat(a, b), True, (3, 3), (2, 2)), b, softmax=True)


@pytest.fixture(scope="module")
def program() -> Program:
    return to_program(lower(model()))


def test_programs_survive_the_way_through_operations_and_text(program: Program) -> None:
    module = from_program(program)
    module.verify()
    assert to_program(module) == program
    again = parse(str(module))
    again.verify()
    assert to_program(again) == program
    assert str(again) == str(module)


def test_everything_that_a_program_may_hold_survives(program: Program) -> None:
    first = program.inputs[0]
    port = replace(first, mean=(1.5, 2.0), std=(0.25, 4.0), channel_order="bgr")
    output = replace(program.outputs[0], softmax_axis=None, shape=(1, 2, 3))
    layer = Layer("empty", "map", 0, 0, (), program.layers[0].output)
    full = replace(
        program,
        inputs=(port,),
        outputs=(output, *program.outputs),
        layers=(layer, *program.layers),
        producer='a "quoted" name',
        instructions=(*program.instructions[:-1], make("end", wait_post=1, wait_load=2)),
    )
    assert to_program(from_program(full)) == full
    assert to_program(parse(str(from_program(full)))) == full


def test_a_model_that_computes_nothing(program: Program) -> None:
    g = Graph(3, 4, 5)
    empty = to_program(lower(g.module(g.x)))
    assert empty.layers == () and empty.rodata == b"" and len(empty.instructions) == 1
    assert to_program(parse(str(from_program(empty)))) == empty


def test_one_operation_for_each_instruction() -> None:
    names = {op.name for op in Eisa.operations}
    assert {f"eisa.{spec.mnemonic}" for spec in INSTRUCTIONS} <= names


def test_layers_out_of_order_are_rejected(program: Program) -> None:
    with pytest.raises(UserError, match="out of order"):
        from_program(replace(program, layers=program.layers[::-1]))


def test_another_level_is_rejected() -> None:
    with pytest.raises(UserError, match=r"one eisa\.program, found func\.func"):
        to_program(model())


def test_names_nodes_and_constants_reach_the_program(program: Program) -> None:
    assert [layer.kind for layer in program.layers] == ["dense", "escalate", "map", "pool"]
    assert program.layers[0].nodes == ("node1", "node2", "node6")  # the concatenation is addresses
    assert len({layer.name for layer in program.layers}) == 4
    assert all(layer.output.name == layer.name for layer in program.layers)
    assert program.layers[1].macs == 12 * 12 * 24 * 24 * 9
    assert program.layers[1].weights == 24 * 24 * 9
    assert all(a >= 0 and a + n <= len(program.rodata) for layer in program.layers for a, n in layer.rodata)
    assert isinstance(program.inputs[0], Port) and program.inputs[0].name == "x"
    assert [p.softmax_axis for p in program.outputs] == [1, 1]


def test_a_long_program_survives(program: Program) -> None:
    """Not a benchmark: parsing that is not linear would not end here."""
    body = program.instructions[:-1]
    many = (body * (30000 // len(body) + 1))[:30000]
    layer = replace(program.layers[0], start=0, end=30000)
    large = replace(program, instructions=(*many, program.instructions[-1]), layers=(layer,))
    module = from_program(large)
    module.verify()
    assert to_program(parse(str(module))) == large


def test_equal_bytes_under_two_hash_seeds() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from test_eisa_program import model; from tile_models import lower;"
        "import hashlib; print(hashlib.sha256(str(lower(model())).encode()).hexdigest())"
    )
    folder = str(Path(__file__).resolve().parent)
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, folder],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_passes_print_as_a_pipeline() -> None:
    from escc.universe import PASSES, _load

    for name in MAIN:
        kind: Any = _load(PASSES[name])
        assert kind.name == name
        assert kind.__doc__
