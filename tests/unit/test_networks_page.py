"""The page of the networks that run has a row for each, and a reason wherever one does not."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/networks.md"
ROW = re.compile(r"\| (\w+) \| (yes|no) \| (yes|) \| (.*) \|")


def test_every_row_says_whether_and_why() -> None:
    rows = [ROW.fullmatch(line) for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    found = [row.groups() for row in rows if row is not None]
    assert len(found) == len(rows) > 80
    assert [name for name, *_ in found] == sorted({name for name, *_ in found})
    assert all(bool(cause) == (reads == "no") and not (verified and cause) for _, reads, verified, cause in found)
    named = {name.rstrip("0123456789").split("_")[0] for name, reads, _, _ in found if reads == "yes"}
    segments = {name for name, reads, _, _ in found if reads == "yes" and name.startswith(("deeplab", "fcn", "lraspp"))}
    assert len(segments) == 6
    refused = {name.split("_")[0] for name, reads, _, _ in found if reads == "no"}
    assert refused == {"maxvit", "regnet", "swin", "vit"}
    assert {"efficientnet", "mobilenet", "regnet", "shufflenet", "resnet", "densenet"} <= named


def test_no_word_makes_the_table_wider_than_a_page() -> None:
    words = {
        word for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") for word in line.split()
    }
    assert max(map(len, words)) <= 32
