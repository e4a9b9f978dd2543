"""Rules of load.circ: each broken on its own."""

from __future__ import annotations

import pytest
from isa_programs import problems_of

from isa.instructions.load_circ import values

LEGAL = {"size": 9, "kn": 4, "taps": 9, "run": 8, "block": 4}
problems = problems_of("load.circ", LEGAL)


def test_legal() -> None:
    assert problems() == problems(first=3, run=5) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"block": 1}, "block=1 is not from 2 to 16"),
        ({"block": 17}, "block=17 is not from 2 to 16"),
        ({"first": 4}, "first=4 lies beyond a block of 4 channels"),
        ({"dst": 32750}, "COEF is touched up to byte 0x810e, it has 0x8000"),
    ],
)
def test_one_rule(changes: dict[str, int], problem: str) -> None:
    assert problems(**changes) == [problem]


def test_whole_blocks_are_read() -> None:
    assert values({**LEGAL, "first": 0}) == 1 * 9 * 2 * 4
    assert values({**LEGAL, "first": 1}) == 2 * 9 * 2 * 4
    assert values({**LEGAL, "first": 1, "run": 9}) == 2 * 9 * 3 * 4
