"""From the tile operations of one `bfs.layer` to machine instructions, by following what every buffer holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects import bfs_tiles as tiles
from dialects.attributes import ints
from dialects.bfs import BufferOp, ConstantOp, LayerOp, TensorOp
from isa.errors import UserError
from isa.instructions import Instruction, PoolKind, Scratchpad
from isa.layout import RecordLayout, coefficient_bytes, requant_block_bytes
from isa.target import Target
from passes.math.geometry import ChannelMap, Span, window_span
from passes.nest import Indices, executions, span

_NONE = Span(0, 0)


@dataclass(frozen=True)
class Region:
    """What a buffer holds: rows, columns and channels of a tensor (ACT), of the output (OUT, PSUM), or output and
    input channels of a constant (COEF, PAR; in `k` and `c`).
    """

    source: str
    y: Span = _NONE
    x: Span = _NONE
    k: Span = _NONE
    c: Span = _NONE


@dataclass
class _State:
    """A buffer: what each of its instances holds, and which one is current."""

    op: BufferOp
    held: list[Region | None] = field(init=False)
    current: int = -1

    def __post_init__(self) -> None:
        self.held = [None] * len(self.op.places)

    @property
    def address(self) -> int:
        return self.op.places[self.current]

    def turn(self, region: Region) -> None:
        """Go on to the next instance."""
        self.current = (self.current + 1) % len(self.held)
        self.held[self.current] = region

    def fill(self, region: Region) -> bool:
        """Make an instance that holds the region current; False if one holds it already."""
        if region in self.held:
            self.current = self.held.index(region)
            return False
        self.turn(region)
        return True


class TileLowering:
    """Lowers one layer. `instructions` are in program order and carry no synchronisation yet."""

    def __init__(
        self,
        layer: LayerOp,
        tensors: Mapping[str, TensorOp],
        constants: Mapping[str, ConstantOp],
        target: Target,
        arena_base: int,
    ) -> None:
        self.layer = layer
        self.tensors = tensors
        self.constants = constants
        self.target = target
        self.chunk = target.array.chunk
        self.arena_base = arena_base
        self.instructions: list[Instruction] = []
        self.used: dict[str, None] = {}
        self._states: dict[SSAValue, _State] = {}
        self._transfers: dict[str, dict[tuple[int, int], tuple[int, int, int]]] = {}
        for buffer in layer.buffers:
            if not buffer.places:
                raise self._fault("a buffer has no address", "run plan-memory first")
            self._states[buffer.result] = _State(buffer)
        self._rules: dict[type[tiles.TileOp], Callable[..., None]] = {
            tiles.LoadTileOp: self._load_tile,
            tiles.LoadWeightsOp: self._load_weights,
            tiles.LoadCoefficientsOp: self._load_coefficients,
            tiles.LoadParametersOp: self._load_parameters,
            tiles.LoadBytesOp: self._load_bytes,
            compute.ConvOp: self._conv,
            compute.ConvDwOp: self._conv_dw,
            compute.ConvEscOp: self._conv_esc,
            tiles.OpenTileOp: self._open,
            compute.RequantOp: self._requant,
            compute.AddOp: self._add,
            compute.MapOp: self._map,
            compute.PoolOp: self._pool,
            tiles.StoreTileOp: self._store,
        }

    def run(self) -> list[Instruction]:
        """Lower all tile operations. Raises `UserError` if a tile reads what its buffers do not hold."""
        for op, at in executions(self.layer):
            self._rules[type(op)](op, at)
        return self.instructions

    # Helpers ------------------------------------------------------------------------------------------------------

    def _fault(self, what: str, note: str = "") -> UserError:
        return UserError(f"layer '{self.layer.layer_name.data}': {what}", note)

    def _emit(self, mnemonic: str, **values: int) -> None:
        self.instructions.append(Instruction.make(mnemonic, **values))

    def _held(self, buffer: SSAValue) -> tuple[Region, int]:
        """What the current instance of a buffer holds, and its address."""
        state = self._states[buffer]
        region = state.held[state.current] if state.current >= 0 else None
        if region is None:
            raise self._fault(f"a tile reads a buffer of {state.op.space} that nothing has filled")
        return region, state.address

    def _room(self, buffer: SSAValue, nbytes: int) -> None:
        op = self._states[buffer].op
        if nbytes > op.nbytes:
            raise self._fault(f"a tile needs {nbytes} bytes of {op.space}; its buffer has {op.nbytes}")

    def _covers(self, have: Span, want: Span, what: str) -> None:
        if want.first < have.first or want.end > have.end:
            raise self._fault(
                f"a tile reads {what} {want.first}..{want.end - 1}; {have.first}..{have.end - 1} are loaded"
            )

    def _tensor(self, ref: SymbolRefAttr) -> TensorOp:
        tensor = self.tensors.get(ref.string_value())
        if tensor is None:
            raise self._fault(f"no tensor {ref}")
        return tensor

    def _signed(self, region: Region) -> int:
        return int(self.tensors[region.source].element.signed)

    def _dram(self, tensor: TensorOp, y: Span, x: Span, c: Span) -> dict[str, int]:
        if tensor.offset is None:
            raise self._fault(f"tensor @{tensor.sym_name.data} has no offset", "run plan-memory first")
        _, w, channels = tensor.extents
        return {
            "dram": self.arena_base + tensor.offset.value.data,
            "format": int(tensor.tensor_format),
            "tensor_w": w,
            "tensor_c": channels,
            "segment": tensor.segment.value.data,
            "y": y.first,
            "x": x.first,
            "c": c.first,
            "h": y.extent,
            "w": x.extent,
            "cn": c.extent,
        }

    def _act_tile(self, region: Region, address: int) -> dict[str, int]:
        return {
            "act": address,
            "ih": region.y.extent,
            "iw": region.x.extent,
            "ic": region.c.extent,
            "signed": self._signed(region),
        }

    def _out_tile(self, region: Region, address: int, part: Region) -> dict[str, int]:
        """Where a part of the OUT tile lies."""
        for have, want, what in (
            (region.y, part.y, "rows"),
            (region.x, part.x, "columns"),
            (region.k, part.k, "channels"),
        ):
            self._covers(have, want, f"output {what}")
        w, c = region.x.extent, region.k.extent
        position = (part.y.first - region.y.first) * w + part.x.first - region.x.first
        return {"out": address + position * c + part.k.first - region.k.first, "out_w": w, "out_c": c}

    # Transfers in -------------------------------------------------------------------------------------------------

    def _load_tile(self, op: tiles.LoadTileOp, at: Indices) -> None:
        tensor = self._tensor(op.tensor)
        h, w, channels = tensor.extents
        (r, s), (sy, sx), (pt, pl) = ints(op.kernel), ints(op.strides), ints(op.pads)
        y = window_span(span(at, op.y, op.rows), r, sy, pt, h)
        x = window_span(span(at, op.x, op.columns), s, sx, pl, w)
        first, count, offset, per = ints(op.channels)
        c = ChannelMap(first, count, offset, per).source(span(at, op.c, op.depth), channels, self.chunk)
        if not c.extent:
            return
        self._room(op.buffer, RecordLayout(c.extent, self.chunk).tile_bytes(y.extent, x.extent))
        state = self._states[op.buffer]
        if state.fill(Region(tensor.sym_name.data, y, x, c=c)):
            self._emit("load.act", **self._dram(tensor, y, x, c), act=state.address)

    def _piece(self, ref: SymbolRefAttr, k: int, c: int) -> tuple[int, int, int]:
        """DRAM address, size and coding of a transfer of a constant."""
        name = ref.string_value()
        constant = self.constants.get(name)
        if constant is None or constant.packed is None or constant.address is None:
            raise self._fault(f"constant @{name} is not packed", "run pack-coefficients first")
        if name not in self._transfers:
            self._transfers[name] = constant.transfers
        piece = self._transfers[name].get((k, c))
        if piece is None:
            raise self._fault(f"constant @{name} has no piece for channels {k}, {c}", "run pack-coefficients again")
        self.used[name] = None
        offset, size, coding = piece
        return constant.address.value.data + offset, size, coding

    def _load_bytes_to(self, buffer: SSAValue, region: Region, ref: SymbolRefAttr, pad: Scratchpad) -> None:
        address, size, _ = self._piece(ref, region.k.first, region.c.first)
        self._room(buffer, size)
        state = self._states[buffer]
        if state.fill(region):
            self._emit("load.bytes", dram=address, size=size, pad=int(pad), dst=state.address)

    def _load_weights(self, op: tiles.LoadWeightsOp, at: Indices) -> None:
        region = Region(op.constant.string_value(), k=span(at, op.k, op.channels), c=span(at, op.c, op.depth))
        address, size, count = self._piece(op.constant, region.k.first, region.c.first)
        if not count:
            self._load_bytes_to(op.buffer, region, op.constant, Scratchpad.COEF)
            return
        self._room(op.buffer, count)
        state = self._states[op.buffer]
        if state.fill(region):
            constant = self.constants[op.constant.string_value()].address
            assert constant is not None
            table = constant.value.data
            self._emit("load.weights", dram=address, size=size, table=table, count=count, dst=state.address)

    def _load_coefficients(self, op: tiles.LoadCoefficientsOp, at: Indices) -> None:
        k = span(at, op.k, op.channels)
        convolution = next(
            (use.operation for use in op.buffer.uses if isinstance(use.operation, compute.ConvEscOp)), None
        )
        if convolution is None:
            raise self._fault("coefficients are loaded that no convolution reads")
        v = convolution.v.value.data
        address, size, coding = self._piece(op.constant, k.first, 0)
        channels = self._input_channels(convolution)
        self._room(op.buffer, coefficient_bytes(k.extent, v, channels, self.chunk))
        state = self._states[op.buffer]
        if state.fill(Region(op.constant.string_value(), k=k)):
            self._emit(
                "load.coef",
                dram=address,
                size=size,
                coding=coding,
                kn=k.extent,
                v=v,
                c=channels,
                coef=state.address,
            )

    def _input_channels(self, op: compute.ConvEscOp) -> int:
        """Channels of the tensor that a decomposed convolution reads."""
        for use in op.act.uses:
            if isinstance(use.operation, tiles.LoadTileOp):
                return self._tensor(use.operation.tensor).extents[2]
        raise self._fault("a convolution reads a tile that nothing loads")

    def _load_parameters(self, op: tiles.LoadParametersOp, at: Indices) -> None:
        k = span(at, op.k, op.channels)
        region = Region(op.constant.string_value(), k=k)
        address, size, packed = self._piece(op.constant, k.first, 0)
        if not packed:
            self._load_bytes_to(op.buffer, region, op.constant, Scratchpad.PAR)
            return
        self._room(op.buffer, requant_block_bytes(k.extent))
        state = self._states[op.buffer]
        if state.fill(region):
            block = op.block.value.data
            self._emit("load.par", dram=address, size=size, kn=k.extent, block=block, dst=state.address)

    def _load_bytes(self, op: tiles.LoadBytesOp, _: Indices) -> None:
        self._load_bytes_to(op.buffer, Region(op.constant.string_value()), op.constant, Scratchpad.PAR)

    # Convolutions -------------------------------------------------------------------------------------------------

    def _window(self, op: compute.ConvTileOp, region: Region, part: Region) -> dict[str, int]:
        """Window fields: the padding seen from the tile, checked against what the tile holds."""
        (r, s), (sy, sx), (pt, pl) = ints(op.kernel), ints(op.strides), ints(op.pads)
        h, w, _ = self.tensors[region.source].extents
        self._covers(region.y, window_span(part.y, r, sy, pt, h), "rows")
        self._covers(region.x, window_span(part.x, s, sx, pl, w), "columns")
        return {
            "r": r,
            "s": s,
            "sy": sy,
            "sx": sx,
            "pt": region.y.first - (part.y.first * sy - pt),
            "pl": region.x.first - (part.x.first * sx - pl),
        }

    def _partial_sums(self, op: compute.ConvTileOp, at: Indices, first: bool) -> tuple[Region, dict[str, int]]:
        """The PSUM tile of a convolution: the next instance if `first`, else the current one."""
        part = Region("", span(at, op.y, op.rows), span(at, op.x, op.columns), span(at, op.k, op.channels))
        self._room(op.psum, 4 * part.y.extent * part.x.extent * part.k.extent)
        state = self._states[op.psum]
        if first:
            state.turn(part)
        elif self._held(op.psum)[0] != part:
            raise self._fault("a convolution adds to other partial sums than were begun")
        n = part.k.extent
        return part, {"psum": state.address, "oh": part.y.extent, "ow": part.x.extent, "kt": n, "kn": n}

    def _conv(self, op: compute.ConvOp, at: Indices) -> None:
        act, act_address = self._held(op.act)
        weights, coef = self._held(op.coef)
        c = span(at, op.c, op.depth)
        first = c.first == 0 and op.accumulate is None
        part, psum = self._partial_sums(op, at, first=first)
        if weights.c != c:
            raise self._fault("a convolution and its weights name different input channels")
        self._covers(weights.k, part.k, "weights of channels")
        kpg, cpg = op.kpg.value.data, op.cpg.value.data
        groups = Span(part.k.first // kpg, -(-part.k.end // kpg) - part.k.first // kpg)
        channel = groups.first * cpg + c.first
        self._covers(act.c, Span(channel, (groups.extent - 1) * cpg + c.extent), "input channels")
        if groups.extent > 1 and (part.k.first % kpg or c.extent != cpg):
            raise self._fault("a convolution of several groups must take whole ones")
        r, s = ints(op.kernel)
        self._emit(
            "conv.dense",
            **self._act_tile(act, act_address),
            **self._window(op, act, part),
            **psum,
            coef=coef + (part.k.first - weights.k.first) * r * s * c.extent,
            cs=channel - act.c.first,
            cpg=c.extent,
            kpg=kpg if groups.extent > 1 else part.k.extent,
            accumulate=int(not first),
            groups=op.row_groups.value.data,
        )

    def _conv_dw(self, op: compute.ConvDwOp, at: Indices) -> None:
        act, act_address = self._held(op.act)
        weights, coef = self._held(op.coef)
        part, psum = self._partial_sums(op, at, first=op.accumulate is None)
        self._covers(weights.k, part.k, "weights of channels")
        kpg = op.kpg.value.data
        channels = Span(part.k.first // kpg, -(-part.k.end // kpg) - part.k.first // kpg)
        self._covers(act.c, channels, "input channels")
        if channels.extent > 1 and part.k.first % kpg:
            raise self._fault("a convolution of several groups must take whole ones")
        r, s = ints(op.kernel)
        self._emit(
            "conv.dw",
            **self._act_tile(act, act_address),
            **self._window(op, act, part),
            **psum,
            coef=coef + (part.k.first - weights.k.first) * r * s,
            cs=channels.first - act.c.first,
            kpg=kpg if channels.extent > 1 else part.k.extent,
            accumulate=int(op.accumulate is not None),
        )

    def _conv_esc(self, op: compute.ConvEscOp, at: Indices) -> None:
        act, act_address = self._held(op.act)
        coefficients, coef = self._held(op.coef)
        basis = self._held(op.basis)[1]
        part, psum = self._partial_sums(op, at, first=True)
        self._covers(coefficients.k, part.k, "coefficients of channels")
        self._covers(act.c, Span(0, self._input_channels(op)), "input channels")
        v = op.v.value.data
        self._emit(
            "conv.esc",
            **self._act_tile(act, act_address),
            **self._window(op, act, part),
            **psum,
            coef=coef + (part.k.first - coefficients.k.first) * coefficient_bytes(1, v, act.c.extent, self.chunk),
            v=v,
            basis=basis,
            ic_shift=op.ic_shift.value.data,
            groups=op.row_groups.value.data,
        )

    # Post unit ----------------------------------------------------------------------------------------------------

    def _open(self, op: tiles.OpenTileOp, at: Indices) -> None:
        region = Region("", span(at, op.y, op.rows), span(at, op.x, op.columns), span(at, op.k, op.channels))
        self._room(op.buffer, region.y.extent * region.x.extent * region.k.extent)
        self._states[op.buffer].turn(region)

    def _requant(self, op: compute.RequantOp, _: Indices) -> None:
        out, out_address = self._held(op.out)
        part, psum = self._held(op.psum)
        parameters, par = self._held(op.parameters)
        self._covers(parameters.k, part.k, "parameters of channels")
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
            values |= {"lut": 1, "table": self._held(op.table)[1]}
        if op.residual is not None and op.addition is not None:
            held, residual = self._held(op.residual)
            self._covers(held.y, part.y, "residual rows")
            self._covers(held.c, part.k, "residual channels")
            if held.x != part.x:
                raise self._fault("a residual tile must have the columns of the partial sums")
            skipped = (part.y.first - held.y.first) * held.x.extent
            values |= {
                "add": 1,
                "res": residual + skipped * RecordLayout(held.c.extent, self.chunk).position_bytes,
                "res_c": held.c.extent,
                "res_k": part.k.first - held.c.first,
                "res_signed": self._signed(held),
                "addpar": self._held(op.addition)[1],
            }
        self._emit("post.requant", **values, **self._out_tile(out, out_address, part))

    def _add(self, op: compute.AddOp, _: Indices) -> None:
        out, out_address = self._held(op.out)
        (lhs, a), (rhs, b) = self._held(op.lhs), self._held(op.rhs)
        if any((tile.y, tile.x, tile.c) != (out.y, out.x, out.k) for tile in (lhs, rhs)):
            raise self._fault("an addition needs two tiles of the geometry of the OUT tile")
        self._emit(
            "post.add",
            act=a,
            signed=self._signed(lhs),
            res=b,
            res_signed=self._signed(rhs),
            oh=out.y.extent,
            ow=out.x.extent,
            kn=out.k.extent,
            addpar=self._held(op.parameters)[1],
            **self._out_tile(out, out_address, out),
        )

    def _map(self, op: compute.MapOp, _: Indices) -> None:
        out, out_address = self._held(op.out)
        (sy, sx), (oy, ox, oc) = ints(op.strides), ints(op.offsets)
        first, count = ints(op.channels)
        covered = ChannelMap(first, count, oc, 1).inside(out.k)
        if not covered.extent:
            return
        act, address = self._held(op.act)
        values = {"lut": 1, "table": self._held(op.table)[1]} if op.table is not None else {}
        part = Region("", out.y, out.x, covered)
        self._emit(
            "post.map",
            **self._act_tile(act, address),
            oh=out.y.extent,
            ow=out.x.extent,
            kn=covered.extent,
            sy=sy,
            sx=sx,
            dy=out.y.first * sy + oy - act.y.first,
            dx=out.x.first * sx + ox - act.x.first,
            dc=covered.first + oc - act.c.first,
            **self._out_tile(out, out_address, part),
            **values,
        )

    def _pool(self, op: compute.PoolOp, _: Indices) -> None:
        out, out_address = self._held(op.out)
        act, address = self._held(op.act)
        (r, s), (sy, sx), (pt, pl, pb, pr) = ints(op.kernel), ints(op.strides), ints(op.pads)
        h, w = self.tensors[act.source].extents[:2]
        self._covers(act.y, window_span(out.y, r, sy, pt, h), "rows")
        self._covers(act.x, window_span(out.x, s, sx, pl, w), "columns")
        self._covers(act.c, out.k, "channels")
        values: dict[str, int] = {}
        if (
            op.parameters is not None
            and op.count0 is not None
            and op.shift is not None
            and op.lo is not None
            and op.hi is not None
        ):
            numbers = {"count0": op.count0, "shift": op.shift, "lo": op.lo, "hi": op.hi}
            values = {name: attr.value.data for name, attr in numbers.items()}
            values["par"] = self._held(op.parameters)[1]
            if op.count_include_pad.value.data:
                # Padding is counted where the tile ends with the tensor; elsewhere no window leaves the tile.
                values["bt"] = pt if act.y.first == 0 else 0
                values["bl"] = pl if act.x.first == 0 else 0
                values["bb"] = pb if act.y.end == h else 0
                values["br"] = pr if act.x.end == w else 0
        self._emit(
            "post.pool",
            **self._act_tile(act, address),
            r=r,
            s=s,
            sy=sy,
            sx=sx,
            pt=act.y.first - (out.y.first * sy - pt),
            pl=act.x.first - (out.x.first * sx - pl),
            kind=int(PoolKind.MAX if op.kind.data == "max" else PoolKind.AVERAGE),
            oh=out.y.extent,
            ow=out.x.extent,
            cs=out.k.first - act.c.first,
            kn=out.k.extent,
            **self._out_tile(out, out_address, out),
            **values,
        )

    # Transfers out ------------------------------------------------------------------------------------------------

    def _store(self, op: tiles.StoreTileOp, _: Indices) -> None:
        out, address = self._held(op.buffer)
        tensor = self._tensor(op.tensor)
        self._emit(
            "store.act",
            **self._dram(tensor, out.y, out.x, out.k),
            out=address,
            out_w=out.x.extent,
            out_c=out.k.extent,
        )
