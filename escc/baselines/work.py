"""What a baseline machine is given: one convolution with its real weights and activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class LayerGeometry:
    """Extents of one convolution; a fully connected layer is a 1x1 convolution of a 1x1 map.

    `pads` [top, left, bottom, right] of zeros. `channels` and `filters` count all groups.
    """

    height: int
    width: int
    channels: int
    filters: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.channels, self.filters, self.groups, *self.kernel, *self.strides) < 1:
            raise ValueError(f"{self}: every extent must be at least 1")
        if self.channels % self.groups or self.filters % self.groups:
            raise ValueError(f"{self}: the groups must divide channels and filters")
        if min(self.out_height, self.out_width) < 1:
            raise ValueError(f"{self}: the window does not fit the padded input")

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return (self.height + self.pads[0] + self.pads[2] - self.kernel[0]) // self.strides[0] + 1

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return (self.width + self.pads[1] + self.pads[3] - self.kernel[1]) // self.strides[1] + 1

    @property
    def positions(self) -> int:
        """Output positions of one image."""
        return self.out_height * self.out_width

    @property
    def window(self) -> int:
        """Weights of one filter: R * S * channels of a group."""
        return self.kernel[0] * self.kernel[1] * (self.channels // self.groups)

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """[K, R, S, C / groups]."""
        return (self.filters, *self.kernel, self.channels // self.groups)

    @property
    def weights(self) -> int:
        """Number of weights."""
        return self.filters * self.window

    @property
    def inputs(self) -> int:
        """Input values of one image."""
        return self.height * self.width * self.channels

    @property
    def outputs(self) -> int:
        """Output values of one image."""
        return self.positions * self.filters

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, those with zeros of the padding included."""
        return self.positions * self.weights


@dataclass(frozen=True)
class LayerWork:
    """One convolution of a network as a machine runs it, for the N images of `activations`.

    `weights` int8 or bool [K, R, S, C / groups] and `activations` int8, uint8 or bool [N, H, W, C]: machines look at
    which are zero. `output_nonzeros` int64 [N] counts the values other than zero in the tensor that the layer stores
    (after bias, requantisation and ReLU). `nodes` are the ONNX nodes that it stands for.
    """

    name: str
    geometry: LayerGeometry
    weights: Array
    activations: Array
    output_nonzeros: NDArray[np.int64]
    nodes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        g = self.geometry
        if self.weights.shape != g.weight_shape:
            raise ValueError(f"{self.name}: weights {self.weights.shape}; the geometry requires {g.weight_shape}")
        if self.activations.ndim != 4 or self.activations.shape[1:] != (g.height, g.width, g.channels):
            raise ValueError(
                f"{self.name}: activations {self.activations.shape}; the geometry requires "
                f"(N, {g.height}, {g.width}, {g.channels})"
            )
        if self.output_nonzeros.shape != self.activations.shape[:1]:
            raise ValueError(f"{self.name}: output_nonzeros {self.output_nonzeros.shape}; requires one for each image")

    @property
    def images(self) -> int:
        """Images N."""
        return len(self.activations)

    @cached_property
    def weight_mask(self) -> NDArray[np.bool_]:
        """Where weights are not zero: [K, R, S, C / groups]."""
        return self.weights != 0

    @cached_property
    def padded_mask(self) -> NDArray[np.bool_]:
        """Where activations are not zero, with the padding: [N, H + pads, W + pads, C]."""
        top, left, bottom, right = self.geometry.pads
        return np.pad(self.activations != 0, ((0, 0), (top, bottom), (left, right), (0, 0)))

    @cached_property
    def weight_nonzeros(self) -> int:
        """Weights other than zero."""
        return int(np.count_nonzero(self.weights))

    @cached_property
    def input_nonzeros(self) -> float:
        """Activations other than zero, mean over the images."""
        return np.count_nonzero(self.activations) / self.images

    @property
    def mean_output_nonzeros(self) -> float:
        """Stored outputs other than zero, mean over the images."""
        return float(self.output_nonzeros.mean())

    def tap(self, r: int, s: int, channels: slice) -> NDArray[np.bool_]:
        """Mask of the activations that window tap (r, s) reads: [N, OH, OW, channels]."""
        g = self.geometry
        rows = slice(r, r + (g.out_height - 1) * g.strides[0] + 1, g.strides[0])
        columns = slice(s, s + (g.out_width - 1) * g.strides[1] + 1, g.strides[1])
        return self.padded_mask[:, rows, columns, channels]

    def group_slices(self) -> Iterator[tuple[slice, slice]]:
        """Channels and filters of every group."""
        g = self.geometry
        c, k = g.channels // g.groups, g.filters // g.groups
        for i in range(g.groups):
            yield slice(i * c, (i + 1) * c), slice(i * k, (i + 1) * k)

    @cached_property
    def matches(self) -> NDArray[np.int64]:
        """Multiplications of a weight other than zero with an activation other than zero: int64 [N]."""
        g = self.geometry
        total = np.zeros(self.images, np.int64)
        for channels, filters in self.group_slices():
            use = self.weight_mask[filters].sum(axis=0, dtype=np.int64)  # [R, S, C / groups]
            for r in range(g.kernel[0]):
                for s in range(g.kernel[1]):
                    seen = self.tap(r, s, channels).sum(axis=(1, 2), dtype=np.int64)
                    total += seen @ use[r, s]
        return total

    @cached_property
    def gated_macs(self) -> NDArray[np.int64]:
        """Multiplications of any weight with an activation other than zero: int64 [N]."""
        g = self.geometry
        total = np.zeros(self.images, np.int64)
        for channels, filters in self.group_slices():
            for r in range(g.kernel[0]):
                for s in range(g.kernel[1]):
                    seen = np.count_nonzero(self.tap(r, s, channels), axis=(1, 2, 3))
                    total += seen * (filters.stop - filters.start)
        return total
