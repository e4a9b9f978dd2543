"""The tests on several versions of Python: `nox`, or `make pythons`. Versions that are not installed are left out.

The compiler, the emulator and their tests need no torch; its tests skip themselves where it is not installed.
"""

from __future__ import annotations

from pathlib import Path

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CORE = (
    "tests/unit/test_isa_*.py",
    "tests/unit/test_emulator_*.py",
    "tests/unit/test_onnx_*.py",
    "tests/unit/test_quant_*.py",
    "tests/unit/test_tile_*.py",
)
"""What `nox -- core` runs instead of everything: files of every room, in about two minutes."""

nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Install the project as a user would and run its tests, or those named behind `--`."""
    session.install("-e", ".[test]")
    wanted = session.posargs
    if wanted == ["core"]:
        files = sorted(str(path) for pattern in CORE for path in Path().glob(pattern))
        wanted = ["-q", "-n", "2", "-m", "not slow", *files]
    session.run("lit", "-s", "tests/lit")
    session.run("python", "-m", "pytest", *wanted)
