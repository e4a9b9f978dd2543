"""An estimate of the area of a machine: its memories as SRAM macros, its arithmetic and its registers.

All figures are of 45 nm. Areas of another `energy.technology_nm` are those times the square of the ratio of the nodes,
which is also how the macros of CACTI 7 go from 45 nm to 32 nm and 22 nm. Wiring, clock tree, control and networks
between the parts are not in the estimate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from isa.cells import ADD_INT8, ADD_INT32, FLIP_FLOP, MUL_INT8, MUL_INT32, MULTIPLEXER, Cells
from isa.costs import POST_OPERATIONS
from isa.declaration import INSTRUCTION_BYTES
from isa.integers import ceil_div
from isa.storage import operand_memories
from isa.table import EVENTS, INSTRUCTIONS
from isa.target import Target

_NODE_NM = 45
_PORT = 32
"""Bytes of a port of ACT, COEF, PAR and the FIFOs."""
# CACTI 7, type ram, 1 read/write port, itrs-lop, 360 K, 45 nm, as the energies of esc1: mm2 of a macro by its bytes,
# for each width of a port in bytes.
_MACROS: Mapping[int, Mapping[int, float]] = {
    4: {512: 0.0020902, 1024: 0.0038211, 2048: 0.0080170, 4096: 0.0157833},
    16: {512: 0.0044250, 1024: 0.0060987, 2048: 0.0093940, 4096: 0.0159747},
    32: {
        1024: 0.0126273,
        2048: 0.0158692,
        4096: 0.0222876,
        8192: 0.0351008,
        16384: 0.0678260,
        32768: 0.1170402,
        65536: 0.2261366,
    },
}


@dataclass(frozen=True)
class AreaPart:
    """Equal pieces of a machine: their number, and the mm2 of all of them.

    `note` tells how a macro is counted whose size lies outside of the table of macros.
    """

    name: str
    count: int
    mm2: float
    note: str = ""


def area_parts(target: Target) -> list[AreaPart]:
    """Number and mm2 of every kind of memory, arithmetic unit and register of the machine."""
    scale = (target.energy.technology_nm / _NODE_NM) ** 2
    own = (cells for spec in INSTRUCTIONS for cells in spec.arithmetic(target))
    parts = [*_memories(target), *map(_area, (*_arithmetic(target), *own))]
    return [AreaPart(part.name, part.count, part.mm2 * scale, part.note) for part in parts]


def area_mm2(target: Target) -> float:
    """The mm2 of all parts."""
    return sum(part.mm2 for part in area_parts(target))


def area_text(target: Target) -> str:
    """Comment lines of a target file: the estimate, then mm2 and number of each part."""
    rows = [
        f"#   {part.mm2:.3f} mm2: {part.count:,} x {part.name}{f', {part.note}' if part.note else ''}\n"
        for part in area_parts(target)
    ]
    head = f"# area estimate: {area_mm2(target):.2f} mm2 at {target.energy.technology_nm} nm"
    return f"{head}, without wiring, clock tree and control\n" + "".join(rows)


def event_energy_text(target: Target) -> str:
    """Comment lines of a target file: the energy of what single instructions count."""
    rows = [f"#   {event.picojoule(target):.3f} pJ: {event.doc}\n" for event in EVENTS if event.picojoule is not None]
    return "# energy of events of single instructions\n" + "".join(rows) if rows else ""


def macro_mm2(size: int, port: int) -> float:
    """The mm2 of an SRAM macro of `size` bytes with a port of `port` bytes (4, 16 or 32), at 45 nm.

    Between two rows of the table the area is on the line through them. A smaller macro counts as the smallest row, a
    larger one has the density of the largest row.
    """
    rows = _MACROS[port]
    smallest, largest = min(rows), max(rows)
    if size >= largest:
        return rows[largest] * size / largest
    for (low, below), (high, above) in pairwise(rows.items()):
        if low <= size <= high:
            return below + (above - below) * (size - low) / (high - low)
    return rows[smallest]


_FIFOS_OF_BITS = "intermediate FIFOs"
"""What is too small for a memory macro and lies in flip-flops."""


def _memories(target: Target) -> list[AreaPart]:
    """Operand memories bank by bank, and the instruction buffer."""
    a, sizes = target.array, operand_memories(target)
    slices = a.blocks * a.slices
    side = ceil_div(target.dma.bytes_per_cycle, _PORT)  # ports that a DMA engine uses in a cycle
    organisation = {  # banks, bytes of a port
        "act": (ceil_div(a.broadcast_chunks * a.chunk, _PORT), _PORT),  # their ports feed the broadcast
        "coef": (ceil_div(a.expand_bytes, _PORT), _PORT),
        "par": (side, _PORT),
        "psum": (max(a.blocks, target.post.lanes), 4),  # the post unit reads a sum a lane
        "coefficient registers": (slices, 16),
        "broadcast FIFOs": (ceil_div(a.blocks, a.fifo_blocks), _PORT),
        "load FIFO": (side, _PORT),
        "store FIFO": (side, _PORT),
    }
    organisation |= {name: (1, _PORT) for name in sizes if name not in organisation and name != _FIFOS_OF_BITS}
    parts = [_banks(name, sizes[name], *banks) for name, banks in organisation.items()]
    parts.append(_banks("instruction buffer", target.fetch.instructions * INSTRUCTION_BYTES, 1, _PORT))
    parts.append(_area(Cells(f"{_FIFOS_OF_BITS}, bit", slices * a.ic_fifo_depth * a.ic_bits, FLIP_FLOP)))
    return parts


def _arithmetic(target: Target) -> list[Cells]:
    """Accumulators of coefficients, MAC rows with their registers, and the post unit: what instructions share."""
    a = target.array
    lanes = a.blocks * a.slices * a.ca_lanes
    macs = a.blocks * a.slices * a.macs
    places = a.coefficient_level.bit_length() - 1
    parts = [Cells(f"coefficient adder of {a.ic_bits} bits", lanes, ADD_INT32 * a.ic_bits / 32)]
    if places:  # a multiplexer a bit of the shifted byte, for every place
        parts.append(Cells("coefficient shifter", lanes, places * (8 + places) * MULTIPLEXER))
    # A lane takes a value a cycle through requantisation and the addition of a residual.
    add_int8, add_int32, mul_int32 = (
        sum(numbers) for numbers in zip(POST_OPERATIONS["requant"], POST_OPERATIONS["add"], strict=True)
    )
    lane = add_int8 * ADD_INT8 + add_int32 * ADD_INT32 + mul_int32 * MUL_INT32
    return [
        *parts,
        Cells(f"multiplier of {a.ic_bits} by 8 bits", macs, MUL_INT8 * a.ic_bits / 8),
        Cells("adder of 32 bits in a tree", macs, ADD_INT32),
        Cells("register of a weight and a sum", macs, (8 + 32) * FLIP_FLOP),
        Cells("lane of the post unit", target.post.lanes, lane),
    ]


def _banks(name: str, size: int, banks: int, port: int) -> AreaPart:
    bank, smallest, largest = ceil_div(size, banks), min(_MACROS[port]), max(_MACROS[port])
    note = f"counted as {smallest:,} bytes" if bank < smallest else ""
    note = f"at the density of {largest:,} bytes" if bank > largest else note
    return AreaPart(f"{name}, bank of {bank:,} bytes", banks, banks * macro_mm2(bank, port), note)


def _area(cells: Cells) -> AreaPart:
    return AreaPart(cells.name, cells.count, cells.count * cells.um2 * 1e-6)
