"""The binary: an ELF64 file whose every byte follows from the program.

Sections. `.rodata` lies at DRAM address 0, `.bss` is the arena at `Program.arena_base`, `.text` has addresses of its
own.

.rodata      constants: packed coefficients, dense weights, bases, parameters
.bss         the activation arena (no bytes in the file)
.text        instructions, 64 bytes each
.note.esc    notes of owner "escc": type 0xe501 uint32 format version, uint32 ISA version; type 0xe502 the producer's
             name and version; type 0xe503 SHA-256 of the target text
.esc.target  canonical TOML of the machine
.esc.io      JSON: inputs, outputs (names, shapes, tensors, scales, preprocessing), weights of the original float model
.esc.map     JSON: layers (instruction range, ONNX nodes, output tensor, constants)
.esc.sample  one quantised input, the bytes of all inputs in order; may be empty
.symtab      a FUNC symbol per layer over `.text`, an OBJECT symbol per range of its constants
.esc.host    what the host computes around the program (isa/hosted.py); only where it computes anything
.esc.sums    last in the file; text lines "<SHA-256>  <name>": every section with bytes, "headers" (ELF header, program
             headers, section headers), and at last "file": all bytes before that line

JSON is canonical (ASCII, sorted keys, no spaces). A reader accepts a file only if it equals, byte for byte, what the
writer makes of its contents.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from isa.code import WordError, decode_all
from isa.declaration import INSTRUCTION_BYTES, Instruction, encode
from isa.errors import UserError
from isa.jsonform import canonical, from_plain, loads
from isa.layout import align
from isa.legality import check_executable
from isa.program import PAGE, Layer, Port, Program
from isa.target import ISA_VERSION, parse_target
from isa.text import printable

FORMAT_VERSION = 4
MACHINE = 0xE5C1
"""Private ELF machine number."""
TEXT_BASE = 1 << 40
"""Address of the first instruction: above the 40 bits of DRAM addresses."""
NOTE_OWNER = "escc"

_NOTE_VERSIONS, _NOTE_PRODUCER, _NOTE_TARGET = 0xE501, 0xE502, 0xE503

_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_SHDR = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_NOTE = struct.Struct("<III")
_VERSIONS = struct.Struct("<II")
_IDENT = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64 bit, little-endian, version 1, System V
_ET_EXEC = 2
_PT_LOAD, _PT_NOTE = 1, 4
_X, _W, _R = 1, 2, 4
_PROGBITS, _SYMTAB, _STRTAB, _NOTE_TYPE, _NOBITS = 1, 2, 3, 7, 8
_SHF_WRITE, _SHF_ALLOC, _SHF_EXECINSTR = 1, 2, 4
_STT_OBJECT, _STT_FUNC = 1, 2


@dataclass(frozen=True)
class _Kind:
    """What is fixed about a section. `link` names the section that sh_link refers to."""

    name: str
    type: int
    flags: int = 0
    align: int = 1
    entry: int = 0
    link: str = ""


_KINDS = (
    _Kind(".rodata", _PROGBITS, _SHF_ALLOC, 64),
    _Kind(".bss", _NOBITS, _SHF_ALLOC | _SHF_WRITE, PAGE),
    _Kind(".text", _PROGBITS, _SHF_ALLOC | _SHF_EXECINSTR, INSTRUCTION_BYTES),
    _Kind(".note.esc", _NOTE_TYPE, align=4),
    _Kind(".esc.target", _PROGBITS),
    _Kind(".esc.io", _PROGBITS),
    _Kind(".esc.map", _PROGBITS),
    _Kind(".esc.sample", _PROGBITS, align=64),
    _Kind(".symtab", _SYMTAB, align=8, entry=_SYMBOL.size, link=".strtab"),
    _Kind(".strtab", _STRTAB),
    _Kind(".shstrtab", _STRTAB),
    _Kind(".esc.host", _PROGBITS),
    _Kind(".esc.sums", _PROGBITS),
)
_WITHOUT_HOST = tuple(kind for kind in _KINDS if kind.name != ".esc.host")
_INDEX: Mapping[str, int] = {kind.name: i for i, kind in enumerate(_KINDS, 1)}
_PHDRS = 4
_DIGEST_HEX = 64


@dataclass(frozen=True)
class _Ports:
    """Object of .esc.io."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    float_weights: int


