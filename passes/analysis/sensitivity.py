"""How much an error in one convolution's output disturbs the outputs of the whole network."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Block, Operation, SSAValue

from dialects import esc
from dialects.interpreters.esc import evaluate
from isa import reference
from passes.analysis.before_after_values import accumulate, is_accumulator
from passes.math.noise import normal

Array: TypeAlias = NDArray[Any]

NOISE = 0.04
"""Variance of the disturbance of the weights, as a share of their mean square."""
_MOST_IMAGES = 128
_WORK = 5e10
"""Multiply-accumulates that all runs together may take, more only for the least number of images."""
_LEAST_IMAGES = 4
_KEPT_BYTES = 1 << 30
"""Bytes of all 8-bit tensors of the images together, more only for one image."""
_MOST_STEPS = 200_000
"""Operations that all runs together may execute; of more convolutions than fit, some speak for those behind them."""


def image_count(ops: Sequence[Operation]) -> int:
    """Images that are enough, and few enough: every convolution runs about half of the network again."""
    macs = [float(op.macs) for op in ops if isinstance(op, esc.Conv2dOp)]
    work = sum(macs) * (1 + len(macs) / 2)
    kept = sum(math.prod(esc.shape_of(r)) for op in ops for r in op.results if not is_accumulator(r))
    most = int(np.clip(_KEPT_BYTES // max(kept, 1), 1, _MOST_IMAGES))
    return min(most, int(np.clip(_WORK / max(work, 1.0), _LEAST_IMAGES, _MOST_IMAGES)))


def sensitivities(block: Block, inputs: Sequence[Array], seed: int) -> dict[Operation, float]:
    """For each convolution, the relative error of the network's outputs for each relative error of its own output.

    Measured by disturbing its weights at random, as a compression does, and running the rest of the network: float
    `inputs`, one array [N, ...] for each block argument. Relative errors are squared deviations over the variance;
    a mean error of a channel does not count, for compression corrects it.
    """
    ops = [op for op in block.ops if isinstance(op, esc.EscOp)]
    values = _tensors(ops, dict(zip(block.args, inputs, strict=True)))
    outputs = [op.output for op in ops if isinstance(op, esc.DequantizeOp)]
    convs = [i for i, op in enumerate(ops) if isinstance(op, esc.Conv2dOp) and op.groups.value.data == 1]
    stride = -(-len(convs) * len(ops) // _MOST_STEPS) if convs else 1
    rng = np.random.default_rng(seed)
    found: dict[Operation, float] = {}
    value = 1.0
    for number, index in enumerate(convs):
        op = ops[index]
        assert isinstance(op, esc.Conv2dOp)
        if number % stride == 0:
            disturbed, relative = _disturb(op, values[op.input], rng)
            changed = _propagate(ops[index + 1 :], values, {op.output: disturbed}, outputs)
            errors = [_relative(values[v], changed.get(v, values[v])) for v in outputs]
            value = float(np.mean(errors)) / relative if relative > 0 and errors else 1.0
        found[op] = value
    return found


def _compute(op: esc.EscOp, arguments: Sequence[Array]) -> Array:
    # The input of a Softmax or an ArgMax tells more than its output.
    return arguments[0] if isinstance(op, esc.SoftmaxOp | esc.ArgMaxOp) else evaluate(op, arguments)


def _tensors(ops: Sequence[esc.EscOp], values: dict[SSAValue, Array]) -> dict[SSAValue, Array]:
    """The given values and those of all operations, without the accumulators, which take most of the memory."""
    for op in ops:
        if not is_accumulator(op.results[0]):
            values[op.results[0]] = _compute(op, [accumulate(v, values.__getitem__) for v in op.operands])
    return values


def _relative(before: Array, after: Array) -> float:
    """Squared deviation over the variance among images; over the square where there is only one or no variance."""
    x = before.astype(np.float64).reshape(len(before), -1)
    variance = float(((x - x.mean(axis=0)) ** 2).sum())
    scale = variance if variance > 0 else float((x * x).sum())
    return float(((after.astype(np.float64).reshape(x.shape) - x) ** 2).sum()) / scale if scale > 0 else 0.0


def _disturb(op: esc.Conv2dOp, x: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """Accumulators with disturbed weights of the input x, and their relative error."""
    w = op.weight.array.astype(np.float64)
    size = np.sqrt(NOISE * np.mean(w * w, axis=(1, 2, 3), keepdims=True))
    noisy = np.rint(w + normal(rng, w.shape) * size).astype(np.int32)
    before = evaluate(op, [x]).astype(np.float64)
    after = reference.conv2d(x, noisy, esc.ints(op.strides), esc.ints(op.pads)).astype(np.float64)
    after -= before
    axes = (0, 1, 2)
    if before[..., 0].size > 1:
        after -= after.mean(axis=axes)
        scale = float(before.var(axis=axes).sum())
    else:
        scale = float((before * before).sum())
    relative = float((after * after).mean(axis=axes).sum()) / scale if scale > 0 else 0.0
    after += before
    np.clip(np.rint(after, out=after), reference.INT32_LOW, reference.INT32_HIGH, out=after)
    return after.astype(np.int32), relative


def _propagate(
    ops: Sequence[esc.EscOp],
    values: Mapping[SSAValue, Array],
    changed: dict[SSAValue, Array],
    outputs: Sequence[SSAValue],
) -> dict[SSAValue, Array]:
    """Those of the outputs that the changed values change."""
    unread = Counter([*(v for op in ops for v in op.operands), *outputs])
    for op in ops:
        if any(v in changed for v in op.operands):
            arguments = [changed[v] if v in changed else accumulate(v, values.__getitem__) for v in op.operands]
            changed[op.results[0]] = _compute(op, arguments)
        for v in op.operands:
            unread[v] -= 1
            if not unread[v]:
                changed.pop(v, None)
    return changed
