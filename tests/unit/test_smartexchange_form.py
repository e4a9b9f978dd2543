"""The weight form of sums of a few vectors, from its definition to the machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_price import CYCLES, SHARE, Case, shape_of
from test_tile_equivalence import FAST, check, conv_cases, targets  # noqa: F401, the fixture
from tile_models import Graph, lower
from xdsl.context import Context

from dialects import esc
from dialects.blob import DenseAttr
from dialects.eisa import to_program
from dialects.esc_smartexchange import SmartExchangeConv2dOp
from dialects.interpreters.run import run_module
from emulator.machine import Machine
from escc.compress.price import price
from isa.errors import UserError
from isa.program import Program
from isa.smartexchange import least_shift, sums, weights
from isa.target import load_target
from passes.decomposition.smartexchange import SmartExchange
from passes.decomposition.weight_form import ConvWindow
from passes.drop_dead_channels import DropDeadChannelsPass


def random_sums(
    seed: int, shape: tuple[int, int, int, int], patch: tuple[int, int], terms: int, own: bool = False, level: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [K, J, R, S/span, C/depth] and vectors of weights of a shape [K, R, S, C]."""
    random = np.random.default_rng(seed)
    k, r, s, c = shape
    vectors = random.integers(-127, 128, (k if own else 1, terms, *patch)).astype(np.int8)
    values = [v for v in (0, 0, 0, 1, -1, 2, -2, 4, -4) if abs(v) <= level]
    return random.choice(values, (k, terms, r, s // patch[0], c // patch[1])).astype(np.int8), vectors


@given(st.integers(0, 99), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.booleans())
def test_a_patch_is_a_sum_of_vectors(seed: int, columns: int, span: int, run: int, depth: int, own: bool) -> None:
    t, vectors = random_sums(seed, (2, 2, columns * span, run * depth), (span, depth), 3, own)
    shift = least_shift(t, vectors)
    found = weights(t, vectors, shift)
    for k, r, s, c in np.ndindex(found.shape):
        total = sum(
            int(t[k, j, r, s // span, c // depth]) * int(vectors[k if own else 0, j, s % span, c % depth])
            for j in range(3)
        )
        assert found[k, r, s, c] == (total + (1 << shift >> 1)) >> shift
    assert shift == 0 or int(np.abs((sums(t, vectors) + (1 << shift >> 2)) >> (shift - 1)).max()) > 127


def test_weights_beyond_int8_are_limited() -> None:
    t, vectors = np.full((1, 2, 1, 1, 1), 4, np.int8), np.full((1, 2, 1, 1), -100, np.int8)
    assert weights(t, vectors, 2).item() == -127
    assert weights(t, vectors, 3).item() == -100


@FAST
@given(case=conv_cases(), terms=st.integers(1, 4), along=st.booleans(), own=st.booleans(), residual=st.booleans())
def test_the_machine_computes_what_the_operation_says(
    targets: dict[str, str],  # noqa: F811
    case: dict,
    terms: int,
    along: bool,
    own: bool,
    residual: bool,
) -> None:
    patch = (1, 4) if along else (case["kernel"][1], 1)
    c = min(48, -(-case["c"] // 4) * 4) if along else case["c"]
    # The vectors of a layer must leave room in PAR of the smallest machine.
    k, own = case["k"], own and case["k"] * terms * patch[0] * patch[1] <= 200
    g = Graph(case["h"], case["w"], c, case["signed"], case["seed"])
    other = g.conv(g.x, k, case["kernel"], case["strides"], case["pads"]) if residual else None
    t, vectors = random_sums(case["seed"], (k, *case["kernel"], c), patch, terms, own, 1 << case["seed"] % 3)
    shift = max(0, least_shift(t, vectors) - case["seed"] % 2)
    y = g.append(SmartExchangeConv2dOp(g.x, t, vectors, shift, case["strides"], case["pads"]))
    check(g.module(g.requantize(y, case["out_signed"], other)), targets[case["target"]])


def program_of(form: SmartExchange, case: Case) -> Program:
    """The program of a network of one layer."""
    g = Graph(case.size, case.size, case.c, signed=False)
    window = ConvWindow((case.stride, case.stride), (case.kernel // 2,) * 4, 16)
    (op,) = form.operations(g.x, 0, window)
    return to_program(lower(g.module(g.requantize(g.append(op), signed=False))))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    "case", [Case(8, 16, 64, 3, 1, 0, 1), Case(28, 64, 16, 1, 1, 0, 1), Case(14, 64, 64, 3, 2, 0, 1)]
)
def test_the_price_is_that_of_the_emulator(case: Case, own: bool) -> None:
    patch = (3, 1) if case.kernel == 3 else (1, 4)
    t, vectors = random_sums(1, (case.k, case.kernel, case.kernel, case.c), patch, 3, own)
    form = SmartExchange.of(t, vectors, np.ones(case.k), 0.0)
    assert form.faults((case.k, case.kernel, case.kernel, case.c)) == []
    program = program_of(form, case)
    loads = [i.values for i in program.instructions if i.spec.mnemonic == "load.se"]
    found = price(form, shape_of(case), load_target("esc1"))
    assert loads and found.nbytes == sum({v["dram"]: v["size"] for v in loads}.values()) + vectors.size
    assert found.nbytes == pytest.approx(form.packed_bytes(), rel=0.05, abs=40)
    x = np.random.default_rng(1).integers(0, 256, (1, case.c, case.size, case.size)).astype(np.float32)
    x[np.random.default_rng(2).random(x.shape) < 0.5] = 0
    statistics = Machine(program).run([x], stats=True).statistics
    assert statistics is not None
    assert found.cycles == pytest.approx(statistics.data["totals"]["cycles"], rel=SHARE, abs=CYCLES)


def test_streams_of_another_shape_are_refused() -> None:
    t, vectors = random_sums(1, (16, 3, 3, 8), (3, 1), 3)
    program = program_of(SmartExchange.of(t, vectors, np.ones(16), 0.0), Case(8, 8, 16, 3, 1, 0, 1))
    wrong = [
        replace(i, values={**i.values, "terms": 2}) if i.spec.mnemonic == "load.se" else i for i in program.instructions
    ]
    with pytest.raises(UserError, match="streams of coefficients"):
        Machine(replace(program, instructions=tuple(wrong))).run_sample()


def test_faults_of_a_form_name_what_is_wrong() -> None:
    t, vectors = random_sums(1, (4, 3, 3, 8), (3, 1), 2)
    good = SmartExchange.of(t, vectors, np.ones(4), 0.0)
    assert good.faults((4, 3, 3, 8)) == []
    assert "coefficients must be int8[4, 2, 3, 3/3, 9/1]" in good.faults((4, 3, 3, 9))[0]
    assert "shift must be" in replace(good, shift=good.shift + 1).faults((4, 3, 3, 8))[0]
    assert "scale must be float64[4]" in replace(good, scale=-good.scale).faults((4, 3, 3, 8))[0]
    assert "found 3" in replace(good, coefficients=np.where(t == 4, 3, t).astype(np.int8)).faults((4, 3, 3, 8))[0]
    assert "vectors must be int8[G, J, span, depth]" in replace(good, vectors=vectors[0]).faults((4, 3, 3, 8))[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.booleans(), st.booleans())
def test_channels_that_do_nothing_go_and_the_outputs_stay(seed: int, along: bool, own: bool) -> None:
    random = np.random.default_rng(seed)
    g = Graph(6, 6, 4, signed=False, seed=seed)
    x = g.conv(g.x, 8)
    t, vectors = random_sums(seed, (8, 3, 3, 8), (1, 4) if along else (3, 1), 3, own)
    t[..., random.random(t.shape[4]) < 0.4] = 0
    op = SmartExchangeConv2dOp(x, t, vectors, least_shift(t, vectors), (1, 1), (1, 1, 1, 1))
    module = g.module(g.conv(g.requantize(g.append(op), signed=False), 3))
    last = next(o for o in reversed(list(module.walk())) if isinstance(o, esc.Conv2dOp))
    values = last.weight.array.copy()
    values[..., random.random(8) < 0.5] = 0
    last.weight = DenseAttr.of(values)
    result = module.clone()
    DropDeadChannelsPass().apply(Context(), result)
    result.verify()
    image = [random.integers(0, 256, (2, 4, 6, 6)).astype(np.float32)]
    for a, b in zip(run_module(module, image), run_module(result, image), strict=True):
        np.testing.assert_array_equal(a, b)
    (left,) = [op for op in result.walk() if isinstance(op, SmartExchangeConv2dOp)]
    wanted = np.asarray(values.any(axis=(0, 1, 2)))
    assert len(left.coefficients.array) <= max(1, int(wanted.sum()))
    assert len(left.vectors.array) == (len(left.coefficients.array) if own else 1)
