"""Assembly text: round trips and diagnostics."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_programs import instructions, small_program

from isa.assembly import AssemblyError, format_instruction, parse_assembly, parse_instruction, print_assembly
from isa.container import read_elf, write_elf
from isa.declaration import Field, Instruction, InstructionSpec
from isa.errors import UserError
from isa.program import Program
from isa.table import BY_MNEMONIC, INSTRUCTIONS, make
from isa.target import load_target

PROGRAM = small_program()
TEXT = print_assembly(PROGRAM)

ALL_FIELDS = [(spec, f) for spec in INSTRUCTIONS for f in spec.fields]


@given(instructions)
@settings(max_examples=300, deadline=None)
def test_instruction_round_trip(instruction: Instruction) -> None:
    assert parse_instruction(format_instruction(instruction)) == instruction


@pytest.mark.parametrize(("spec", "f"), ALL_FIELDS, ids=[f"{s.mnemonic}-{f.name}" for s, f in ALL_FIELDS])
def test_boundaries_of_a_field(spec: InstructionSpec, f: Field) -> None:
    for value in [int(m) for m in f.enum] if f.enum else [f.low, f.high]:
        instruction = make(spec.mnemonic, **{f.name: value})
        assert parse_instruction(format_instruction(instruction)) == instruction
    if f in spec.own_fields:
        for value in (f.low - 1, f.high + 1):
            with pytest.raises(AssemblyError, match=r"does not fit|must be one of"):
                parse_instruction(f"{spec.mnemonic} {f.name}={value}")


def test_format() -> None:
    conv = make("conv.dense", act=16, ih=8, pt=-1, wait_load=2, wait_post=3, signal=1)
    assert format_instruction(conv) == "conv.dense act=0x10, ih=8, pt=-1 ; wait load>=2, post>=3, signal"
    assert format_instruction(make("load.act", signal=1)) == "load.act format=raw ; signal"
    assert format_instruction(make("end")) == "end"


@pytest.mark.parametrize(
    "text",
    [
        "load.bytes dram=0x40,size=9,pad=par;wait compute>=3,signal",
        "  load.bytes\tsize = 9 , dram = 64 , pad = 1 ; signal , wait compute >= 3  # why\n",
        "\n# first\n\nload.bytes pad=par, size=0x9, dram=64, dst=0 ; compute>=3, signal\n\n",
    ],
)
def test_free_form(text: str) -> None:
    want = make("load.bytes", dram=64, size=9, pad=1, wait_compute=3, signal=1)
    assert parse_instruction(text) == want


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("conv.dense act=0, foo=1", 19, "conv.dense has no field 'foo'"),
        ("conv.dense act=0, wait_load=1", 19, "conv.dense has no field 'wait_load'"),
        ("conv.dense act=0, act=1", 19, "field 'act' is given twice"),
        ("conv.dens act=0", 1, "unknown instruction 'conv.dens'; known: conv.circ, conv.dense, "),
        ("load.act format=rax", 17, "format must be one of raw, bitmap, found 'rax'"),
        ("load.act format=2", 17, "format must be one of raw, bitmap, found 2"),
        ("load.act y=raw", 12, "y must be an integer, found 'raw'"),
        ("load.act y=0x10000", 12, "y=0x10000 does not fit [0, 65535]"),
        ("load.act y=010", 12, "y must be an integer, found '010'"),
        ("load.act y=", 10, "unexpected 'y'"),
        ("load.act y=1,, x=2", 13, "unexpected ','"),
        ("load.act y=1 x=2", 14, "unexpected 'x=2'"),
        ("load.act y=0x", 13, "unexpected 'x'"),
        ("load.act Y=1", 10, "unexpected 'Y'"),
        ("end ; wait load>=8388608", 18, "wait_load=8388608 does not fit [0, 8388607]"),
        ("end ; signal, signal", 15, "'signal' is given twice"),
        ("end ; wait load>=1, wait load>=2", 26, "'load' is given twice"),
        ("end ; wait loud>=1", 7, "unexpected 'wait'; expected 'wait queue>=count, ..., signal'"),
        ("end ;\n", 6, "unexpected end of the line; expected 'wait"),
        ("end ;", 6, "unexpected end of the text"),
        ("", 1, "unexpected end of the text; expected an instruction"),
        ("end\nend", 1, "unexpected 'e'; expected the end of the text"),
    ],
)
def test_faults_of_an_instruction(text: str, column: int, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        parse_instruction(text, "in.s")
    (cause,) = caught.value.causes
    where, _, told = cause.partition(": ")
    assert message in told
    if "end of the text" not in told and "\n" not in text:
        assert where == f"in.s:1:{column}"


# Programs ------------------------------------------------------------------------------------------------------------


def assert_round_trip(program: Program) -> None:
    text = print_assembly(program)
    again = parse_assembly(text)
    assert again == program
    assert print_assembly(again) == text


def test_binary_round_trip() -> None:
    binary = write_elf(PROGRAM)
    assert write_elf(parse_assembly(print_assembly(read_elf(binary)))) == binary


@pytest.mark.parametrize(
    "program",
    [
        PROGRAM,
        small_program(rodata=b"", producer='"\\é\n'),
        small_program(rodata=bytes(300)),
        replace(PROGRAM, sample=b"", layers=()),
        replace(PROGRAM, inputs=(), outputs=()),
        replace(PROGRAM, layers=(replace(PROGRAM.layers[0], end=0), replace(PROGRAM.layers[1], start=4, end=10))),
        replace(PROGRAM, layers=(replace(PROGRAM.layers[1], start=4, end=8),)),
        replace(PROGRAM, layers=(replace(PROGRAM.layers[0], name="# } \0 \ud800"),)),
        replace(PROGRAM, target=replace(PROGRAM.target, name='x "y" \n# z', description="é\x7f|")),
    ],
)
def test_round_trip(program: Program) -> None:
    assert_round_trip(program)


@given(st.lists(instructions, max_size=12), st.binary(max_size=200), st.binary(max_size=70), st.integers(0, 2**30))
@settings(max_examples=60, deadline=None)
def test_round_trip_of_any_program(code: list[Instruction], rodata: bytes, sample: bytes, arena: int) -> None:
    assert_round_trip(Program(load_target(), tuple(code), rodata, arena, (), (), (), sample))


def test_layers_that_overlap_cannot_be_printed() -> None:
    with pytest.raises(ValueError, match="does not follow"):
        print_assembly(replace(PROGRAM, layers=PROGRAM.layers[::-1]))


def test_without_data() -> None:
    text = print_assembly(PROGRAM, data=False)
    assert ".rodata" not in text.replace("rodata", "", 0).split(".text")[0]
    assert ".sample" not in text
    assert parse_assembly(text).instructions == PROGRAM.instructions


def test_constants_are_labelled() -> None:
    lines = TEXT.splitlines()
    at = lines.index('# 0x40 "/conv1.const1"')
    assert lines[at + 1] == PROGRAM.rodata[64:128].hex()
    assert lines[at - 1] == PROGRAM.rodata[:64].hex()


HAND_WRITTEN = """
# A program by hand.
.target "esc1"
.text
    load.bytes size=4, pad=coef   # four weights
    end
