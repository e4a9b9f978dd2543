"""Machine code on disk follows the sources that it was made from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from numba.core.errors import TypingError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from isa.jit import borrowing, inner, jit, woven

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


class Tables(NamedTuple):
    a: NDArray[np.int64]
    b: NDArray[np.int64]


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


def test_kept_code_of_older_sources_is_not_taken_for_that_of_newer_ones(tmp_path: Path) -> None:
    """What a process leaves that ends after it has written the index, and before the machine code."""
    write(tmp_path, "Shape")
    assert run(tmp_path, "Shape") == 12
    cache = tmp_path / "kernels/__pycache__"
    old = {path: path.read_bytes() for path in cache.glob("*.nbc")}
    write(tmp_path, "Shape", body="x + 4")
    assert run(tmp_path, "Shape") == 52
    for path, data in old.items():
        assert path.read_bytes() != data
        path.write_bytes(data)
    assert run(tmp_path, "Shape") == 52
    for path in old:
        path.write_bytes(b"damaged")
    assert run(tmp_path, "Shape") == 52


def test_kept_code_of_other_types_is_not_taken(tmp_path: Path) -> None:
    """What two processes leave that write at the same time."""
    write(tmp_path, "Shape", body="x[0] / 2")
    code = "import numpy as np; from kernels.kernel import kernel; from kernels.shape import Shape\n"

    def call(value: str) -> float:
        command = [sys.executable, "-c", f"{code}print(kernel(Shape(np.array([{value}]), 1)))"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    cache = tmp_path / "kernels/__pycache__"
    assert call("3") == call("3.0") == 16
    first, second = sorted(cache.glob("helper*.nbc"))
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    for path in cache.glob("kernel.kernel-*.nb?"):
        path.unlink()
    assert call("3") == call("3.0") == 16


def test_a_borrowing_kernel_counts_no_owner_and_cannot_make_an_array() -> None:
    @borrowing
    def total(tables: Tables) -> int:
        return int(tables.a[0] + tables.b[1])

    @borrowing
    def makes() -> int:
        return int(np.zeros(3)[0])

    assert total(Tables(np.arange(3), np.arange(3))) == 1
    code = cast(Any, total).inspect_llvm()
    assert code and not any("NRT_incref" in text for text in code.values())
    with pytest.raises(TypingError):
        makes()


def test_a_helper_of_compiled_functions_refuses_calls_from_python() -> None:
    @inner
    def twice(x: int) -> int:
        return 2 * x

    @woven
    def once(x: int) -> int:
        return x

    @jit
    def both(x: int) -> int:
        return twice(x) + once(x)

    for helper in (twice, once):
        with pytest.raises(TypeError, match="only compiled functions can call"):
            helper(1)
    assert both(1) == 3
    for helper in (twice, once):
        with pytest.raises(TypeError, match="only compiled functions can call"):
            helper(1)
