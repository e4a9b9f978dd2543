"""The convolutions of a quantised network as the baseline machines are given them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Operation, SSAValue

from dialects import esc
from dialects.esc_convolutions import holds_other_weights
from dialects.interpreters.run import main_function, run_module
from dialects.locations import describe, node_names
from dialects.signature import moved_inputs
from escc.baselines.work import LayerGeometry, LayerWork
from isa.errors import UserError

Array: TypeAlias = NDArray[Any]


def check_original(module: ModuleOp) -> None:
    """Raise UserError naming every layer that is compressed: the baselines have no such layers."""
    foreign = [describe(op) for op in main_function(module).body.block.ops if holds_other_weights(op)]
    if foreign:
        raise UserError(
            [f"{name}: a compressed layer; the baseline machines need the original convolution" for name in foreign],
            "give the network before its compression, or --machines none",
        )


def layer_works(module: ModuleOp, inputs: Sequence[Array]) -> list[LayerWork]:
    """Every convolution of a module of level esc with the activations that float `inputs` [N, ...] cause, in order.

    Inputs lie as the model declares them. Raises UserError as `check_original` does.
    """
    check_original(module)
    block = main_function(module).body.block
    convolutions = [op for op in block.ops if isinstance(op, esc.Conv2dOp)]
    needed: set[SSAValue] = {op.input for op in convolutions}
    seen: dict[SSAValue, Array] = {}
    stored: dict[SSAValue, NDArray[np.int64]] = {}

    def observe(op: Operation, results: Sequence[Array]) -> None:
        value = op.results[0]
        if value in needed:
            seen[value] = results[0]
        if isinstance(op, esc.RequantizeOp):
            stored[op.input] = np.count_nonzero(results[0], axis=(1, 2, 3)).astype(np.int64)

    run_module(module, moved_inputs(module, inputs), observe)
    return [_work(op, seen[op.input], stored.get(op.output)) for op in convolutions]


def _work(op: esc.Conv2dOp, activations: Array, stored: NDArray[np.int64] | None) -> LayerWork:
    """A convolution; one whose accumulators are not requantised at once stores all its values."""
    _, h, w, c = esc.shape_of(op.input)
    weights = op.weight.array
    k, r, s, _ = weights.shape
    (sy, sx), (top, left, bottom, right) = esc.ints(op.strides), esc.ints(op.pads)
    geometry = LayerGeometry(h, w, c, k, (r, s), (sy, sx), (top, left, bottom, right), op.groups.value.data)
    if stored is None:
        stored = np.full(len(activations), geometry.outputs, np.int64)
    names = tuple(node_names(op))
    return LayerWork(names[0] if names else op.name, geometry, weights, activations, stored, names)
