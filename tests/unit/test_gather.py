"""The weight form of sparse weights in banks, from its definition to the machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_price import CYCLES, SHARE, Case, shape_of
from test_tile_equivalence import FAST, check, conv_cases, targets  # noqa: F401, the fixture
from tile_models import Graph, lower
from xdsl.context import Context
from xdsl.ir import SSAValue

from dialects.blob import DenseAttr
from dialects.eisa import to_program
from dialects.esc import Conv2dOp
from dialects.esc_gather import GatherConv2dOp
from dialects.interpreters.run import run_module
from emulator.machine import Machine
from escc.compress.price import price
from isa.formats import Scratchpad
from isa.gather import Banking, Gathering, bank_loads
from isa.instructions.conv_gather import lanes
from isa.program import Program
from isa.target import load_target
from passes.decompose_conv import DecomposeConvPass
from passes.decomposition.gather import Gathered
from passes.decomposition.weight_form import ConvWindow
from passes.drop_dead_channels import DropDeadChannelsPass


def random_weights(seed: int, shape: tuple[int, int, int, int], density: float = 0.3) -> np.ndarray:
    """Sparse weights [K, R, S, C]."""
    random = np.random.default_rng(seed)
    return (random.integers(-127, 128, shape) * (random.random(shape) < density)).astype(np.int8)


def sparse_convolution(g: Graph, x: SSAValue, case: dict, banking: Banking) -> SSAValue:
    (_, _, _, c), (r, s) = x.type.get_shape(), case["kernel"]  # type: ignore[attr-defined]
    weights = random_weights(case["seed"], (case["k"], r, s, c))
    return g.append(GatherConv2dOp(x, weights, case["strides"], case["pads"], banking))


@FAST
@given(
    case=conv_cases(), banks=st.integers(1, 30), bundle=st.integers(1, 30), spread=st.booleans(),
    residual=st.booleans(),
)  # fmt: skip
def test_the_machine_computes_what_the_operation_says(
    targets: dict[str, str],  # noqa: F811
    case: dict,
    banks: int,
    bundle: int,
    spread: bool,
    residual: bool,
) -> None:
    most = lanes(load_target(targets[case["target"]]))
    banking = Banking(min(banks, most), min(bundle, most), int(spread))
    g = Graph(case["h"], case["w"], case["c"], case["signed"], case["seed"])
    other = g.conv(g.x, case["k"], case["kernel"], case["strides"], case["pads"]) if residual else None
    sums = sparse_convolution(g, g.x, case, banking)
    check(g.module(g.requantize(sums, case["out_signed"], other)), targets[case["target"]])


def program_of(form: Gathered, case: Case) -> Program:
    """The program of a network of one layer."""
    g = Graph(case.size, case.size, case.c, signed=False)
    window = ConvWindow((case.stride, case.stride), (case.kernel // 2,) * 4, 16)
    sums = g.x
    for op in form.operations(g.x, 0, window):
        sums = g.append(op)
    return to_program(lower(g.module(g.requantize(sums, signed=False))))


def form_of(case: Case, banking: Banking, density: float = 0.3) -> Gathered:
    weights = random_weights(1, (case.k, case.kernel, case.kernel, case.c), density)
    return Gathered(weights, np.ones(case.k), banking)


@pytest.mark.parametrize(
    "case",
    [
        Case(8, 16, 64, 3, 1, 0, 1),
        Case(28, 64, 16, 1, 1, 0, 1),
        Case(14, 64, 64, 3, 2, 0, 1),
        Case(7, 200, 96, 3, 1, 0, 1),
    ],
)
@pytest.mark.parametrize("banking", [Banking(30, 16, 0), Banking(16, 1, 0), Banking(8, 4, 1)])
def test_the_price_is_that_of_the_emulator(case: Case, banking: Banking) -> None:
    form = form_of(case, banking)
    program = program_of(form, case)
    found = price(form, shape_of(case), load_target("esc1"))
    loads = {
        (i["dram"], i["size"])
        for i in program.instructions
        if i.spec.mnemonic == "load.bytes" and i["pad"] == Scratchpad.COEF
    }
    assert found.nbytes == sum(size for _, size in loads)
    assert found.nbytes == pytest.approx(form.packed_bytes(), rel=0.15, abs=40)
    x = np.random.default_rng(1).integers(0, 256, (1, case.c, case.size, case.size)).astype(np.float32)
    x[np.random.default_rng(2).random(x.shape) < 0.5] = 0
    statistics = Machine(program).run([x], stats=True).statistics
    assert statistics is not None
    assert found.cycles == pytest.approx(statistics.data["totals"]["cycles"], rel=SHARE, abs=CYCLES)


def test_channels_stay_where_they_were_chosen_for() -> None:
    """A convolution keeps its channels, also where nothing needs them; what comes before a needless one goes."""
    g = Graph(6, 6, 4, signed=False)
    weights = random_weights(1, (8, 3, 3, 8))
    weights[..., 2:4] = 0
    conv = GatherConv2dOp(g.conv(g.x, 8), weights, (1, 1), (1, 1, 1, 1), Banking(4, 2, 0))
    module = g.module(g.conv(g.requantize(g.append(conv), signed=False), 3))
    last = [op for op in module.walk() if isinstance(op, Conv2dOp)][-1]
    wanted = last.weight.array.copy()
    wanted[..., 4:] = 0
    last.weight = DenseAttr.of(wanted)
    result = module.clone()
    DropDeadChannelsPass().apply(Context(), result)
    result.verify()
    image = [np.random.default_rng(1).integers(0, 256, (2, 4, 6, 6)).astype(np.float32)]
    for a, b in zip(run_module(module, image), run_module(result, image), strict=True):
        np.testing.assert_array_equal(a, b)
    (left,) = [op for op in result.walk() if isinstance(op, GatherConv2dOp)]
    np.testing.assert_array_equal(left.weight, weights)


def test_faults_of_a_form_name_what_is_wrong() -> None:
    weights, scale, banking = random_weights(1, (4, 3, 3, 8)), np.ones(4), Banking(8, 4, 0)
    assert Gathered(weights, scale, banking).faults((4, 3, 3, 8)) == []
    assert "integers must be int8[4, 3, 3, 9]" in Gathered(weights, scale, banking).faults((4, 3, 3, 9))[0]
    least = np.full_like(weights, -128)
    assert Gathered(least, scale, banking).faults((4, 3, 3, 8)) == ["integers must be from -127 to 127"]
    assert "scale must be float64[4]" in Gathered(weights, -scale, banking).faults((4, 3, 3, 8))[0]
    assert "at least 1" in Gathered(weights, scale, Banking(0, 1, 0)).faults((4, 3, 3, 8))[0]


@pytest.mark.filterwarnings("ignore:no calibration data")
def test_schemes_of_patterns_see_channels_that_do_something_alone() -> None:
    """The third and the fourth channel between the convolutions reach nothing: banks are those of what is left."""
    g = Graph(8, 8, 16, signed=False, seed=1)
    module = g.module(g.conv(g.conv(g.x, 16), 16))
    last = [op for op in module.walk() if isinstance(op, Conv2dOp)][-1]
    weights = last.weight.array.copy()
    weights[..., 2:4] = 0
    last.weight = DenseAttr.of(weights)
    DecomposeConvPass(scheme="gs", options=("sparsity=0.5", "banks=7"), samples=2).apply(Context(), module)
    first, second = (op for op in module.walk() if isinstance(op, GatherConv2dOp))
    assert len(first.weight) == 14
    for op in (first, second):
        k, r, s, c = op.weight.shape
        loads = bank_loads(op.weight.reshape(k, r * s, c), Gathering.of(7, 16, c))
        assert (loads == loads[:, :1]).all()
