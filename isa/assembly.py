"""Assembly text: a whole program, readable, from which the same binary comes back byte for byte.

    .producer "escc 0.1.0"
    .target                                  or: .target "esc1", an installed target
    | name = "esc1"                          canonical TOML
    .arena 0x4000                            bytes
    .float_weights 77360                     of the original model; may be absent
    .input {"name": "x", "shape": [1, 3, 32, 32], "tensor": {...}}
    .output {...}
    .rodata                                  constants in hexadecimal
    00ff12...
    .text
    .layer {"name": "conv1", "kind": "dense", ...}
    load.act    dram=0x4000, format=raw, tensor_w=32, ...  ; wait compute>=3, signal
    .endlayer                                the instructions that follow belong to no layer
    end
    .sample
    .host                                    what the host computes around the program (isa/hosted.py); may be absent

Objects are JSON; keys left out have their defaults. An instruction names its non-zero fields and all enumerations; the
wait for each semaphore and `signal` follow a semicolon. `#` begins a comment. The grammar is `assembly.lark`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from importlib.resources import files
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from isa.declaration import SYNC_FIELDS, WAITS, Field, Instruction
from isa.errors import UserError
from isa.jsonform import from_plain, loads, to_plain
from isa.program import Layer, Port, Program, TensorRef
from isa.table import BY_MNEMONIC, OWN_INSTRUCTIONS
from isa.target import Target, installed_target, parse_target

if TYPE_CHECKING:
    from lark import Lark, Token

_BYTES_PER_LINE = 64
_T = TypeVar("_T")
_MNEMONIC_WIDTH = max(len(spec.mnemonic) for spec in OWN_INSTRUCTIONS)  # the text depends on no installed package


class AssemblyError(UserError):
    """Assembly text that is not understood; the cause begins with file:line:column."""


# Printing ----------------------------------------------------------------------------------------------------------


def format_instruction(instruction: Instruction) -> str:
    """One line of assembly: `conv.dense act=0x0, ih=8, ... ; wait compute>=3, signal`."""
    values = instruction.values
    operands = [
        f"{f.name}={_format_value(f, values[f.name])}"
        for f in instruction.spec.own_fields
        if values[f.name] or f.enum is not None
    ]
    sync = [f"{queue.name.lower()}>={values[name]}" for queue, name in WAITS if values[name]]
    if sync:
        sync[0] = f"wait {sync[0]}"
    if values["signal"]:
        sync.append("signal")
    text = instruction.spec.mnemonic
    if operands:
        text += " " + ", ".join(operands)
    if sync:
        text += " ; " + ", ".join(sync)
    return text


def _format_value(f: Field, value: int) -> str:
    if f.enum is not None:
        return f.enum(value).name.lower()
    return hex(value) if f.address else str(value)


def print_assembly(program: Program, *, data: bool = True) -> str:
    """The text of a program. Without `data`, constants and sample are left out: the binary does not come back from it.

    Layers must be in order: raises ValueError if two share an instruction.
    """
    lines = [f".producer {json.dumps(program.producer)}", ".target"]
    lines += [f"| {line}" for line in program.target.text.splitlines()]
    lines.append(f".arena {program.arena_bytes:#x}")
    if program.float_weights:
        lines.append(f".float_weights {program.float_weights}")
    lines += [f".input {_format_object(port)}" for port in program.inputs]
    lines += [f".output {_format_object(port)}" for port in program.outputs]
    if data:
        lines += [".rodata", *_rodata(program)]
    lines += [".text", *_text(program)]
    if data:
        lines += [".sample", *_hex(program.sample)]
        lines += [".host", *_hex(program.host)] if program.host else []
    return "\n".join(lines) + "\n"


def _format_object(value: Port | Layer) -> str:
    plain = cast(dict[str, Any], to_plain(value))
    shown = _without_defaults(type(value), {k: v for k, v in plain.items() if k not in ("start", "end")})
    (key,) = _TENSORS & set(shown)
    return json.dumps({**shown, key: _without_defaults(TensorRef, shown[key])})


_TENSORS = {"tensor", "output"}
"""Keys of ports and layers that hold a tensor."""


@cache
def _defaults(kind: type[Any]) -> Mapping[str, Any]:
    return {f.name: to_plain(f.default) for f in fields(kind) if f.default is not MISSING}


def _without_defaults(kind: type[Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    defaults = _defaults(kind)
    return {k: v for k, v in plain.items() if k not in defaults or v != defaults[k]}


def _with_defaults(kind: type[Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    whole = {**_defaults(kind), **plain}
    for key in _TENSORS & set(whole):
        if isinstance(whole[key], dict):
            whole[key] = {**_defaults(TensorRef), **cast("dict[str, Any]", whole[key])}
    return whole


def _hex(data: bytes) -> Iterator[str]:
    for start in range(0, len(data), _BYTES_PER_LINE):
        yield data[start : start + _BYTES_PER_LINE].hex()


def _rodata(program: Program) -> Iterator[str]:
    owners: dict[int, list[str]] = {}
    for layer in program.layers:
        for i, (address, _) in enumerate(layer.rodata):
            owners.setdefault(address, []).append(f"{layer.name}.const{i}")
    data = program.rodata
    starts = sorted({0, len(data), *(address for address in owners if 0 < address < len(data))})
    for start, end in pairwise(starts):
        names = " ".join(json.dumps(name) for name in owners.get(start, ()))
        yield f"# {start:#x} {names}".rstrip()
        yield from _hex(data[start:end])


def _text(program: Program) -> Iterator[str]:
    position = 0
    texts = [_aligned(format_instruction(instruction)) for instruction in program.instructions]
    for layer in program.layers:
        if not position <= layer.start <= layer.end <= len(texts):
            raise ValueError(f"layer {layer.name!r} does not follow the one before it")
        if position < layer.start:
            if layer is not program.layers[0]:
                yield ".endlayer"
            yield from texts[position : layer.start]
        yield f".layer {_format_object(layer)}"
        yield from texts[layer.start : layer.end]
        position = layer.end
    if program.layers and position < len(texts):
        yield ".endlayer"
    yield from texts[position:]


def _aligned(text: str) -> str:
    mnemonic, space, rest = text.partition(" ")
    return mnemonic + space if not rest else f"{mnemonic:<{_MNEMONIC_WIDTH}} {rest}"


# Parsing -----------------------------------------------------------------------------------------------------------


def parse_instruction(text: str, where: str = "instruction") -> Instruction:
    """Parse one line of assembly. Raises `AssemblyError` with line and column."""
    return cast(Instruction, _parse(text, "line", where))


def parse_assembly(text: str, where: str = "assembly") -> Program:
    """Parse the text of a program. Raises `AssemblyError` with line and column.

    Whether the program may run is for `isa.legality.check_executable` to say.
    """
    return cast(Program, _parse(text if text.endswith("\n") else text + "\n", "start", where))


class _Located(Exception):
    """A fault at a place of the text."""

    def __init__(self, token: Token | None, message: str, offset: int = 0):
        super().__init__(message)
        self.place = f":{token.line or 1}:{(token.column or 1) + offset}" if token is not None else ""


@cache
def _parser() -> Lark:
    from lark import Lark

    grammar = files("isa").joinpath("assembly.lark").read_text(encoding="utf-8")
    actions = cast(Any, _Actions())  # any object whose methods are named as the rules
    return Lark(grammar, parser="lalr", lexer="contextual", start=["start", "line"], transformer=actions)


def _parse(text: str, start: str, where: str) -> object:
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    try:
        return cast(Any, _parser()).parse(text, start)
    except _Located as e:
        raise AssemblyError(f"{where}{e.place}: {e}") from e
    except UnexpectedCharacters as e:
        found, expected = repr(text[e.pos_in_stream]), _expected(e.allowed)
        raise AssemblyError(f"{where}:{e.line}:{e.column}: unexpected {found}; expected {expected}") from e
    except UnexpectedToken as e:
        token = cast("Token", e.token)
        ends = {"$END": "end of the text", "_NL": "end of the line"}
        found = ends.get(token.type) or repr(str(token).splitlines()[0][:40])
        raise AssemblyError(f"{where}:{e.line}:{e.column}: unexpected {found}; expected {_expected(e.expected)}") from e


_TERMINALS = MappingProxyType(
    {
        "_NL": "the end of the line",
        "MNEMONIC": "an instruction",
        "OPERANDS": "operands 'field=value, ...'",
        "SYNC": "'wait queue>=count, ..., signal'",
        "INTEGER": "an integer",
        "STRING": "a string",
        "OBJECT": "a JSON object",
        "TARGET_LINES": "lines that begin with '|'",
        "HEX": "hexadecimal digits",
    }
)


def _expected(terminals: Iterable[str]) -> str:
    literal = {terminal.name: repr(terminal.pattern.value) for terminal in _parser().terminals}
    # Lark has several names for the end of the text; none of them is a terminal of the grammar.
    names = {_TERMINALS.get(name) or literal.get(name, "the end of the text") for name in terminals}
    return " or ".join(sorted(names))


_OPERAND = re.compile(r"([a-z_][a-z0-9_]*)[ \t]*=[ \t]*(-?[a-z0-9_]+)")
_SYNC = re.compile(r"(load|compute|post|store)[ \t]*>=[ \t]*([0-9]+)|(signal)")


@cache
def _by_name(mnemonic: str) -> dict[str, tuple[Field, dict[str, int]]]:
    """Fields that a line may set, each with the values of its enumeration by name."""
    return {
        f.name: (f, {name.lower(): int(member) for name, member in f.enum.__members__.items()} if f.enum else {})
        for f in BY_MNEMONIC[mnemonic].own_fields
    }


def _instruction(mnemonic: Token, operands: Token | None, sync: Token | None) -> Instruction:
    spec = BY_MNEMONIC.get(mnemonic)
    if spec is None:
        raise _Located(mnemonic, f"unknown instruction '{mnemonic}'; known: {', '.join(sorted(BY_MNEMONIC))}")
    values = dict.fromkeys(spec.offsets, 0)
    seen: set[str] = set()
    if operands is not None:
        known = _by_name(mnemonic)
        for match in _OPERAND.finditer(operands):
            name, text = match.groups()
            if name not in known:
                raise _Located(operands, f"{spec.mnemonic} has no field '{name}'", match.start())
            if name in seen:
                raise _Located(operands, f"field '{name}' is given twice", match.start())
            seen.add(name)
            f, members = known[name]
            values[name] = _value(f, members, text, operands, match.start(2))
    if sync is not None:
        for match in _SYNC.finditer(sync):
            queue, count, signal = match.groups()
            name = signal or f"wait_{queue}"
            if name in seen:
                raise _Located(sync, f"'{signal or queue}' is given twice", match.start())
            seen.add(name)
            values[name] = 1 if signal else _value(_SYNC_FIELDS[name], {}, count, sync, match.start(2))
    return Instruction(spec, values)


_SYNC_FIELDS = MappingProxyType({f.name: f for f in SYNC_FIELDS})


def _value(f: Field, members: Mapping[str, int], text: str, token: Token, offset: int) -> int:
    if text in members:
        return members[text]
    try:
        value = int(text, 0)
    except ValueError:
        what = f"one of {', '.join(members)}" if members else "an integer"
        raise _Located(token, f"{f.name} must be {what}, found '{text[:40]}'", offset) from None
    if members and value not in members.values():
        raise _Located(token, f"{f.name} must be one of {', '.join(members)}, found {value}", offset)
    if not f.low <= value <= f.high:
        raise _Located(token, f"{f.name}={text[:40]} does not fit [{f.low}, {f.high}]", offset)
    return value


class _Text:
    """Instructions and layers of a .text section as they come."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.layers: list[Layer] = []
        self._open: tuple[dict[str, Any], Token] | None = None
        self._start = 0

    def begin(self, token: Token) -> None:
        self.close()
        self._open, self._start = (_object(token), token), len(self.instructions)

    def close(self) -> None:
        if self._open is not None:
            plain, token = self._open
            whole = _with_defaults(Layer, {**plain, "start": self._start, "end": len(self.instructions)})
            self.layers.append(_located(lambda: from_plain(Layer, whole, ".layer"), token))
            self._open = None


