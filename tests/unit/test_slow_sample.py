"""Which slow tests are run where only a part of them is wanted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT, sample


def test_samples_of_all_remainders_make_up_the_whole() -> None:
    names = list("abcdefgh")
    parts = [sample(names, 3, f"{commit:x}") for commit in (9, 10, 11)]
    assert sorted(name for part in parts for name in part) == names
    assert all(2 <= len(part) <= 3 for part in parts)
    assert sample(names, 1, "f" * 40) == names


def test_only_slow_tests_are_left_out(tmp_path: Path) -> None:
    marked = "".join(f"@pytest.mark.slow\ndef test_slow{i}(): pass\n" for i in range(4))
    (tmp_path / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(f"import pytest\n{marked}def test_fast(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = slow: takes long\n")

    def run(*options: str) -> str:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout

    assert "5 passed" in run()
    assert "3 passed, 2 deselected" in run("--slow-sample", "2")
    assert "2 passed, 3 deselected" in run("--slow-sample", "4")
    assert "1 passed, 4 deselected" in run("-m", "not slow")
