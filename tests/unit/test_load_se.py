"""Rules of load.se: each broken on its own."""

from __future__ import annotations

import pytest
from isa_programs import problems_of

LEGAL = {"size": 9, "kn": 4, "terms": 2, "rows": 3, "run": 8, "span": 3, "depth": 1}
problems = problems_of("load.se", LEGAL)


def test_legal() -> None:
    assert problems() == problems(level=2, common=2, count_bits=26, own=1, shift=15) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"level": 3}, "level=3 exceeds 2"),
        ({"common": 1}, "common=1 exceeds level=0"),
        ({"count_bits": 27}, "count_bits=27 exceeds 26"),
        ({"dst": 32750}, "COEF is touched up to byte 0x810e, it has 0x8000"),
        ({"vectors": 4080, "own": 1}, "PAR is touched up to byte 0x1008, it has 0x1000"),
    ],
)
def test_one_rule(changes: dict[str, int], problem: str) -> None:
    assert problems(**changes) == [problem]


def test_more_coefficients_than_streams_hold() -> None:
    found = problems(kn=65535, run=65535, terms=255, rows=65535, span=1)
    assert any("coefficients exceed 67108864" in problem for problem in found)
