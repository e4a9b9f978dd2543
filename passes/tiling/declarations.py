"""The tensors and constants that the layers of a program under construction share."""

from __future__ import annotations

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
    """A declared DRAM tensor."""

    name: str
    shape: tuple[int, int, int]
    format: TensorFormat

    @property
    def density(self) -> float:
        """Expected share of values that are not zero."""
        return 1.0 if self.format is TensorFormat.RAW else DENSITY

    def source(self, channels: ChannelMap) -> InputSource:
        """The tensor as an input of a layer."""
        return InputSource(self.shape[2], self.format, channels, self.density)

    def whole(self) -> InputSource:
        """The tensor read channel by channel."""
        return self.source(ChannelMap(0, self.shape[2], 0, 1))


@dataclass
class Declarations:
    """Tensors and constants of the program under construction."""

    tensors: dict[SSAValue, DeclaredTensor] = field(default_factory=dict[SSAValue, DeclaredTensor])
    tensor_ops: list[Operation] = field(default_factory=list[Operation])
    constant_ops: list[Operation] = field(default_factory=list[Operation])
    _shared: dict[DenseAttr, str] = field(default_factory=dict[DenseAttr, str])

    def tensor(self, value: SSAValue, format: TensorFormat, segment: int) -> DeclaredTensor:
        """Declare the tensor of an esc value."""
        _, h, w, c = shape_of(value)
        tensor = DeclaredTensor(f"t{len(self.tensors)}", (h, w, c), format)
        form = "raw" if format is TensorFormat.RAW else "bitmap"
        self.tensors[value] = tensor
        self.tensor_ops.append(bfs.TensorOp(tensor.name, tensor.shape, q_of(value), form, segment))
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
