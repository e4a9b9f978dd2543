"""`docs/isa.md` and a page for each instruction in `docs/isa/`, made from the declarations.

An instruction stands on its own page alone, so that those who add two of them write no file in common. How the
machine executes it is Markdown beside its declaration (`isa/instructions/NAME.md`).
"""

from __future__ import annotations

import inspect
from dataclasses import fields
from enum import IntEnum
from importlib.resources import files

from isa import assembly, coefficients, container, hazards, layout, legality, packing, parameters, weights
from isa.declaration import INSTRUCTION_BYTES, OPCODE, SYNC_FIELDS, Field, InstructionSpec
from isa.events import tables_of
from isa.layout import ADD_BLOCK_BYTES, DRAM_ALIGN, TABLE_BYTES
from isa.program import PAGE
from isa.table import OWN_INSTRUCTIONS
from isa.target import load_target

_INTRODUCTION = f"""\
# The ESC-1 instruction set

Generated from the declarations in `isa/` by `make docs`; do not edit. Each instruction has a page in [isa/](isa/), with
its fields, the memories that it touches and the enumerations that its fields take.

An instruction has {INSTRUCTION_BYTES} bytes, little-endian, and is complete in itself: it names the tiles that it
reads and writes, their geometry, and the semaphores that it waits for. `.text` holds instructions only; there are no
branches.
"""

_SYNCHRONISATION = """\
## Queues and synchronisation

| queue | executes |
|---|---|
| load | transfers from DRAM to the scratchpads |
| compute | convolutions |
| post | what follows a convolution: requantisation, additions, tables, pooling |
| store | transfers to DRAM, and the end of the program |

A queue takes its instructions in program order and completes them in that order. Compute and post complete one before
they start the next; load and store work on several at once. Different queues run independently and meet only at
semaphores. Each queue owns one semaphore, a counter that starts at 0 and is incremented when an instruction with
`signal=1` completes. `wait_<queue>=n` with n > 0 holds an instruction back until the semaphore of that queue has
reached n. A wait must be satisfied by signals that stand before it in program order; so no
program can hang.

Program order is the order of meaning. A program is correct if semaphores order every two instructions of different
queues that touch the same bytes, at least one of them writing, as they are ordered in `.text`. An instruction counts as
touching every byte from the first to the last that it may touch whatever the data. The emulator checks this before it
runs a program and names both instructions of a race.
"""

_MEMORIES = """\
## Memories

| space | bytes (`esc1`) | holds |
|---|---|---|
{rows}

Addresses are in bytes, and each space begins at 0. Constants (`.rodata`) lie at DRAM address 0; the arena of
activations begins at the next multiple of {page}. Tensors begin at multiples of {align} in DRAM,
constants anywhere: a transfer moves the whole bursts that its first and last bytes lie in.
"""

_HOLDS = {
    "act": "tiles of activations: inputs, residuals and outputs",
    "coef": "streams of packed coefficients, dense weights",
    "par": "bases, requantisation parameters, tables",
    "psum": "partial sums, int32",
}

_BLOCKS = f"""\
Parameters in PAR are packed without gaps, little-endian:

| block | bytes | contents |
|---|---|---|
| requantisation | 9 * kn | int32 bias[kn], int32 mult[kn], uint8 shift[kn] |
| addition | {ADD_BLOCK_BYTES} | int32 ma, int32 mb, int16 lo, int16 hi, uint8 shift |
| table | {TABLE_BYTES} | result by stored byte |
| average | 4 * counts | int32 mult[], one for each window count from count0 up |
| bases | v * r * s | int8 [v][r][s] |

COEF holds dense weights as int8 [kn][r][s][cpg], depthwise weights as int8 [kn][r][s], and coefficients as
streams, as they lie in DRAM. PSUM tiles are int32 [oh][ow][kt].
"""


def page() -> str:
    """The whole of docs/isa.md: what all instructions have in common."""
    parts = [
        _INTRODUCTION,
        _SYNCHRONISATION,
        _memories(),
        _word(),
        "## Legality\n",
        _prose(legality.RULES),
        "## Layouts\n",
        _prose(_body(layout)),
        _BLOCKS,
        "## Streams of coefficients\n",
        _prose(_body(coefficients)),
        "## Packed signs\n",
        _listing(_body(packing)),
        "## Packed weights\n",
        _listing(_body(weights)),
        "## Packed requantisation parameters\n",
        _listing(_body(parameters)),
        "## Binary\n",
        _listing(_body(container)),
        "## Assembly\n",
        _listing(_body(assembly)),
        "The grammar, for [lark](https://github.com/lark-parser/lark):\n",
        _listing(files("isa").joinpath("assembly.lark").read_text(encoding="utf-8")),
    ]
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """File name below docs/ and text of every page about the instruction set."""
    own = {f"isa/{_file(spec)}.md": _instruction(spec) for spec in OWN_INSTRUCTIONS}
    return {"isa.md": page(), **own}


