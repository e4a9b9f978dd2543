"""The estimate of a machine's area."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

import isa.area
from isa.area import area_mm2, area_parts, area_text, macro_mm2
from isa.cells import Cells
from isa.declaration import InstructionSpec
from isa.formats import Queue
from isa.storage import operand_memories
from isa.table import INSTRUCTIONS
from isa.target import Target, load_target

ESC1 = load_target("esc1")


def found(target: Target) -> dict[str, tuple[int, float]]:
    """Count and mm2 of every part, by name up to the comma."""
    return {part.name.partition(",")[0]: (part.count, part.mm2) for part in area_parts(target)}


def test_parts_equal_hand_computation() -> None:
    parts = found(ESC1)
    assert parts["act"] == (8, pytest.approx(8 * 0.0678260))  # 16,384 bytes a bank
    assert parts["coef"] == (4, pytest.approx(4 * 0.0351008))  # 8,192 bytes a bank
    assert parts["par"] == (2, pytest.approx(2 * 0.0158692))  # 2,048 bytes a bank: an engine writes 64 bytes a cycle
    assert parts["load FIFO"] == parts["store FIFO"] == (2, pytest.approx(2 * 0.0126273))
    assert parts["psum"] == (64, pytest.approx(64 * 0.0020902))  # 512 bytes, port of 4: one a lane of the post unit
    assert parts["coefficient registers"] == (192, pytest.approx(192 * 0.0044250))  # 256 bytes count as 512
    fifo = 0.0126273 + (0.0158692 - 0.0126273) * 128 / 1024  # 1,152 bytes, an eighth of the way from 1,024 to 2,048
    assert parts["broadcast FIFOs"] == (8, pytest.approx(8 * fifo))
    assert parts["instruction buffer"] == (1, pytest.approx(0.0351008))  # 128 words of 64 bytes
    assert parts["intermediate FIFOs"] == (192 * 2 * 16, pytest.approx(192 * 2 * 16 * 4.522e-6))
    assert parts["coefficient adder of 16 bits"] == (3072, pytest.approx(3072 * 68.5e-6))
    assert parts["coefficient shifter"] == (3072, pytest.approx(3072 * 2 * 10 * 1.862e-6))
    assert parts["multiplier of 16 by 8 bits"] == (960, pytest.approx(960 * 564e-6))
    assert parts["adder of 32 bits in a tree"] == (960, pytest.approx(960 * 137e-6))
    assert parts["register of a weight and a sum"] == (960, pytest.approx(960 * 40 * 4.522e-6))
    assert parts["lane of the post unit"] == (64, pytest.approx(64 * (4 * 36 + 4 * 137 + 3 * 3495) * 1e-6))
    assert parts["adder or comparator of 32 bits for pooling"] == (64, pytest.approx(64 * 137e-6))  # 1 a lane
    assert parts["exchange of the gather sorter"] == (240, pytest.approx(240 * (22.5 + 2 * 23 * 1.862) * 1e-6))
    assert parts["register of an entry in the gather sorter"] == (480, pytest.approx(480 * 23 * 4.522e-6))
    assert parts["output of the gather crossbar"] == (960, pytest.approx(960 * 8 * 29 * 1.862e-6))
    assert parts["segment of the gather tree"] == (960, pytest.approx(960 * 21 * 6 * 1.862e-6))
    # Multiplexers of 1.862 um2, flip-flops of 4.522, full adders of 4.5; windows of 64 bits, six stages each.
    window, ones = 64 * 4.522 + 64 * 6 * 1.862, 64 * 6 * 4.5
    assert parts["bit of the stream port of COEF"] == (1024, pytest.approx(1024e-6 * (10 * 1.862 + 2 * 4.5)))
    assert parts["expander of a block"] == (32, pytest.approx(32e-6 * (4 * window + ones)))
    # 12 low bits, a place in the window and one of 3,072; sign and magnitude out of eight; 4 bits to one of 64 places
    coefficient = 12 * 6 * 1.862 + 64 * 1.862 + 12 * 2 * 4.5 + 3 * 3 * 1.862 + 4 * 6 * 1.862
    assert parts["coefficient of a cycle in an expander"] == (256, pytest.approx(256e-6 * coefficient))
    assert parts["table of the weight decoder"] == (1, pytest.approx(1e-6 * (128 * 7 + 15 * 22) * 4.522))
    assert parts["lane of the weight decoder"] == (16, pytest.approx(16e-6 * window))
    magnitude = 15 * 6 * 1.862 + 15 * 15 * 4.5 + 14 * 22 * 1.862 + 7 * 4.5 + 127 * 7 * 1.862
    assert parts["magnitude of a cycle in the weight decoder"] == (32, pytest.approx(32e-6 * magnitude))
    assert parts["signs of the weight decoder"] == (1, pytest.approx(1e-6 * (4 * window + ones)))
    gap = 8 * 6 * 1.862 + 64 * 1.862 + 6 * 2 * 4.5 + 282
    assert parts["gap of a cycle in the weight decoder"] == (32, pytest.approx(32e-6 * gap))
    weight = 6 * 4.5 + 31 * 7 * 1.862
    assert parts["weight of a cycle in the weight decoder"] == (64, pytest.approx(64e-6 * weight))
    low = (15 + 7) * 6 * 1.862 + 2 * 64 * 1.862 + (10 + 7) * 2 * 4.5
    entry = window + ones + low + 6 * 1.862
    assert parts["entry of a cycle in the gather decoder"] == (30, pytest.approx(30e-6 * entry))
    assert area_mm2(ESC1) == pytest.approx(sum(mm2 for _, mm2 in parts.values()))


def test_every_operand_memory_has_an_area() -> None:
    assert set(operand_memories(ESC1)) <= set(found(ESC1))


def test_an_instruction_adds_the_arithmetic_that_it_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    def arithmetic(target: Target) -> list[Cells]:
        return [Cells("divider", target.post.lanes, 2000.0)]

    divide = InstructionSpec("post.divide", 0x80, Queue.POST, "", arithmetic=arithmetic)
    monkeypatch.setattr(isa.area, "INSTRUCTIONS", (*INSTRUCTIONS, divide))
    small = Target(ESC1, energy={"technology_nm": 15})
    assert found(small)["divider"] == (64, pytest.approx(64 * 2000e-6 / 9))


@pytest.mark.parametrize("port", [4, 16, 32])
def test_a_larger_macro_is_not_smaller(port: int) -> None:
    areas = [macro_mm2(size, port) for size in range(1, 1 << 18, 256)]
    assert areas == sorted(areas)
    assert macro_mm2(1 << 24, port) == pytest.approx(2 * macro_mm2(1 << 23, port))


@pytest.mark.parametrize("memory", ["act", "coef", "par", "psum"])
def test_a_larger_scratchpad_makes_a_larger_machine(memory: str) -> None:
    size = getattr(ESC1.scratchpad, memory)
    areas = [area_mm2(Target(ESC1, scratchpad={memory: size * factor})) for factor in (1, 2, 4, 8, 64)]
    assert all(small < large for small, large in pairwise(areas))


@pytest.mark.parametrize(
    ("part", "name"), [("array", "expand_rate"), ("array", "expand_bytes"), ("dma", "decode_weights")]
)
def test_a_faster_decoder_makes_a_larger_machine(part: str, name: str) -> None:
    rate = getattr(getattr(ESC1, part), name)
    areas = [area_mm2(Target(ESC1, **{part: {name: rate * factor}})) for factor in (1, 2, 4)]
    assert all(small < large for small, large in pairwise(areas))


def test_the_node_scales_all_areas_by_the_square() -> None:
    small = Target(ESC1, energy={"technology_nm": 15})
    assert [part.mm2 * 9 for part in area_parts(small)] == pytest.approx([part.mm2 for part in area_parts(ESC1)])
    assert "mm2 at 15 nm" in area_text(small)


def test_a_size_outside_of_the_table_is_told() -> None:
    notes = {
        part.name.partition(",")[0]: part.note
        for part in area_parts(Target(ESC1, scratchpad={"par": 1 << 20, "act": 1}))
        if part.note
    }
    assert notes == {
        "act": "counted as 1,024 bytes",
        "par": "at the density of 65,536 bytes",
        "coefficient registers": "counted as 512 bytes",
        "load FIFO": "counted as 1,024 bytes",
        "store FIFO": "counted as 1,024 bytes",
    }
    assert "192 x coefficient registers, bank of 256 bytes, counted as 512 bytes\n" in area_text(ESC1)


def test_a_machine_of_ternary_coefficients_has_no_shifters() -> None:
    ternary = replace(ESC1, array=replace(ESC1.array, coefficient_level=1))
    assert "coefficient shifter" in found(ESC1)
    assert "coefficient shifter" not in found(ternary)
