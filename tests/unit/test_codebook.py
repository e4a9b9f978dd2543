"""The weight form of codes into a book of vectors, from its definition to the machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_price import CYCLES, SHARE, Case, shape_of, weight_bytes
from test_tile_equivalence import FAST, check, conv_cases, targets  # noqa: F401, the fixture
from tile_models import Graph, lower
from xdsl.context import Context
from xdsl.ir import SSAValue

from dialects import esc
from dialects.blob import DenseAttr
from dialects.eisa import to_program
from dialects.esc_codebook import CodebookConv2dOp
from dialects.interpreters.run import run_module
from emulator.machine import Machine
from escc.compress.price import price
from isa.codebook import MOST_ENTRIES, compact, expand, weights
from isa.errors import UserError
from isa.layout import WEIGHT_TABLE_BYTES
from isa.program import Program
from isa.target import load_target
from passes.decomposition.codebook import Codebook
from passes.decomposition.weight_form import ConvWindow
from passes.drop_dead_channels import DropDeadChannelsPass


def random_codes(
    seed: int, shape: tuple[int, int, int, int], patch: tuple[int, int], entries: int
) -> tuple[np.ndarray, np.ndarray]:
    """Codes [K, R, S/span, C/depth] and book of weights of a shape [K, R, S, C]."""
    random = np.random.default_rng(seed)
    k, r, s, c = shape
    book = random.integers(-127, 128, (entries, *patch)).astype(np.int8)
    codes = random.integers(-entries, entries + 1, (k, r, s // patch[0], c // patch[1])).astype(np.int8)
    codes[random.random(codes.shape) < 0.3] = 0
    return codes, book


@given(st.integers(0, 99), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3))
def test_a_code_stands_for_a_patch(seed: int, columns: int, span: int, run: int, depth: int) -> None:
    codes, book = random_codes(seed, (2, 2, columns * span, run * depth), (span, depth), 5)
    found = weights(codes, book)
    assert found.shape == (2, 2, columns * span, run * depth)
    for k, r, s, c in np.ndindex(found.shape):
        code = int(codes[k, r, s // span, c // depth])
        entry = 0 if code == 0 else int(book[abs(code) - 1, s % span, c % depth])
        assert found[k, r, s, c] == (-entry if code < 0 else entry)


@given(st.integers(0, 99), st.integers(1, MOST_ENTRIES))
def test_a_compact_book_gives_the_same_weights(seed: int, entries: int) -> None:
    codes, book = random_codes(seed, (4, 3, 3, 5), (3, 1), entries)
    small, left = compact(codes, book)
    np.testing.assert_array_equal(weights(small, left), weights(codes, book))
    used = np.bincount(np.abs(small.astype(int)).ravel(), minlength=len(left) + 1)[1:]
    assert (used > 0).all() and (np.diff(used) <= 0).all()
    nothing, one = compact(np.zeros_like(codes), book)
    assert len(one) == 1 and not nothing.any()


def test_a_code_beyond_the_book_is_refused() -> None:
    with pytest.raises(ValueError, match="a code names entry 3 of a book of 2"):
        expand(np.array([1, -3], np.int8), np.ones((2, 3, 1), np.int8), 2)


def codebook_convolution(g: Graph, x: SSAValue, case: dict, patch: tuple[int, int], entries: int) -> SSAValue:
    (_, _, _, c), (r, s) = x.type.get_shape(), case["kernel"]  # type: ignore[attr-defined]
    codes, book = random_codes(case["seed"], (case["k"], r, s, c), patch, entries)
    return g.append(CodebookConv2dOp(x, codes, book, case["strides"], case["pads"]))


@FAST
@given(case=conv_cases(), entries=st.integers(1, MOST_ENTRIES), along=st.booleans(), residual=st.booleans())
def test_the_machine_computes_what_the_operation_says(
    targets: dict[str, str],  # noqa: F811
    case: dict,
    entries: int,
    along: bool,
    residual: bool,
) -> None:
    patch = (1, 4) if along else (case["kernel"][1], 1)
    # Several channels in a code are never split, so that all of them must fit the smallest machine.
    c = min(48, -(-case["c"] // 4) * 4) if along else case["c"]
    g = Graph(case["h"], case["w"], c, case["signed"], case["seed"])
    other = g.conv(g.x, case["k"], case["kernel"], case["strides"], case["pads"]) if residual else None
    sums = codebook_convolution(g, g.x, case, patch, min(entries, 200 // (patch[0] * patch[1])))
    check(g.module(g.requantize(sums, case["out_signed"], other)), targets[case["target"]])


def program_of(form: Codebook, case: Case) -> Program:
    """The program of a network of one layer."""
    g = Graph(case.size, case.size, case.c, signed=False)
    window = ConvWindow((case.stride, case.stride), (case.kernel // 2,) * 4, 16)
    sums = g.x
    for op in form.operations(g.x, 0, window):
        sums = g.append(op)
    return to_program(lower(g.module(g.requantize(sums, signed=False))))


@pytest.mark.parametrize(
    "case", [Case(8, 16, 64, 3, 1, 0, 1), Case(28, 64, 16, 1, 1, 0, 1), Case(14, 64, 64, 3, 2, 0, 1)]
)
def test_the_price_is_that_of_the_emulator(case: Case) -> None:
    patch = (3, 1) if case.kernel == 3 else (1, 4)
    codes, book = random_codes(1, (case.k, case.kernel, case.kernel, case.c), patch, 63)
    form = Codebook.of(codes, book, np.ones(case.k), 0.0)
    program = program_of(form, case)
    loads = [i.values for i in program.instructions if i.spec.mnemonic == "load.vq"]
    found = price(form, shape_of(case), load_target("esc1"))
    pieces = {(v["dram"], v["size"]) for v in loads} | {(v["table"], WEIGHT_TABLE_BYTES) for v in loads}
    assert loads and found.nbytes == sum(size for _, size in pieces) + weight_bytes(program)
    assert found.nbytes == pytest.approx(form.packed_bytes(), rel=0.05, abs=40)
    x = np.random.default_rng(1).integers(0, 256, (1, case.c, case.size, case.size)).astype(np.float32)
    x[np.random.default_rng(2).random(x.shape) < 0.5] = 0
    statistics = Machine(program).run([x], stats=True).statistics
    assert statistics is not None
    assert found.cycles == pytest.approx(statistics.data["totals"]["cycles"], rel=SHARE, abs=CYCLES)


def test_weights_arrive_in_fewer_bytes_than_int8_ones() -> None:
    case = Case(8, 32, 64, 3, 1, 0, 1)
    codes, book = random_codes(1, (64, 3, 3, 32), (3, 1), MOST_ENTRIES)
    program = program_of(Codebook.of(codes, book, np.ones(64), 0.0), case)
    x = np.ones((1, 32, 8, 8), np.float32)
    statistics = Machine(program).run([x], stats=True).statistics
    assert statistics is not None
    assert statistics.data["totals"]["dram_bytes"]["weights"] < 0.4 * codes.size * 3


def test_a_program_that_names_entries_beyond_its_book_is_refused() -> None:
    codes, book = random_codes(1, (16, 3, 3, 8), (3, 1), 40)
    program = program_of(Codebook.of(codes, book, np.ones(16), 0.0), Case(8, 8, 16, 3, 1, 0, 1))
    short = [
        replace(i, values={**i.values, "entries": 20}) if i.spec.mnemonic == "load.vq" else i
        for i in program.instructions
    ]
    with pytest.raises(UserError, match=r"load\.vq: a code names entry \d+ of a book of 20"):
        Machine(replace(program, instructions=tuple(short))).run_sample()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_faults_of_a_form_name_what_is_wrong(seed: int) -> None:
    codes, book = random_codes(seed, (4, 3, 3, 8), (3, 1), 6)
    scale = np.ones(4)
    assert Codebook(codes, book, scale).faults((4, 3, 3, 8)) == []
    assert "codes must be int8[4, 3, 3/3, 9/1]" in Codebook(codes, book, scale).faults((4, 3, 3, 9))[0]
    assert Codebook(codes, book[:2], scale).faults((4, 3, 3, 8)) in ([], ["codes must be from -2 to 2"])
    assert "scale must be float64[4]" in Codebook(codes, book, -scale).faults((4, 3, 3, 8))[0]
    assert "book must be int8[N, span, depth]" in Codebook(codes, book[..., 0], scale).faults((4, 3, 3, 8))[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.booleans())
def test_channels_that_do_nothing_go_and_the_outputs_stay(seed: int, along: bool) -> None:
    random = np.random.default_rng(seed)
    g = Graph(6, 6, 4, signed=False, seed=seed)
    x = g.conv(g.x, 8)
    codes, book = random_codes(seed, (8, 3, 3, 8), (1, 4) if along else (3, 1), 20)
    codes[..., random.random(codes.shape[3]) < 0.4] = 0
    y = g.requantize(g.append(CodebookConv2dOp(x, codes, book, (1, 1), (1, 1, 1, 1))), signed=False)
    module = g.module(g.conv(y, 3))
    readers = [op for op in module.walk() if isinstance(op, esc.Conv2dOp)]
    last = readers[-1].weight.array.copy()
    last[..., random.random(8) < 0.5] = 0
    readers[-1].weight = DenseAttr.of(last)
    result = module.clone()
    DropDeadChannelsPass().apply(Context(), result)
    result.verify()
    image = [random.integers(0, 256, (2, 4, 6, 6)).astype(np.float32)]
    for a, b in zip(run_module(module, image), run_module(result, image), strict=True):
        np.testing.assert_array_equal(a, b)
    (left,) = [op for op in result.walk() if isinstance(op, CodebookConv2dOp)]
    wanted = np.asarray(last.any(axis=(0, 1, 2)))
    used = np.asarray(codes[wanted].any(axis=(0, 1, 2)))
    assert len(left.codes.array) <= max(1, int(wanted.sum()))
    assert along or left.codes.array.shape[3] <= max(1, int(used.sum()))
    assert len(left.book.array) == max(1, len(set(np.abs(left.codes.array.astype(int)).ravel()) - {0}))
