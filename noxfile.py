"""The tests on several versions of Python: `nox`, or `make pythons`. Versions that are not installed are left out, and
nox says so. Where pyenv has versions, all of them are used.

The compiler, the emulator and their tests need no torch; its tests skip themselves where it is not installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CORE = (
    "test_isa_assembly.py",
    "test_isa_container.py",
    "test_isa_instructions.py",
    "test_isa_packing.py",
    "test_emulator_bounds.py",
    "test_onnx_faults.py",
    "test_onnx_models.py",
    "test_quant_pass.py",
    "test_tile_memory.py",
    "test_cli_common.py",
    "test_cli_compile.py",
    "test_layering.py",
)
"""Files of tests/unit that `nox -- core` runs instead of everything: some of every room."""
CORE_LEVELS = ("onnx", "esc", "bfs", "eisa", "lower-to-eisa")
"""Folders of tests/lit that go with them: text of every level is parsed, verified, printed and lowered."""


def _offer_pyenv() -> None:
    """Have the shims of pyenv answer for each of its versions; without a choice only that of the global one does."""
    if shutil.which("pyenv") is None or "PYENV_VERSION" in os.environ:
        return
    listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False).stdout
    chosen = [version for version in listed.split() if version.rpartition(".")[0] in PYTHONS]
    if chosen:
        os.environ["PYENV_VERSION"] = ":".join(chosen)


_offer_pyenv()
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Install the project as a user would and run its tests, or those named behind `--`."""
    session.install("-e", ".[test]")
    folders, wanted = ["tests/lit"], session.posargs
    if wanted == ["core"]:
        folders = [f"tests/lit/{folder}" for folder in CORE_LEVELS]
        wanted = ["-q", "-m", "not slow", *(f"tests/unit/{name}" for name in CORE)]
    session.run("lit", "-s", *folders)
    session.run("python", "-m", "pytest", *wanted)
