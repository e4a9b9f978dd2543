"""`escc --supported-ops`: a table made from the checks that the importer and `onnx-legalize` run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from typing import Any

from escc.onnx_import.constraints import axes_are_in_range, float_inputs
from escc.onnx_import.evaluable import ELEMENTS
from escc.onnx_import.limits import MAX_ACTIVATION, MAX_COMPUTED, MAX_EXTERNAL_BYTES, MAX_NODES
from escc.onnx_import.operators import operators
from escc.onnx_import.reader import OPSETS

_HEAD = f"""\
# Supported ONNX operators

Opsets {OPSETS.start} to {OPSETS.stop - 1}, default domain. Shapes are static: a batch becomes 1, and --input-shape
gives inputs of dynamic extents theirs. Inputs have 1 to 5 dimensions; operators of maps [N,C,H,W] work on signals
[N,C,L] too, as maps of one row, and convolutions and pools on volumes [N,C,D,H,W]. Weights are finite floats, or
integers behind DequantizeLinear; they may lie in files beside the model. Functions of the model's own are replaced by
their nodes. An output of a node that nothing reads counts as absent.

Limits: {MAX_NODES:,} nodes; {MAX_ACTIVATION:,} elements in an input or a result; {MAX_COMPUTED:,} elements in all
constants computed at import (or as many as the model has bytes); {MAX_EXTERNAL_BYTES:,} bytes in files beside it.
"""
_EVALUATED = "Evaluated at import, where their inputs are constants: "


def summary(check: Callable[[Any], Any]) -> str:
    """First line of the docstring of a check."""
    first = (check.__doc__ or "").strip().splitlines()[0]
    return first if first[1:2].isupper() else first[:1].lower() + first[1:]


def _row(name: str, checks: Iterable[Callable[[Any], Any]], left: Iterable[Callable[[Any], Any]] = ()) -> str:
    """A row of a table; `left` are the checks of the operation that is left of it."""
    words = [*map(summary, checks), *(f"where canonicalisation leaves it: {summary(c)}" for c in left)]
    return f"| {name} | {'; '.join(dict.fromkeys(words))} |"


def supported_ops() -> str:
    """Markdown text: every operator with its constraints, and what must hold after canonicalisation."""
    from dialects.onnx import Onnx
    from passes.onnx_legalize import is_map, legal_operations

    imported = [operator.operation for operator in operators().values() if operator.operation is not None]
    legal = legal_operations(sorted({*Onnx.operations, *imported}, key=lambda operation: operation.name))
    general = f"All operators: {summary(float_inputs)};\n{summary(axes_are_in_range)}."
    lines = [_HEAD, general, "", "| operator | requires |", "|---|---|"]
    for name, operator in sorted(operators().items()):
        over_volumes = () if operator.in_volumes is None else operator.in_volumes.constraints
        checks = [c for c in (*operator.constraints, *over_volumes) if c is not float_inputs]
        left = () if operator.left is None else [c for c in legal[operator.left] if c is not is_map]
        lines.append(_row(name, checks, left))
    evaluated = textwrap.fill(f"{_EVALUATED}{', '.join(sorted(ELEMENTS))}.", 118)
    lines += [
        "",
        evaluated,
        "",
        "After `onnx-canonicalize` these are left, as `onnx-legalize` checks:",
        "",
        "| operation | requires |",
        "|---|---|",
    ]
    lines += [_row(op.name, checks) for op, checks in legal.items()]
    return "\n".join(lines) + "\n"
