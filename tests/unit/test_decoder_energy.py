"""Energy of the decoders: what passes through them, counted in the data, times the energy of logic of their area."""

from __future__ import annotations

import numpy as np
import pytest
from emulator_programs import Geometry, conv_program, nchw, sparse
from test_circulant_form import random_blocks
from test_codebook import random_codes
from test_smartexchange_form import random_sums
from tile_models import Graph, lower

from dialects import esc
from dialects.eisa import to_program
from emulator.machine import Machine
from isa.area import area_parts
from isa.layout import WEIGHT_LANES
from isa.program import Program
from isa.target import load_target
from passes.decomposition.circulant import Circulant
from passes.decomposition.codebook import Codebook
from passes.decomposition.smartexchange import SmartExchange
from passes.decomposition.weight_form import ConvWindow, WeightForm

ESC1 = load_target()
PICOJOULE = 0.03 / 36
"""Of an um2 of logic that switches: an adder of 8 bits (see `isa.cells`)."""


def area(part: str) -> float:
    """The um2 of one piece, as the estimate of the area prints it."""
    return next(found.mm2 / found.count * 1e6 for found in area_parts(ESC1) if found.name == part)


def decoders(program: Program, x: np.ndarray) -> float:
    """Picojoule of the decoders in a run."""
    statistics = Machine(program).run([x], stats=True).statistics
    assert statistics is not None
    return statistics.data["totals"]["energy_uj"]["decoders"] * 1e6


def of_weights(values: int, nonzeros: int) -> float:
    """Picojoule of the weight decoder: of 64 signs and 32 magnitudes in a cycle, through gaps for every second sign."""
    magnitude = area("magnitude of a cycle in the weight decoder")
    magnitude += WEIGHT_LANES * area("lane of the weight decoder") / 32
    sign = (area("signs of the weight decoder") + 32 * area("gap of a cycle in the weight decoder")) / 64
    place = area("weight of a cycle in the weight decoder")
    return PICOJOULE * (nonzeros * magnitude + values * (sign + place))


@pytest.mark.parametrize(("kn", "v", "groups"), [(32, 6, 1), (16, 6, 2), (33, 7, 1)])
def test_coefficients_are_expanded_chunk_by_chunk(kn: int, v: int, groups: int) -> None:
    g = Geometry(6, 5, 100, 1, 1, 1, 1, (0, 0, 0, 0), kn)
    random = np.random.default_rng(0)
    t = np.where(random.random((kn, v, 100)) < 0.2, 1, 0).astype(np.int8)
    t[:, -1] = 0
    program = conv_program(g, "esc", {"t": t, "basis": np.ones((v, 1, 1), np.int8)}, v=v, groups=groups)
    size = sum(i["size"] for i in program.instructions if i.spec.mnemonic == "load.coef")
    cycles = sum(-(-np.count_nonzero(part) // 8) for row in t.reshape(-1, 100) for part in (row[:64], row[64:]))
    expected = 8 * size * area("bit of the stream port of COEF") + cycles * area("expander of a block")
    expected += np.count_nonzero(t) * area("coefficient of a cycle in an expander")
    found = decoders(program, nchw(sparse(random, (6, 5, 100), 0.5)))
    assert found == pytest.approx(groups * PICOJOULE * expected)


def test_every_weight_takes_a_sign_and_those_that_are_not_zero_a_magnitude() -> None:
    g = Graph(6, 6, 16, signed=False)
    weights = np.random.default_rng(0).integers(-3, 4, (24, 3, 3, 16)).astype(np.int8)
    sums = g.append(esc.Conv2dOp(g.x, weights, (1, 1), (1,) * 4, 1))
    program = to_program(lower(g.module(g.requantize(sums, signed=False))))
    assert sum(i.values["count"] for i in program.instructions if i.spec.mnemonic == "load.weights") == weights.size
    found = decoders(program, np.ones((1, 16, 6, 6), np.float32))
    assert found == pytest.approx(of_weights(weights.size, int(np.count_nonzero(weights))))


def codes() -> tuple[WeightForm, int, int]:
    """A form, its numbers, and how many of them are not zero."""
    values, book = random_codes(1, (16, 3, 3, 8), (3, 1), 63)
    return Codebook.of(values, book, np.ones(16), 0.0), values.size, int(np.count_nonzero(values))


def patches() -> tuple[WeightForm, int, int]:
    """The same of coefficients of vectors."""
    t, vectors = random_sums(1, (16, 3, 3, 8), (3, 1), 3)
    return SmartExchange.of(t, vectors, np.ones(16), 0.0), t.size, int(np.count_nonzero(t))


def blocks() -> tuple[WeightForm, int, int]:
    """The same of circulant blocks, which reach beyond the last input channel."""
    values = random_blocks(1, (16, 3, 3, 8), 3)[:, :, :, :3]
    return Circulant(values, 8, np.ones(16)), values.size, int(np.count_nonzero(values))


@pytest.mark.parametrize("made", [codes, patches, blocks])
def test_loads_that_build_weights_decode_fewer_numbers(made) -> None:
    form, values, nonzeros = made()
    g = Graph(6, 6, 8, signed=False)
    sums = g.x
    for op in form.operations(g.x, 0, ConvWindow((1, 1), (1,) * 4, 16)):
        sums = g.append(op)
    program = to_program(lower(g.module(g.requantize(sums, signed=False))))
    found = decoders(program, np.ones((1, 8, 6, 6), np.float32))
    assert found == pytest.approx(of_weights(values, nonzeros))
