"""The weights that sparse machines are given: pruned at an accuracy that is measured, or those of a model file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from dialects.interpreters.run import main_function
from escc.baselines.work import LayerWork
from escc.compare.baselines import Weighted, weighted
from escc.compare.bisection import RateTrial, find_rate
from escc.compare.network import ComparedNetwork, Data, answers_of
from escc.compare.works import layer_works
from escc.compress.pruning import Pruner
from passes.analysis.constant_outputs import constant_outputs

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
    network: ComparedNetwork,
    data: Data,
    max_drop: float,
    price: float | None,
    by_labels: bool,
    announce: Callable[[str], None],
) -> Weighted:
    """The network pruned at the highest price at which at most `max_drop` points of top-1 are lost on the data.

    Unless the labels say what is right (`by_labels`), answers that change count as lost: a network that guesses loses
    no point of top-1, whatever is pruned. A search never ends at a network whose output no input changes any more. A
    `price` that is given is taken without a search.
    """
    size = math.prod(data.classified.shape[1:])
    inputs = network.calibration(min(_CALIBRATION, max(1, _VALUES // size)))
    pruner = Pruner(network.module, inputs, network.settings.seed)
    before = answers_of(network.module, data.classified)
    labels = data.labels if by_labels and data.labels is not None else before
    modules: dict[float, ModuleOp] = {}
    what = "of answers changed" if labels is before else "of top-1"
    constant = set(constant_outputs(main_function(network.module)))

    def trial(rate: float) -> RateTrial:
        rate = float(f"{rate:.3g}")
        module, left = pruner.at(rate)
        answers = answers_of(module, data.classified)
        right = [int(np.count_nonzero(found == labels)) for found in (before, answers)]
        lost = 100 * (right[0] - right[1]) / len(labels)
        modules[rate] = module
        nothing_left = not constant.issuperset(constant_outputs(main_function(module)))
        effect = "no output depends on the input any more" if nothing_left else f"{lost:.2f} points {what} lost"
        text = f"pruned at price {rate:g}: {left:.1%} of the weights kept, {effect}"
        announce(text)
        return RateTrial(rate, math.inf if nothing_left else lost, text)

    found = find_rate(max_drop, trial, _PRECISION) if price is None else trial(price)
    module = modules[found.rate]
    works = layer_works(network.finished(module), [data.timed])
    text = f"{density_of(works):.1%} kept, pruned at price {found.rate:g}"
    return weighted(works, text, data.top1(answers_of(module, data.classified)))


def density_of(works: Sequence[LayerWork]) -> float:
    """Share of the weights that are not zero."""
    return sum(w.weight_nonzeros for w in works) / max(1, sum(w.geometry.weights for w in works))
