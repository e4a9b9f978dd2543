"""Small legal programs and random instructions for the tests of `isa`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from hypothesis import strategies as st

from isa.declaration import Field, Instruction, InstructionSpec
from isa.formats import TensorFormat
from isa.legality import check_instruction
from isa.program import PAGE, Layer, Port, Program, TensorRef
from isa.table import INSTRUCTIONS, make
from isa.target import load_target


def field_values(f: Field) -> st.SearchStrategy[int]:
    if f.enum is not None:
        return st.sampled_from([int(member) for member in f.enum])
    return st.one_of(st.sampled_from(sorted({f.low, f.high, 0, 1})), st.integers(f.low, f.high))


def instruction_of(spec: InstructionSpec) -> st.SearchStrategy[Instruction]:
    values = st.fixed_dictionaries({f.name: field_values(f) for f in spec.fields})
    return values.map(lambda v: Instruction(spec, v))


def problems_of(mnemonic: str, legal: Mapping[str, int]) -> Callable[..., list[str]]:
    """The rules of esc1 that a `legal` instruction breaks once the fields given by keyword have other values."""

    def problems(**changes: int) -> list[str]:
        return check_instruction(make(mnemonic, **{**legal, **changes}), load_target())

    return problems


instructions = st.sampled_from(INSTRUCTIONS).flatmap(instruction_of)


def small_program(rodata: bytes = bytes(range(200)), producer: str = "escc test") -> Program:
    """Load 4x4x8, a 1x1 convolution, requantise, store: two tiles of two rows, synchronised."""
    base = -(-len(rodata) // PAGE) * PAGE
    x = TensorRef("x", base, 4, 4, 8, TensorFormat.RAW, 0, False, 0.1)
    y = TensorRef("y", base + 128, 4, 4, 8, TensorFormat.BITMAP, 4, True, 1 / 3)
    code: list[tuple[str, dict[str, int]]] = [
        ("load.bytes", {"dram": 0, "size": 64, "pad": 0, "dst": 0}),
        ("load.bytes", {"dram": 64, "size": 72, "pad": 1, "dst": 0, "signal": 1}),
    ]
    region = {"tensor_w": 4, "tensor_c": 8, "h": 2, "w": 4, "cn": 8}
    out = {"oh": 2, "ow": 4, "kn": 8}
    tile = {"act_w": 4, "act_c": 8}
    for i in (0, 1):
        code += [
            ("load.act", {**region, "dram": base, "y": 2 * i, **tile, "act": 128 * i, "signal": 1}),
            (
                "conv.dense",
                {
                    **out, **tile, "act": 128 * i, "ih": 2, "iw": 4, "ic": 8, "r": 1, "s": 1, "sy": 1, "sx": 1, "kt": 8,
                    "psum": 256 * i, "cpg": 8, "kpg": 8, "groups": 2, "wait_load": 2 + i, "signal": 1,
                },
            ),
            (
                "post.requant",
                {
                    **out, "kt": 8, "psum": 256 * i, "out": 4096 + 64 * i, "out_w": 4, "out_c": 8, "lo": -128,
                    "hi": 127, "wait_load": 1, "wait_compute": 1 + i, "signal": 1,
                },
            ),
            (
                "store.act",
                {
                    **region, "dram": base + 128, "format": 1, "segment": 4, "y": 2 * i, **tile,
                    "act": 4096 + 64 * i, "wait_post": 1 + i, "signal": i,
                },
            ),
        ]  # fmt: skip
    code.append(("end", {}))
    instructions = tuple(make(mnemonic, **values) for mnemonic, values in code)
    return Program(
        target=load_target(),
        instructions=instructions,
        rodata=rodata,
        arena_bytes=1024,
        inputs=(Port("input", (1, 8, 4, 4), x, None, (1.0,) * 8, (2.5,) * 8, "rgb"),),
        outputs=(Port("scores é", (1, 128), y, 1),),
        layers=(
            Layer("/conv1", "dense", 0, 6, ("/conv1/Conv", 'a "quoted" \\ node'), y, 1024, 64, ((0, 64), (64, 72))),
            Layer("/conv2", "dense", 6, len(instructions), ("/conv2/Conv",), y),
        ),
        sample=bytes(range(128)),
        producer=producer,
        float_weights=4096,
    )


def with_instruction(program: Program, index: int, **values: int) -> Program:
    """The program with some fields of one instruction changed."""
    changed = list(program.instructions)
    old = changed[index]
    changed[index] = Instruction(old.spec, {**old.values, **values})
    return replace(program, instructions=tuple(changed))