@dataclass(frozen=True)
class _Map:
    """Object of .esc.map."""

    layers: tuple[Layer, ...]


class ContainerError(UserError):
    """A file that is no binary of ours, or a damaged one."""


# Writing -----------------------------------------------------------------------------------------------------------


def write_elf(program: Program) -> bytes:
    """The binary of a program. Raises `UserError` if the program fails `isa.legality.check_executable`."""
    check_executable(program)
    return _image(program, b"".join(map(encode, program.instructions)))


class _Strings:
    """A string table."""

    def __init__(self) -> None:
        self.data = bytearray(1)
        self._at: dict[bytes, int] = {b"": 0}

    def add(self, text: str) -> int:
        raw = printable(text).encode()
        if raw not in self._at:
            self._at[raw] = len(self.data)
            self.data += raw + b"\0"
        return self._at[raw]


def _symbols(program: Program) -> tuple[bytes, bytes]:
    """Contents of .symtab and .strtab."""
    strings = _Strings()
    table = bytearray(_SYMBOL.size)
    for layer in program.layers:
        start, size = TEXT_BASE + layer.start * INSTRUCTION_BYTES, (layer.end - layer.start) * INSTRUCTION_BYTES
        table += _SYMBOL.pack(strings.add(layer.name), _STT_FUNC, 0, _INDEX[".text"], start, size)
        for i, (address, size) in enumerate(layer.rodata):
            name = strings.add(f"{layer.name}.const{i}")
            table += _SYMBOL.pack(name, _STT_OBJECT, 0, _INDEX[".rodata"], address, size)
    return bytes(table), bytes(strings.data)


def _note(kind: int, payload: bytes) -> bytes:
    owner = NOTE_OWNER.encode() + b"\0"
    head = _NOTE.pack(len(owner), len(payload), kind)
    return head + owner.ljust(align(len(owner), 4), b"\0") + payload.ljust(align(len(payload), 4), b"\0")


def _notes(producer: str, target_text: bytes) -> bytes:
    return (
        _note(_NOTE_VERSIONS, _VERSIONS.pack(FORMAT_VERSION, ISA_VERSION))
        + _note(_NOTE_PRODUCER, producer.encode(errors="backslashreplace"))
        + _note(_NOTE_TARGET, hashlib.sha256(target_text).digest())
    )


def _contents(program: Program, text: bytes) -> dict[str, bytes]:
    """Bytes of every section of the file except .esc.sums."""
    target = program.target.text.encode()
    symtab, strtab = _symbols(program)
    names = _Strings()
    for kind in _kinds(bool(program.host)):
        names.add(kind.name)
    contents = {
        ".rodata": program.rodata,
        ".text": text,
        ".note.esc": _notes(program.producer, target),
        ".esc.target": target,
        ".esc.io": canonical(_Ports(program.inputs, program.outputs, program.float_weights)).encode(),
        ".esc.map": canonical(_Map(program.layers)).encode(),
        ".esc.sample": program.sample,
        ".symtab": symtab,
        ".strtab": strtab,
        ".shstrtab": bytes(names.data),
    }
    return {**contents, ".esc.host": program.host} if program.host else contents


def _kinds(hosted: bool) -> tuple[_Kind, ...]:
    """Sections of a file, in order."""
    return _KINDS if hosted else _WITHOUT_HOST


def _sha(data: bytes | bytearray) -> str:
    return hashlib.sha256(data).hexdigest()


