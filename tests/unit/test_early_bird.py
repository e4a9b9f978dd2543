"""Early-bird masks, and what a training is counted at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from escc.training.cost import Counts, ImageWork, total
from escc.training.early_bird import EarlyBird, distance
from isa.target import load_target


def mask(*kept: int) -> list[torch.Tensor]:
    """A mask over two layers of 50 coefficients each."""
    whole = torch.zeros(100, dtype=torch.bool)
    whole[list(kept)] = True
    return [whole[:50], whole[50:]]


def test_the_distance_is_a_share_of_what_either_keeps() -> None:
    assert distance(mask(1, 2, 60), mask(1, 2, 60)) == 0
    assert distance(mask(1, 2, 60), mask(1, 2, 61)) == pytest.approx(2 / 4)
    assert distance(mask(), mask()) == 0 and distance(mask(1), mask(70)) == 1


def test_masks_settle_when_five_in_a_row_are_close() -> None:
    bird = EarlyBird()
    wide = range(80)
    drifting = [bird.settled(mask(*range(5 * i, 80 + 5 * i))) for i in range(4)]
    assert drifting == [False] * 4
    assert [bird.settled(mask(*wide)) for _ in range(5)] == [False] * 4 + [True]
    assert not bird.settled(mask(*range(20, 100)))


def test_the_cost_of_a_training_is_the_sum_of_its_parts() -> None:
    energy = load_target("esc1").energy
    network, teacher = ImageWork(1000, 10, 50), ImageWork(2000, 20, 70)
    one = total(network, teacher, Counts(trained=4, probed=1, judged=2, batches=1), False, energy)
    assert one.forward == 6 * 3000 and one.backward == 2 * 1000 * 5
    assert one.nbytes == 4 * (2 * 30 * 6 + 2 * 10 * 5) + (3 * 50 + 70) * 4 + 28 * 50
    picojoule = (one.forward + one.backward) * (energy.mul_int32 + energy.add_int32) + one.nbytes * energy.dram_byte
    assert one.joules == pytest.approx(1e-12 * picojoule)
    half = total(network, teacher, Counts(trained=4, probed=1, judged=2, batches=1), True, energy)
    assert half.forward == one.forward and half.nbytes < one.nbytes and half.joules < one.joules / 1.5
