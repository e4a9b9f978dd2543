"""Whose fault an exception is: what goes wrong in a package that extends escc is told as a fault of that package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from escc.cli.common import EXIT_BUG, EXIT_INPUT, guard
from escc.console import Console
from escc.errors import InternalError, user_fault
from isa import found
from isa.declaration import InstructionSpec
from isa.errors import UserError
from isa.events import EnergyComponent, Event
from isa.extents import Extent
from isa.formats import Queue
from isa.found import AnswerError, at_fault, extensions
from isa.target import load_target

ROOT = Path(__file__).resolve().parents[2]
CODE = """
class Thing:
    pass

def fail(*given):
    return {}["key"]

def call(function):
    return function()

def leave(*given):
    raise SystemExit(3)

def text(*given):
    return "text"

def nan(*given):
    return float("nan")
"""


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of an installed package `other-package`, which extends escc."""
    (tmp_path / "other_package.py").write_text(CODE)
    metadata = tmp_path / "other_package-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-package\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[escc.baselines]\nother = other_package:fail\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "other_package", raising=False)
    monkeypatch.chdir(tmp_path)
    return import_module("other_package")


def raised(function: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        function()
    return caught.value


def ours(*_: Any) -> None:
    raise KeyError("key")


def wrapping(function: Callable[[], object]) -> None:
    try:
        function()
    except KeyError as error:
        raise InternalError("pass 'p': KeyError: 'key'") from error


def test_code_of_the_package_on_the_way(other: ModuleType) -> None:
    assert at_fault(raised(other.fail)) == "other_package.py:6 of the package 'other-package'"
    assert at_fault(raised(lambda: other.call(ours))) == "other_package.py:9 of the package 'other-package'"
    assert at_fault(raised(lambda: wrapping(other.fail))) == "other_package.py:6 of the package 'other-package'"
    assert at_fault(raised(ours)) == at_fault(raised(lambda: wrapping(ours))) == ""


def test_an_object_of_the_package(other: ModuleType) -> None:
    thing = other.Thing()
    assert at_fault(raised(lambda: ours(thing))) == "", "arguments without a name are not looked at"
    assert at_fault(raised(lambda: handling(thing))) == "Thing of the package 'other-package'"
    assert at_fault(AnswerError(thing, "x")) == "Thing of the package 'other-package'"
    assert at_fault(AnswerError(other.text, "x")) == "text of the package 'other-package'"
    assert at_fault(AnswerError(ROOT, "x")) == ""


def handling(thing: object) -> None:
    ours(thing is None)


def test_it_is_told_in_one_line(other: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert guard("escc", [], other.fail, Console(), files=["m.onnx"]) == EXIT_INPUT
    error, note = capsys.readouterr().err.splitlines()
    assert error == "error: m.onnx: KeyError: 'key' (other_package.py:6 of the package 'other-package')"
    assert note.startswith("note: mend or uninstall that package")
    assert guard("escc", [], other.leave, Console()) == EXIT_INPUT
    assert capsys.readouterr().err.startswith("error: SystemExit: 3 (other_package.py:12 of the package")
    assert [p for p in sorted(tmp_path.iterdir()) if p not in before and p.name != "__pycache__"] == []


def test_a_bug_of_ours_says_what_extends_it(other: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert extensions() == ["the package 'other-package'"]
    assert guard("escc", [], ours, Console()) == EXIT_BUG
    error, _, note = capsys.readouterr().err.splitlines()
    assert error == "error: internal: KeyError: 'key'"
    assert note == "note: or a fault of what extends escc here, the package 'other-package'; try without"


def test_faults_of_the_input_and_of_memory_stay_what_they_are(other: ModuleType) -> None:
    refused = UserError("the input", "a note")
    assert user_fault(refused) is refused

    def exhausted() -> None:
        raise MemoryError

    fault = user_fault(raised(lambda: other.call(exhausted)))
    assert fault is not None and fault.causes == ("out of memory",)

    def absent() -> None:
        (ROOT / "no such file").read_text()

    fault = user_fault(raised(lambda: other.call(absent)))
    assert fault is not None and fault.causes[0].endswith(
        "no such file: No such file or directory (other_package.py:9 of the package 'other-package')"
    )


def test_closed_forms_of_an_instruction_answer_numbers(other: ModuleType) -> None:
    target = load_target("esc1")
    spec = InstructionSpec("load.other", 0x81, Queue.LOAD, "x", extents=other.text, cycles=other.nan, counts=other.text)
    for name, wanted in (
        ("extents", "answers 'text'; requires a sequence of Extent"),
        ("cycles", "answers nan; requires numbers not below 0"),
        ("counts", "answers 'text'; requires a number not below 0 for each event"),
    ):
        with pytest.raises(AnswerError, match=f"{name} of the instruction 'load.other' {wanted}") as caught:
            getattr(spec, name)({}, target)
        assert at_fault(caught.value).endswith(" of the package 'other-package'")
    event = Event("e", "x", component=EnergyComponent("c", "c"), picojoule=other.nan)
    assert event.picojoule is not None
    with pytest.raises(AnswerError, match="picojoule of the event 'e' answers nan; requires a number not below 0"):
        event.picojoule(target)
    right = InstructionSpec("load.other", 0x81, Queue.LOAD, "x", cycles=lambda v, t: 3)
    assert right.cycles is not None and right.cycles({}, target) == 3 and list(right.extents({}, target)) == []


def test_what_is_of_another_type_names_its_package(other: ModuleType) -> None:
    with pytest.raises(UserError, match=r"the baseline 'other'.*is of type function; requires Extent") as caught:
        list(found.installed("escc.baselines", "baseline", Extent))
    assert caught.value.note == found.mend("escc.baselines", "other") == "mend or uninstall the package 'other-package'"
    assert found.mend("escc.baselines", "eyeriss") == ""


def test_the_groups_are_those_of_the_documentation() -> None:
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == list(found.GROUPS)
