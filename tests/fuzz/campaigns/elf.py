"""Binaries: damaged ones, and ones whose checksums are right although nobody compiled them."""

from __future__ import annotations

import hashlib
import io
import json
import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from elftools.elf.elffile import ELFFile

from fuzz.findings import Finding
from fuzz.mutate import mutate_bytes, mutate_json, mutate_text
from fuzz.oracles import check_program
from fuzz.sandbox import Sandbox
from isa import container
from isa.errors import UserError
from isa.jsonform import from_plain, to_plain
from isa.program import Layer, Port, Program

_EDITED = (".text", ".text", ".rodata", ".esc.io", ".esc.io", ".esc.map", ".esc.target", ".esc.sample", ".note.esc")
_OTHERS = (".symtab", ".strtab", ".shstrtab", "headers")


def seeds(kit: Path) -> list[bytes]:
    return [(kit / name).read_bytes() for name in ("dense.bin", "escalate.bin")]


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    choice = rng.random()
    if choice < 0.1:
        return mutate_bytes(rng, data, other)
    if choice < 0.55:
        return _edit_section(rng, data)
    return _rewrite(rng, data)


def check(box: Sandbox, kit: Path, data: bytes) -> bool:
    box.start({"m.bin": data})
    outputs = ("s.json", "t.json", "y.npz")
    options = ("--stats", "--stats-json", "s.json", "--trace", "t.json", "--output", "y.npz")
    ran = box.command("esc-emu", "m.bin", *options, outputs=outputs, about="m.bin") == 0
    if ran:
        for name in ("s.json", "t.json"):
            json.loads((box.folder / name).read_text(), parse_constant=_no_number)
    read = box.command("esc-dis", "m.bin", "-o", "m.s", outputs=("m.s",), about="m.bin") == 0
    if ran and not read:
        raise Finding("wrong", "esc-emu runs what esc-dis refuses")
    if read and box.command("esc-as", "m.s", "-o", "again.bin", outputs=("again.bin",), about="m.s") == 0:
        if (box.folder / "again.bin").read_bytes() != data:
            raise Finding("wrong", "esc-dis and esc-as make another binary")
    elif ran:
        raise Finding("wrong", "esc-as refuses the text of a binary that runs")
    if ran:
        check_program(container.read_elf(data), random.Random(len(data)))
    return ran


def _no_number(text: str) -> None:
    raise Finding("text", f"JSON holds {text}")


# Edits in place, with checksums that fit ------------------------------------------------------------------------------


def _edit_section(rng: random.Random, data: bytes) -> bytes:
    """Bytes of one section, or of the headers, changed but not their number; all checksums computed again."""
    image = bytearray(data)
    places = _places(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = rng.choice((*_EDITED, *_EDITED, *_OTHERS))
        start, size = places[name]
        part = bytes(image[start : start + size])
        if size:
            image[start : start + size] = _same_length(rng, name, part)
    return _sealed(bytes(image), places)


def _same_length(rng: random.Random, name: str, part: bytes) -> bytes:
    if name in (".esc.io", ".esc.map", ".esc.target") and rng.random() < 0.7:
        digits = [i for i, byte in enumerate(part) if chr(byte).isdigit()]
        at = rng.choice(digits)
        return part[:at] + rng.choice(b"0123456789-e.").to_bytes(1, "little") + part[at + 1 :]
    return mutate_bytes(rng, part, resize=False)


def _places(data: bytes) -> dict[str, tuple[int, int]]:
    """Offset and size of every section with bytes, and of the section headers."""
    elf = ELFFile(io.BytesIO(data))
    found = {s.name: (s["sh_offset"], s["sh_size"]) for s in elf.iter_sections() if s["sh_type"] != "SHT_NOBITS"}
    found["headers"] = (elf["e_shoff"], elf["e_shnum"] * elf["e_shentsize"])
    return found


def _sealed(image: bytes, places: dict[str, tuple[int, int]]) -> bytes:
    """The image with right checksums of the sections, the headers and the file."""
    start, size = places[".esc.sums"]
    front = image[: min(offset for offset, _ in places.values() if offset)]
    lines = []
    for line in image[start : start + size].decode().splitlines()[:-1]:
        name = line.split("  ", 1)[1]
        offset, length = places[name]
        part = image[offset : offset + length]
        lines.append(f"{hashlib.sha256(front + part if name == 'headers' else part).hexdigest()}  {name}\n")
    body = image[:start] + "".join(lines).encode()
    return body + f"{hashlib.sha256(body).hexdigest()}  file\n".encode()


# Programs that no check has seen, written as the writer writes --------------------------------------------------------


def _rewrite(rng: random.Random, data: bytes) -> bytes:
    program = container.read_elf(data)
    for _ in range(100):
        try:
            changed = _change(rng, program)
            with patch.object(container, "check_executable"):
                return container.write_elf(changed)
        except (UserError, ValueError, KeyError, OverflowError, struct.error):
            continue
    return data


def _change(rng: random.Random, program: Program) -> Program:
    choice = rng.randrange(8)
    if choice < 2:
        return replace(program, inputs=_changed(rng, Port, program.inputs))
    if choice < 4:
        return replace(program, outputs=_changed(rng, Port, program.outputs))
    if choice < 6:
        return replace(program, layers=_changed(rng, Layer, program.layers))
    if choice == 6:
        text = mutate_text(rng, program.target.text)
        return replace(program, target=type(program.target)(**vars(container.parse_target(text))))
    arena = rng.choice((0, 1, program.arena_bytes * 2, 1 << 20, 1 << 30, 1 << 40, (1 << 63) - 1))
    instructions = list(program.instructions)
    del instructions[rng.randrange(len(instructions))]
    return rng.choice(
        (
            replace(program, arena_bytes=arena),
            replace(program, sample=mutate_bytes(rng, program.sample)),
            replace(program, rodata=mutate_bytes(rng, program.rodata)),
            replace(program, instructions=tuple(instructions)),
            replace(program, float_weights=rng.choice((-1, 1 << 40, (1 << 63) - 1))),
            replace(program, producer=mutate_text(rng, "escc 0\x1b[2J\u202e")),
        )
    )


def _changed(rng: random.Random, kind: type[Any], values: tuple[Any, ...]) -> tuple[Any, ...]:
    plain = mutate_json(rng, to_plain(values))
    return from_plain(tuple[kind, ...], plain, "mutant")  # type: ignore[valid-type]
