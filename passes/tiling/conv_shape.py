"""The shape of a convolution as its price depends on it, whatever form its weights have."""

from __future__ import annotations

from dataclasses import dataclass

from isa.formats import TensorFormat


@dataclass(frozen=True)
class ConvShape:
    """A convolution without groups: `k` output and `c` input channels; kernel, strides, pads (top, left), extents of
    input and output, each [y, x].

    `density` is the share of input values that are not zero, as measured.
    """

    k: int
    c: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    input: tuple[int, int]
    output: tuple[int, int]
    density: float
    input_format: TensorFormat = TensorFormat.BITMAP
    output_format: TensorFormat = TensorFormat.BITMAP
