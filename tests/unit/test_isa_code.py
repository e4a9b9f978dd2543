"""Instructions as columns: words, rules, extents and closed forms say the same of one instruction and of many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_programs import instruction_of, instructions, small_program

from isa.circulant import FAST_BLOCKS
from isa.code import WordError, decode_all, group, touched
from isa.declaration import EXTERNAL_OPCODES, INSTRUCTION_BYTES, Instruction, InstructionSpec, encode
from isa.errors import UserError
from isa.events import EnergyComponent, Event, EventTable
from isa.formats import Queue, Space
from isa.hazards import accesses
from isa.integers import entry
from isa.legality import check_instruction, instruction_faults
from isa.table import BY_MNEMONIC, INSTRUCTIONS, assemble_table, decode, make
from isa.target import load_target

TARGET = load_target()


@given(st.lists(instructions, max_size=12))
@settings(max_examples=60, deadline=None)
def test_words_decode_together_as_one_by_one(code: list[Instruction]) -> None:
    text = b"".join(map(encode, code))
    assert list(decode_all(text)) == code
    assert [decode(text[i : i + INSTRUCTION_BYTES]) for i in range(0, len(text), INSTRUCTION_BYTES)] == code


@given(st.lists(instructions, min_size=1, max_size=5), st.data())
@settings(max_examples=150, deadline=None)
def test_the_first_bad_word_is_named_as_alone(code: list[Instruction], data: st.DataObject) -> None:
    words = [bytearray(encode(instruction)) for instruction in code]
    for word in words:
        for _ in range(data.draw(st.integers(0, 3))):
            word[data.draw(st.integers(0, INSTRUCTION_BYTES - 1))] = data.draw(st.integers(0, 255))

    def cause(word: bytes) -> str | None:
        try:
            decode(word)
        except UserError as e:
            return str(e)
        return None

    causes = [cause(bytes(word)) for word in words]
    bad = next((i for i, text in enumerate(causes) if text is not None), None)
    if bad is None:
        assert list(map(encode, decode_all(b"".join(words)))) == words
        return
    with pytest.raises(WordError) as caught:
        decode_all(b"".join(words))
    assert (caught.value.index, str(caught.value)) == (bad, causes[bad])


def test_groups_hold_every_field() -> None:
    program = small_program()
    seen = {}
    for part in program.groups:
        assert list(part.values) == [f.name for f in part.spec.fields]
        for place, number in enumerate(part.number.tolist()):
            seen[number] = Instruction(part.spec, {name: int(c[place]) for name, c in part.values.items()})
    assert [seen[i] for i in range(len(program.instructions))] == list(program.instructions)


def some_of(spec: InstructionSpec, rng: np.random.Generator, n: int) -> list[Instruction]:
    """Instructions of one mnemonic with small fields, so that many are legal."""
    found = []
    for _ in range(n):
        values = {f.name: int(rng.integers(max(f.low, -3), min(f.high, 9) + 1)) for f in spec.own_fields}
        values |= {f.name: int(rng.choice([int(m) for m in f.enum])) for f in spec.own_fields if f.enum}
        values |= {f.name: int(rng.integers(0, 2)) for f in spec.own_fields if f.bits == 1}
        values |= {name: 64 * values[name] for name in ("dram", "psum") if name in values}
        # Strides of tiles and addresses apart: small ones alone would hardly ever leave the tiles disjoint.
        values |= {name: 16 + values[name] for name in values if name.endswith(("_w", "_c")) and name[:-2] in values}
        values |= {name: (1 + i) * 20000 for i, name in enumerate(("act", "res", "out")) if name in values}
        if "block" in values:  # few sizes have a fast product
            values |= {"block": int(rng.choice(FAST_BLOCKS))}
        if "act_ring" in values:  # any turn leaves a ring that holds the tile
            turn = values["act_turn"] if 0 < values["act_turn"] < values["ih"] else 0
            values |= {"act_turn": turn, "act_ring": turn and values["ih"] + values["act_ring"]}
        found.append(make(spec.mnemonic, **values))
    return found


@pytest.mark.parametrize("spec", INSTRUCTIONS, ids=lambda s: s.mnemonic)
def test_columns_say_what_single_instructions_say(spec: InstructionSpec) -> None:
    code = some_of(spec, np.random.default_rng(spec.opcode), 1000)
    faults = instruction_faults(group(code), code, TARGET)
    alone = {i: check_instruction(instruction, TARGET) for i, instruction in enumerate(code)}
    assert faults == {i: found for i, found in alone.items() if found}
    legal = [instruction for i, instruction in enumerate(code) if i not in faults]
    assert legal
    (part,) = group(legal)
    for function in (spec.cycles, spec.counts):
        if function is None:
            continue
        together = function(part.values, TARGET)
        for i, instruction in enumerate(legal):
            one = function(instruction.values, TARGET)
            if isinstance(one, dict):
                assert one == {count: entry(numbers, i) for count, numbers in together.items()}
            else:
                assert one == entry(together, i) > 0


@pytest.mark.parametrize("spec", INSTRUCTIONS, ids=lambda s: s.mnemonic)
def test_hazards_are_the_boxes_of_the_extents(spec: InstructionSpec) -> None:
    code = some_of(spec, np.random.default_rng(1 + spec.opcode), 200)
    legal = [instruction for instruction in code if not check_instruction(instruction, TARGET)]
    for instruction in legal:
        boxes = accesses(instruction, TARGET)
        bytes_of: dict[tuple[str, bool], set[int]] = {}
        for e in spec.extents(instruction.values, TARGET):
            for i in range(int(e.outer)):
                for j in range(int(e.inner)):
                    first = int(e.base + i * e.outer_stride + j * e.inner_stride)
                    key = (e.space.address_space, e.write)
                    bytes_of.setdefault(key, set()).update(range(first, first + int(e.run)))
        covered: dict[tuple[str, bool], list[int]] = {}
        for space, low, high, write in boxes:
            touched_bytes = bytes_of[space, write]
            assert low in touched_bytes and high - 1 in touched_bytes
            covered.setdefault((space, write), []).extend((low, high))
        assert {key: (min(found), max(found) + 1) for key, found in bytes_of.items()} == {
            key: (min(ends), max(ends)) for key, ends in covered.items()
        }


def test_extents_are_in_program_order() -> None:
    program = small_program()
    table = touched(program.groups, program.target)
    assert (np.diff(table.number) >= 0).all()
    assert set(table.space.tolist()) == set(Space)


# The table ------------------------------------------------------------------------------------------------------------


def test_opcodes_of_ours_and_of_others_lie_apart() -> None:
    assert all(spec.opcode not in EXTERNAL_OPCODES for spec in INSTRUCTIONS)
    mine, theirs = InstructionSpec("a", 0x01, Queue.LOAD, ""), InstructionSpec("b", 0x80, Queue.LOAD, "")
    assert assemble_table([("a", mine)], [("b", theirs)]) == [mine, theirs]
    for own, others, message in (
        ([("a", theirs)], [], "'a' has opcode 0x80; it must be below 0x80"),
        ([], [("b", mine)], r"'b' has opcode 0x1; it must be in \[0x80, 0xff\]"),
        ([], [("b", theirs), ("c", replace(theirs, mnemonic="c"))], "'b' and 'c' both claim opcode 0x80"),
        ([("a", mine)], [("b", replace(theirs, mnemonic="a"))], "'a' and 'b' both claim a"),
        ([], [("b", "text")], "'b' must be an InstructionSpec, found str"),
    ):
        with pytest.raises(UserError, match=message):
            assemble_table(own, others)


def test_tables_of_events_are_claimed_once_and_named_after_their_instruction() -> None:
    table, other = EventTable("b_x", "b", "codes", ""), EventTable("b_x", "b", "codes", "")
    event = Event("seen", "", table)
    mine = InstructionSpec("a", 0x01, Queue.LOAD, "", events=(event,))
    theirs = InstructionSpec("b", 0x80, Queue.LOAD, "", events=(Event("seen", "", other),))
    assert assemble_table([], [("b", theirs)]) == [theirs]
    for own, others, message in (
        ([("a", mine)], [("b", theirs)], "'a' and 'b' both claim table of events 'b_x'"),
        ([], [("c", replace(theirs, mnemonic="c.d"))], "'c' has a table of events 'b_x'; it must begin with 'c_d'"),
        ([("a", replace(mine, events=(event, Event("seen", "", table))))], [], "'b_x' has two events 'seen'"),
    ):
        with pytest.raises(UserError, match=message):
            assemble_table(own, others)


def test_an_event_has_a_component_for_its_energy_and_a_title_that_fits() -> None:
    with pytest.raises(ValueError, match="'seen' must have both a component and picojoule, or neither"):
        Event("seen", "", component=EnergyComponent("x", "x"))
    with pytest.raises(ValueError, match="the title 'elevenlongs' of a table of events exceeds 10 characters"):
        EventTable("x", "elevenlongs", "codes", "")


def test_fields_by_name() -> None:
    assert BY_MNEMONIC["conv.dense"].field_named("groups").high == 255
    with pytest.raises(KeyError, match="no field 'x'"):
        BY_MNEMONIC["end"].field_named("x")


@given(instruction_of(BY_MNEMONIC["load.act"]))
@settings(max_examples=100, deadline=None)
def test_any_encodable_load_is_judged(instruction: Instruction) -> None:
    found = check_instruction(instruction, TARGET)
    assert all(isinstance(text, str) for text in found)
