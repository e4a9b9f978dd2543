"""A compiled program as plain data: what the container, the assembler, the `eisa` dialect and the emulator exchange."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from isa.code import Group, Synchronisation, Touched, group, synchronisation, touched
from isa.declaration import Instruction
from isa.formats import TensorFormat
from isa.hosted import HostParts, unpack
from isa.layout import TensorLayout, align
from isa.reference import arg_max, batched_shape
from isa.target import Target

_T = TypeVar("_T")

PAGE = 4096
"""The arena begins at the first multiple of this after `.rodata`, which lies at DRAM address 0."""


@dataclass(frozen=True)
class TensorRef:
    """An activation tensor: stored byte b (int8 if `signed`, else uint8) means the real number b * scale.

    `address` is one of DRAM; of a `resident` tensor, which is RAW, it is one of ACT. If `whole_c` is not 0, the tensor
    is the channels from `first_c` on of a tensor of `whole_c` channels, whose address this is.
    """

    name: str
    address: int
    h: int
    w: int
    c: int
    format: TensorFormat
    segment: int
    signed: bool
    scale: float
    resident: bool = False
    first_c: int = 0
    whole_c: int = 0

    @property
    def stored_c(self) -> int:
        """Channels of the tensor that begins at the address."""
        return self.whole_c or self.c

    def layout(self, chunk: int) -> TensorLayout:
        """Geometry of the bytes in DRAM from the address on."""
        return TensorLayout(self.h, self.w, self.stored_c, self.format, self.segment, chunk)


@dataclass(frozen=True)
class ArgMax:
    """An output is the index of the largest of scores of `shape` along `axis`, int64: the first of equal ones, or the
    `last`. The indices have any shape of so many elements, in row-major order.
    """

    shape: tuple[int, ...]
    axis: int
    last: bool = False

    def fault(self, shape: tuple[int, ...]) -> str:
        """Why the indices cannot have a shape, or ""."""
        scores, axis = self.shape, self.axis
        if not 0 <= axis < len(scores):
            return f"ArgMax axis {axis} is outside rank {len(scores)}"
        if axis == 0 and scores[0] == 1:
            return "ArgMax axis 0 is that of the images"
        indices = math.prod(scores[:axis]) * math.prod(scores[axis + 1 :])
        if math.prod(shape) != indices or min(shape, default=1) < 1:
            return f"{list(shape)} is no shape of the {indices} largest of {list(scores)} along axis {axis}"[:300]
        return ""

    def of(self, x: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.int64]:
        """The indices of scores in `batched_shape(self.shape, N)`, in `batched_shape(shape, N)`."""
        found = arg_max(x, self.axis - len(self.shape), self.last)
        return found.reshape(batched_shape(shape, x.size // math.prod(self.shape)))


@dataclass(frozen=True)
class Port:
    """An input or output of the model. `shape` is the float shape that the user sees: that of the model for one image.

    Output: x = q * scale, NHWC -> NCHW, with `perm` reshaped to `view` and transposed by it, then reshaped to `shape`,
    then a Softmax over `softmax_axis` of that shape when it is not None, or the `logarithm` of one. With `arg_max`, all
    this makes its scores, in its shape, and `shape` is that of the indices. For N images, N takes the place of a first
    extent of 1, else it comes first. Input: the same way back, from `shape`, or with `perm` from `view` transposed by
    it, to NCHW, then q = clamp(round_half_even(x / scale)), laid out NHWC.
    `mean`, `std` (per channel, of 0..255 images, in the order of the channels) and `channel_order` ("rgb", "bgr" or "")
    say how an image file becomes x; empty where unknown.
    """

    name: str
    shape: tuple[int, ...]
    tensor: TensorRef
    softmax_axis: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channel_order: str = ""
    view: tuple[int, ...] = ()
    perm: tuple[int, ...] = ()
    logarithm: bool = False
    arg_max: ArgMax | None = None

    @property
    def channels_last(self) -> bool:
        """Whether the images of an input are [N, H, W, C]."""
        return self.perm == (1, 2, 0)

    @property
    def scores(self) -> tuple[int, ...]:
        """Shape of the float numbers of which an ArgMax takes the largest; the shape where there is none."""
        return self.shape if self.arg_max is None else self.arg_max.shape


@dataclass(frozen=True)
class Layer:
    """Instructions [start, end) that compute one tensor. `nodes` are the ONNX nodes that went into it, main node first.

    `kind`: the name of the layer kind, for people and for grouping.
    `macs`: multiply-accumulates of the original dense operation; `weights`: its number of weights;
    `rodata`: (address, size) pairs of the constants that the layer alone reads.
    """

    name: str
    kind: str
    start: int
    end: int
    nodes: tuple[str, ...]
    output: TensorRef
    macs: int = 0
    weights: int = 0
    rodata: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Program:
    """Everything that a binary holds.

    `sample` is one calibration input, quantised: the NHWC bytes of every input in order. `float_weights` is the number
    of weights of the original float model, 0 where it is not recorded. `host` is what the host computes around the
    program, as `isa.hosted` packs it; b"" where the program is the whole network.
    """

    target: Target
    instructions: tuple[Instruction, ...]
    rodata: bytes
    arena_bytes: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[Layer, ...]
    sample: bytes = b""
    producer: str = field(default="")
    float_weights: int = 0
    host: bytes = b""

    @cached_property
    def hosted(self) -> HostParts | None:
        """What the host computes around the program, None if nothing. Raises `UserError` if `host` is damaged."""
        return unpack(self.host) if self.host else None

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The instructions as columns."""
        return group(self.instructions)

    @cached_property
    def synchronisation(self) -> Synchronisation:
        """Queue, signal and waits of all instructions."""
        return synchronisation(self.groups)

    @cached_property
    def touched(self) -> Touched:
        """All bytes that the instructions touch; they must be legal by themselves."""
        return touched(self.groups, self.target)

    def derive(self, function: Callable[[Program], _T]) -> _T:
        """The value of a function of the program, worked out once: a program never changes."""
        if function not in self._derived:
            self._derived[function] = function(self)
        return cast(_T, self._derived[function])

    @cached_property
    def _derived(self) -> dict[object, object]:
        return {}

    @property
    def original_weights(self) -> int:
        """Weights of the original float model; where that is not recorded, those that the layers count."""
        return self.float_weights or sum(layer.weights for layer in self.layers)

    @property
    def arena_base(self) -> int:
        """DRAM address of the activation arena."""
        return align(len(self.rodata), PAGE)

    @property
    def text_base(self) -> int:
        """DRAM address of the instructions, behind the arena."""
        return align(self.arena_base + self.arena_bytes, PAGE)

    @property
    def dram_bytes(self) -> int:
        """DRAM that the program addresses: constants and arena."""
        return self.arena_base + self.arena_bytes
