"""benchmarks/patterns.py: its rows are those of the page, and its commands measure them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


def test_rows_of_the_page_are_rows_of_the_benchmark(request: pytest.FixtureRequest) -> None:
    root = request.config.rootpath
    script = str(root / "benchmarks/patterns.py")
    printed = subprocess.run([sys.executable, script, "--commands"], check=True, capture_output=True, text=True).stdout
    page = (root / "docs/schemes/sparse.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(--scheme [^`]+)` \|", page, re.MULTILINE)
    assert len(rows) > 7
    for options in rows:
        assert f" {options} -q --report " in printed, options
    assert printed.count("--stats-json") == printed.count("--eval") >= len(rows)