def _located(build: Callable[[], _T], token: Token) -> _T:
    """Call `build`; a fault of the user lies at `token`."""
    try:
        return build()
    except UserError as e:
        raise _Located(token, e.causes[0]) from e


def _object(token: Token) -> dict[str, Any]:
    return _located(lambda: loads(token, "object"), token)


def _port(token: Token) -> Port:
    return _located(lambda: from_plain(Port, _with_defaults(Port, _object(token)), "port"), token)


def _bytes(tokens: Sequence[Token]) -> bytes:
    data = bytearray()
    for token in tokens:
        try:
            data += bytes.fromhex(token)
        except ValueError:
            odd = next(i for i, line in enumerate(token.splitlines()) if len(line.strip()) % 2)
            raise _Located(token, f"line {odd + 1} of these has an odd number of digits") from None
    return bytes(data)


class _Actions:
    """What each rule of the grammar yields from the values of its parts."""

    def instruction(self, parts: list[Any]) -> Instruction:
        return _instruction(parts[0], parts[1], parts[2])

    def line(self, parts: list[Instruction]) -> Instruction:
        return parts[0]

    def layer(self, parts: list[Token]) -> Token:
        return parts[0]

    def endlayer(self, _: list[Token]) -> None:
        return None

    def text(self, parts: list[Instruction | Token | None]) -> tuple[str, _Text]:
        text = _Text()
        for part in parts:
            if isinstance(part, Instruction):
                text.instructions.append(part)
            elif part is None:
                text.close()
            else:
                text.begin(part)
        text.close()
        return "text", text

    def producer(self, parts: list[Token]) -> tuple[str, str]:
        return "producer", _string(parts[0])

    def named_target(self, parts: list[Token]) -> tuple[str, Target]:
        return "target", _located(lambda: installed_target(_string(parts[0])), parts[0])

    def target(self, parts: list[Token]) -> tuple[str, Target]:
        lines = (line.strip()[1:].removeprefix(" ") for line in parts[0].splitlines())
        text = "\n".join(lines) + "\n"
        return "target", _located(lambda: parse_target(text, ".target"), parts[0])

    def arena(self, parts: list[Token]) -> tuple[str, int]:
        return "arena", _value(_ARENA, {}, parts[0], parts[0], 0)

    def float_weights(self, parts: list[Token]) -> tuple[str, int]:
        return "float_weights", _value(_FLOAT_WEIGHTS, {}, parts[0], parts[0], 0)

    def input(self, parts: list[Token]) -> tuple[str, Port]:
        return "input", _port(parts[0])

    def output(self, parts: list[Token]) -> tuple[str, Port]:
        return "output", _port(parts[0])

    def rodata(self, parts: list[Token]) -> tuple[str, bytes]:
        return "rodata", _bytes(parts)

    def sample(self, parts: list[Token]) -> tuple[str, bytes]:
        return "sample", _bytes(parts)

    def host(self, parts: list[Token]) -> tuple[str, bytes]:
        return "host", _bytes(parts)

    def start(self, sections: list[tuple[str, Any]]) -> Program:
        once: dict[str, Any] = {}
        ports: dict[str, list[Port]] = {"input": [], "output": []}
        for name, value in sections:
            if name in ports:
                ports[name].append(value)
            elif name in once:
                raise _Located(None, f".{name} is given twice")
            else:
                once[name] = value
        missing = [f".{name}" for name in ("target", "text") if name not in once]
        if missing:
            raise _Located(None, f"{' and '.join(missing)} missing")
        text: _Text = once["text"]
        return Program(
            target=once["target"],
            instructions=tuple(text.instructions),
            rodata=once.get("rodata", b""),
            arena_bytes=once.get("arena", 0),
            inputs=tuple(ports["input"]),
            outputs=tuple(ports["output"]),
            layers=tuple(text.layers),
            sample=once.get("sample", b""),
            producer=once.get("producer", ""),
            float_weights=once.get("float_weights", 0),
            host=once.get("host", b""),
        )


_ARENA = Field("arena", 40, "bytes of the arena")
_FLOAT_WEIGHTS = Field("float_weights", 63, "weights of the original model")


def _string(token: Token) -> str:
    return _located(lambda: from_plain(str, loads(token, "string"), "string"), token)
