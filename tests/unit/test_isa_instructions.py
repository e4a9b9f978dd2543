"""Encoding and decoding of every instruction and field."""

from enum import IntEnum

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_programs import instructions

from isa.declaration import (
    INSTRUCTION_BYTES,
    OPCODE,
    SYNC_FIELDS,
    EncodingError,
    Field,
    Instruction,
    InstructionSpec,
    encode,
)
from isa.errors import UserError
from isa.formats import Queue
from isa.table import BY_MNEMONIC, INSTRUCTIONS, decode, make

ALL_FIELDS = [(spec, f) for spec in INSTRUCTIONS for f in spec.fields]
IDS = [f"{spec.mnemonic}-{f.name}" for spec, f in ALL_FIELDS]


@given(instructions)
@settings(max_examples=300, deadline=None)
def test_round_trip(instruction: Instruction) -> None:
    raw = encode(instruction)
    assert len(raw) == INSTRUCTION_BYTES
    assert decode(raw) == instruction


@pytest.mark.parametrize(("spec", "f"), ALL_FIELDS, ids=IDS)
def test_boundaries_of_a_field(spec: InstructionSpec, f: Field) -> None:
    values = [int(m) for m in f.enum] if f.enum else [f.low, f.high]
    for value in values:
        raw = encode(make(spec.mnemonic, **{f.name: value}))
        assert decode(raw)[f.name] == value
        word = int.from_bytes(raw, "little")
        # Nothing but the opcode and the field itself is set.
        mask = ((1 << f.bits) - 1) << spec.offsets[f.name]
        assert word & ~mask == spec.opcode
    for value in (f.low - 1, f.high + 1):
        with pytest.raises(EncodingError, match=f"{f.name}="):
            encode(make(spec.mnemonic, **{f.name: value}))


@pytest.mark.parametrize(("spec", "f"), [(s, f) for s, f in ALL_FIELDS if f.enum], ids=lambda x: str(x)[:20])
def test_undefined_enumeration_values(spec: InstructionSpec, f: Field) -> None:
    assert f.enum is not None
    good = encode(make(spec.mnemonic))
    for value in range(1 << f.bits):
        if value not in {int(m) for m in f.enum}:
            word = int.from_bytes(good, "little") | value << spec.offsets[f.name]
            with pytest.raises(EncodingError, match=f"{f.name}={value} is undefined"):
                decode(word.to_bytes(INSTRUCTION_BYTES, "little"))


def test_undefined_enumeration_values_do_not_encode() -> None:
    with pytest.raises(EncodingError, match="format=3"):
        encode(make("load.act", format=3))


@pytest.mark.parametrize("spec", INSTRUCTIONS, ids=lambda s: s.mnemonic)
def test_stray_bits(spec: InstructionSpec) -> None:
    used = OPCODE.bits + sum(f.bits for f in spec.fields)
    raw = encode(make(spec.mnemonic))
    for bit in (used, INSTRUCTION_BYTES * 8 - 1):
        word = int.from_bytes(raw, "little") | 1 << bit
        with pytest.raises(EncodingError, match="beyond the last field"):
            decode(word.to_bytes(INSTRUCTION_BYTES, "little"))


def test_unknown_opcodes() -> None:
    known = {spec.opcode for spec in INSTRUCTIONS}
    for opcode in set(range(256)) - known:
        with pytest.raises(EncodingError, match="unknown opcode"):
            decode(bytes([opcode]) + bytes(INSTRUCTION_BYTES - 1))


@given(st.binary(min_size=INSTRUCTION_BYTES, max_size=INSTRUCTION_BYTES))
@settings(max_examples=200, deadline=None)
def test_garbage_is_rejected_or_encodes_again(raw: bytes) -> None:
    try:
        instruction = decode(raw)
    except UserError:
        return
    assert encode(instruction) == raw


def test_declarations() -> None:
    assert len({spec.opcode for spec in INSTRUCTIONS}) == len({s.mnemonic for s in INSTRUCTIONS}) == len(INSTRUCTIONS)
    for spec in INSTRUCTIONS:
        names = [f.name for f in spec.fields]
        assert len(set(names)) == len(names)
        assert spec.fields[: len(SYNC_FIELDS)] == SYNC_FIELDS
        assert all(f.doc and f.bits > 0 for f in spec.fields)
    assert {spec.queue for spec in INSTRUCTIONS} == set(Queue)
    assert BY_MNEMONIC["end"].queue is Queue.STORE


def test_fields_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        InstructionSpec("big", 0x77, Queue.LOAD, "", tuple(Field(f"f{i}", 64, "") for i in range(8)))


def test_unknown_field_names() -> None:
    with pytest.raises(KeyError, match="no field 'foo'"):
        make("end", foo=1)


def test_enumerations_fit_their_fields() -> None:
    for _, f in ALL_FIELDS:
        if f.enum is not None:
            assert issubclass(f.enum, IntEnum)
            assert all(f.low <= member <= f.high for member in f.enum)


@pytest.mark.parametrize("mnemonic", ["Load", "load.", "load.a.b", "2load", "load pow2", "load.pow-2"])
def test_mnemonics_that_the_assembler_cannot_read_are_refused(mnemonic: str) -> None:
    with pytest.raises(ValueError, match="cannot be assembled"):
        InstructionSpec(mnemonic, 0x80, Queue.LOAD, "")
    with pytest.raises(ValueError, match="field 'A b' cannot be assembled"):
        InstructionSpec("load.pow2", 0x80, Queue.LOAD, "", (Field("A b", 8, ""),))
