"""Rules of load.vq: each broken on its own."""

from __future__ import annotations

import pytest
from isa_programs import problems_of

LEGAL = {"size": 9, "count": 20, "entries": 5, "span": 3, "depth": 1, "run": 4}
problems = problems_of("load.vq", LEGAL)


def test_legal() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"run": 3}, "count=20 is not a multiple of run=3"),
        ({"entries": 128}, "entries=128 exceed 127"),
        ({"dst": 32750}, "COEF is touched up to byte 0x802a, it has 0x8000"),
    ],
)
def test_one_rule(changes: dict[str, int], problem: str) -> None:
    assert problems(**changes) == [problem]
