"""What `make pythons` runs is there."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def noxfile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("nox")
    monkeypatch.setenv("PYENV_VERSION", "system")  # the file leaves a choice as it is
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_part_that_is_run_exists(noxfile: ModuleType) -> None:
    assert [name for name in noxfile.CORE if not (ROOT / "tests/unit" / name).is_file()] == []
    assert [name for name in noxfile.CORE_LEVELS if not (ROOT / "tests/lit" / name).is_dir()] == []


def test_the_oldest_python_is_the_one_that_the_package_requires(noxfile: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f">={noxfile.PYTHONS[0]}" == project["requires-python"]
