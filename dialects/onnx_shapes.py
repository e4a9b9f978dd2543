"""Shape inference of the `onnx` dialect on plain integers. All raise ValueError naming what does not fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Shape = tuple[int, ...]


def _text(shape: Sequence[int]) -> str:
    return "[" + ",".join(str(d) for d in shape) + "]"


def rank4(shape: Shape, what: str = "input") -> tuple[int, int, int, int]:
    """Check for N,C,H,W."""
    if len(shape) != 4:
        raise ValueError(f"{what} has shape {_text(shape)}; requires 4 dimensions [N,C,H,W]")
    return shape[0], shape[1], shape[2], shape[3]


def window(
    kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Check kernel [h,w], strides [y,x] and pads [top,left,bottom,right]."""
    if len(kernel) != 2 or min(kernel) < 1:
        raise ValueError(f"kernel_shape={_text(kernel)}; requires two positive integers")
    if len(strides) != 2 or min(strides) < 1:
        raise ValueError(f"strides={_text(strides)}; requires two positive integers")
    if len(pads) != 4 or min(pads) < 0:
        raise ValueError(f"pads={_text(pads)}; requires four non-negative integers [top,left,bottom,right]")
    return (kernel[0], kernel[1]), (strides[0], strides[1]), (pads[0], pads[1], pads[2], pads[3])


def conv_extent(size: int, kernel: int, stride: int, before: int, after: int) -> int:
    """Output extent of a convolution along one axis."""
    out = (size + before + after - kernel) // stride + 1
    if out < 1:
        raise ValueError(f"window of {kernel} does not fit {size} positions padded by {before} and {after}")
    return out


def pool_extent(size: int, kernel: int, stride: int, before: int, after: int, ceil_mode: bool) -> int:
    """Output extent of a pooling; with ceil_mode a last window that would start beyond the input is dropped."""
    if before >= kernel or after >= kernel:
        raise ValueError(f"pads {before} and {after}; requires pads smaller than the kernel extent {kernel}")
    out = conv_extent(size, kernel, stride, before, after)
    if ceil_mode:
        out = -(-(size + before + after - kernel) // stride) + 1
        if (out - 1) * stride >= size + before:
            out -= 1
    return out


def conv(x: Shape, w: Shape, strides: Sequence[int], pads: Sequence[int], group: int) -> Shape:
    """Result of Conv for NCHW x and weights [M, C/group, kH, kW]."""
    n, c, h, width = rank4(x)
    m, cpg, kh, kw = rank4(w, "weight")
    (kh, kw), (sy, sx), (top, left, bottom, right) = window((kh, kw), strides, pads)
    if group < 1 or cpg * group != c or m % group:
        raise ValueError(f"group={group} and weight {_text(w)} do not fit {c} input channels")
    return n, m, conv_extent(h, kh, sy, top, bottom), conv_extent(width, kw, sx, left, right)


def pool(x: Shape, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], ceil_mode: bool) -> Shape:
    """Result of pooling over windows."""
    n, c, h, w = rank4(x)
    (kh, kw), (sy, sx), (top, left, bottom, right) = window(kernel, strides, pads)
    return n, c, pool_extent(h, kh, sy, top, bottom, ceil_mode), pool_extent(w, kw, sx, left, right, ceil_mode)


