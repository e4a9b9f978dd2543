"""One run: the memories, and what every instruction does to their bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from emulator import kernels
from emulator.arithmetic import (
    Decomposed,
    PsumTile,
    Weights,
    Window,
    convolve,
    convolve_decomposed,
    dense_groups,
    expanded,
    fold,
    ternary,
)
from emulator.kernels import Bytes, Longs
from isa.errors import UserError
from isa.formats import CoefficientFormat, PoolKind, Scratchpad, TensorFormat
from isa.hazards import describe
from isa.instructions.post_pool import multipliers
from isa.layout import (
    ADD_BLOCK_BYTES,
    TABLE_BYTES,
    WEIGHT_TABLE_BYTES,
    RecordLayout,
    TensorLayout,
    ceil_div,
    requant_block_bytes,
)
from isa.packing import unpack
from isa.parameters import plain_blocks, unpack_parameters
from isa.program import Program, TensorRef
from isa.weights import unpack_weights

if TYPE_CHECKING:
    from emulator.events import Recorder

_T = TypeVar("_T")
_Values = Mapping[str, int]

_IDENTITY = np.arange(256, dtype=np.int64)
_NO_ADDITION = np.empty(0, np.int64)
_NO_MULTIPLIERS = np.empty(0, np.int64)
_NO_BYTES = np.empty((1, 0), np.uint8)
_ADD_BLOCK = np.dtype([("ma", "<i4"), ("mb", "<i4"), ("lo", "<i2"), ("hi", "<i2"), ("shift", "u1")])
_KEPT_BYTES = 1 << 28


class Constants:
    """Values that an instruction derives from `.rodata` alone, kept for the next batch up to a total size."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}
        self._bytes = 0

    def get(self, index: int, make: Callable[[], tuple[_T, int]]) -> _T:
        """The value of instruction `index`; `make` computes it and its size in bytes."""
        found = self._kept.get(index)
        if found is None:
            found, size = make()
            if self._bytes + size <= _KEPT_BYTES:
                self._bytes += size
                self._kept[index] = found
        return found


class Tile(NamedTuple):
    """A decoded tile: plain bytes [N, positions * c] and the number of non-zeros in image 0."""

    data: Bytes
    nonzeros: int


