"""Maxima of windows of what a convolution requantises: the post unit takes them on the way out, without a layer of
their own.
"""

from __future__ import annotations

from dataclasses import replace

from xdsl.ir import SSAValue

from dialects import esc
from dialects.attributes import ints
from dialects.bfs_pool import MaximaOp
from dialects.esc import shape_of
from dialects.esc_pools import MaxPoolOp
from passes.layers.requantise import requantised_part
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import field_range
from passes.tiling.loop_nest import Indices
from passes.tiling.loop_nest_builder import LoopNestBuilder
from passes.tiling.problem import TilingProblem


def with_maximum(p: TilingProblem, op: esc.RequantizeOp, tiler: LayerTiler) -> tuple[TilingProblem, MaxPoolOp] | None:
    """The problem of a convolution that writes maxima of windows of what it requantises alone, and the operation that
    takes these; None if nothing does, or if no tile with whole windows fits the machine.
    """
    maximum = _maximum_behind(op)
    if maximum is None:
        return None
    _, oh, ow, _ = shape_of(maximum.output)
    rows, columns = ints(maximum.kernel)
    p = replace(with_output(p, maximum.output), oh=oh * rows, ow=ow * columns, pool=(rows, columns))
    return (p, maximum) if tiler.fits(p, maximum.output) else None


def _maximum_behind(op: esc.RequantizeOp) -> MaxPoolOp | None:
    """The one reader of a requantisation without a residual, if it takes maxima of windows that lie side by side."""
    users = [use.operation for use in op.output.uses]
    if op.residual is not None or len(users) != 1 or not isinstance(users[0], MaxPoolOp):
        return None
    kernel, (_, h, w, _), (_, oh, ow, _) = ints(users[0].kernel), shape_of(op.output), shape_of(users[0].output)
    side_by_side = kernel == ints(users[0].strides) and not any(ints(users[0].pads))
    inside = oh * kernel[0] <= h and ow * kernel[1] <= w
    _, most = field_range("post.maxima", "r")
    return users[0] if side_by_side and inside and max(kernel) <= most else None


def write_maxima(build: LoopNestBuilder, op: esc.RequantizeOp, table: SSAValue | None) -> None:
    """Requantise each PSUM tile, and write the maxima of its windows."""
    out, psum, par = build.buffer["out"], build.buffer["psum"], build.buffer["parameters"]
    clamp = op.lo.value.data, op.hi.value.data
    build.after("psum", lambda _: [MaximaOp(out, psum, par, table, build.problem.pool, clamp, op.mid_type.signed)])


class MaximaRule(TileRule):
    """`post.maxima` of a PSUM tile."""

    operation = MaximaOp

    def lower(self, layer: LayerLowering, op: MaximaOp, at: Indices) -> None:
        part, values = requantised_part(layer, op)
        rows, columns = ints(op.pool)
        y, x = layer.whole_windows(part.y, part.x, (rows, columns))
        out = layer.out_fields(*layer.held(op.out), HeldRegion("", y, x, part.k))
        layer.emit("post.maxima", **values, r=rows, s=columns, **out)
