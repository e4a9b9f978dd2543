"""Rules of the tile operations that every layer kind may use: tiles in and out, parameters, and constants as bytes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dialects import bfs_tiles as tiles
from dialects.attributes import ints
from isa.formats import Scratchpad
from isa.layout import requant_block_bytes
from isa.parameters import pack_parameters, plain_blocks
from passes.tiling.geometry import ChannelMap, Span, window_span
from passes.tiling.layer_kind import ConstantRule, Packed, TileRule, Transfer
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import field_range
from passes.tiling.loop_nest import Indices, span
from passes.tiling.memory import reserve

MOST_ROWS = field_range("conv.dense", "act_ring")[1]
"""Rows that a ring may have."""
WHOLE = Transfer(Span(0, 0), Span(0, 0))
"""The transfer of a constant that is always loaded whole."""


class LoadTileRule(TileRule):
    """`load.act` of an input tile, unless its buffer holds it already.

    Tiles of whole rows that overlap lie in a ring, so that no row is loaded twice.
    """

    operation = tiles.LoadTileOp

    def _ring(self, layer: LayerLowering, op: tiles.LoadTileOp, columns: Span, channels: Span) -> int:
        """Rows of the ring that the instances of the buffer make; 0 if the tiles are none of overlapping whole rows."""
        state, ((r, _), (sy, _)) = layer.states[op.buffer], (ints(op.kernel), ints(op.strides))
        _, w, c = layer.tensor(op.tensor).extents
        low, high = min(state.places), max(state.places)
        adjacent = high - low == reserve(state.nbytes) * (len(state.places) - 1)
        alone = sum(isinstance(use.operation, tiles.LoadTileOp) for use in op.buffer.uses) == 1
        if r <= sy or not alone or not adjacent or (columns.extent, channels.extent) != (w, c):
            return 0
        return min((high + state.nbytes - low) // (w * c), MOST_ROWS)

    def lower(self, layer: LayerLowering, op: tiles.LoadTileOp, at: Indices) -> None:
        tensor = layer.tensor(op.tensor)
        h, w, channels = tensor.extents
        (r, s), (sy, sx), (pt, pl) = ints(op.kernel), ints(op.strides), ints(op.pads)
        rows, columns = (None if taken is None else ints(taken) for taken in (op.taken_rows, op.taken_columns))
        y = window_span(span(at, op.y, op.rows), r, sy, pt, h, rows)
        x = window_span(span(at, op.x, op.columns), s, sx, pl, w, columns)
        first, count, offset, per = ints(op.channels)
        c = ChannelMap(first, count, offset, per).source(span(at, op.c, op.depth), channels, layer.chunk)
        if not c.extent:
            return
        layer.require_room(op.buffer, y.extent * x.extent * c.extent)
        state, name = layer.states[op.buffer], tensor.sym_name.data
        pieces: Sequence[tuple[int, Span]] = ()
        if ring := self._ring(layer, op, x, c):
            pieces = state.roll(HeldRegion(name, y, x, c=c, strides=(w, channels), ring=ring))
        elif state.fill(HeldRegion(name, y, x, c=c)):
            pieces = [(state.address, y)]
        for address, rows in pieces:
            region = layer.dram_fields(tensor, rows, x, c)
            layer.emit("load.act", **region, act=address, act_w=x.extent, act_c=c.extent)


def parameter_blocks(parameters: NDArray[np.generic], channels: Span, block: int) -> tuple[bytes, int]:
    """Requantisation parameters int32 [3][K] of some channels, and their coding: packed (1), or as they lie in PAR (0)
    where that is smaller.
    """
    bias, mult, shift = parameters[:, channels.first : channels.end]
    plain, packed = plain_blocks(bias, mult, shift, block), pack_parameters(bias, mult, shift)
    return (packed, 1) if len(packed) < len(plain) else (plain, 0)


class LoadParametersRule(ConstantRule):
    """`load.par` of packed requantisation parameters, or `load.bytes` of plain ones."""

    operation = tiles.LoadParametersOp
    axes = (1, None)

    def transfer(self, op: tiles.LoadParametersOp, at: Indices) -> tuple[str, Transfer]:
        return op.constant.string_value(), Transfer(span(at, op.k, op.channels), Span(0, 0), op.block.value.data)

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        return Packed(b"", [parameter_blocks(value, t.k, t.block) for t in transfers])

    def lower(self, layer: LayerLowering, op: tiles.LoadParametersOp, at: Indices) -> None:
        k = span(at, op.k, op.channels)
        region = HeldRegion(op.constant.string_value(), k=k)
        address, size, packed = layer.piece(op.constant, k.first, 0)
        if not packed:
            layer.load_bytes(op.buffer, region, op.constant, Scratchpad.PAR)
            return
        layer.require_room(op.buffer, requant_block_bytes(k.extent))
        state = layer.states[op.buffer]
        if state.fill(region):
            block = op.block.value.data
            layer.emit("load.par", dram=address, size=size, kn=k.extent, block=block, dst=state.address)


class LoadBytesRule(ConstantRule):
    """`load.bytes` of a whole constant."""

    operation = tiles.LoadBytesOp

    def transfer(self, op: tiles.LoadBytesOp, at: Indices) -> tuple[str, Transfer]:
        return op.constant.string_value(), WHOLE

    def pack(self, value: NDArray[np.generic], transfers: Sequence[Transfer]) -> Packed:
        return Packed(b"", [(value.tobytes(), 0) for _ in transfers])

    def lower(self, layer: LayerLowering, op: tiles.LoadBytesOp, at: Indices) -> None:
        layer.load_bytes(op.buffer, HeldRegion(op.constant.string_value()), op.constant, Scratchpad.PAR)


class OpenTileRule(TileRule):
    """No instruction: the next instance of the output buffer becomes current."""

    operation = tiles.OpenTileOp

    def lower(self, layer: LayerLowering, op: tiles.OpenTileOp, at: Indices) -> None:
        y, x, k = span(at, op.y, op.rows), span(at, op.x, op.columns), span(at, op.k, op.channels)
        if op.pool is not None:
            y, x = layer.whole_windows(y, x, ints(op.pool))
        region = HeldRegion("", y, x, k)
        state = layer.states[op.buffer]
        layer.require_room(op.buffer, region.y.extent * region.x.extent * region.k.extent)
        layer.open_rows(op.buffer, region.y)
        if state.whole is not None:
            h, w, c = layer.tensor(layer.layer.output).extents
            whole = HeldRegion("", Span(0, h), Span(0, w), Span(0, c))
            layer.out_fields(whole, 0, region)  # the tile must lie in the tensor
        state.turn(region)


class StoreTileRule(TileRule):
    """`store.act` of the output tile."""

    operation = tiles.StoreTileOp

    def lower(self, layer: LayerLowering, op: tiles.StoreTileOp, at: Indices) -> None:
        out, address = layer.held(op.buffer)
        tensor = layer.tensor(op.tensor)
        whole = [Span(0, extent) for extent in tensor.extents]
        for have, part, what in zip(whole, (out.y, out.x, out.k), ("rows", "columns", "channels"), strict=True):
            if not have.first <= part.first < part.end <= have.end:
                found = f"{what} {part.first}..{part.end - 1} of tensor @{tensor.sym_name.data}, which has {have.end}"
                raise layer.fault(f"a tile stores {found}")
        layer.emit(
            "store.act",
            **layer.dram_fields(tensor, out.y, out.x, out.k),
            act=address,
            act_w=out.x.extent,
            act_c=out.k.extent,
        )


TRANSFER_RULES: Sequence[TileRule] = (
    LoadTileRule(),
    LoadParametersRule(),
    LoadBytesRule(),
    OpenTileRule(),
    StoreTileRule(),
)
