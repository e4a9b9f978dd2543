"""How much an error in one convolution's output disturbs the outputs of the whole network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Block, Operation, SSAValue

from dialects import esc
from dialects.interpreters.esc import evaluate
from isa import reference
from passes.math.noise import normal

Array: TypeAlias = NDArray[Any]

NOISE = 0.04
"""Variance of the disturbance of the weights, as a share of their mean square."""
_MOST_IMAGES = 128
_WORK = 5e10
"""Multiply-accumulates that all runs together may take, more only for the least number of images."""
_LEAST_IMAGES = 4


def image_count(ops: Sequence[Operation]) -> int:
    """Images that are enough, and few enough: every convolution runs about half of the network again."""
    macs = [_macs(op) for op in ops if isinstance(op, esc.Conv2dOp)]
    work = sum(macs) * (1 + len(macs) / 2)
    return int(np.clip(_WORK / max(work, 1.0), _LEAST_IMAGES, _MOST_IMAGES))


def _macs(op: esc.Conv2dOp) -> float:
    _, oh, ow, _ = esc.shape_of(op.output)
    return float(op.weight.array.size * oh * ow)


def sensitivities(block: Block, inputs: Sequence[Array], seed: int) -> dict[Operation, float]:
    """For each convolution, the relative error of the network's outputs for each relative error of its own output.

    Measured by disturbing its weights at random, as a compression does, and running the rest of the network: float
    `inputs`, one array [N, ...] for each block argument. Relative errors are squared deviations over the variance;
    a mean error of a channel does not count, for compression corrects it.
    """
    ops = [op for op in block.ops if isinstance(op, esc.EscOp)]
    values: dict[SSAValue, Array] = dict(zip(block.args, inputs, strict=True))
    for op in ops:
        if isinstance(op, esc.SoftmaxOp):
            values[op.results[0]] = values[op.operands[0]]  # its input tells more than its output
        else:
            values[op.results[0]] = evaluate(op, [values[v] for v in op.operands])
    outputs = [op.output for op in ops if isinstance(op, esc.DequantizeOp)]
    rng = np.random.default_rng(seed)
    found: dict[Operation, float] = {}
    for index, op in enumerate(ops):
        if isinstance(op, esc.Conv2dOp) and op.groups.value.data == 1:
            disturbed, relative = _disturb(op, values, rng)
            changed = _propagate(ops[index + 1 :], values, {op.output: disturbed})
            errors = [_relative(values[v], changed.get(v, values[v])) for v in outputs]
            found[op] = float(np.mean(errors)) / relative if relative > 0 and errors else 1.0
    return found


def _relative(before: Array, after: Array) -> float:
    """Squared deviation over the variance among images; over the square where there is only one or no variance."""
    x = before.astype(np.float64).reshape(len(before), -1)
    variance = float(((x - x.mean(axis=0)) ** 2).sum())
    scale = variance if variance > 0 else float((x * x).sum())
    return float(((after.astype(np.float64).reshape(x.shape) - x) ** 2).sum()) / scale if scale > 0 else 0.0


def _disturb(op: esc.Conv2dOp, values: Mapping[SSAValue, Array], rng: np.random.Generator) -> tuple[Array, float]:
    """Accumulators with disturbed weights, and their relative error."""
    w = op.weight.array.astype(np.float64)
    size = np.sqrt(NOISE * np.mean(w * w, axis=(1, 2, 3), keepdims=True))
    noisy = np.rint(w + normal(rng, w.shape) * size).astype(np.int32)
    before = values[op.output].astype(np.float64)
    after = reference.conv2d(values[op.input], noisy, esc.ints(op.strides), esc.ints(op.pads)) - before
    axes = (0, 1, 2)
    if before[..., 0].size > 1:
        after -= after.mean(axis=axes)
        scale = float(before.var(axis=axes).sum())
    else:
        scale = float((before * before).sum())
    relative = float((after * after).mean(axis=axes).sum()) / scale if scale > 0 else 0.0
    return np.clip(np.rint(before + after), reference.INT32_LOW, reference.INT32_HIGH).astype(np.int32), relative


def _propagate(
    ops: Sequence[Operation], values: Mapping[SSAValue, Array], changed: dict[SSAValue, Array]
) -> dict[SSAValue, Array]:
    """Values that the changed ones change; the network's outputs are among them."""
    for op in ops:
        if any(v in changed for v in op.operands):
            arguments = [changed.get(v, values[v]) for v in op.operands]
            changed[op.results[0]] = arguments[0] if isinstance(op, esc.SoftmaxOp) else evaluate(op, arguments)
    return changed
