"""`--verify-numerics` of a network whose ends the host computes: the whole of it against onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.hosted import HostModel, machine_of
from emulator.tables import TextColumn, TextTable
from escc.host_fallback.calibration import network_samples
from escc.host_fallback.graph import graph_of, serialised
from escc.onnx_import import reader
from escc.onnx_import.given_shapes import set_shapes
from isa.arrays import Source
from isa.program import Program

Array = NDArray[Any]


def compare(
    source: str | Path | bytes, shapes: Mapping[str, Sequence[int]], program: Program, data: Source | None, seed: int
) -> str:
    """Text: how far the outputs of a program with its host deviate from those of the float network in onnxruntime.

    `data`: the calibration data, whose first sample is taken. Empty for a program without a host.
    """
    parts = program.hosted
    if parts is None:
        return ""
    model = reader.load_model(source, "model")
    set_shapes(model, shapes)
    graph_of(model)
    inputs = [x[:1] for x in network_samples(parts, data, 1, seed)]
    want = HostModel(serialised(model), "the network").run(
        {port.name: x[0] for port, x in zip(parts.inputs, inputs, strict=True)}
    )
    found = machine_of(program).run(inputs).outputs
    rows = [
        _row(port.name, np.asarray(want[port.name]), y.reshape(y.shape[1:]) if y.ndim > want[port.name].ndim else y)
        for port, y in zip(parts.outputs, found, strict=True)
    ]
    columns = [TextColumn("output", text=True), TextColumn("shape", text=True)]
    columns += [TextColumn("max", "deviation"), TextColumn("mean", "deviation"), TextColumn("share", "%")]
    table = TextTable(columns, rows)
    return "\n".join(["the whole network, host and machine, against onnxruntime:", *table.lines()])


def _row(name: str, want: Array, found: Array) -> list[str]:
    if want.shape != found.shape:
        return [name, f"{_text(want)}, found {_text(found)}", "-", "-", "-"]
    if not want.size:
        return [name, _text(want), "0", "0", "0.00"]
    difference = np.abs(found.astype(np.float64) - want.astype(np.float64))
    largest = float(np.abs(want.astype(np.float64)).max()) or 1.0
    mean = float(difference.mean())
    return [name, _text(want), f"{difference.max():.4g}", f"{mean:.4g}", f"{100 * mean / largest:.2f}"]


def _text(x: Array) -> str:
    return "x".join(map(str, x.shape)) or "scalar"
