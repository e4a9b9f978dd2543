"""Texts of results."""

from __future__ import annotations

from typing import Any

import pytest

from escc.printing import times_smaller
from escc.reports.compiled import _cards


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [(309_440, 28_327, "10.9x smaller"), (192, 313, "1.6x larger"), (100, 100, "1.0x smaller")],
)
def test_what_grew_is_larger(before: float, now: float, text: str) -> None:
    assert times_smaller(before, now) == text


@pytest.mark.parametrize(
    ("ratio", "value", "label"),
    [
        (10.92, "10.9x", "smaller than float32 weights"),
        (0.625, "1.6x", "larger than float32 weights"),
        (None, "–", "smaller than float32 weights"),
    ],
)
def test_the_card_of_a_report_says_so_too(ratio: float | None, value: str, label: str) -> None:
    totals: dict[str, Any] = {"compression": ratio, "bits_per_weight": None, "constant_bytes": 1, "macs": 1}
    card = _cards({**totals, "instructions": 1, "arena_bytes": 1})[0]
    assert (card.value, card.label) == (value, label)
