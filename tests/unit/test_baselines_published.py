"""The baseline machines reproduce what their papers publish, within bars that are stated beside each table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from baseline_works import ALEXNET, VGG16, Published, masked, works

from escc.baselines.eyeriss import eyeriss_chip
from escc.baselines.scnn import scnn, scnn_conflicts, scnn_dense
from escc.baselines.sparten import sparten, sparten_dense, sparten_one_sided

# Milliseconds of a batch at 200 MHz: Y.-H. Chen et al., JSSC 52(1), 2017, tables of AlexNet (4 images) and VGG-16 (3).
EYERISS_ALEXNET = (16.5, 39.2, 21.8, 16.0, 10.0)
EYERISS_VGG16 = (38.0, 810.6, 405.3, 810.8, 204.0, 408.1, 408.1, 105.1, 210.0, 210.0, 48.3, 48.5, 48.5)


def _eyeriss_ms(network: Sequence[Published], batch: int) -> list[float]:
    machine = eyeriss_chip()
    layers = (masked(layer.geometry, 1.0, 1.0, 0) for layer in network)
    return [machine.run(layer, batch).cycles * batch / 200e3 for layer in layers]


@pytest.mark.parametrize(
    ("network", "batch", "published"),
    [(ALEXNET, 4, EYERISS_ALEXNET), (VGG16, 3, EYERISS_VGG16)],
    ids=["alexnet", "vgg16"],
)
def test_eyeriss(network: Sequence[Published], batch: int, published: Sequence[float]) -> None:
    """20 % a layer, 12 % in total."""
    found = _eyeriss_ms(network, batch)
    assert found == pytest.approx(published, rel=0.20)
    assert sum(found) == pytest.approx(sum(published), rel=0.12)


def _scnn_speedup(network: tuple[Published, ...]) -> tuple[float, float]:
    """Speed of the conflict-free and of the conflicting machine over the dense variant, whole network."""
    dense = free = conflicting = 0
    for work in works(network):
        dense += int(scnn_dense().cycles(work)[0])
        free += int(scnn().cycles(work)[0])
        conflicting += int(scnn_conflicts().cycles(work)[0])
    return dense / free, dense / conflicting


def test_scnn_on_alexnet() -> None:
    """15 % for the variant without conflicts, which the paper counts; conflicts cost about a third."""
    free, conflicting = _scnn_speedup(ALEXNET)
    assert free == pytest.approx(2.37, rel=0.15)
    assert 1.2 < conflicting < 1.7


@pytest.mark.slow
def test_scnn_on_vgg16() -> None:
    """15 % for the variant without conflicts."""
    free, conflicting = _scnn_speedup(VGG16)
    assert free == pytest.approx(3.52, rel=0.15)
    assert 1.5 < conflicting < 2.2


def _mean(values: Iterable[float]) -> float:
    return math.exp(float(np.mean(np.log(list(values)))))


@pytest.mark.slow
def test_sparten() -> None:
    """25 %: speed over the dense and the one-sided machine and SCNN with conflicts, geometric means of the layers of
    each network and of the networks.
    """
    ratios: list[list[float]] = []
    for network in (ALEXNET, VGG16):
        rows: list[list[float]] = []
        for work in works(network):
            both = float(sparten().cycles(work)[0])
            others = [m.cycles(work)[0] for m in (sparten_dense(), sparten_one_sided(), scnn_conflicts())]
            rows.append([float(cycles) / both for cycles in others])
        ratios.append([_mean(column) for column in np.transpose(rows)])
    means = [_mean(column) for column in np.transpose(ratios)]
    assert means == pytest.approx([4.7, 1.8, 3.0], rel=0.25)