def _body(module: object) -> str:
    """Docstring of a module without its first line."""
    return (inspect.getdoc(module) or "").partition("\n")[2].strip("\n")


def _plain(text: str) -> str:
    """A line of text whose asterisks stand for products: Markdown would take two of them for emphasis."""
    parts = text.split("`")
    parts[::2] = [part.replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def _prose(text: str) -> str:
    return text.strip() + "\n"


def _listing(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def _memories() -> str:
    target = load_target()
    rows = [
        f"| {f.name.upper()} | {getattr(target.scratchpad, f.name)} | {_HOLDS[f.name]} |"
        for f in fields(target.scratchpad)
    ]
    rows.append(f"| DRAM | {target.dram.capacity_mib << 20} | constants and the arena of activations |")
    return _MEMORIES.format(rows="\n".join(rows), page=PAGE, align=DRAM_ALIGN)


def _word() -> str:
    spec = OWN_INSTRUCTIONS[0]
    rows = [_row(OPCODE, 0), *(_row(f, spec.offsets[f.name]) for f in SYNC_FIELDS)]
    return (
        "## The instruction word\n\n"
        "Bit i of the word is bit i % 8 of byte i // 8. All instructions begin with these fields; their own follow\n"
        "without gaps, and all bits after the last field are 0. Fields marked `signed` are in two's complement.\n\n"
        f"{_TABLE_HEAD}\n" + "\n".join(rows) + "\n"
    )


_TABLE_HEAD = "| bits | field | values | |\n|---|---|---|---|"


def _row(f: Field, offset: int) -> str:
    bits = str(offset) if f.bits == 1 else f"{offset + f.bits - 1}:{offset}"
    values = f"{f.low} .. {f.high}"
    if f.enum is not None:
        values = ", ".join(f"{member.value} {name.lower()}" for name, member in f.enum.__members__.items())
    elif f.address:
        values = f"address, {f.bits} bits"
    return f"| {bits} | `{f.name}` | {values}{', signed' if f.signed else ''} | {_plain(f.doc)} |"


def _instruction(spec: InstructionSpec) -> str:
    lines = [
        f"# `{spec.mnemonic}`",
        "",
        f"Generated from `isa/instructions/{_file(spec)}.py` by `make docs`; do not edit. What all instructions share",
        "stands in [isa.md](../isa.md).",
        "",
        f"Opcode {spec.opcode:#04x}, {spec.queue.name.lower()} queue. {_memory(spec)}",
    ]
    lines += ["", _plain(spec.doc), ""]
    if spec.own_fields:
        lines += [_TABLE_HEAD, *(_row(f, spec.offsets[f.name]) for f in spec.own_fields), ""]
    kinds = dict.fromkeys(f.enum for f in spec.own_fields if f.enum is not None)
    lines += [_enumeration(kind) for kind in kinds]
    about = files("isa").joinpath(f"instructions/{_file(spec)}.md")
    if about.is_file():
        lines.append(about.read_text(encoding="utf-8"))
    return "\n".join([*lines, *_events(spec)])


def _events(spec: InstructionSpec) -> list[str]:
    """What the instruction alone counts: its tables of the statistics, and the energies of its events."""
    lines: list[str] = []
    for table, events in tables_of(spec.events).items():
        lines += [f"## Statistics: `{table.name}`", "", _plain(table.doc), "", f"| event | {table.unit} |", "|---|---|"]
        lines += [*(f"| `{name}` | {_plain(event.doc)} |" for name, event in events.items()), ""]
    target = load_target()
    priced = [
        f"| {_plain(event.doc)} | {event.picojoule(target):.3f} pJ | `{event.component.name}` |"
        for event in spec.events
        if event.picojoule is not None and event.component is not None
    ]
    if priced:
        lines += ["## Energy of its events", "", "| event | `esc1` | component |", "|---|---|---|", *priced, ""]
    return lines


def _file(spec: InstructionSpec) -> str:
    """The name that the instruction's files have in every room."""
    return spec.mnemonic.replace(".", "_")


def _memory(spec: InstructionSpec) -> str:
    """Which spaces the instruction touches, as the hazard analysis has it."""
    target = load_target()
    spaces: dict[bool, set[str]] = {False: set(), True: set()}
    for choice in (0, 1):
        values = {f.name: choice if f.enum is not None else 1 for f in spec.own_fields}
        for access in hazards.accesses(spec.make(**values), target):
            spaces[access.write].add(access.space)
    told = [
        f"{verb} {', '.join(space.upper() for space in hazards.SPACES if space in spaces[write])}"
        for write, verb in ((False, "reads"), (True, "writes"))
        if spaces[write]
    ]
    return "It " + " and ".join(told) + "." if told else "It touches no memory."


def _enumeration(kind: type[IntEnum]) -> str:
    rows = [f"| {member.value} | `{name.lower()}` |" for name, member in kind.__members__.items()]
    head = f"`{kind.__name__}`: {inspect.getdoc(kind)}"
    return "\n".join([head, "", "| value | name |", "|---|---|", *rows, ""])
