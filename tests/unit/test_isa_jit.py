"""Machine code on disk follows the sources that it was made from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HELPER = "from isa.jit import jit\n@jit\ndef helper(x: int) -> int:\n    return {body}\n"
SHAPE = "from typing import NamedTuple\nclass {name}(NamedTuple):\n    {first}: int\n    {second}: int\n"
KERNEL = """\
from isa.jit import jit
from kernels.helper import helper
from kernels.shape import {name}

@jit
def kernel(shape: {name}) -> int:
    return helper(shape.a) * 10 + shape.b
"""


def run(folder: Path, name: str) -> int:
    code = f"from kernels.kernel import kernel; from kernels.shape import {name}; print(kernel({name}(a=1, b=2)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def write(folder: Path, name: str, body: str = "x", first: str = "a", second: str = "b") -> None:
    package = folder / "kernels"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "helper.py").write_text(HELPER.format(body=body))
    (package / "shape.py").write_text(SHAPE.format(name=name, first=first, second=second))
    kernel = KERNEL.format(name=name)
    if not (package / "kernel.py").exists() or (package / "kernel.py").read_text() != kernel:
        (package / "kernel.py").write_text(kernel)


def test_a_changed_helper_or_tuple_of_another_file_counts(tmp_path: Path) -> None:
    write(tmp_path, "Shape")
    assert run(tmp_path, "Shape") == run(tmp_path, "Shape") == 12
    assert list((tmp_path / "kernels/__pycache__").glob("kernel.kernel-*.nbi"))
    write(tmp_path, "Shape", body="x + 4")
    assert run(tmp_path, "Shape") == 52
    write(tmp_path, "Shape", first="b", second="a")  # the same types in another order
    assert run(tmp_path, "Shape") == 12


def test_kept_code_that_names_a_class_that_is_gone_is_made_anew(tmp_path: Path) -> None:
    write(tmp_path, "Shape")
    assert run(tmp_path, "Shape") == 12
    write(tmp_path, "Form")
    assert run(tmp_path, "Form") == 12
