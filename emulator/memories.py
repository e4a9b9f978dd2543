"""The memories of one run, and what units share about them: decoded tiles, and values derived from constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from emulator import kernels
from emulator.arithmetic import PsumTile
from emulator.geometry import flip
from emulator.kernels import Bytes, Longs
from isa.blocks import unpack_addition
from isa.errors import UserError
from isa.formats import Space
from isa.integers import Values, ceil_div
from isa.layout import ADD_BLOCK_BYTES, RecordLayout
from isa.program import Program

_T = TypeVar("_T")

_KEPT_BYTES = 1 << 28


class Constants:
    """Values that an instruction derives from `.rodata` alone, kept for the next batch up to a total size."""

    def __init__(self) -> None:
        self._kept: dict[int, Any] = {}
        self._bytes = 0

    def get(self, number: int, make: Callable[[], tuple[_T, int]]) -> _T:
        """The value of an instruction; `make` computes it and its size in bytes."""
        found = self._kept.get(number)
        if found is None:
            found, size = make()
            if self._bytes + size <= _KEPT_BYTES:
                self._bytes += size
                self._kept[number] = found
        return found


class DecodedTile(NamedTuple):
    """A tile of ACT: plain bytes [N, positions * c] and the number of non-zeros in image 0."""

    data: Bytes
    nonzeros: int


class Memories:
    """Memories of a run of N images: [N, bytes] where activations lie, [bytes] where only constants do.

    Units read and write the arrays themselves. `number` is the instruction that is executed.
    """

    def __init__(self, program: Program, images: int, constants: Constants):
        pads = program.target.scratchpad
        self.target = program.target
        self.chunk = program.target.array.chunk
        self.arena_base = program.arena_base
        self.rodata: Bytes = np.frombuffer(program.rodata, np.uint8)
        self.arena: Bytes = np.zeros((images, program.arena_bytes), np.uint8)
        self.act: Bytes = np.zeros((images, pads.act), np.uint8)
        self.out: Bytes = np.zeros((images, pads.out), np.uint8)
        self.psum = np.zeros((images, ceil_div(pads.psum, 4)), np.int32)
        self.coef: Bytes = np.zeros(pads.coef, np.uint8)
        self.par: Bytes = np.zeros(pads.par, np.uint8)
        self.number = 0
        self._constants = constants
        self._tiles: dict[tuple[int, int, int], DecodedTile] = {}

    def derived(self, make: Callable[[], tuple[_T, int]]) -> _T:
        """What the present instruction derives from constants alone; `make` computes it and its size in bytes."""
        return self._constants.get(self.number, make)

    def constant(self, address: int, size: int) -> bytes:
        """Bytes of `.rodata`."""
        return self.rodata[address : address + size].tobytes()

    def pad(self, space: Space) -> Bytes:
        """A scratchpad of constants: COEF or PAR."""
        return self.coef if space is Space.COEF else self.par

    def expand(self, memory: Bytes, at: int, positions: int, c: int) -> DecodedTile:
        """Decode records that begin at a byte of `memory` [N, bytes]. Raises `UserError` on an impossible bitmap."""
        records = RecordLayout(c, self.chunk)
        data = np.empty((len(memory), positions * c), np.uint8)
        nonzeros = kernels.expand(memory, at, positions, c, self.chunk, records.slot, records.bitmap_bytes, data)
        if nonzeros < 0:
            raise UserError("a bitmap in ACT has bits beyond its channels")
        return DecodedTile(data, nonzeros)

    def decoded(self, at: int, positions: int, c: int) -> DecodedTile:
        """A tile of ACT in plain bytes; the same tile often feeds several instructions."""
        key = (at, positions, c)
        tile = self._tiles.get(key)
        if tile is None:
            tile = self._tiles[key] = self.expand(self.act, at, positions, c)
        return tile

    def forget(self, low: int, high: int) -> None:
        """Bytes [low, high) of ACT are written: no tile decoded from them is valid any longer."""
        for at, positions, c in list(self._tiles):
            if at < high and low < at + RecordLayout(c, self.chunk).tile_bytes(1, positions):
                del self._tiles[at, positions, c]

    def act_tile(self, v: Values) -> DecodedTile:
        """The input tile of an instruction with the fields `isa.field_groups.ACT_TILE`."""
        return self.decoded(v["act"], v["ih"] * v["iw"], v["ic"])

    def psum_tile(self, v: Values) -> PsumTile:
        """The partial sums of an instruction with the fields `isa.field_groups.PSUM_TILE`."""
        return PsumTile(self.psum, v["psum"] // 4, v["oh"] * v["ow"], v["kt"], v["k"], v["kn"])

    def addition(self, v: Values) -> Longs:
        """Parameters of the addition of the residual: ma, mb, lo, hi, shift, `flip` of the residual."""
        block = unpack_addition(self.par[v["addpar"] : v["addpar"] + ADD_BLOCK_BYTES])
        if not 1 <= block.shift <= 62:
            raise UserError(f"the addition's shift in PAR is {block.shift}, outside [1, 62]")
        return np.array([*block, flip(v["res_signed"])], np.int64)
