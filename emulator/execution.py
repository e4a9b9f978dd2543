"""One run: what the host writes and reads, and every instruction executed and recorded in program order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator import kernels
from emulator.geometry import Region, TilePlace, packed, view
from emulator.handlers import units_of
from emulator.kernels import Bytes
from emulator.memories import Constants, Memories
from emulator.recording import Entry, Recorder
from emulator.transfers import lines_of
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.hazards import describe
from isa.program import Program, TensorRef


class Execution:
    """A run of `images` images. `step` executes one instruction; all must be executed in program order."""

    def __init__(self, program: Program, images: int, constants: Constants, recorder: Recorder | None):
        self.memories = Memories(program, images, constants)
        self._program = program
        self._entry = None if recorder is None else Entry(recorder)
        self._units = units_of(program)
        self._values = [instruction.values for instruction in program.instructions]

    def step(self, number: int) -> None:
        """Execute an instruction. Raises `UserError` naming it if the data it meets is malformed."""
        memories, unit, values = self.memories, self._units[number], self._values[number]
        memories.number = number
        try:
            seen = unit.execute(memories, values)
        except UserError as e:
            where = describe(self._program.instructions, number)
            raise UserError([f"{where}: {cause}" for cause in e.causes], e.note) from e
        if (entry := self._entry) is not None:
            entry.number = number
            unit.record(entry, values, seen)

    def write_input(self, tensor: TensorRef, data: Bytes) -> None:
        """The host writes stored bytes [N, h*w*c] to a RAW tensor."""
        at = tensor.address - self.memories.arena_base
        self.memories.arena[:, at : at + data.shape[1]] = data

    def read_tensor(self, tensor: TensorRef) -> NDArray[Any]:
        """The host reads a tensor: [N, h, w, c] of int8 or uint8."""
        h, w, c, whole = tensor.h, tensor.w, tensor.c, tensor.stored_c
        at = tensor.address - (0 if tensor.resident else self.memories.arena_base)
        if tensor.format is TensorFormat.RAW:
            memory = self.memories.act if tensor.resident else self.memories.arena
            data = view(memory, TilePlace(at + tensor.first_c, h, w, c, w * whole, whole)).copy()
        else:
            data = self._lines(tensor, at)
        shaped = data.reshape(len(data), h, w, c)
        return shaped.view(np.int8) if tensor.signed else shaped

    def _lines(self, tensor: TensorRef, at: int) -> Bytes:
        """Plain bytes [N, h*w*c] of a BITMAP tensor."""
        h, w, c, chunk = tensor.h, tensor.w, tensor.c, self.memories.chunk
        data = np.empty((len(self.memories.arena), h * w * c), np.uint8)
        region = Region(at, w, tensor.stored_c, tensor.segment, 0, 0, tensor.first_c, h, w, c)
        tile = TilePlace(0, h, w, c, w * c, c)
        numbers = packed(region, tile, (chunk, tensor.layout(chunk).line_bytes))
        moved = np.empty(lines_of(region, chunk), np.int64)
        if not kernels.load_bitmap(self.memories.arena, data, numbers, moved):
            raise UserError(f"tensor '{tensor.name}': a bitmap has bits beyond its channels")
        return data