.rodata
    00 01
    02   # a comment
    03
"""


def test_hand_written() -> None:
    with pytest.raises(AssemblyError, match=r"asm:8:8: unexpected '01'"):
        parse_assembly(HAND_WRITTEN, "asm")
    program = parse_assembly(HAND_WRITTEN.replace("00 01", "0001"))
    assert program.rodata == bytes(range(4))
    assert program.target == load_target()
    assert program.arena_bytes == 0
    assert [i.spec.mnemonic for i in program.instructions] == ["load.bytes", "end"]
    assert read_elf(write_elf(program)) == program


def test_assembly_opens_no_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('base = "esc1"\n')
    with pytest.raises(AssemblyError, match=r"asm:1:9: unknown target '.*mine.toml'; installed: esc1"):
        parse_assembly(f'.target "{path}"\n.text\nend\n', "asm")


def test_windows_line_ends() -> None:
    assert parse_assembly(TEXT.replace("\n", "\r\n")) == PROGRAM


def test_defaults_of_objects() -> None:
    tensor = (
        '{"name": "x", "address": 0, "h": 1, "w": 1, "c": 2, "format": "raw", "segment": 0, "signed": true, "scale": 1}'
    )
    text = f'.target "esc1"\n.input {{"name": "a", "shape": [1, 2], "tensor": {tensor}}}\n.text\n'
    (port,) = parse_assembly(text).inputs
    assert (port.shape, port.tensor.scale, port.softmax_axis, port.mean) == ((1, 2), 1.0, None, ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "in.s: .target and .text missing"),
        ('.text\n.target "esc1"\n.text\n', "in.s: .text is given twice"),
        ("hello\n", "in.s:1:1: unexpected 'hello'"),
        ('.target "nowhere"\n.text\n', "in.s:1:9: unknown target 'nowhere'"),
        (".target\n| blocks = 3\n.text\n", "in.s:2:1: .target: unknown parameter 'blocks'"),
        (".target\n| = 3\n.text\n", "in.s:2:1: .target: not TOML"),
        ('.target "esc1"\n.arena -1\n.text\n', "in.s:2:8: arena=-1 does not fit"),
        ('.target "esc1"\n.arena 0x\n.text\n', "in.s:2:9: unexpected 'x'"),
        ('.target "esc1"\n.input {"name"}\n.text\n', "in.s:2:8: object: not JSON"),
        ('.target "esc1"\n.input {"name": 3}\n.text\n', "in.s:2:8: port: 'shape' is missing"),
        ('.target "esc1"\n.input {"nam": 3, "name": 3, "shape": 3, "tensor": 3}\n.text\n', "port: 'nam' is unknown"),
        ('.target "esc1"\n.text\n.layer {"start": 3}\nend\n', "in.s:3:8: .layer: 'kind' is missing"),
        ('.target "esc1"\n.text\nend 3\n', "in.s:3:5: unexpected '3'"),
        ('.target "esc1"\n.text\nend\n.rodata\n00\n0\n', "in.s:5:1: line 2 of these has an odd number of digits"),
        ('.target "esc1"\n.text\nend\n.rodata\n0g\n', "in.s:5:2: unexpected 'g'"),
        ('.target "esc1"\n.text\nend\n.producer hello\n', "in.s:4:11: unexpected 'hello'; expected a string"),
        ('.target "esc1"\n.text\nend\n.producer "\\q"\n', "in.s:4:11: string: not JSON"),
        ('.target "esc1" .text\n', "in.s:1:16: unexpected '.text'"),
    ],
)
def test_faults_of_a_program(text: str, message: str) -> None:
    with pytest.raises(AssemblyError) as caught:
        parse_assembly(text, "in.s")
    (cause,) = caught.value.causes
    assert message in cause
    assert "\n" not in cause


@given(st.text(max_size=60), st.integers(0, len(TEXT) - 1), st.integers(0, 40))
@settings(max_examples=200, deadline=None)
def test_damaged_text(inserted: str, at: int, removed: int) -> None:
    try:
        parse_assembly(TEXT[:at] + inserted + TEXT[at + removed :])
    except UserError as e:
        assert len(e.causes) == 1


def test_a_long_program_survives() -> None:
    """Not a benchmark: parsing that is not linear would not end here."""
    code = PROGRAM.instructions[:-1] * 400
    data = np.random.default_rng(0).bytes(1 << 20)
    program = replace(PROGRAM, instructions=(*code, PROGRAM.instructions[-1]), rodata=data, layers=())
    assert parse_assembly(print_assembly(program)) == program


def test_every_mnemonic_is_a_token_of_the_grammar() -> None:
    for mnemonic in BY_MNEMONIC:
        assert parse_instruction(mnemonic).spec.mnemonic == mnemonic
