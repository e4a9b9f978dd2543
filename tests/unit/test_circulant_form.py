"""The weight form of circulant blocks, from its definition to the machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_price import CYCLES, SHARE, Case, shape_of
from test_tile_equivalence import FAST, check, conv_cases, targets  # noqa: F401, the fixture
from tile_models import Graph, lower
from xdsl.utils.exceptions import VerifyException

from dialects.eisa import to_program
from dialects.esc_circulant import CirculantConv2dOp
from emulator.machine import Machine
from escc.compress.price import price
from isa.circulant import FAST_BLOCKS, expand
from isa.errors import UserError
from isa.layout import WEIGHT_TABLE_BYTES
from isa.program import Program
from isa.target import load_target
from passes.decomposition.circulant import Circulant, FastCirculant
from passes.decomposition.weight_form import ConvWindow


def random_blocks(seed: int, shape: tuple[int, int, int, int], block: int) -> np.ndarray:
    """Values [K/b, R, S, C/b, b] of weights of a shape [K, R, S, C]."""
    k, r, s, c = shape
    random = np.random.default_rng(seed)
    values = random.integers(-127, 128, (-(-k // block), r, s, -(-c // block), block)).astype(np.int8)
    values[random.random(values.shape) < 0.2] = 0
    return values


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.integers(2, 5), st.data())
def test_a_block_repeats_its_values_along_diagonals(seed: int, k: int, c: int, block: int, data: st.DataObject) -> None:
    values = random_blocks(seed, (k, 2, 1, c), block)
    first = data.draw(st.integers(0, k - 1))
    channels = data.draw(st.integers(1, k - first))
    found = expand(values, first, channels, c)
    assert found.shape == (channels, 2, 1, c)
    for i, r, s, j in np.ndindex(found.shape):
        whole = first + i
        assert found[i, r, s, j] == values[whole // block, r, s, j // block, (whole % block - j % block) % block]


@FAST
@given(case=conv_cases(), block=st.integers(2, 16), residual=st.booleans(), fast=st.booleans())
def test_the_machine_computes_what_the_operation_says(
    targets: dict[str, str],  # noqa: F811
    case: dict,
    block: int,
    residual: bool,
    fast: bool,
) -> None:
    block = max(size for size in FAST_BLOCKS if size <= block) if fast else block
    c, k = min(48, case["c"]), case["k"]  # the weights of an output channel must fit the smallest machine
    g = Graph(case["h"], case["w"], c, case["signed"], case["seed"])
    other = g.conv(g.x, k, case["kernel"], case["strides"], case["pads"]) if residual else None
    values = random_blocks(case["seed"], (k, *case["kernel"], c), block)
    y = g.append(CirculantConv2dOp(g.x, values, k, case["strides"], case["pads"], fast))
    check(g.module(g.requantize(y, case["out_signed"], other)), targets[case["target"]])


def program_of(form: Circulant, case: Case) -> Program:
    """The program of a network of one layer."""
    g = Graph(case.size, case.size, case.c, signed=False)
    window = ConvWindow((case.stride, case.stride), (case.kernel // 2,) * 4, 16)
    (op,) = form.operations(g.x, 0, window)
    return to_program(lower(g.module(g.requantize(g.append(op), signed=False))))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("block", [2, 4, 7, 16])
@pytest.mark.parametrize(
    "case", [Case(8, 16, 64, 3, 1, 0, 1), Case(28, 64, 16, 1, 1, 0, 1), Case(1, 800, 120, 1, 1, 0, 1)]
)
def test_the_price_is_that_of_the_emulator(case: Case, block: int, fast: bool) -> None:
    shape = (case.k, case.kernel, case.kernel, case.c)
    if fast and block == 7:
        block = 8
    form = (FastCirculant if fast else Circulant)(random_blocks(1, shape, block), case.c, np.ones(case.k))
    assert form.faults(shape) == []
    program = program_of(form, case)
    loads = [i.values for i in program.instructions if i.spec.mnemonic == ("load.weights" if fast else "load.circ")]
    assert ("conv.circ" in {i.spec.mnemonic for i in program.instructions}) == fast
    pieces = {(v["dram"], v["size"]) for v in loads} | {(v["table"], WEIGHT_TABLE_BYTES) for v in loads}
    found = price(form, shape_of(case), load_target("esc1"))
    assert loads and found.nbytes == sum(size for _, size in pieces)
    assert found.nbytes == pytest.approx(form.packed_bytes(), rel=0.05, abs=40) or len(loads) > 1
    x = np.random.default_rng(1).integers(0, 256, (1, case.c, case.size, case.size)).astype(np.float32)
    x[np.random.default_rng(2).random(x.shape) < 0.5] = 0
    statistics = Machine(program).run([x], stats=True).statistics
    assert statistics is not None
    assert found.cycles == pytest.approx(statistics.data["totals"]["cycles"], rel=SHARE, abs=CYCLES)


def test_values_of_another_shape_are_refused() -> None:
    form = Circulant(random_blocks(1, (16, 3, 3, 8), 4), 8, np.ones(16))
    program = program_of(form, Case(8, 8, 16, 3, 1, 0, 1))
    wrong = [
        replace(i, values={**i.values, "run": 4}) if i.spec.mnemonic == "load.circ" else i for i in program.instructions
    ]
    with pytest.raises(UserError):
        Machine(replace(program, instructions=tuple(wrong))).run_sample()


def test_faults_of_a_form_name_what_is_wrong() -> None:
    good = Circulant(random_blocks(1, (10, 3, 3, 6), 4), 6, np.ones(10))
    assert good.faults((10, 3, 3, 6)) == []
    assert "values must be int8[10/4, 3, 3, 9/4, 4]" in good.faults((10, 3, 3, 9))[0]
    assert "scale must be float64[10]" in replace(good, scale=-good.scale).faults((10, 3, 3, 6))[0]
    assert "b from 2 to 16" in replace(good, values=good.values[..., :1]).faults((10, 3, 3, 6))[0]
    low = np.where(good.values == good.values.max(), -128, good.values).astype(np.int8)
    assert "values must be from -127 to 127" in replace(good, values=low).faults((10, 3, 3, 6))[0]


def test_fast_products_need_blocks_that_have_them() -> None:
    form = FastCirculant(random_blocks(1, (12, 3, 3, 6), 3), 6, np.ones(12))
    assert form.faults((12, 3, 3, 6)) == ["blocks must have 2, 4, 8, 16 channels for fast products, found 3"]
    (op,) = form.operations(Graph(8, 8, 6).x, 0, ConvWindow((1, 1), (1,) * 4, 16))
    with pytest.raises(VerifyException, match="needs blocks of 2, 4, 8, 16 channels, found 1 for 3"):
        op.verify()


def test_fast_products_take_fewer_cycles_where_a_layer_waits_for_its_multipliers() -> None:
    case = Case(16, 64, 64, 3, 1, 0, 1)
    values = random_blocks(1, (case.k, 3, 3, case.c), 8)
    plain, fast = (form(values, case.c, np.ones(case.k)) for form in (Circulant, FastCirculant))
    few, many = (price(form, shape_of(case), load_target("esc1")) for form in (fast, plain))
    assert few.nbytes == pytest.approx(many.nbytes, rel=0.05)  # pieces, and so tables of codes, may be fewer
    assert few.cycles < 0.75 * many.cycles


def test_a_channel_of_next_to_no_weights_keeps_its_bias() -> None:
    scale = np.array([0.01, 1e-14, 0.01, 0.01])
    form = Circulant(random_blocks(0, (4, 3, 3, 4), 4), 4, scale)
    wanted = np.array([3.0, -5.0, 0.0, 1e-3])
    found = form.to_integers(lambda _: wanted, -128, 127, 16)
    assert np.array_equal(found.factor[[0, 2, 3]], scale[[0, 2, 3]])
    assert np.abs(found.bias * found.factor - wanted).max() < 0.006
    reach = np.abs(form.integer_weights).sum(axis=(1, 2, 3)) * 128
    assert (np.abs(found.bias) + reach < 1 << 31).all() and reach[1] * found.factor[1] < 0.01
