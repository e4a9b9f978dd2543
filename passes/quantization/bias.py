"""Bias correction: removes the mean error that quantisation causes in each convolution's output, layer after layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Block, SSAValue

from dialects import esc
from dialects.blob import DenseAttr
from dialects.interpreters.esc import evaluate
from passes.math.weight_quant import ConvIntegers, corrected_bias
from passes.quantization.plan import Positions

Array: TypeAlias = NDArray[Any]

_BLOCK_BYTES = 1 << 26
"""Accumulators evaluated at a time, so that wide intermediate results stay small."""


@dataclass(frozen=True)
class Correction:
    """What a requantisation's accumulators should average to: the integers now, the float means, the input's
    magnitude, and the positions that are read (None: all).
    """

    integers: ConvIntegers
    means: NDArray[np.float64]
    input_limit: int
    kept: Positions | None


def correct_biases(block: Block, inputs: Sequence[Array], corrections: Mapping[esc.RequantizeOp, Correction]) -> None:
    """Run the integer network on calibration inputs in program order and set the bias of each listed requantisation.

    `inputs` float32 [N, ...] per block argument. Every layer sees the corrected layers before it, so errors do not
    pile up.
    """
    values: dict[SSAValue, Array] = dict(zip(block.args, inputs, strict=True))
    remaining = Counter(operand for op in block.ops for operand in op.operands)
    pending = len(corrections)
    for op in block.ops:
        if not pending:
            return
        if isinstance(op, esc.RequantizeOp) and op in corrections:
            pending -= 1
            _correct(op, values[op.input], corrections[op])
        if not isinstance(op, esc.EscOp):
            continue
        operands = [values[operand] for operand in op.operands]
        values[op.results[0]] = _evaluate_blocks(op, operands)
        for operand in op.operands:
            remaining[operand] -= 1
            if not remaining[operand]:
                values.pop(operand, None)


def _correct(op: esc.RequantizeOp, acc: Array, correction: Correction) -> None:
    integers = correction.integers
    if correction.kept is not None:
        rows, columns = correction.kept
        acc = acc[:, rows][:, :, columns]
    mean = acc.mean(axis=(0, 1, 2), dtype=np.float64)
    error = correction.means - (mean + integers.bias) * integers.scale
    op.properties["bias"] = DenseAttr.of(corrected_bias(integers, error, correction.input_limit))


def _evaluate_blocks(op: esc.EscOp, operands: Sequence[Array]) -> Array:
    """`evaluate` a few samples at a time."""
    count = len(operands[0])
    largest = max(8 * operand.size // count for operand in operands)
    step = max(1, _BLOCK_BYTES // max(1, largest))
    parts = [evaluate(op, [x[n : n + step] for x in operands]) for n in range(0, count, step)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
