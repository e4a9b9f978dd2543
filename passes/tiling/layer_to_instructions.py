"""From the tile operations of one `bfs.layer` to machine instructions, by following what every buffer holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from xdsl.dialects.builtin import SymbolRefAttr
from xdsl.ir import SSAValue

from dialects.bfs import ConstantOp, LayerOp, ResidentOp, TensorOp
from dialects.bfs_tiles import TileOp
from isa.declaration import Instruction
from isa.errors import UserError
from isa.formats import Scratchpad
from isa.table import make
from isa.target import Target
from passes.tiling.geometry import Span, roll, windows
from passes.tiling.loop_nest import Indices, executions

_NONE = Span(0, 0)

Box: TypeAlias = tuple[Span, Span, Span]
"""Rows, columns and channels of a tensor."""


@dataclass(frozen=True)
class HeldRegion:
    """What a buffer holds: rows, columns and channels `c` of a tensor (an input in ACT), or channels `k` of the output
    (in ACT and PSUM), or output and input channels of a constant (COEF, PAR; in `k` and `c`).
    """

    source: str
    y: Span = _NONE
    x: Span = _NONE
    k: Span = _NONE
    c: Span = _NONE
    strides: tuple[int, int] | None = None
    """Positions from row to row and bytes from position to position, in ACT; None where the tile has no gaps."""
    ring: int = 0
    """Rows of the ring that the region lies in: row y is at place y % ring. 0: row after row from the address on."""


@dataclass
class Ring:
    """The rows of a resident tensor that ACT holds while layers run: the last `rows` of those up to `end`.

    What is read may have been computed in `parts`: then the rows are those that all of them hold.
    """

    rows: int
    end: int = 0
    parts: Sequence[Ring] = ()

    @property
    def held(self) -> Span:
        """The rows that are there."""
        ends = [part.end for part in self.parts] or [self.end]
        first = max(0, max(ends) - self.rows)
        return Span(first, max(0, min(ends) - first))


@dataclass
class BufferState:
    """A buffer, or a resident tensor, while a layer is lowered: what each instance holds, and which one is current.

    `summed`: of partial sums, the input channels of a group that each part of the window has added so far, and all.
    """

    space: str
    nbytes: int
    places: tuple[int, ...]
    whole: tuple[int, int] | None = None
    """Width and channels of the tensor that has the bytes of a resident one; what is held is a part of it in its place.
    """
    ring: Ring | None = None
    """The rows that are there of a tensor of which ACT holds a part; shared by the layers that compute and read it."""
    held: list[HeldRegion | None] = field(init=False)
    current: int = -1
    offset: int = 0
    summed: dict[object, tuple[int, int]] = field(default_factory=dict[object, tuple[int, int]])
    rows: Span = _NONE
    rolled: str = ""
    """Of a buffer whose instances are a ring of rows of a loaded tensor: the rows that it holds, and the tensor."""

    def __post_init__(self) -> None:
        self.held = [None] * len(self.places)

    @property
    def address(self) -> int:
        """Address of the current instance."""
        return self.places[self.current] + self.offset

    def turn(self, region: HeldRegion) -> None:
        """Go on to the next instance."""
        self.rows = _NONE
        self.current = (self.current + 1) % len(self.held)
        if self.whole is not None:
            width, channels = self.whole
            row = region.y.first % self.ring.rows if self.ring is not None else region.y.first
            self.offset = (row * width + region.x.first) * channels + region.k.first
            region = replace(region, strides=self.whole)
        self.held[self.current] = region

    def roll(self, region: HeldRegion) -> Sequence[tuple[int, Span]]:
        """Make the rows of a region in a ring current; the rows that are to be loaded for that, and where they go."""
        base, (width, channels) = min(self.places), region.strides or (0, 0)
        held = self.rows if region.source == self.rolled else _NONE
        loaded, self.rows = roll(held, region.y, region.ring)
        self.rolled = region.source
        self.current, self.offset = self.places.index(base), 0
        self.held = [region if i == self.current else None for i in range(len(self.places))]
        return [(base + rows.first % region.ring * width * channels, rows) for rows in loaded]

    def fill(self, region: HeldRegion) -> bool:
        """Make an instance that holds the region current; False if one holds it already."""
        if region in self.held:
            self.current = self.held.index(region)
            return False
        self.turn(region)
        return True


Rules = Mapping[type[TileOp], Callable[["LayerLowering", Any, Indices], None]]
"""What lowers each tile operation; the kit knows none."""


class LayerLowering:
    """Lowers one layer. `instructions` are in program order and carry no synchronisation yet; `used` names the
    constants that they read.
    """

    def __init__(
        self,
        layer: LayerOp,
        tensors: Mapping[str, TensorOp],
        constants: Mapping[str, ConstantOp],
        target: Target,
        arena_base: int,
        rings: dict[str, Ring] | None = None,
    ) -> None:
        self.layer = layer
        self._rings = {} if rings is None else rings
        self.tensors = tensors
        self.constants = constants
        self.target = target
        self.chunk = target.array.chunk
        self.arena_base = arena_base
        self.instructions: list[Instruction] = []
        self.used: dict[str, None] = {}
        self.states: dict[SSAValue, BufferState] = {}
        self._transfers: dict[str, dict[tuple[int, int], tuple[int, int, int]]] = {}
        for buffer in layer.buffers:
            if not buffer.places:
                raise self.fault("a buffer has no address", "run plan-memory first")
            self.states[buffer.result] = BufferState(buffer.space, buffer.nbytes, buffer.places)
        for resident in layer.residents:
            self.states[resident.result] = self._resident(resident)

    def _resident(self, op: ResidentOp) -> BufferState:
        """A resident tensor: as an input, the whole of it is held from the start."""
        tensor = self.tensor(op.tensor)
        h, w, c = tensor.extents
        place, (_, width, channels) = self.offset(tensor) + tensor.channels.start, self.whole(tensor).extents
        state = BufferState("act", tensor.resident_bytes, (place,), (width, channels))
        rows = self.whole(tensor).ring
        if rows is not None and op.tensor == self.layer.output:
            state.ring = self._rings[op.tensor.string_value()] = Ring(rows)
        elif rows is not None:
            state.ring = Ring(rows, parts=self._computed(tensor))
        elif op.tensor != self.layer.output:
            state.turn(HeldRegion(op.tensor.string_value(), Span(0, h), Span(0, w), c=Span(0, c)))
        return state

    def _computed(self, tensor: TensorOp) -> list[Ring]:
        """The rings of what the layers before compute of a tensor."""
        own = tensor.channels
        found: list[Ring] = []
        for name, ring in self._rings.items():
            other = self.tensors[name]
            shared = other.channels.start < own.stop and own.start < other.channels.stop
            if other.storage == tensor.storage and shared:
                found.append(ring)
        return found

    def run(self, rules: Rules) -> list[Instruction]:
        """Lower all tile operations. Raises `UserError` if a tile reads what its buffers do not hold, or if no rule
        lowers it.
        """
        self.lower(executions(self.layer), rules)
        return self.instructions

    def lower(self, operations: Iterable[tuple[TileOp, Indices]], rules: Rules) -> None:
        """Lower the tile operations that come next. Raises `UserError` as `run` does."""
        for op, at in operations:
            rule = rules.get(type(op))
            if rule is None:
                raise self.fault(f"no installed layer kind lowers {op.name}", "install the package that defines it")
            rule(self, op, at)

    def fault(self, what: str, note: str = "") -> UserError:
        """A diagnostic about the layer."""
        return UserError(f"layer '{self.layer.layer_name.data}': {what}", note)

    def emit(self, mnemonic: str, **values: int) -> None:
        """Append an instruction; fields that are not given are 0."""
        self.instructions.append(make(mnemonic, **values))

    def held(self, buffer: SSAValue) -> tuple[HeldRegion, int]:
        """What the current instance of a buffer holds, and its address."""
        state = self.states[buffer]
        if state.ring is not None and isinstance(buffer.owner, ResidentOp) and state.current < 0:
            return self._ring_region(buffer.owner.tensor, state.ring), state.places[0]
        region = state.held[state.current] if state.current >= 0 else None
        if region is None:
            raise self.fault(f"a tile reads a buffer of {state.space} that nothing has filled")
        return region, state.address

    def held_of(self, buffer: SSAValue, tensor: SymbolRefAttr) -> tuple[HeldRegion, int]:
        """As `held`, of a buffer that must hold a part of `tensor`."""
        region, address = self.held(buffer)
        if region.source != tensor.string_value():
            raise self.fault(f"a tile of {tensor} is read; one of @{region.source} is loaded")
        return region, address

    def _ring_region(self, ref: SymbolRefAttr, ring: Ring) -> HeldRegion:
        """The rows of a tensor that its ring holds."""
        tensor = self.tensor(ref)
        _, w, c = tensor.extents
        strides = (w, self.whole(tensor).extents[2])
        if not ring.held.extent:
            raise self.fault(f"a tile reads tensor {ref}, of which no row has been computed")
        return HeldRegion(ref.string_value(), ring.held, Span(0, w), c=Span(0, c), strides=strides, ring=ring.rows)

    def open_rows(self, buffer: SSAValue, rows: Span) -> None:
        """Make room for the next rows of the output if they go to a ring. Raises `UserError` if they cannot."""
        ring = self.states[buffer].ring
        if ring is None:
            return
        if rows.first != ring.end or rows.first % ring.rows + rows.extent > ring.rows:
            raise self.fault(
                f"a tile computes rows {rows.first}..{rows.end - 1}; its ring of {ring.rows} rows holds rows up to "
                f"{ring.end - 1} and requires the next ones, without a gap and not across its end"
            )
        ring.end = rows.end

    def require_room(self, buffer: SSAValue, nbytes: int) -> None:
        """Raise `UserError` if a tile is larger than its buffer."""
        state = self.states[buffer]
        if nbytes > state.nbytes:
            raise self.fault(f"a tile needs {nbytes} bytes of {state.space}; its buffer has {state.nbytes}")

    def whole_windows(self, y: Span, x: Span, pool: Sequence[int]) -> tuple[Span, Span]:
        """The windows of `pool` rows and columns that rows and columns are. Raises `UserError` if they are not whole
        ones.
        """
        for found, size, axis in zip((y, x), pool, ("rows", "columns"), strict=True):
            if found.first % size or found.extent % size:
                raise self.fault(
                    f"a tile takes maxima of {axis} {found.first}..{found.end - 1}, not of whole windows of {size}"
                )
        return windows(y, pool[0]), windows(x, pool[1])

    def require_covered(self, have: Span, want: Span, what: str) -> None:
        """Raise `UserError` if a tile reads indices of `what` that its buffer does not hold."""
        if want.first < have.first or want.end > have.end:
            raise self.fault(
                f"a tile reads {what} {want.first}..{want.end - 1}; {have.first}..{have.end - 1} are loaded"
            )

    def tensor(self, ref: SymbolRefAttr) -> TensorOp:
        """The declaration of a tensor. Raises `UserError` if there is none."""
        tensor = self.tensors.get(ref.string_value())
        if tensor is None:
            raise self.fault(f"no tensor {ref}")
        return tensor

    def whole(self, tensor: TensorOp) -> TensorOp:
        """The tensor that has the bytes of a tensor: the one that it is a part of, or itself."""
        return self.tensors[tensor.storage]

    def offset(self, tensor: TensorOp) -> int:
        """Where the tensor that has the bytes of a tensor begins, from the base of the arena or of ACT. Raises
        `UserError` if it has no place.
        """
        whole = self.whole(tensor)
        if whole.offset is None:
            raise self.fault(f"tensor @{whole.sym_name.data} has no offset", "run plan-memory first")
        return whole.offset.value.data

    def is_signed(self, region: HeldRegion) -> int:
        """1 if the tensor that a region belongs to holds int8, 0 for uint8."""
        return int(self.source(region).element.signed)

    def source(self, region: HeldRegion) -> TensorOp:
        """The tensor that a region is a part of. Raises `UserError` if it is a tile of the output."""
        tensor = self.tensors.get(region.source)
        if tensor is None:
            raise self.fault("an operation reads an output tile as an input")
        return tensor

    def dram_fields(self, tensor: TensorOp, y: Span, x: Span, c: Span) -> dict[str, int]:
        """Fields of a transfer of a part of a tensor."""
        _, w, channels = self.whole(tensor).extents
        return {
            "dram": self.arena_base + self.offset(tensor),
            "format": int(tensor.tensor_format),
            "tensor_w": w,
            "tensor_c": channels,
            "segment": tensor.segment.value.data,
            "y": y.first,
            "x": x.first,
            "c": c.first + tensor.channels.start,
            "h": y.extent,
            "w": x.extent,
            "cn": c.extent,
        }

    def act_fields(self, region: HeldRegion, address: int, part: Box) -> dict[str, int]:
        """Fields that describe the part of an input tile that an instruction reads."""
        y, x, c = part
        fields = {"ih": y.extent, "iw": x.extent, "ic": c.extent, "signed": self.is_signed(region)}
        if region.ring and (turn := region.ring - y.first % region.ring) < y.extent:
            fields |= {"act_turn": turn, "act_ring": region.ring}
            part = Span(y.first, turn), x, c
            self.require_covered(region.y, y, "rows")
        return {**self.place("act", region, address, part), **fields}

    def out_fields(self, region: HeldRegion, address: int, part: HeldRegion) -> dict[str, int]:
        """Where a part of the output tile lies. Raises `UserError` if the region is a part of an input."""
        if region.source:
            raise self.fault("an operation writes over a tile that was loaded")
        return self.place("out", region, address, (part.y, part.x, part.k), "output ")

    def place(self, name: str, region: HeldRegion, address: int, part: Box, what: str = "") -> dict[str, int]:
        """Address and strides, as the fields `name` have them, of a part of the tile that begins at an address of ACT.

        Raises `UserError` if the tile does not hold the part; `what` goes before its rows, columns or channels.
        """
        held = (region.y, region.x, region.c if region.c.extent else region.k)
        for have, want, axis in zip(held, part, ("rows", "columns", "channels"), strict=True):
            self.require_covered(have, want, f"{what}{axis}")
        (y, x, c), (part_y, part_x, part_c) = held, part
        width, channels = region.strides or (x.extent, c.extent)
        row = part_y.first - y.first
        if region.ring:
            row = part_y.first % region.ring
            if row + part_y.extent > region.ring:
                raise self.fault(f"a tile reads rows across the end of a ring of {region.ring} rows")
        position = row * width + part_x.first - x.first
        at = address + position * channels + part_c.first - c.first
        return {name: at, f"{name}_w": width, f"{name}_c": channels}

    def piece_bytes(self, name: str, k: int, c: int) -> tuple[bytes, int]:
        """What a transfer of a constant moves, and its coding."""
        address, size, coding = self.piece(SymbolRefAttr(name), k, c)
        constant = self.constants[name]
        assert constant.packed is not None and constant.address is not None
        first = address - constant.address.value.data
        return constant.packed.data.data[first : first + size], coding

    def piece(self, ref: SymbolRefAttr, k: int, c: int) -> tuple[int, int, int]:
        """DRAM address, size and coding of a transfer of a constant."""
        name = ref.string_value()
        constant = self.constants.get(name)
        if constant is None or constant.packed is None or constant.address is None:
            raise self.fault(f"constant @{name} is not packed", "run pack-coefficients first")
        if name not in self._transfers:
            self._transfers[name] = constant.transfers
        piece = self._transfers[name].get((k, c))
        if piece is None:
            raise self.fault(f"constant @{name} has no piece for channels {k}, {c}", "run pack-coefficients again")
        self.used[name] = None
        offset, size, coding = piece
        return constant.address.value.data + offset, size, coding

    def shared(self, ref: SymbolRefAttr) -> int:
        """DRAM address of the bytes that all transfers of a packed constant share."""
        constant = self.constants[ref.string_value()]
        assert constant.address is not None  # or `piece` has raised
        return constant.address.value.data

    def load_bytes(self, buffer: SSAValue, region: HeldRegion, ref: SymbolRefAttr, pad: Scratchpad) -> None:
        """Load a constant as it lies in DRAM, unless the buffer holds it already."""
        address, size, _ = self.piece(ref, region.k.first, region.c.first)
        self.require_room(buffer, size)
        state = self.states[buffer]
        if state.fill(region):
            self.emit("load.bytes", dram=address, size=size, pad=int(pad), dst=state.address)
