"""Resize and Upsample: the nearest values by their rows and columns, interpolated ones by depthwise convolutions.

Linear and cubic interpolation by a rational factor q/p repeats after q results, which lie p values further on. So each
of the q*q phases is a convolution with strides p, over a map whose edges are repeated; the phases lie side by side as
channels, and these become positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.onnx_positions import TakeOp
from dialects.onnx_rearranged import ChannelShuffleOp
from escc.onnx_import import constraints as c
from escc.onnx_import.emitting import Emitter, Operator, integer_weights
from escc.onnx_import.limits import check_activation
from escc.onnx_import.node import Array, Node, text
from escc.onnx_import.positions import interleaved
from escc.onnx_import.ranks import as_map

MAX_PHASES = 1024
"""Results after which an interpolation must repeat."""
MOST_APART = 9
"""Phases that have convolutions of their own; more are one convolution with as many results for each channel."""
_TIE = 1e-6
"""How near to a half onnxruntime takes a position for one: positions are float32 and seldom exact."""
_MODES = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric")
_ROUNDINGS: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x.astype(np.float64) - 0.5 - _TIE),
    "round_prefer_ceil": lambda x: np.floor(x.astype(np.float64) + 0.5 + _TIE),
    "floor": np.floor,
    "ceil": np.ceil,
}


@dataclass(frozen=True)
class Axis:
    """One axis of a Resize: extents before and after, and the factor between them as the model gives it."""

    size: int
    out: int
    factor: float
    mode: str

    @property
    def positions(self) -> Array:
        """Where each result lies among the values before, float32 [out], as onnxruntime computes it."""
        y, factor = np.arange(self.out, dtype=np.float32), np.float32(self.factor)
        if self.mode == "asymmetric":
            return y / factor
        if self.mode == "align_corners":
            return y * np.float32(self.size - 1) / np.float32(max(self.out - 1, 1))
        if self.mode == "pytorch_half_pixel" and self.out == 1:
            return np.zeros(1, np.float32)
        shifted = (y + np.float32(0.5)) / factor - np.float32(0.5)
        return shifted + np.float32(self._offset)

    @property
    def _offset(self) -> float:
        if self.mode != "half_pixel_symmetric":
            return 0.0
        return self.size / 2 * (1 - self.out / (self.factor * self.size))

    @property
    def exact(self) -> tuple[Fraction, Fraction]:
        """Where result 0 lies, and how far apart results are, as fractions."""
        if self.mode == "align_corners":
            return Fraction(0), Fraction(self.size - 1, max(self.out - 1, 1))
        whole = Fraction(self.out, self.size)
        given = Fraction(self.factor).limit_denominator(1 << 12)
        step = 1 / (whole if abs(float(whole) - self.factor) <= 1e-6 * self.factor else given)
        if self.mode == "asymmetric" or (self.mode == "pytorch_half_pixel" and self.out == 1):
            return Fraction(0), step
        return step / 2 - Fraction(1, 2) + Fraction(self._offset).limit_denominator(1 << 12), step


@dataclass(frozen=True)
class Phases:
    """Results `count` apart in phases, result r of a phase from taps `first` to `first` + width - 1 of each window.

    `taps`: for each phase the weight of each tap. Windows are `stride` apart; there are `windows`.
    """

    taps: tuple[tuple[Fraction, ...], ...]
    first: int
    stride: int
    windows: int

    @property
    def edges(self) -> range:
        """The values that all windows read, those outside the map among them."""
        width = len(self.taps[0])
        return range(self.first, self.first + (self.windows - 1) * self.stride + width)


def _linear(f: Fraction) -> dict[int, Fraction]:
    return {0: 1 - f, 1: f}


def _cubic(a: Fraction) -> Callable[[Fraction], dict[int, Fraction]]:
    def near(d: Fraction) -> Fraction:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1

    def far(d: Fraction) -> Fraction:
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a

    return lambda f: {-1: far(1 + f), 0: near(f), 1: near(1 - f), 2: far(2 - f)}


def phases(axis: Axis, kernel: Callable[[Fraction], dict[int, Fraction]]) -> Phases:
    """The phases of an interpolated axis."""
    start, step = axis.exact
    count = min(step.denominator, axis.out)
    found: list[dict[int, Fraction]] = []
    for r in range(count):
        at = start + r * step
        base = math.floor(at)
        found.append({base + i: w for i, w in kernel(at - base).items() if w})
    first, last = min(min(taps) for taps in found), max(max(taps) for taps in found)
    rows = tuple(tuple(taps.get(i, Fraction(0)) for i in range(first, last + 1)) for taps in found)
    return Phases(rows, first, step.numerator if count > 1 or axis.out > 1 else 1, -(-axis.out // count))


def _axes(n: Node, shape: Sequence[int]) -> list[Axis]:
    """The four axes of a Resize, or of an Upsample, of [N, C, H, W]."""
    scales, sizes = _parameters(n)
    axes = [a % len(shape) for a in n.ints("axes", range(len(shape)))]
    mode = str(n.attr("coordinate_transformation_mode", "half_pixel" if n.opset >= 11 else "asymmetric"))
    found = {a: (d, 1.0) for a, d in enumerate(shape)}
    if sizes is not None:
        policy = str(n.attr("keep_aspect_ratio_policy", "stretch"))
        ratios = [s / shape[a] for a, s in zip(axes, sizes, strict=True)]
        if policy != "stretch":
            ratio = min(ratios) if policy == "not_larger" else max(ratios)
            sizes = [math.floor(ratio * shape[a] + 0.5) for a in axes]
            ratios = [ratio] * len(axes)
        found |= {a: (s, r) for a, s, r in zip(axes, sizes, ratios, strict=True)}
    elif scales is not None:
        found |= {a: (math.floor(shape[a] * s), s) for a, s in zip(axes, scales, strict=True)}
    return [Axis(d, *found[a], mode) for a, d in enumerate(shape)]


def _parameters(n: Node) -> tuple[list[float] | None, list[int] | None]:
    """Scales and sizes of a Resize; what is not given is None."""
    at = 1 if n.op_type == "Upsample" or n.opset < 11 else 2
    given = n.parameter("scales", at)
    scales = None if given is None or not given.size else [float(v) for v in given.reshape(-1)]
    sizes = None if at == 1 else n.const(3)
    return scales, None if sizes is None or not sizes.size else [int(v) for v in sizes.reshape(-1)]


def _nearest(n: Node, axis: Axis) -> list[int]:
    rounding = str(n.attr("nearest_mode", "round_prefer_floor"))
    if n.op_type == "Upsample" or n.opset < 11:
        rounding = "floor" if axis.factor >= 1 else "ceil"
    indices = _ROUNDINGS[rounding](axis.positions)
    return [int(i) for i in np.clip(indices, 0, axis.size - 1)]


def _resize(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    axes = _axes(n, onnx.shape_of(x))[2:]
    check_activation((onnx.shape_of(x)[1], *(axis.out for axis in axes)))
    if all(axis.size == axis.out for axis in axes):
        return e.emit(n, onnx.IdentityOp(x))
    mode = str(n.attr("mode", "nearest"))
    if mode == "nearest":
        rows, columns = (_nearest(n, axis) for axis in axes)
        return e.emit(n, TakeOp(x, rows, columns))
    single = [i for i, axis in enumerate(axes) if axis.size == 1]
    if single:  # one value for all: nothing lies between
        x = e.emit(n, TakeOp(x, *([0] * axis.out if axis.size == 1 else range(axis.size) for axis in axes)))
        axes = [Axis(axis.out, axis.out, 1.0, "asymmetric") if i in single else axis for i, axis in enumerate(axes)]
    if all(axis.size == axis.out for axis in axes):
        return x
    cubic = _cubic(Fraction(float(n.attr("cubic_coeff_a", -0.75))).limit_denominator(1 << 12))
    rows, columns = (phases(axis, cubic if mode == "cubic" else _linear) for axis in axes)
    return _interpolate(e, n, x, rows, columns, [axis.out for axis in axes])


def _resize_volume(e: Emitter, n: Node) -> SSAValue:
    """The nearest values along all three axes; the slices of a volume lie below one another."""
    shape, x = onnx.shape_of(e.operand(n, 0)), as_map(e, n, e.operand(n, 0))
    axes = _axes(n, shape)[2:]
    check_activation((shape[1], *(axis.out for axis in axes)))
    depth, rows, columns = (_nearest(n, axis) for axis in axes)
    y = e.emit(n, TakeOp(x, [number * shape[3] + row for number in depth for row in rows], columns))
    return e.emit(n, onnx.ReshapeOp(y, (*shape[:2], len(depth), len(rows), len(columns))))


def _interpolate(e: Emitter, n: Node, x: SSAValue, rows: Phases, columns: Phases, out: Sequence[int]) -> SSAValue:
    """A depthwise convolution for each pair of phases; then channels as positions, and what is too much cut off."""
    _, channels, h, w = onnx.shape_of(x)
    taken = [[min(max(i, 0), size - 1) for i in axis.edges] for axis, size in ((rows, h), (columns, w))]
    if taken != [list(range(h)), list(range(w))]:
        x = e.emit(n, TakeOp(x, *taken))
    windows = np.array([[[[a * b for b in column] for a in row] for column in columns.taps] for row in rows.taps])
    weights = windows.reshape(-1, 1, *windows.shape[2:])
    strides = (rows.stride, columns.stride)
    if len(weights) <= MOST_APART:
        found = [_convolved(e, n, x, np.repeat(weights[i : i + 1], channels, 0), strides) for i in range(len(weights))]
        y = found[0] if len(found) == 1 else e.emit(n, onnx.ConcatOp(found, 1))
    else:  # all phases of a channel side by side, then all channels of a phase
        y = _convolved(e, n, x, np.tile(weights, (channels, 1, 1, 1)), strides)
        y = e.emit(n, ChannelShuffleOp(y, channels)) if channels > 1 else y
    return interleaved(e, n, y, (len(rows.taps), len(columns.taps)), (0, 0), out)


def _convolved(e: Emitter, n: Node, x: SSAValue, fractions: Array, strides: tuple[int, int]) -> SSAValue:
    """A depthwise convolution with fractions [K, 1, kH, kW] as weights, exact integers where 8 bits hold them."""
    channels = onnx.shape_of(x)[1]
    whole = math.lcm(*{f.denominator for f in fractions.flat})
    values = np.array([float(f * whole) for f in fractions.flat]).reshape(fractions.shape)
    if np.abs(values).max() <= 127:
        weight = integer_weights(e, n, values, 1 / whole)
    else:
        weight = e.constant(n, (values / whole).astype(np.float32))
    return e.emit(n, onnx.ConvOp(x, weight, strides=strides, group=channels))


def resizes_maps(node: Node) -> str | None:
    """Scales or sizes are constant, and of H and W alone; mode is nearest, linear or cubic"""
    shape, mode = node.shape(), str(node.attr("mode", "nearest"))
    if mode not in ("nearest", "linear", "cubic", "bilinear"):
        return f"mode={mode} unsupported; requires nearest, linear or cubic"
    if shape is None:
        return None
    scales, sizes = _parameters(node)
    count = len(node.ints("axes", range(len(shape))))
    if (scales is None) == (sizes is None):
        return "gives scales and sizes, or none of both; requires one of them"
    if len(scales or sizes or ()) != count or min(scales or sizes or [0]) <= 0:
        return f"gives {text(scales or sizes or ())} for {count} axes; requires {count} positive values"
    axes = _axes(node, shape)
    if any(axis.size != axis.out for axis in axes[:2]) or min(axis.out for axis in axes) < 1:
        return f"makes {text([axis.out for axis in axes])} of {text(shape)}; requires unchanged batch and channels"
    return None


def coordinates_are_known(node: Node) -> str | None:
    """Coordinates are not those of tf_crop_and_resize; exclude_outside is 0; nothing is antialiased"""
    mode = str(node.attr("coordinate_transformation_mode", "half_pixel"))
    if mode not in _MODES:
        return f"coordinate_transformation_mode={mode} unsupported; requires one of {', '.join(_MODES)}"
    rounding = str(node.attr("nearest_mode", "round_prefer_floor"))
    if rounding not in _ROUNDINGS:
        return f"nearest_mode={rounding} unsupported; requires one of {', '.join(_ROUNDINGS)}"
    if node.flag("exclude_outside"):
        return "exclude_outside=1 unsupported; requires 0"
    shape = node.shape()
    if shape is None or resizes_maps(node) is not None:
        return None
    if mode == "align_corners" and any(abs(a.size * a.factor - a.out) > 1e-4 * a.out for a in _axes(node, shape)):
        return "aligns corners of extents that are no whole numbers; requires sizes, or scales that make whole extents"
    if not node.flag("antialias"):
        return None
    shrinks = any(axis.out < axis.size for axis in _axes(node, shape))
    return "antialias=1 of a smaller map unsupported; requires 0" if shrinks else None


def phases_are_few(node: Node) -> str | None:
    """Interpolation by simple fractions: it repeats after at most 1,024 results of both axes"""
    shape = node.shape()
    if shape is None or str(node.attr("mode", "nearest")) == "nearest" or len(shape) != 4 or resizes_maps(node):
        return None
    axes = _axes(node, shape)[2:]
    count = math.prod(min(axis.exact[1].denominator, axis.out) for axis in axes if axis.size > 1)
    if count <= MAX_PHASES:
        return None
    sizes = " and ".join(f"{axis.size} to {axis.out}" for axis in axes)
    return (
        f"interpolates {sizes} ({node.attr('coordinate_transformation_mode', 'half_pixel')}) in {count} phases; "
        f"requires at most {MAX_PHASES}: simpler fractions"
    )


def takes_the_nearest(node: Node) -> str | None:
    """Of a volume [N,C,D,H,W], of D too, and mode is nearest"""
    mode = str(node.attr("mode", "nearest"))
    return None if mode == "nearest" else f"mode={mode} of a volume unsupported; requires nearest"


_RESIZE = (c.float_inputs, c.parameters_are_constant, c.rank_4, resizes_maps, coordinates_are_known, phases_are_few)
_OF_VOLUMES = (c.float_inputs, c.parameters_are_constant, resizes_maps, coordinates_are_known, takes_the_nearest)
_OPERATOR = Operator(_resize, _RESIZE, in_volumes=Operator(_resize_volume, _OF_VOLUMES))

OPERATORS: Mapping[str, Operator] = {
    "Resize": _OPERATOR,
    "Upsample": _OPERATOR,
}
"""Operators by their names in ONNX."""