def _image(program: Program, text: bytes) -> bytes:
    """The whole file; `text` is the encoded instructions."""
    contents, kinds = _contents(program, text), _kinds(bool(program.host))
    sums_size = sum(_DIGEST_HEX + 3 + len(name) for name in (*contents, "headers", "file"))
    names = _Strings()
    address = {".rodata": 0, ".bss": program.arena_base, ".text": TEXT_BASE}
    headers = bytearray(_SHDR.size)
    place: dict[str, tuple[int, int]] = {}
    body = bytearray(_EHDR.size + _PHDRS * _PHDR.size)
    table = 0
    for kind in kinds:
        if kind.name == ".esc.sums":  # behind the section headers, so that its last line covers all
            body += bytes(align(len(body), 8) - len(body))
            table = len(body)
            body += bytes((len(kinds) + 1) * _SHDR.size)
            size = sums_size
        else:
            size = program.arena_bytes if kind.type == _NOBITS else len(contents[kind.name])
            if kind.type != _NOBITS:
                body += bytes(align(len(body), kind.align) - len(body))
        place[kind.name] = (len(body), size)
        headers += _SHDR.pack(
            names.add(kind.name),
            kind.type,
            kind.flags,
            address.get(kind.name, 0),
            *place[kind.name],
            _INDEX[kind.link] if kind.link else 0,
            size // _SYMBOL.size if kind.type == _SYMTAB else 0,  # sh_info: all symbols are local
            kind.align,
            kind.entry,
        )
        body += contents.get(kind.name, b"")
    front = _front(program, place, table)
    body[: len(front)] = front
    body[table : table + len(headers)] = headers
    lines = [*((name, _sha(data)) for name, data in contents.items()), ("headers", _sha(front + bytes(headers)))]
    body += "".join(f"{digest}  {name}\n" for name, digest in lines).encode()
    return bytes(body) + f"{_sha(body)}  file\n".encode()


def _front(program: Program, place: Mapping[str, tuple[int, int]], table: int) -> bytes:
    """ELF header and program headers."""
    ehdr = _EHDR.pack(
        _IDENT,
        _ET_EXEC,
        MACHINE,
        1,
        TEXT_BASE,
        _EHDR.size,
        table,
        ISA_VERSION,
        _EHDR.size,
        _PHDR.size,
        _PHDRS,
        _SHDR.size,
        len(_kinds(bool(program.host))) + 1,
        _INDEX[".shstrtab"],
    )

    def segment(kind: int, name: str, flags: int, address: int, alignment: int) -> bytes:
        offset, size = place[name]
        in_file = 0 if name == ".bss" else size
        return _PHDR.pack(kind, flags, offset, address, address, in_file, size, alignment)

    return (
        ehdr
        + segment(_PT_LOAD, ".rodata", _R, 0, 64)
        + segment(_PT_LOAD, ".bss", _R | _W, program.arena_base, 64)
        + segment(_PT_LOAD, ".text", _R | _X, TEXT_BASE, 64)
        + segment(_PT_NOTE, ".note.esc", _R, 0, 4)
    )


# Reading -----------------------------------------------------------------------------------------------------------


def read_elf(data: bytes, where: str = "binary") -> Program:
    """The program of a binary. Raises `ContainerError` with one line, beginning with `where`, on any other file."""
    try:
        _check_header(data)
        _check_digest(data)
        contents = _sections(data)
        program = _program(contents, _payloads(contents[".note.esc"]), _headers(data)[".bss"][2])
        check_executable(program)
        if _image(program, contents[".text"]) != data:
            raise ContainerError("not in the form that this format version prescribes")
    except UserError as e:
        first, *others = e.causes
        more = f" (and {len(others)} more)" if others else ""
        note = e.note or "give a binary made by escc or esc-as"
        raise ContainerError(printable(f"{where}: {first}{more}"), note) from e
    return program


def _check_header(data: bytes) -> None:
    """Is this, at first sight, a whole file of ours that we can read?"""
    if not data.startswith(_IDENT[:4]):
        raise ContainerError("not a compiled model: no ELF file" if data else "not a compiled model: the file is empty")
    if len(data) < _EHDR.size:
        raise ContainerError("truncated: the ELF header is incomplete")
    ident, _, machine, _, _, _, table, flags, _, _, _, _, count, _ = _EHDR.unpack_from(data)
    if machine != MACHINE:
        raise ContainerError(f"not a compiled model: ELF machine number {machine:#x}, expected {MACHINE:#x}")
    if ident != _IDENT:
        raise ContainerError("damaged: not a little-endian ELF64 file")
    if flags != ISA_VERSION:
        raise ContainerError(f"made for ISA version {flags}; this release reads {ISA_VERSION}")
    if table + count * _SHDR.size > len(data):
        raise ContainerError(f"truncated or damaged: {len(data)} bytes, section headers at {table:#x}")
    if count not in (len(_KINDS) + 1, len(_WITHOUT_HOST) + 1):
        raise ContainerError(f"damaged: {count} sections, expected {len(_WITHOUT_HOST) + 1} or {len(_KINDS) + 1}")


