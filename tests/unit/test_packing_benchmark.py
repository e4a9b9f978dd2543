"""The script that times packed formats: what it packs comes back, and its table has a column for each size."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import packing


@pytest.mark.parametrize("name", packing.FORMATS)
def test_every_format_packs_and_unpacks_what_it_says(name: str) -> None:
    made = packing.FORMATS[name](packing.SIZES[0])
    assert len(made.calls["pack"]()) <= 1.3 * made.size
    if "unpack" in made.calls:
        found = made.calls["unpack"]()
        parts = [part for part in (found if isinstance(found, tuple) else (found,)) if part.dtype != np.int64]
        assert sum(part.nbytes for part in parts) == made.size


def test_a_row_has_a_rate_for_each_size(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "SIZES", (1 << 10, 1 << 11))
    monkeypatch.setattr(sys, "argv", ["packing.py", "--seconds", "0.001", "signs-flat"])
    packing.main()
    head, *rows, lowest = capsys.readouterr().out.splitlines()
    assert head.split() == ["MB/s", "1,024", "2,048", "us", "a", "call"]
    assert [row.split()[:2] for row in rows] == [["signs-flat", "pack"], ["signs-flat", "unpack"]]
    assert all(float(cell) > 0 for row in rows for cell in row.split()[2:])
    least = min(float(cell) for row in rows for cell in row.split()[2:-1])
    assert re.fullmatch(rf"lowest: {least} \(signs-flat (un)?pack, [12],0\d\d values\), goal 50", lowest)
