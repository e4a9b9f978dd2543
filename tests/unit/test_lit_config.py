"""lit tests the tree, whatever is installed."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def configuration() -> Any:
    config = SimpleNamespace(environment={}, substitutions=[])
    runpy.run_path(str(ROOT / "tests" / "lit" / "lit.cfg.py"), {"config": config})
    return config


def test_packages_come_from_the_tree(tmp_path: Path) -> None:
    script = "import escc, passes, dialects, isa; print(*(m.__path__[0] for m in (escc, passes, dialects, isa)))"
    # -S: no site-packages, where an installed escc would lie.
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env=configuration().environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(ROOT / name) for name in ("escc", "passes", "dialects", "isa")]


def test_commands_are_modules_of_the_tree() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    line = "not COMMAND x -p esc-legalize | COMMAND > /tmp/COMMAND-1/COMMAND.txt"
    for command, entry in scripts.items():
        text = line.replace("COMMAND", command)
        for pattern, replacement in configuration().substitutions:
            text = re.sub(pattern, replacement, text)
        module = f"{sys.executable} -m {entry.partition(':')[0]}"
        assert text == f"not {module} x -p esc-legalize | {module} > /tmp/{command}-1/{command}.txt"
