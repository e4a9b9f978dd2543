"""How an instruction is declared: its fields, and what else the whole tree needs to know of it.

Every instruction is 64 bytes, self-contained and belongs to one of four in-order queues (`isa.formats.Queue`).
`isa/instructions/` holds one file an instruction, which ends in its `SPEC`; encoder, decoder, assembler, disassembler,
legality, hazards, the emulator's bounds and `docs/isa.md` derive from the specs (`isa.table`).

Synchronisation. Each queue owns one semaphore, a counter that starts at 0 and is incremented when an instruction with
`signal=1` completes. `wait_<queue>=n` (n > 0) holds an instruction back until that queue's semaphore has reached n.
Counters never go down, so a program whose waits name only earlier signals cannot deadlock. Program order in `.text` is
the order of meaning: a program is correct if and only if every two instructions of different queues that touch the same
bytes (at least one writing) are ordered by semaphores as they are ordered in `.text`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from isa.amounts import is_amount, is_amounts, is_sequence_of
from isa.cells import Cells
from isa.errors import UserError
from isa.events import Countable, Event
from isa.extents import Extent
from isa.formats import Queue
from isa.found import checked
from isa.integers import Number, Values, entry
from isa.target import Target

INSTRUCTION_BYTES = 64

_MNEMONIC = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)?")
_FIELD_NAME = re.compile(r"[a-z_][a-z0-9_]*")

EXTERNAL_OPCODES = range(0x80, 0x100)
"""Opcodes of instructions that other packages declare. Ours lie below, so that no release of ours takes one of them."""


@dataclass(frozen=True)
class Field:
    """One bit field. `enum` makes the assembler print and accept the member names in lower case.

    The value of a `positive` field must not be 0. The assembler prints an `address` in hexadecimal.
    """

    name: str
    bits: int
    doc: str
    signed: bool = False
    enum: type[IntEnum] | None = None
    positive: bool = False
    address: bool = False

    @property
    def low(self) -> int:
        """Smallest encodable value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest encodable value."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1


def address(name: str, doc: str, bits: int = 24) -> Field:
    """A field that holds the byte address of something."""
    return Field(name, bits, f"byte address {doc}", address=True)


def extent(name: str, doc: str, bits: int = 16) -> Field:
    """A field that counts something of which there is at least one."""
    return Field(name, bits, doc, positive=True)


def flag(name: str, doc: str) -> Field:
    """A field of one bit."""
    return Field(name, 1, f"1: {doc}")


OPCODE = Field("opcode", 8, "instruction selector")

SYNC_FIELDS = (
    flag("signal", "increment this queue's semaphore on completion"),
    Field("wait_load", 23, "start only when the load semaphore has reached this count; 0: no wait"),
    Field("wait_compute", 24, "likewise for the compute semaphore"),
    Field("wait_post", 24, "likewise for the post semaphore"),
    Field("wait_store", 24, "likewise for the store semaphore"),
)

WAITS = tuple((queue, f"wait_{queue.name.lower()}") for queue in Queue)
"""Every queue and the field that waits for its semaphore."""


class Rule(NamedTuple):
    """What is wrong with the instructions that are `broken`; braces of `text` hold fields, or names of `more`."""

    broken: Number
    text: str
    more: Mapping[str, Number] = MappingProxyType({})

    def tell(self, values: Mapping[str, int], i: int) -> str:
        """The fault of instruction i, whose fields are `values`."""
        return self.text.format_map({**values, **{name: entry(column, i) for name, column in self.more.items()}})


Rules: TypeAlias = Callable[[Values, Target], Sequence[Rule]]
Extents: TypeAlias = Callable[[Values, Target], Sequence[Extent]]
Cycles: TypeAlias = Callable[[Values, Target], Number]
Counts: TypeAlias = Callable[[Values, Target], Mapping[Countable, Number]]
Memories: TypeAlias = Callable[[Target], Mapping[str, int]]
Arithmetic: TypeAlias = Callable[[Target], Sequence[Cells]]


def _nothing(*_: Any) -> tuple[Any, ...]:
    return ()


def _no_memories(_: Target) -> Mapping[str, int]:
    return {}


_ANSWERS: Mapping[str, tuple[str, Callable[[object], bool]]] = {
    "extents": ("a sequence of Extent", is_sequence_of(Extent)),
    "cycles": ("numbers not below 0", is_amount),
    "least_cycles": ("numbers not below 0", is_amount),
    "counts": ("a number not below 0 for each event", is_amounts),
    "rules": ("a sequence of Rule", is_sequence_of(Rule)),
    "memories": ("bytes not below 0 by the name of each memory", is_amounts),
    "arithmetic": ("a sequence of Cells", is_sequence_of(Cells)),
}
"""Functions of an `InstructionSpec`: what they must answer."""