def same_pads(size: int, kernel: int, stride: int, upper: bool) -> tuple[int, int]:
    """Padding of auto_pad SAME_UPPER and SAME_LOWER along one axis."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)


def axis_in(axis: int, rank: int, what: str = "axis") -> int:
    """A non-negative axis below `rank`."""
    if not 0 <= axis < rank:
        raise ValueError(f"{what}={axis} outside rank {rank}")
    return axis


def axes_in(axes: Sequence[int], rank: int) -> Shape:
    """Distinct non-negative axes below `rank`."""
    if len(set(axes)) != len(axes):
        raise ValueError(f"axes={_text(axes)} are not distinct")
    return tuple(axis_in(a, rank, "axes") for a in axes)


def broadcast(a: Shape, b: Shape) -> Shape:
    """NumPy broadcasting of two shapes."""
    rank = max(len(a), len(b))
    out: list[int] = []
    for x, y in zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True):
        if x != y and 1 not in (x, y):
            raise ValueError(f"shapes {_text(a)} and {_text(b)} do not broadcast")
        out.append(y if x == 1 else x)
    return tuple(out)


def concat(parts: Sequence[Shape], axis: int) -> Shape:
    """Result of Concat."""
    if not parts:
        raise ValueError("requires an operand")
    axis_in(axis, len(parts[0]))
    for p in parts:
        if len(p) != len(parts[0]) or any(
            a != b for i, (a, b) in enumerate(zip(p, parts[0], strict=True)) if i != axis
        ):
            raise ValueError(f"operands {', '.join(map(_text, parts))} do not concatenate along axis {axis}")
    return tuple(sum(p[axis] for p in parts) if i == axis else d for i, d in enumerate(parts[0]))


def slice_(x: Shape, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]) -> Shape:
    """Result of Slice with 0 <= start < end <= dimension and positive steps."""
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise ValueError("starts, ends, axes and steps differ in length")
    out = list(x)
    for s, e, a, st in zip(starts, ends, axes_in(axes, len(x)), steps, strict=True):
        if not 0 <= s < e <= x[a] or st < 1:
            raise ValueError(f"slice {s}:{e}:{st} of axis {a} with {x[a]} elements; requires 0 <= start < end <= size")
        out[a] = -(-(e - s) // st)
    return tuple(out)


def pad(x: Shape, pads: Sequence[int]) -> Shape:
    """Result of Pad; `pads` lists what stands before each axis, then what stands after."""
    r = len(x)
    if len(pads) != 2 * r or min(pads, default=0) < 0:
        raise ValueError(f"pads={_text(pads)}; requires {2 * r} non-negative integers")
    return tuple(d + pads[i] + pads[r + i] for i, d in enumerate(x))


def reduce(x: Shape, axes: Sequence[int], keepdims: bool) -> Shape:
    """Result of a reduction."""
    gone = axes_in(axes, len(x))
    return tuple(1 if i in gone else d for i, d in enumerate(x) if keepdims or i not in gone)


def flatten(x: Shape, axis: int) -> Shape:
    """Result of Flatten."""
    if not 0 <= axis <= len(x):
        raise ValueError(f"axis={axis} outside rank {len(x)}")
    return math.prod(x[:axis]), math.prod(x[axis:])


def reshape(x: Shape, shape: Shape) -> Shape:
    """Result of Reshape to a static shape."""
    if math.prod(x) != math.prod(shape) or min(shape, default=1) < 0:
        raise ValueError(f"cannot reshape {_text(x)} to {_text(shape)}")
    return shape


def squeeze(x: Shape, axes: Sequence[int]) -> Shape:
    """Result of Squeeze."""
    for a in axes_in(axes, len(x)):
        if x[a] != 1:
            raise ValueError(f"axes={_text(axes)} of shape {_text(x)}; requires extent 1")
    return tuple(d for i, d in enumerate(x) if i not in axes)


def unsqueeze(x: Shape, axes: Sequence[int]) -> Shape:
    """Result of Unsqueeze; `axes` count in the result."""
    new = axes_in(axes, len(x) + len(axes))
    rest = iter(x)
    return tuple(1 if i in new else next(rest) for i in range(len(x) + len(axes)))


def transpose(x: Shape, perm: Sequence[int]) -> Shape:
    """Result of Transpose."""
    if sorted(perm) != list(range(len(x))):
        raise ValueError(f"perm={_text(perm)} is no permutation of {len(x)} axes")
    return tuple(x[p] for p in perm)


def matmul(a: Shape, b: Shape) -> Shape:
    """Result of MatMul for operands of rank 2 or more."""
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ValueError(f"shapes {_text(a)} and {_text(b)} do not multiply")
    return (*broadcast(a[:-2], b[:-2]), a[-2], b[-1])


def gemm(a: Shape, b: Shape, trans_a: bool, trans_b: bool) -> Shape:
    """Result of Gemm."""
    if len(a) != 2 or len(b) != 2:
        raise ValueError(f"shapes {_text(a)} and {_text(b)}; requires two matrices")
    return matmul(a[::-1] if trans_a else a, b[::-1] if trans_b else b)


MAP_AXES: Mapping[int, Mapping[int, int]] = {
    1: {0: 0},
    2: {0: 0, 1: 1},
    3: {0: 0, 1: 1, 2: 3},
    4: {0: 0, 1: 1, 2: 2, 3: 3},
    5: {0: 0, 1: 1, 4: 3},
}
"""By rank: where an axis stands in the map that `isa.reference.map_shape` makes of a tensor, if it is one of it."""


def map_axes(rank: int, axes: Sequence[int]) -> tuple[int, ...] | None:
    """The axes of the map that are some axes of a tensor of a rank; None if they are none of it.

    The rows of the map of a volume are D and H together.
    """
    if rank == 5 and {2, 3} <= set(axes):
        return tuple(sorted({2, *(MAP_AXES[5][a] for a in axes if a not in (2, 3))}))
    known = MAP_AXES.get(rank, {})
    return tuple(known[a] for a in axes) if all(a in known for a in axes) else None