class Execution:
    """Memories of a run of `images` images. `step` executes one instruction; all must be executed in program order."""

    def __init__(self, program: Program, images: int, constants: Constants, recorder: Recorder | None):
        pads = program.target.scratchpad
        self._program = program
        self._constants = constants
        self._recorder = recorder
        self._chunk = program.target.array.chunk
        self._base = program.arena_base
        self._rodata = np.frombuffer(program.rodata, np.uint8)
        self.arena: Bytes = np.zeros((images, program.arena_bytes), np.uint8)
        self.act: Bytes = np.zeros((images, pads.act), np.uint8)
        self.out: Bytes = np.zeros((images, pads.out), np.uint8)
        self.psum = np.zeros((images, ceil_div(pads.psum, 4)), np.int32)
        self.coef: Bytes = np.zeros(pads.coef, np.uint8)
        self.par: Bytes = np.zeros(pads.par, np.uint8)
        self._tiles: dict[tuple[int, int, int], Tile] = {}
        self._index = 0

    def step(self, index: int) -> None:
        """Execute instruction `index`. Raises `UserError` naming it if the data it meets is malformed."""
        self._index = index
        instruction = self._program.instructions[index]
        try:
            _HANDLERS[instruction.spec.mnemonic](self, instruction.values)
        except UserError as e:
            where = describe(self._program.instructions, index)
            raise UserError([f"{where}: {cause}" for cause in e.causes], e.note) from e

    def write_input(self, tensor: TensorRef, data: Bytes) -> None:
        """The host writes stored bytes [N, h*w*c] to a RAW tensor."""
        at = tensor.address - self._base
        self.arena[:, at : at + data.shape[1]] = data

    def read_tensor(self, tensor: TensorRef) -> NDArray[Any]:
        """The host reads a tensor: [N, h, w, c] of int8 or uint8."""
        h, w, c = tensor.h, tensor.w, tensor.c
        at = tensor.address - self._base
        images = len(self.arena)
        if tensor.format is TensorFormat.RAW:
            data = self.arena[:, at : at + h * w * c].copy()
        else:
            records = RecordLayout(c, self._chunk)
            packed = np.empty((images, records.tile_bytes(h, w)), np.uint8)
            layout = tensor.layout(self._chunk)
            moved = np.empty(h * records.chunks * layout.segments, np.int64)
            written = kernels.load_bitmap(
                self.arena, at, w, c, tensor.segment, 0, 0, 0, h, w, c, packed, 0, self._chunk, layout.line_bytes, moved
            )
            data = self._expand(packed, 0, h * w, c).data if written >= 0 else None
            if data is None:
                raise UserError(f"tensor '{tensor.name}': a bitmap has bits beyond its channels")
        shaped = data.reshape(images, h, w, c)
        return shaped.view(np.int8) if tensor.signed else shaped

    # Loads ------------------------------------------------------------------------------------------------------------

    def load_act(self, v: _Values) -> None:
        h, w, cn = v["h"], v["w"], v["cn"]
        records = RecordLayout(cn, self._chunk)
        low, high = v["act"], v["act"] + records.tile_bytes(h, w)
        for key, tile in list(self._tiles.items()):
            size = RecordLayout(key[2], self._chunk).tile_bytes(1, key[1])
            if key[0] < high and low < key[0] + size:
                del self._tiles[key]
            del tile
        source = v["dram"] - self._base
        if v["format"] == TensorFormat.RAW:
            row, position = v["tensor_w"] * v["tensor_c"], v["tensor_c"]
            first = source + v["y"] * row + v["x"] * position + v["c"]
            moved = None
            written = kernels.load_raw(
                self.arena,
                first,
                row,
                position,
                h,
                w,
                cn,
                self.act,
                low,
                self._chunk,
                records.slot,
                records.bitmap_bytes,
            )
        else:
            moved = self._lines(v)
            written = kernels.load_bitmap(
                self.arena,
                source,
                v["tensor_w"],
                v["tensor_c"],
                v["segment"],
                v["y"],
                v["x"],
                v["c"],
                h,
                w,
                cn,
                self.act,
                low,
                self._chunk,
                self._layout(v).line_bytes,
                moved,
            )
            if written < 0:
                raise UserError("a bitmap of the tensor has bits beyond its channels")
        if self._recorder is not None:
            self._recorder.load_act(self._index, v, moved, written)

    def load_coef(self, v: _Values) -> None:
        def make() -> tuple[tuple[Bytes, int], int]:
            blob = self._rodata[v["dram"] : v["dram"] + v["size"]].tobytes()
            t = unpack(blob, CoefficientFormat(v["coding"]), v["kn"], v["v"], v["c"])
            data = expanded(t, self._chunk)
            return (data, int(np.count_nonzero(t))), data.nbytes

        data, nonzeros = self._constants.get(self._index, make)
        self.coef[v["coef"] : v["coef"] + len(data)] = data
        if self._recorder is not None:
            self._recorder.load_coef(self._index, v, nonzeros)

    def load_bytes(self, v: _Values) -> None:
        pad = self.coef if v["pad"] == Scratchpad.COEF else self.par
        data = self._rodata[v["dram"] : v["dram"] + v["size"]]
        pad[v["dst"] : v["dst"] + v["size"]] = data
        if self._recorder is not None:
            self._recorder.load_bytes(self._index, v, int(np.count_nonzero(data)))

    def load_par(self, v: _Values) -> None:
        def make() -> tuple[Bytes, int]:
            blob = self._rodata[v["dram"] : v["dram"] + v["size"]].tobytes()
            data = np.frombuffer(plain_blocks(*unpack_parameters(blob, v["kn"]), v["block"]), np.uint8)
            return data, data.nbytes

        data = self._constants.get(self._index, make)
        self.par[v["dst"] : v["dst"] + len(data)] = data
        if self._recorder is not None:
            self._recorder.load_par(self._index, v)

    def load_weights(self, v: _Values) -> None:
        def make() -> tuple[tuple[Bytes, int], int]:
            blob = self._rodata[v["dram"] : v["dram"] + v["size"]].tobytes()
            table = self._rodata[v["table"] : v["table"] + WEIGHT_TABLE_BYTES].tobytes()
            data = unpack_weights(blob, table, v["count"]).view(np.uint8)
            return (data, int(np.count_nonzero(data))), data.nbytes

        data, nonzeros = self._constants.get(self._index, make)
        self.coef[v["dst"] : v["dst"] + len(data)] = data
        if self._recorder is not None:
            self._recorder.load_weights(self._index, v, nonzeros)

    # Convolutions -----------------------------------------------------------------------------------------------------

    def conv_dense(self, v: _Values) -> None:
        tile = self._act_tile(v)

        def make() -> tuple[list[tuple[int, int, Weights]], int]:
            taps = v["r"] * v["s"] * v["cpg"]
            w = self.coef[v["coef"] : v["coef"] + v["kn"] * taps].view(np.int8).reshape(v["kn"], taps)
            groups = dense_groups(w, v["cs"], v["cpg"], v["kpg"], v["signed"])
            return groups, sum(g[2].matrix.nbytes for g in groups)

        groups = self._constants.get(self._index, make)
        convolve(tile.data, _window(v), v["signed"], groups, self._psum_tile(v), bool(v["accumulate"]))
        if self._recorder is not None:
            self._recorder.conv_dense(self._index, v)

    def conv_dw(self, v: _Values) -> None:
        tile = self._act_tile(v)

        def make() -> tuple[tuple[Longs, NDArray[np.int32]], int]:
            kn, r, s = v["kn"], v["r"], v["s"]
            w = self.coef[v["coef"] : v["coef"] + kn * r * s].view(np.int8).reshape(kn, r, s)
            channels = v["cs"] + np.arange(kn, dtype=np.int64) // v["kpg"]
            weights = np.ascontiguousarray(w.transpose(1, 2, 0), np.int32)
            return (channels, weights), channels.nbytes + weights.nbytes

        channels, weights = self._constants.get(self._index, make)
        fits = kernels.depthwise(
            tile.data, *_window(v)[:3], _flip(v["signed"]), *_window(v)[3:], channels, weights, self.psum,
            v["psum"] // 4 + v["k"], v["kt"], bool(v["accumulate"]),
        )  # fmt: skip
        if not fits:
            raise UserError("a partial sum leaves int32")
        if self._recorder is not None:
            self._recorder.conv_dw(self._index, v)

    def conv_esc(self, v: _Values) -> None:
        tile = self._act_tile(v)
        records = RecordLayout(v["ic"], self._chunk)
        size = v["kn"] * v["v"] * records.chunks * 2 * records.bitmap_bytes
        coef = self.coef[v["coef"] : v["coef"] + size]

        def make() -> tuple[Weights | Decomposed, int]:
            bases = self.par[v["basis"] : v["basis"] + v["v"] * v["r"] * v["s"]].view(np.int8).reshape(v["v"], -1)
            t = ternary(coef, v["kn"], v["v"], v["ic"], self._chunk)
            weights = fold(t, bases, v["ic_shift"], self._program.target.array.ic_bits, v["signed"])
            return weights, (weights.matrix if isinstance(weights, Weights) else weights.t).nbytes

        weights = self._constants.get(self._index, make)
        if isinstance(weights, Weights):
            convolve(tile.data, _window(v), v["signed"], [(0, v["ic"], weights)], self._psum_tile(v), False)
        else:
            convolve_decomposed(tile.data, _window(v), v["signed"], weights, self._psum_tile(v))
        if self._recorder is not None:
            bitmaps = self.act[0, v["act"] : v["act"] + records.tile_bytes(v["ih"], v["iw"])]
            self._recorder.conv_esc(self._index, v, bitmaps, coef)

    # Post unit --------------------------------------------------------------------------------------------------------

    def post_requant(self, v: _Values) -> None:
        kn = v["kn"]
        block = self.par[v["par"] : v["par"] + requant_block_bytes(kn)].tobytes()
        bias = np.frombuffer(block, "<i4", kn).astype(np.int64)
        mult = np.frombuffer(block, "<i4", kn, 4 * kn).astype(np.int64)
        shift = np.frombuffer(block, np.uint8, kn, 8 * kn).astype(np.int64)
        if int(shift.min()) < 1 or int(shift.max()) > 62:
            raise UserError("a shift in PAR is outside [1, 62]")
        table = _IDENTITY
        if v["lut"]:
            stored = self.par[v["table"] : v["table"] + TABLE_BYTES]
            table = (stored.view(np.int8) if v["add"] and v["q_signed"] else stored).astype(np.int64)
        positions = v["oh"] * v["ow"]
        residual, addition = Tile(_NO_BYTES, 0), _NO_ADDITION
        if v["add"]:
            residual = self._decoded(v["res"], positions, v["res_c"])
            addition = self._addition(v, v["res_signed"])
        kernels.requantise(
            self.psum, v["psum"] // 4 + v["k"], positions, v["kt"], bias, mult, shift, v["lo"], v["hi"],
            v["lut"], table, residual.data, v["res_c"], v["res_k"], addition,
            self.out, v["out"], v["ow"], v["out_w"], v["out_c"],
        )  # fmt: skip
        if self._recorder is not None:
            self._recorder.post_requant(self._index, v, residual.nonzeros)

    def post_add(self, v: _Values) -> None:
        positions = v["oh"] * v["ow"]
        a = self._decoded(v["act"], positions, v["kn"])
        b = self._decoded(v["res"], positions, v["kn"])
        kernels.add_tiles(
            a.data, _flip(v["signed"]), b.data, _flip(v["res_signed"]), positions, v["kn"],
            self._addition(v, v["res_signed"]), self.out, v["out"], v["ow"], v["out_w"], v["out_c"],
        )  # fmt: skip
        if self._recorder is not None:
            self._recorder.post_add(self._index, v, a.nonzeros + b.nonzeros)

    def post_map(self, v: _Values) -> None:
        tile = self._act_tile(v)
        table = self.par[v["table"] : v["table"] + TABLE_BYTES] if v["lut"] else _IDENTITY.astype(np.uint8)
        kernels.map_tile(
            tile.data, v["ih"], v["iw"], v["ic"], v["sy"], v["sx"], v["dy"], v["dx"], v["dc"], v["oh"], v["ow"],
            v["kn"], table, self.out, v["out"], v["out_w"], v["out_c"],
        )  # fmt: skip
        if self._recorder is not None:
            self._recorder.post_map(self._index, v)

    def post_pool(self, v: _Values) -> None:
        tile = self._act_tile(v)
        average = v["kind"] == PoolKind.AVERAGE
        mult = _NO_MULTIPLIERS
        if average:
            mult = np.frombuffer(self.par[v["par"] :].tobytes(), "<i4", multipliers(v)).astype(np.int64)
        counted = np.array([-v["bt"], v["ih"] + v["bb"], -v["bl"], v["iw"] + v["br"]], np.int64)
        kernels.pool(
            tile.data, *_window(v)[:3], _flip(v["signed"]), *_window(v)[3:], v["cs"], v["kn"], int(average), counted,
            mult, v["count0"], v["shift"], v["lo"], v["hi"], self.out, v["out"], v["out_w"], v["out_c"],
            np.empty(v["kn"], np.int64),
        )  # fmt: skip
        if self._recorder is not None:
            self._recorder.post_pool(self._index, v)

    # Stores -----------------------------------------------------------------------------------------------------------

    def store_act(self, v: _Values) -> None:
        target = v["dram"] - self._base
        row = v["out_w"] * v["out_c"]
        if v["format"] == TensorFormat.RAW:
            moved = None
            stride = v["tensor_w"] * v["tensor_c"]
            first = target + v["y"] * stride + v["x"] * v["tensor_c"] + v["c"]
            kernels.store_raw(
                self.out, v["out"], row, v["out_c"], v["h"], v["w"], v["cn"], self.arena, first, stride, v["tensor_c"]
            )
        else:
            moved = self._lines(v)
            kernels.store_bitmap(
                self.out, v["out"], v["out_w"], v["out_c"], v["h"], v["w"], v["cn"], self.arena, target, v["tensor_w"],
                v["tensor_c"], v["segment"], v["y"], v["x"], v["c"], self._chunk, self._layout(v).line_bytes, moved,
            )  # fmt: skip
        if self._recorder is not None:
            self._recorder.store_act(self._index, v, moved)

    def end(self, v: _Values) -> None:
        """Nothing is left to do."""

    # Helpers ----------------------------------------------------------------------------------------------------------

    def _layout(self, v: _Values) -> TensorLayout:
        return TensorLayout(
            v["y"] + v["h"], v["tensor_w"], v["tensor_c"], TensorFormat.BITMAP, v["segment"], self._chunk
        )

    def _lines(self, v: _Values) -> Longs:
        """Room for the size of every line of a BITMAP region."""
        segments = (v["x"] + v["w"] - 1) // v["segment"] - v["x"] // v["segment"] + 1
        return np.empty(v["h"] * ceil_div(v["cn"], self._chunk) * segments, np.int64)

    def _expand(self, memory: Bytes, at: int, positions: int, c: int) -> Tile:
        records = RecordLayout(c, self._chunk)
        data = np.empty((len(memory), positions * c), np.uint8)
        nonzeros = kernels.expand(memory, at, positions, c, self._chunk, records.slot, records.bitmap_bytes, data)
        if nonzeros < 0:
            raise UserError("a bitmap in ACT has bits beyond its channels")
        return Tile(data, nonzeros)

    def _decoded(self, at: int, positions: int, c: int) -> Tile:
        """A tile of ACT in plain bytes; the same tile often feeds several instructions."""
        key = (at, positions, c)
        tile = self._tiles.get(key)
        if tile is None:
            tile = self._tiles[key] = self._expand(self.act, at, positions, c)
        return tile

    def _act_tile(self, v: _Values) -> Tile:
        return self._decoded(v["act"], v["ih"] * v["iw"], v["ic"])

    def _psum_tile(self, v: _Values) -> PsumTile:
        return PsumTile(self.psum, v["psum"] // 4, v["oh"] * v["ow"], v["kt"], v["k"], v["kn"])

    def _addition(self, v: _Values, signed: int) -> Longs:
        block = np.frombuffer(self.par[v["addpar"] : v["addpar"] + ADD_BLOCK_BYTES].tobytes(), _ADD_BLOCK)[0]
        ma, mb, lo, hi, shift = (int(block[name]) for name in ("ma", "mb", "lo", "hi", "shift"))
        if not 1 <= shift <= 62:
            raise UserError(f"the addition's shift in PAR is {shift}, outside [1, 62]")
        return np.array([ma, mb, lo, hi, shift, _flip(signed)], np.int64)


def _flip(signed: int) -> int:
    """(byte ^ flip) - flip is the number that a stored byte means."""
    return 128 if signed else 0


def _window(v: _Values) -> Window:
    return Window(*(v[name] for name in Window._fields))


_HANDLERS: Mapping[str, Callable[[Execution, _Values], None]] = {
    "load.act": Execution.load_act,
    "load.coef": Execution.load_coef,
    "load.bytes": Execution.load_bytes,
    "load.par": Execution.load_par,
    "load.weights": Execution.load_weights,
    "conv.dense": Execution.conv_dense,
    "conv.dw": Execution.conv_dw,
    "conv.esc": Execution.conv_esc,
    "post.requant": Execution.post_requant,
    "post.add": Execution.post_add,
    "post.map": Execution.post_map,
    "post.pool": Execution.post_pool,
    "store.act": Execution.store_act,
    "end": Execution.end,
}
