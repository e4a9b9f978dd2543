"""How convolutions end: partial sums are requantised, with a table and a residual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects import esc
from isa.layout import requant_block_bytes
from passes.tiling.declarations import DeclaredTensor
from passes.tiling.geometry import ChannelMap
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.loop_nest_builder import LoopNestBuilder

# Tile operations -----------------------------------------------------------------------------------------------------


def requantise(
    build: LoopNestBuilder,
    op: esc.RequantizeOp,
    inputs: Sequence[DeclaredTensor],
    table: SSAValue | None,
    addition: SSAValue | None,
) -> None:
    """Requantise each PSUM tile, with the residual tile that it is added to."""
    out, psum, par = build.buffer["out"], build.buffer["psum"], build.buffer["parameters"]
    lo, hi, q_signed = op.lo.value.data, op.hi.value.data, op.mid_type.signed
    residual = None
    if op.residual is not None:
        residual = build.buffer["residual"]
        build.before("residual", build.load_tile(residual, inputs[1].name, ChannelMap(0, build.problem.k, 0, 1)))
    build.after(
        "psum",
        lambda _: [compute.RequantOp(out, psum, par, table, residual, addition, lo, hi, q_signed)],
    )


# Lowering ------------------------------------------------------------------------------------------------------------


def requantised_part(layer: LayerLowering, op: Any) -> tuple[HeldRegion, dict[str, int]]:
    """The PSUM tile that an operation requantises, and the fields that say how: those of all instructions that do so.

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
        part, values = requantised_part(layer, op)
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
