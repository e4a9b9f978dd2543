"""The tensors and constants that the layers of a program under construction share."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue

from dialects import bfs
from dialects.blob import DenseAttr
from dialects.esc import q_of, shape_of
from isa.formats import TensorFormat
from passes.tiling.geometry import ChannelMap
from passes.tiling.problem import InputSource

DENSITY = 0.5
"""Expected share of non-zeros of an activation after a ReLU; schedules do not depend on calibration."""


def tensor_format(signed: bool, averaged: bool) -> TensorFormat:
    """Layout of an activation tensor that the machine writes: bitmaps pay where zeros are expected.

    Signed tensors have passed no ReLU, averages hide the zeros of their input: both are dense.
    """
    return TensorFormat.RAW if signed or averaged else TensorFormat.BITMAP


@dataclass(frozen=True)
class DeclaredTensor:
    """A declared tensor; `density`: the expected share of values that are not zero."""

    name: str
    shape: tuple[int, int, int]
    format: TensorFormat
    density: float
    resident: bool

    def source(self, channels: ChannelMap) -> InputSource:
        """The tensor as an input of a layer."""
        return InputSource(self.shape[2], self.format, channels, self.density, self.resident)

    def whole(self) -> InputSource:
        """The tensor read channel by channel."""
        return self.source(ChannelMap(0, self.shape[2], 0, 1))


@dataclass
class Declarations:
    """Tensors and constants of the program under construction. `resident`: names of the tensors that stay in ACT."""

    resident: Set[str] = frozenset()
    tensors: dict[SSAValue, DeclaredTensor] = field(default_factory=dict[SSAValue, DeclaredTensor])
    tensor_ops: list[Operation] = field(default_factory=list[Operation])
    constant_ops: list[Operation] = field(default_factory=list[Operation])
    _shared: dict[DenseAttr, str] = field(default_factory=dict[DenseAttr, str])

    @property
    def next_name(self) -> str:
        """The name of the tensor that is declared next."""
        return f"t{len(self.tensors)}"

    def tensor(self, value: SSAValue, format: TensorFormat, segment: int) -> DeclaredTensor:
        """Declare the tensor of an esc value, in this format if it lies in DRAM."""
        _, h, w, c = shape_of(value)
        name, density = self.next_name, 1.0 if format is TensorFormat.RAW else DENSITY
        resident = name in self.resident
        if resident:
            format, segment = TensorFormat.RAW, w
        form = "raw" if format is TensorFormat.RAW else "bitmap"
        tensor = self.tensors[value] = DeclaredTensor(name, (h, w, c), format, density, resident)
        self.tensor_ops.append(bfs.TensorOp(name, tensor.shape, q_of(value), form, segment, resident))
        return tensor

    def constant(self, array: NDArray[np.generic] | DenseAttr) -> str:
        """Symbol of a constant of the current layer; equal ones share it. Every layer cuts its constants in its own
        way.
        """
        attr = array if isinstance(array, DenseAttr) else DenseAttr.of(array)
        if attr not in self._shared:
            name = f"c{len(self.constant_ops)}"
            self._shared[attr] = name
            self.constant_ops.append(bfs.ConstantOp(name, attr))
        return self._shared[attr]

    def close_layer(self) -> None:
        """Constants declared from here on belong to another layer."""
        self._shared.clear()
