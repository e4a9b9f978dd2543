"""Patches of windows that several instructions read are gathered once."""

from __future__ import annotations

import numpy as np
import pytest
from emulator_programs import Builder, identity_requant, nchw, sparse

from emulator import memories
from emulator.arithmetic import WeightMatrix
from emulator.machine import Machine
from isa.formats import Scratchpad


def test_the_same_window_over_other_bytes_is_read_anew():
    """Two convolutions of one tile with equal fields; between them the tile is loaded with other bytes."""
    rng = np.random.default_rng(11)
    first, second = sparse(rng, (4, 4, 8), 0.8), sparse(rng, (4, 4, 8), 0.8)
    b = Builder()
    sources = [b.tensor(name, 4, 4, 8) for name in ("a", "b")]
    results = [b.tensor(name, 4, 4, 8) for name in ("y", "z")]
    weights = np.zeros((8, 3, 3, 8), np.int8)
    weights[:, 1, 1] = np.eye(8, dtype=np.int8)
    b.emit("load.bytes", dram=b.constant(weights.tobytes()), size=weights.size, pad=Scratchpad.COEF, dst=0)
    b.emit("load.bytes", dram=b.constant(identity_requant(8)), size=72, pad=Scratchpad.PAR, dst=0)
    window = {"ih": 4, "iw": 4, "ic": 8, "r": 3, "s": 3, "sy": 1, "sx": 1, "pt": 1, "pl": 1, "oh": 4, "ow": 4}
    for source, result in zip(sources, results, strict=True):
        b.emit("load.act", source)
        b.emit("conv.dense", **window, kt=8, kn=8, cpg=8, kpg=8, groups=1)
        b.emit("post.requant", oh=4, ow=4, kt=8, kn=8, hi=255)
        b.emit("store.act", result)
    machine = Machine(b.finish(sources, results))
    found = machine.run([nchw(first), nchw(second)]).outputs
    np.testing.assert_array_equal([y[0].transpose(1, 2, 0) for y in found], [first, second])


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize(("low", "high", "pieces"), [(-3, 4, 1), (-128, 128, 3), (0, 128, 5)])
def test_products_too_long_for_float32_are_exact(signed: int, low: int, high: int, pieces: int) -> None:
    rng = np.random.default_rng(5)
    w = rng.integers(low, high, (5, 4608)).astype(np.int8)
    x = rng.integers(-128 if signed else 0, 128 if signed else 256, (7, 4608))
    matrix = WeightMatrix.of(w, signed)
    assert len(matrix.pieces) == pieces or signed
    assert [piece.start for piece in matrix.pieces[1:]] == [piece.stop for piece in matrix.pieces[:-1]]
    found = matrix.product(x.astype(np.float32))
    np.testing.assert_array_equal(found, x @ w.T.astype(np.int64))
    assert int(np.abs(found).max()) <= matrix.bound


def test_a_sum_beyond_int32_is_computed_in_float64() -> None:
    w = np.full((1, 3), 1 << 23)
    matrix = WeightMatrix.of(w, 0)
    assert matrix.bound == 3 * 255 << 23
    assert matrix.product(np.full((1, 3), 255, np.float32)).tolist() == [[3 * 255 << 23]]


def test_constants_are_kept_up_to_a_total_and_shared_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memories, "_KEPT_BYTES", 10)
    constants, made = memories.Constants(), list[str]()

    def make(name: str, size: int):
        return lambda: (made.append(name) or name, size)

    for _ in range(2):
        assert constants.get(("load", 1), make("shared", 8)) == "shared"
        assert constants.get(7, make("large", 3)) == "large"
    assert made == ["shared", "large", "large"]
    assert constants.holds(("load", 1)) and not constants.holds(7)
