"""How convolutions end: partial sums are requantised, with a table, a residual or maxima of windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects import esc
from dialects.attributes import ints
from dialects.bfs_pool import MaximaOp
from dialects.esc import shape_of
from dialects.esc_pools import MaxPoolOp
from isa.layout import requant_block_bytes
from passes.tiling.declarations import DeclaredTensor
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import field_range
from passes.tiling.loop_nest import Indices
from passes.tiling.loop_nest_builder import LoopNestBuilder
from passes.tiling.problem import TilingProblem

# A maximum that needs no layer of its own ----------------------------------------------------------------------------


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


# Tile operations -----------------------------------------------------------------------------------------------------


def requantise(
    build: LoopNestBuilder,
    op: esc.RequantizeOp,
    inputs: Sequence[DeclaredTensor],
    table: SSAValue | None,
    addition: SSAValue | None,
) -> None:
    """Requantise each PSUM tile, with the residual tile that it is added to, or to maxima of its windows."""
    out, psum, par = build.buffer["out"], build.buffer["psum"], build.buffer["parameters"]
    lo, hi, q_signed = op.lo.value.data, op.hi.value.data, op.mid_type.signed
    pool = build.problem.pool
    if pool != (1, 1):
        build.after("psum", lambda _: [MaximaOp(out, psum, par, table, pool, (lo, hi), q_signed)])
        return
    residual = None
    if op.residual is not None:
        residual = build.buffer["residual"]
        build.before("residual", build.load_tile(residual, inputs[1].name, ChannelMap(0, build.problem.k, 0, 1)))
    build.after(
        "psum",
        lambda _: [compute.RequantOp(out, psum, par, table, residual, addition, lo, hi, q_signed)],
    )


# Lowering ------------------------------------------------------------------------------------------------------------


def _requantised(layer: LayerLowering, op: compute.RequantOp | MaximaOp) -> tuple[HeldRegion, dict[str, int]]:
    """The PSUM tile, and the fields that say how it is requantised.

    Raises `UserError` if a convolution has not added all input channels, or if parameters are missing.
    """
    part, psum = layer.held(op.psum)
    for done, whole in layer.states[op.psum].summed.values():
        if done != whole:
            raise layer.fault(f"partial sums hold {done} of {whole} input channels")
    parameters, par = layer.held(op.parameters)
    layer.require_covered(parameters.k, part.k, "parameters of channels")
    n = part.k.extent
    values = {
        "psum": psum,
        "oh": part.y.extent,
        "ow": part.x.extent,
        "kt": n,
        "kn": n,
        "par": par + requant_block_bytes(part.k.first - parameters.k.first),
        "lo": op.lo.value.data,
        "hi": op.hi.value.data,
        "q_signed": int(op.q_signed.value.data != 0),
    }
    if op.table is not None:
        values |= {"lut": 1, "table": layer.held(op.table)[1]}
    return part, values


class RequantRule(TileRule):
    """`post.requant` of a PSUM tile."""

    operation = compute.RequantOp

    def lower(self, layer: LayerLowering, op: compute.RequantOp, at: Indices) -> None:
        part, values = _requantised(layer, op)
        if op.residual is not None and op.addition is not None:
            values |= _residual_fields(layer, op.residual, op.addition, part)
        layer.emit("post.requant", **values, **layer.out_fields(*layer.held(op.out), part))


def _residual_fields(layer: LayerLowering, residual: SSAValue, addition: SSAValue, part: HeldRegion) -> dict[str, int]:
    held, address = layer.held(residual)
    return {
        "add": 1,
        **layer.place("res", held, address, (part.y, part.x, part.k), "residual "),
        "res_signed": layer.is_signed(held),
        "addpar": layer.held(addition)[1],
    }


class MaximaRule(TileRule):
    """`post.maxima` of a PSUM tile."""

    operation = MaximaOp

    def lower(self, layer: LayerLowering, op: MaximaOp, at: Indices) -> None:
        part, values = _requantised(layer, op)
        rows, columns = ints(op.pool)
        y, x = layer.whole_windows(part.y, part.x, (rows, columns))
        out = layer.out_fields(*layer.held(op.out), HeldRegion("", y, x, part.k))
        layer.emit("post.maxima", **values, r=rows, s=columns, **out)
