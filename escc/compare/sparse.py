"""The weights that sparse machines are given: pruned at an accuracy that is measured, or those of a model file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from escc.baselines.work import LayerWork
from escc.compare.baselines import Weighted, weighted
from escc.compare.bisection import RateTrial, find_rate
from escc.compare.network import ComparedNetwork, Data, answers_of
from escc.compare.works import layer_works
from escc.compress.pruning import Pruner

_CALIBRATION = 256
"""Images whose windows the moments are taken from, at most."""
_VALUES = 1 << 24
"""Input values of these images, at most."""
_PRECISION = 1.25
"""Factor between prices that are not worth another trial."""


def as_given(network: ComparedNetwork, data: Data) -> Weighted:
    """The weights of a network as they are."""
    answers = answers_of(network.module, data.classified)
    works = layer_works(network.dense(), [data.timed])
    return weighted(works, f"{density_of(works):.1%} kept, as given", data.top1(answers))


def pruned(
    network: ComparedNetwork, data: Data, max_drop: float, price: float | None, announce: Callable[[str], None]
) -> Weighted:
    """The network pruned at the highest price at which at most `max_drop` points of top-1 are lost on the data.

    Without labels, answers that change count as lost. A `price` that is given is taken without a search.
    """
    size = math.prod(data.classified.shape[1:])
    inputs = network.calibration(min(_CALIBRATION, max(1, _VALUES // size)))
    pruner = Pruner(network.module, inputs, network.settings.seed)
    before = answers_of(network.module, data.classified)
    labels = before if data.labels is None else data.labels
    modules: dict[float, ModuleOp] = {}
    what = "of answers changed" if data.labels is None else "of top-1"

    def trial(rate: float) -> RateTrial:
        rate = float(f"{rate:.3g}")
        module, left = pruner.at(rate)
        answers = answers_of(module, data.classified)
        right = [int(np.count_nonzero(found == labels)) for found in (before, answers)]
        lost = 100 * (right[0] - right[1]) / len(labels)
        modules[rate] = module
        text = f"pruned at price {rate:g}: {left.weight_density:.1%} of the weights kept, {lost:.2f} points {what} lost"
        announce(text)
        return RateTrial(rate, lost, text)

    found = find_rate(max_drop, trial, _PRECISION) if price is None else trial(price)
    module = modules[found.rate]
    works = layer_works(network.finished(module), [data.timed])
    text = f"{density_of(works):.1%} kept, pruned at price {found.rate:g}"
    return weighted(works, text, data.top1(answers_of(module, data.classified)))


def density_of(works: Sequence[LayerWork]) -> float:
    """Share of the weights that are not zero."""
    return sum(w.weight_nonzeros for w in works) / max(1, sum(w.geometry.weights for w in works))
