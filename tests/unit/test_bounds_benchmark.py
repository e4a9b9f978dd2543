"""The script that says what bounds a network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks/bounds.py"


def test_a_line_for_each_file_of_statistics(tmp_path: Path) -> None:
    bound = {"cycles": 2500.0, "binding": "mac_rows"}
    stalls = {"load": 1000, "post": 250, "store": 200, "fetch": 30, "drain": 50}
    layers = [{"lower_bound": {"cycles": cycles}} for cycles in (2000.0, 1400.0)]
    totals = {"cycles": 5000, "lower_bound": bound, "stall_cycles": stalls}
    path = tmp_path / "net.json"
    path.write_text(json.dumps({"totals": totals, "layers": layers}))
    found = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, check=True).stdout
    assert found.splitlines()[2] == "| net | 5.0 K | 2.5 K | mac rows | 3.4 K | 20.0% | 10.0% |"


def test_without_files_it_says_what_it_is_for() -> None:
    found = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert found.returncode == 1 and "STATS.json" in found.stderr