@dataclass(frozen=True)
class InstructionSpec:
    """Declaration of one instruction: `fields` excludes the opcode and includes the synchronisation fields.

    All functions take the fields of one instruction or the columns of many (`isa.integers.Values`):

    - `rules` are asked only about instructions whose positive fields are positive.
    - `extents` are the exact bytes that a legal instruction reads and writes, whatever the data; hazards are their
      bounding boxes.
    - `cycles` are those of the unit that executes a legal instruction, start-up included (loads and stores: those of
      the scratchpad side), and `counts` its events. Each is None where data decide; the unit records the rest.
    - `least_cycles` are the fewest that it takes, whatever the data, where these decide.
    - `memories` are the bytes, over the whole machine, of memories for operands that exist for this instruction.
    - `arithmetic` is what the machine has of adders, multipliers and the like for this instruction alone.

    `events` are those that this instruction alone counts, in closed form or in its unit.
    """

    mnemonic: str
    opcode: int
    queue: Queue
    doc: str
    own_fields: tuple[Field, ...] = ()
    rules: Rules = _nothing
    extents: Extents = _nothing
    cycles: Cycles | None = None
    counts: Counts | None = None
    memories: Memories = _no_memories
    arithmetic: Arithmetic = _nothing
    events: tuple[Event, ...] = ()
    least_cycles: Cycles | None = None
    fields: tuple[Field, ...] = field(init=False)
    offsets: MappingProxyType[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _MNEMONIC.fullmatch(self.mnemonic):
            raise ValueError(f"mnemonic '{self.mnemonic}' cannot be assembled; requires a form like 'load.pow2'")
        for f in self.own_fields:
            if not _FIELD_NAME.fullmatch(f.name):
                raise ValueError(f"{self.mnemonic}: field '{f.name}' cannot be assembled; requires a form like 'pad_x'")
        fields = SYNC_FIELDS + self.own_fields
        offsets: dict[str, int] = {}
        position = OPCODE.bits
        for f in fields:
            offsets[f.name] = position
            position += f.bits
        if position > INSTRUCTION_BYTES * 8:
            raise ValueError(f"{self.mnemonic}: {position} bits do not fit {INSTRUCTION_BYTES} bytes")
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "offsets", MappingProxyType(offsets))
        if self.opcode in EXTERNAL_OPCODES:
            self._check_answers()

    def _check_answers(self) -> None:
        """Let the functions of another package be asked for what they must answer."""
        for name, (wanted, fits) in _ANSWERS.items():
            if (function := getattr(self, name)) is not None:
                what = f"{name} of the instruction '{self.mnemonic}'"
                object.__setattr__(self, name, checked(function, what, wanted, fits))

    def __hash__(self) -> int:
        return hash((self.mnemonic, self.opcode))

    def field_named(self, name: str) -> Field:
        """The field of a name. Raises KeyError."""
        for f in self.fields:
            if f.name == name:
                return f
        raise KeyError(f"{self.mnemonic} has no field '{name}'")

    def make(self, **values: int) -> Instruction:
        """An instruction of given field values, 0 where none is given. Unknown field names raise KeyError."""
        for name in values:
            if name not in self.offsets:
                raise KeyError(f"{self.mnemonic} has no field '{name}'")
        return Instruction(self, {f.name: int(values.get(f.name, 0)) for f in self.fields})


@dataclass
class Instruction:
    """One machine instruction: its declaration and the value of every field."""

    spec: InstructionSpec
    values: dict[str, int]

    def __getitem__(self, name: str) -> int:
        return self.values[name]


class EncodingError(UserError):
    """A field value or an instruction word that the instruction set does not allow."""


def check_fields(spec: InstructionSpec, values: Iterable[int]) -> None:
    """Raise `EncodingError` naming the first field whose value does not fit or is undefined."""
    for f, value in zip(spec.fields, values, strict=True):
        if not f.low <= value <= f.high:
            raise EncodingError(f"{spec.mnemonic}: {f.name}={value} does not fit [{f.low}, {f.high}]")
        if f.enum is not None and value not in f.enum.__members__.values():
            raise EncodingError(f"{spec.mnemonic}: {f.name}={value} is undefined")


def encode(instruction: Instruction) -> bytes:
    """Encode to `INSTRUCTION_BYTES` little-endian bytes. Raises `EncodingError` naming the field that does not fit."""
    spec = instruction.spec
    check_fields(spec, (instruction.values[f.name] for f in spec.fields))
    word = spec.opcode
    for f in spec.fields:
        word |= (instruction.values[f.name] & ((1 << f.bits) - 1)) << spec.offsets[f.name]
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode_as(spec: InstructionSpec, raw: bytes) -> Instruction:
    """Decode an instruction word of a known spec. Raises `EncodingError` on an undefined enum value or stray bits."""
    word = int.from_bytes(raw, "little") >> OPCODE.bits
    values: dict[str, int] = {}
    for f in spec.fields:
        value = word & ((1 << f.bits) - 1)
        word >>= f.bits
        values[f.name] = value - (1 << f.bits) if f.signed and value > f.high else value
    check_fields(spec, values.values())
    if word:
        raise EncodingError(f"{spec.mnemonic}: bits beyond the last field are set")
    return Instruction(spec, values)
