"""The page of the networks that run: made of its data, a row for each, and a reason wherever one does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/networks.md"
DATA = ROOT / "docs/data/networks.jsonl"
ROW = re.compile(r"\| (\w+) \| (?:\d+ x )?(\d+)x\2 \| (yes|no) \| (yes|no|) \| (.*) \|")


def test_every_row_says_whether_and_why() -> None:
    rows = [ROW.fullmatch(line) for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    found = [row.groups() for row in rows if row is not None]
    assert len(found) == len(rows) > 80
    assert [name for name, *_ in found] == sorted({name for name, *_ in found})
    assert all(bool(cause) == ("no" in (reads, verified)) for _, _, reads, verified, cause in found)
    named = {name.rstrip("0123456789").split("_")[0] for name, _, reads, _, _ in found if reads == "yes"}
    segments = {
        name for name, _, reads, _, _ in found if reads == "yes" and name.startswith(("deeplab", "fcn", "lraspp"))
    }
    assert len(segments) == 6
    films = {row["network"] for row in results().values() if row.get("frames") and row["verified"]}
    assert films >= {"mc3_18", "r2plus1d_18", "r3d_18"}
    refused = {name.split("_")[0] for name, _, reads, _, _ in found if reads == "no"}
    assert refused == {"maxvit", "mvit", "regnet", "swin", "swin3d", "vit"}
    assert {"efficientnet", "mobilenet", "regnet", "shufflenet", "resnet", "densenet"} <= named


def results() -> dict[str, dict[str, Any]]:
    """The last result of each network."""
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    return {row["network"]: row for row in rows}


def test_no_network_differs() -> None:
    last = results()
    assert {name: row["fault"] for name, row in last.items() if row["fault"]} == {}
    assert all(not row["cause"] for row in last.values() if row["verified"])
    assert sum(row["verified"] for row in last.values()) >= 37


def test_the_page_is_that_of_the_data() -> None:
    before = PAGE.read_text(encoding="utf-8")
    script = [sys.executable, str(ROOT / "benchmarks/networks.py"), "--page"]
    made = subprocess.run(script, capture_output=True, check=True, text=True, encoding="utf-8").stdout
    assert made == before


def test_no_word_makes_the_table_wider_than_a_page() -> None:
    words = {
        word for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") for word in line.split()
    }
    assert max(map(len, words)) <= 36
