"""What a weight form is: how the weights of one convolution are held, from exact integers to operations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import SSAValue

from dialects import esc

F = NDArray[np.float64]


@dataclass(frozen=True)
class ConvWindow:
    """Strides [y, x] and pads [top, left, bottom, right] of a convolution, and the width of intermediate values."""

    strides: Sequence[int]
    pads: Sequence[int]
    ic_bits: int


@dataclass(frozen=True)
class FormIntegers:
    """The integers of a convolution: output = (acc + bias[k]) * factor[k] in output steps.

    `form` holds the weights that are left once constant channels have none; its accumulators are sums of products
    shifted right by `ic_shift`. `factor` float64 [K], positive; `bias` int64 [K], which fits int32 together with any
    accumulator.
    """

    form: WeightForm
    ic_shift: int
    factor: F
    bias: NDArray[np.int64]

    def operations(self, x: SSAValue, geometry: ConvWindow) -> list[esc.EscOp]:
        """The operations of level `esc` from the input to the accumulators, in order."""
        return self.form.operations(x, self.ic_shift, geometry)


class WeightForm(ABC):
    """The weights of a convolution without groups: exact integers times a scale for each output channel.

    A form is a value: a scheme answers one for a layer, in output steps for each input step.
    """

    name: ClassVar[str]
    """What reports call the form."""
    layer_kind: ClassVar[str]
    """The layer kind that computes a convolution of the form, by name."""
    scale: F
    """float64 [K], not negative."""
    relative_error: float
    """Squared output error over the output's variance, as far as the scheme knows it."""

    @property
    @abstractmethod
    def integer_weights(self) -> NDArray[np.int64]:
        """int64 [K, R, S, C]: the weights without their scales, exactly."""

    @property
    def weights(self) -> F:
        """float64 [K, R, S, C]: the approximated weights."""
        return self.scale[:, None, None, None] * self.integer_weights

    @abstractmethod
    def faults(self, shape: tuple[int, int, int, int]) -> list[str]:
        """What is wrong with the shapes, types and values of an answer for weights [K, R, S, C]."""

    @abstractmethod
    def to_integers(self, bias: Callable[[Self], F], low: int, high: int, ic_bits: int) -> FormIntegers:
        """Integers for inputs in [low, high].

        `bias` gives the float64 [K] biases in output steps that belong to the weights that it is given. Raises
        ValueError if the accumulators cannot be kept within int32.
        """

    @abstractmethod
    def operations(self, x: SSAValue, ic_shift: int, geometry: ConvWindow) -> list[esc.EscOp]:
        """The operations of level `esc` from the input to the accumulators, in order."""

    @abstractmethod
    def packed_bytes(self) -> int:
        """Bytes of the constants in DRAM, without the parameters of the requantisation, about."""
