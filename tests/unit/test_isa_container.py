"""The ELF container: contents, stability, and rejection of everything else."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_programs import small_program, with_instruction

from isa.container import MACHINE, TEXT_BASE, ContainerError, read_elf, write_elf
from isa.declaration import INSTRUCTION_BYTES, encode
from isa.errors import UserError
from isa.program import Program

PROGRAM = small_program()
DATA = write_elf(PROGRAM)
ELF = ELFFile(io.BytesIO(DATA))
LAST_LINE = 64 + len("  file\n")


def sealed(data: bytes) -> bytes:
    """With the digest of the whole file made right again."""
    body = data[:-LAST_LINE]
    return body + f"{hashlib.sha256(body).hexdigest()}  file\n".encode()


def assert_rejected(data: bytes, match: str | None = None) -> None:
    """One line of cause, and no exception but ours."""
    with pytest.raises(ContainerError, match=match) as caught:
        read_elf(data, "model.bin")
    (cause,) = caught.value.causes
    assert cause.startswith("model.bin: ")
    assert "\n" not in cause
    assert len(cause) < 600


def section(name: str) -> bytes:
    return ELF.get_section_by_name(name).data()


def test_round_trip() -> None:
    assert read_elf(DATA) == PROGRAM
    assert write_elf(read_elf(DATA)) == DATA


@pytest.mark.parametrize(
    "program",
    [
        small_program(rodata=b"\xff" * 5000, producer=""),
        small_program(producer='é "\n\\'),
        replace(PROGRAM, sample=b""),
        replace(PROGRAM, layers=(), inputs=(), outputs=(), sample=b"", instructions=PROGRAM.instructions[-1:]),
        replace(PROGRAM, layers=(replace(PROGRAM.layers[0], name="nul\0 and \ud800"), PROGRAM.layers[1])),
    ],
)
def test_round_trip_of_unusual_programs(program: Program) -> None:
    assert read_elf(write_elf(program)) == program


def test_sections() -> None:
    assert [s.name for s in ELF.iter_sections()] == [
        "", ".rodata", ".bss", ".text", ".note.esc", ".esc.target", ".esc.io", ".esc.map", ".esc.sample", ".symtab",
        ".strtab", ".shstrtab", ".esc.sums",
    ]  # fmt: skip
    assert ELF["e_machine"] == MACHINE
    assert section(".rodata") == PROGRAM.rodata
    assert len(section(".text")) == INSTRUCTION_BYTES * len(PROGRAM.instructions)
    assert section(".esc.sample") == PROGRAM.sample
    bss = ELF.get_section_by_name(".bss")
    assert (bss["sh_addr"], bss["sh_size"], bss["sh_type"]) == (4096, 1024, "SHT_NOBITS")
    assert json.loads(section(".esc.io"))["outputs"][0]["name"] == "scores é"
    assert json.loads(section(".esc.map"))["layers"][0]["nodes"][0] == "/conv1/Conv"
    for s in ELF.iter_sections():
        if s["sh_type"] not in ("SHT_NULL", "SHT_NOBITS"):
            assert s["sh_offset"] % max(1, s["sh_addralign"]) == 0


def test_symbols() -> None:
    table = ELF.get_section_by_name(".symtab")
    assert isinstance(table, SymbolTableSection)
    symbols = [(s.name, s["st_info"]["type"], s["st_value"], s["st_size"]) for s in table.iter_symbols()]
    assert symbols[1:] == [
        ("/conv1", "STT_FUNC", TEXT_BASE, 6 * INSTRUCTION_BYTES),
        ("/conv1.const0", "STT_OBJECT", 0, 64),
        ("/conv1.const1", "STT_OBJECT", 64, 72),
        ("/conv2", "STT_FUNC", TEXT_BASE + 6 * INSTRUCTION_BYTES, 5 * INSTRUCTION_BYTES),
    ]


def test_sums() -> None:
    pairs = [line.split("  ") for line in section(".esc.sums").decode().splitlines()]
    lines = {name: digest for digest, name in pairs}
    assert lines[".rodata"] == hashlib.sha256(PROGRAM.rodata).hexdigest()
    assert lines[".text"] == hashlib.sha256(section(".text")).hexdigest()
    assert DATA.endswith(f"{hashlib.sha256(DATA[:-LAST_LINE]).hexdigest()}  file\n".encode())
    assert list(lines)[-2:] == ["headers", "file"]


@pytest.mark.skipif(shutil.which("readelf") is None, reason="binutils are not installed")
def test_readelf_and_objdump(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(DATA)
    for command in (["readelf", "-W", "-a", "-s", "-n"], ["objdump", "-s"]):
        result = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
        assert result.stderr == ""
        assert "arning" not in result.stdout
        for name in (".rodata", ".text", ".esc.map"):
            assert name in result.stdout
    result = subprocess.run(["readelf", "-W", "-s", "-n", str(path)], capture_output=True, text=True, check=True)
    assert "/conv1.const0" in result.stdout
    assert "escc" in result.stdout


def test_an_illegal_program_is_not_written() -> None:
    with pytest.raises(UserError, match="ACT is touched"):
        write_elf(with_instruction(PROGRAM, 2, act=131040))


def test_a_racy_program_is_neither_written_nor_read() -> None:
    racy = with_instruction(PROGRAM, 5, wait_post=0)
    with pytest.raises(UserError, match="may still be writing it"):
        write_elf(racy)
    text = section(".text")
    assert_rejected(
        forged(".text", text[: 5 * INSTRUCTION_BYTES] + encode(racy.instructions[5]) + text[6 * INSTRUCTION_BYTES :]),
        "may still be writing it",
    )


def test_a_program_that_reads_what_nothing_has_written_is_not_written() -> None:
    with pytest.raises(
        UserError, match=r"instruction 2 'load.act .*': reads dram\[0x1000\], which nothing has written"
    ):
        write_elf(replace(PROGRAM, inputs=(), sample=b""))


# Rejection -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "the file is empty"),
        (b"hello\n", "no ELF file"),
        (b"\x7fELF", "header is incomplete"),
        (DATA[:200], "truncated"),
        (DATA[:-1], "truncated or damaged"),
        (DATA + b"\0", "SHA-256 does not match"),
        (DATA[:18] + b"\x3e\0" + DATA[20:], "machine number 0x3e, expected 0xe5c1"),
        (DATA[:48] + b"\1" + DATA[49:], "made for ISA version 1; this release reads 5"),
        (DATA[:4] + b"\1" + DATA[5:], "not a little-endian ELF64"),
    ],
)
def test_foreign_and_cut_files(data: bytes, match: str) -> None:
    assert_rejected(data, match)


def test_every_flipped_bit_is_detected() -> None:
    for at in range(0, len(DATA), 7):  # hypothesis takes the others
        damaged = bytearray(DATA)
        damaged[at] ^= 1 << at // 7 % 8
        assert_rejected(bytes(damaged))


@given(st.integers(0, 8 * len(DATA) - 1))
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_is_detected(bit: int) -> None:
    damaged = bytearray(DATA)
    damaged[bit // 8] ^= 1 << bit % 8
    assert_rejected(bytes(damaged))


@given(st.integers(0, len(DATA) - 1))
@settings(max_examples=100, deadline=None)
def test_any_truncation_is_detected(size: int) -> None:
    assert_rejected(DATA[:size])


def test_the_damaged_section_is_named() -> None:
    at = ELF.get_section_by_name(".text")["sh_offset"]
    assert_rejected(DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :], r"does not match \(section .text\)")


TABLE = ELF["e_shoff"]
EHDR = [(4, 1), (5, 1), (6, 1), (7, 1), (8, 8), (16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (40, 8), (48, 4), (52, 2)]
EHDR += [(54, 2), (56, 2), (58, 2), (60, 2), (62, 2)]
PHDR = [(64 + 56 * i + at, size) for i in range(4) for at, size in ((0, 4), (4, 4), *((a, 8) for a in range(8, 56, 8)))]
SHDR_FIELDS = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))
SHDR = [(TABLE + 64 * i + at, size) for i in range(13) for at, size in SHDR_FIELDS]


@pytest.mark.parametrize("value", ["zero", "ones", "plus", "minus", "high"])
def test_header_fields_under_a_right_digest(value: str) -> None:
    """A file made to deceive: any header field changed and the digest of the file made right again."""
    for at, size in EHDR + PHDR + SHDR:
        old = int.from_bytes(DATA[at : at + size], "little")
        top = (1 << 8 * size) - 1
        new = {"zero": 0, "ones": top, "plus": old + 1 & top, "minus": old - 1 & top, "high": old ^ (top + 1) >> 1}[
            value
        ]
        if new != old:
            assert_rejected(sealed(DATA[:at] + new.to_bytes(size, "little") + DATA[at + size :]))


def test_section_types_under_a_right_digest() -> None:
    for i in range(1, 13):
        at = TABLE + 64 * i + 4
        for kind in (*range(20), 0x6FFFFFF6, 0x6FFFFFFE, 0x70000001):
            if kind != int.from_bytes(DATA[at : at + 4], "little"):
                assert_rejected(sealed(DATA[:at] + kind.to_bytes(4, "little") + DATA[at + 4 :]), "has type")


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_bytes_under_a_right_digest(data: st.DataObject) -> None:
    """Whatever is changed, the reader accepts only what the writer would write."""
    damaged = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(DATA) - LAST_LINE - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    try:
        program = read_elf(sealed(bytes(damaged)))
    except ContainerError as e:
        assert len(e.causes) == 1
    else:
        assert write_elf(program) == sealed(bytes(damaged))


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_garbage(data: bytes, like_elf: bool) -> None:
    assert_rejected(DATA[:64] + data if like_elf else data)


def forged(name: str, content: bytes) -> bytes:
    """A file with other contents of one section of the same size, all digests right."""
    old = ELF.get_section_by_name(name)
    at, size = old["sh_offset"], old["sh_size"]
    content = content.ljust(size, b" ")
    assert len(content) == size
    data = DATA[:at] + content + DATA[at + size :]
    before, after = hashlib.sha256(DATA[at : at + size]).hexdigest(), hashlib.sha256(content).hexdigest()
    return sealed(data.replace(before.encode(), after.encode()))


def test_forged_contents() -> None:
    io_text = section(".esc.io")
    assert_rejected(forged(".esc.io", b"[" * len(io_text)), r"\.esc\.io: not JSON")
    assert_rejected(forged(".esc.io", b"{}"), r"'float_weights' is missing")
    assert_rejected(forged(".esc.io", b"\xff"), "not UTF-8")
    assert_rejected(forged(".esc.io", b'{"float_weights":0,"inputs":[],"outputs":[]}'), "the inputs take 0")
    assert_rejected(forged(".esc.io", io_text.replace(b'"scale":0.1,', b'"scale": .1,')), "not JSON")
    assert_rejected(forged(".esc.io", io_text.replace(b'"mean":[1.0', b'"mean":[1e0')), "not in the form")
    assert_rejected(forged(".esc.io", io_text.replace(b'"h":4', b'"h":5', 1)), "does not fit")
    assert_rejected(forged(".esc.io", io_text.replace(b'"raw"', b'"rax"', 1)), "must be one of raw, bitmap")
    assert_rejected(forged(".esc.io", io_text.replace(b'"h":4', b'"h":"', 1)), "not JSON")
    assert_rejected(
        forged(".esc.map", section(".esc.map").replace(b'"start":6', b'"start":5')), "expected a range from 6"
    )
    target = section(".esc.target")
    assert_rejected(forged(".esc.target", target.replace(b"isa_version = 5", b"isa_version = 6")), "isa_version 6")
    assert_rejected(forged(".esc.target", target.replace(b"blocks = 32", b"blocks = -2")), "must be in 1..1024")
    assert_rejected(forged(".esc.target", target.replace(b"\nlanes = 64", b"\nlanes = 65", 1)), "not in the form")
    note = section(".note.esc")
    assert_rejected(
        forged(".note.esc", note.replace(struct.pack("<II", 4, 5), struct.pack("<II", 5, 5))), "format version 5"
    )
    assert_rejected(
        forged(".note.esc", note.replace(struct.pack("<II", 4, 5), struct.pack("<II", 4, 6))), "ISA version 6"
    )
    text = section(".text")
    assert_rejected(forged(".text", b"\x99" + text[1:]), "instruction 0: unknown opcode 0x99")
    assert_rejected(forged(".text", text[:63] + b"\x01" + text[64:]), "bits beyond the last field")
    assert_rejected(forged(".text", text[-64:] + text[64:]), "'end' must be the last")


def test_forged_constants_are_only_constants() -> None:
    assert read_elf(forged(".rodata", bytes(200))).rodata == bytes(200)


def test_same_bytes_in_another_process(tmp_path: Path) -> None:
    script = "import sys; sys.path.insert(0, sys.argv[1]); from isa_programs import small_program; "
    script += "from isa.container import write_elf; sys.stdout.buffer.write(write_elf(small_program()))"
    import os
    import sys

    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", script, str(Path(__file__).parent)]
        result = subprocess.run(command, env=environment, capture_output=True, check=True, cwd=tmp_path)
        assert result.stdout == DATA
