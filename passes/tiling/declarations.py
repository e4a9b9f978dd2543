"""The tensors and constants that the layers of a program under construction share."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue

from dialects import bfs
from dialects.blob import DenseAttr
from dialects.esc import q_of, shape_of
from dialects.esc_base import EscOp
from isa.formats import TensorFormat
from passes.tiling.geometry import ChannelMap
from passes.tiling.problem import InputSource
from passes.tiling.search import segment_choices
from passes.tiling.views import ChannelViews, PartOf

DENSITY = 0.5
"""Expected share of non-zeros of an activation after a ReLU; schedules do not depend on calibration."""


def expected_density(value: SSAValue, format: TensorFormat) -> float:
    """Expected share of the values of a tensor that are not zero: a maximum is zero if its whole window is."""
    if format is TensorFormat.RAW:
        return 1.0
    values = value.owner.maximum_over() if isinstance(value.owner, EscOp) else 1
    return 1 - (1 - DENSITY) ** values


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
    segment: int
    storage: str
    stored_c: int
    """Name and channels of the tensor that has the bytes: the whole of a part, else the tensor itself."""

    def source(self, channels: ChannelMap) -> InputSource:
        """The tensor as an input of a layer."""
        return InputSource(self.shape[2], self.format, channels, self.density, self.resident, self.stored_c)

    def whole(self) -> InputSource:
        """The tensor read channel by channel."""
        return self.source(ChannelMap(0, self.shape[2], 0, 1))


@dataclass
class Declarations:
    """Tensors and constants of the program under construction.

    `chunk`: channels of a BITMAP line. `views`: the values that are channels of others. `resident`: names of the
    tensors that stay in ACT; `raw`: of those with parts that are not to lie as BITMAP lines. `rings`: rows of which ACT
    holds a part; `over`: the tensor in whose place one is computed.
    """

    chunk: int
    views: ChannelViews = field(default_factory=ChannelViews)
    resident: Set[str] = frozenset()
    raw: Set[str] = frozenset()
    rings: Mapping[str, int] = field(default_factory=dict[str, int])
    over: Mapping[str, str] = field(default_factory=dict[str, str])
    tensors: dict[SSAValue, DeclaredTensor] = field(default_factory=dict[SSAValue, DeclaredTensor])
    tensor_ops: list[Operation] = field(default_factory=list[Operation])
    constant_ops: list[Operation] = field(default_factory=list[Operation])
    _shared: dict[DenseAttr, str] = field(default_factory=dict[DenseAttr, str])

    @property
    def next_name(self) -> str:
        """The name of the tensor that is declared next."""
        return f"t{len(self.tensors)}"

    def find(self, value: SSAValue) -> DeclaredTensor | None:
        """The tensor of an esc value, which is declared here if the value is a part of a declared one."""
        part = self.views.parts.get(value)
        if value not in self.tensors and part is not None and part.whole in self.tensors:
            self._part(value, part)
        return self.tensors.get(value)

    def whole(self, value: SSAValue) -> DeclaredTensor | None:
        """The tensor that has the bytes of a value that is a part, declared if it is not yet; None of all others."""
        part = self.views.parts.get(value)
        if part is None:
            return None
        if part.whole not in self.tensors:
            w = shape_of(part.whole)[2]
            lines = self.next_name not in self.raw and self.in_lines(part.whole)
            format = tensor_format(q_of(part.whole).signed, False) if lines else TensorFormat.RAW
            self.tensor(part.whole, format, w if format is TensorFormat.RAW else segment_choices(w)[0])
        return self.tensors[part.whole]

    def in_lines(self, value: SSAValue) -> bool:
        """Whether all parts of a value could be moved by themselves if it lay as BITMAP lines."""
        return self.views.in_lines(value, self.chunk)

    def tensor(self, value: SSAValue, format: TensorFormat, segment: int) -> DeclaredTensor:
        """Declare the tensor of an esc value; one that lies in DRAM and is no part of another has this format."""
        if value in self.views.parts:
            assert self.whole(value) is not None
            return self._part(value, self.views.parts[value])
        _, h, w, c = shape_of(value)
        name, density = self.next_name, expected_density(value, format)
        resident = name in self.resident
        if resident:
            format, segment = TensorFormat.RAW, w
        return self._declare(value, DeclaredTensor(name, (h, w, c), format, density, resident, segment, name, c))

    def _part(self, value: SSAValue, part: PartOf) -> DeclaredTensor:
        whole = self.tensors[part.whole]
        _, h, w, c = shape_of(value)
        return self._declare(value, replace(whole, name=self.next_name, shape=(h, w, c)), (whole.name, part.first))

    def _declare(self, value: SSAValue, tensor: DeclaredTensor, part: tuple[str, int] | None = None) -> DeclaredTensor:
        form = "raw" if tensor.format is TensorFormat.RAW else "bitmap"
        rows = self.rings.get(tensor.name)
        over = self.over.get(tensor.name)
        op = bfs.TensorOp(
            tensor.name, tensor.shape, q_of(value), form, tensor.segment, tensor.resident, part, rows, over
        )
        self.tensors[value] = tensor
        self.tensor_ops.append(op)
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