def _check_digest(data: bytes) -> None:
    """The last line is the digest of all bytes before it."""
    size = _DIGEST_HEX + len("  file\n")
    body, line = data[:-size], data[-size:]
    if line != f"{_sha(body)}  file\n".encode():
        raise ContainerError("truncated or damaged: the file's SHA-256 does not match" + _damaged(data))


def _damaged(data: bytes) -> str:
    """Which sections differ from their checksums, as far as that can be told."""
    try:
        contents = _sections(data)
    except ContainerError:
        return ""
    lines = contents.pop(".esc.sums").decode(errors="replace").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    wrong = [name for name, content in contents.items() if sums.get(name) != _sha(content)]
    return f" (section {', '.join(wrong)})" if wrong else ""


def _headers(data: bytes) -> dict[str, tuple[int, int, int]]:
    """Type, offset and size of every section, as the section headers have it. Their place has been checked."""
    table, count = _EHDR.unpack_from(data)[6], _EHDR.unpack_from(data)[12]
    kinds = _kinds(count == len(_KINDS) + 1)
    rows = (_SHDR.unpack_from(data, table + number * _SHDR.size) for number in range(1, len(kinds) + 1))
    return {kind.name: (row[1], row[4], row[5]) for kind, row in zip(kinds, rows, strict=True)}


def _sections(data: bytes) -> dict[str, bytes]:
    """Contents of all sections that have any in the file, by name.

    Sections are found by their number: whatever else the headers say must equal what the writer makes of the contents.
    """
    contents: dict[str, bytes] = {}
    headers = _headers(data)
    for kind in _kinds(".esc.host" in headers):
        found, offset, size = headers[kind.name]
        if found != kind.type:
            raise ContainerError(f"damaged: section {kind.name} has type {found}, expected {kind.type}")
        if kind.type == _NOBITS:
            continue
        if offset + size > len(data):
            raise ContainerError(f"damaged: section {kind.name} exceeds the file")
        contents[kind.name] = data[offset : offset + size]
    return contents


def _payloads(raw: bytes) -> dict[int, bytes]:
    """Notes by type."""
    found: dict[int, bytes] = {}
    at = 0
    while at + _NOTE.size <= len(raw):
        owner, size, kind = _NOTE.unpack_from(raw, at)
        at += _NOTE.size + align(owner, 4)
        found[kind] = raw[at : at + size]
        at += align(size, 4)
    return found


_RECOMPILE = "compile the model again with this release, or run the binary with the release that made it"


def _program(contents: Mapping[str, bytes], notes: Mapping[int, bytes], arena_bytes: int) -> Program:
    versions = notes.get(_NOTE_VERSIONS, b"").ljust(_VERSIONS.size, b"\0")
    format_version, isa_version = _VERSIONS.unpack_from(versions)
    if format_version != FORMAT_VERSION:
        raise ContainerError(f"has format version {format_version}; this release reads {FORMAT_VERSION}", _RECOMPILE)
    if isa_version != ISA_VERSION:
        raise ContainerError(f"made for ISA version {isa_version}; this release reads {ISA_VERSION}", _RECOMPILE)
    ports = from_plain(_Ports, loads(_text(contents, ".esc.io"), ".esc.io"), ".esc.io")
    layers = from_plain(_Map, loads(_text(contents, ".esc.map"), ".esc.map"), ".esc.map").layers
    return Program(
        target=parse_target(_text(contents, ".esc.target")),
        instructions=_instructions(contents[".text"]),
        rodata=contents[".rodata"],
        arena_bytes=arena_bytes,
        inputs=ports.inputs,
        outputs=ports.outputs,
        layers=layers,
        sample=contents[".esc.sample"],
        producer=_utf8(notes.get(_NOTE_PRODUCER, b""), ".note.esc"),
        float_weights=ports.float_weights,
        host=contents.get(".esc.host", b""),
    )


def _text(contents: Mapping[str, bytes], name: str) -> str:
    return _utf8(contents[name], name)


def _utf8(raw: bytes, name: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise ContainerError(f"{name}: not UTF-8 text: {e}") from e


def _instructions(text: bytes) -> tuple[Instruction, ...]:
    if len(text) % INSTRUCTION_BYTES:
        raise ContainerError(f".text: {len(text)} bytes are no multiple of {INSTRUCTION_BYTES}")
    try:
        return decode_all(text)
    except WordError as e:
        raise ContainerError(f".text: instruction {e.index}: {e}") from e
