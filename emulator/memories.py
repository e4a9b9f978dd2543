"""The memories of one run, and what units share about them: tiles, and values derived from constants."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np

from emulator.arithmetic import ActTile, LastPatches, PsumTile
from emulator.geometry import TilePlace, act_tile_of, flip, view
from emulator.kernels import Bytes, Longs
from isa.blocks import unpack_addition
from isa.errors import UserError
from isa.formats import Space
from isa.integers import Values, ceil_div
from isa.layout import ADD_BLOCK_BYTES
from isa.program import Program

_T = TypeVar("_T")

_KEPT_BYTES = 1 << 28


class Constants:
    """Values that instructions derive from `.rodata` alone, kept for the next batch up to a total size."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, Any] = {}
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], tuple[_T, int]]) -> _T:
        """The value of an instruction, by its number, or one that several share, by what it follows from; `make`
        computes it and its size in bytes.
        """
        found = self._kept.get(key)
        if found is None:
            found, size = make()
            if self._bytes + size <= _KEPT_BYTES:
                self._bytes += size
                self._kept[key] = found
        return found

    def holds(self, key: Hashable) -> bool:
        """Whether the value of a key is kept."""
        return key in self._kept


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
        self.psum = np.zeros((images, ceil_div(pads.psum, 4)), np.int32)
        self.coef: Bytes = np.zeros(pads.coef, np.uint8)
        self.par: Bytes = np.zeros(pads.par, np.uint8)
        self.last_patches = LastPatches()
        self.number = 0
        self._constants = constants

    def derived(self, make: Callable[[], tuple[_T, int]]) -> _T:
        """What the present instruction derives from constants alone; `make` computes it and its size in bytes."""
        return self._constants.get(self.number, make)

    def shared(self, key: tuple[Hashable, ...], make: Callable[[], tuple[_T, int]]) -> _T:
        """The same for what the instructions have in common that agree in `key`, from which alone it follows.

        Whoever keeps the value counts its size again if it is not kept here (`holds`).
        """
        return self._constants.get(key, make)

    def holds(self, key: tuple[Hashable, ...]) -> bool:
        """Whether the value shared under a key is kept."""
        return self._constants.holds(key)

    def constant(self, address: int, size: int) -> bytes:
        """Bytes of `.rodata`."""
        return self.rodata[address : address + size].tobytes()

    def check_staged(self, v: Values) -> None:
        """Check that ACT holds the bytes at `dram` for a load that takes them from there.

        What instructions derive from COEF is kept for all images, so that nothing but constants may come there. Raises
        `UserError` if other bytes lie in ACT.
        """
        at, size = v["act"], v["size"]
        if v["staged"] and (self.act[:, at : at + size] != self.rodata[v["dram"] : v["dram"] + size]).any():
            raise UserError(
                f"ACT [{at:#x}, {at + size:#x}) does not hold the {size} bytes at {v['dram']:#x} of `.rodata`"
            )

    def pad(self, space: Space) -> Bytes:
        """A scratchpad of constants: COEF or PAR."""
        return self.coef if space is Space.COEF else self.par

    def act_place(self, v: Values) -> TilePlace:
        """Where `act_tile` has the input tile of an instruction."""
        place = act_tile_of(v)
        _, h, w, c, *_ = place
        return TilePlace(0, h, w, c, w * c, c) if v["act_turn"] else place

    def act_tile(self, v: Values) -> ActTile:
        """The input tile of an instruction with the fields `isa.field_groups.ACT_TILE`; a copy of one that lies in two
        pieces, before and behind the end of a ring.
        """
        return ActTile(self.act_source(v), self.act_place(v))

    def act_source(self, v: Values) -> Bytes:
        """The array in which that tile lies at `act_place`."""
        return self._unrolled(v) if v["act_turn"] else self.act

    def _unrolled(self, v: Values) -> Bytes:
        place, turn = act_tile_of(v), v["act_turn"]
        behind = place._replace(at=place.at + (turn - v["act_ring"]) * place.row_stride, h=place.h - turn)
        pieces = [view(self.act, place._replace(h=turn)), view(self.act, behind)]
        return np.concatenate(pieces, axis=1).reshape(len(self.act), -1)

    def psum_tile(self, v: Values) -> PsumTile:
        """The partial sums of an instruction with the fields `isa.field_groups.PSUM_TILE`."""
        return PsumTile(self.psum, v["psum"] // 4, v["oh"] * v["ow"], v["kt"], v["k"], v["kn"])

    def addition(self, v: Values) -> Longs:
        """Parameters of the addition of the residual: ma, mb, lo, hi, shift, `flip` of the residual."""
        block = unpack_addition(self.par[v["addpar"] : v["addpar"] + ADD_BLOCK_BYTES])
        if not 1 <= block.shift <= 62:
            raise UserError(f"the addition's shift in PAR is {block.shift}, outside [1, 62]")
        return np.array([*block, flip(v["res_signed"])], np.int64)
