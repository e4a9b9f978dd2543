"""What packages add to escc under a name that is taken, or what answers something else than it should."""

from __future__ import annotations

import math
import sys
from importlib.metadata import EntryPoint
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from xdsl.universe import Universe

from emulator.unit import Unit
from escc.baselines.machine import BaselineMachine, DramBytes, Result
from escc.baselines.registry import load_baseline
from escc.baselines.systolic import BASELINES
from escc.cli.common import EXIT_INPUT, CommandParser
from escc.compare.baselines import Weighted, system_of
from escc.universe import multiverse
from isa import found
from isa.errors import UserError
from isa.found import AnswerError
from isa.target import load_target
from isa.target_files import TargetError, installed_places
from passes import pack_coefficients
from passes.tiling.geometry import Span
from passes.tiling.layer_kind import ConstantRule, Packed, Transfer

NOTE = "mend or uninstall the package of 'other_module:made'"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of a package, whose entry points name what it has as `made`."""
    module = ModuleType("other_module")
    monkeypatch.setitem(sys.modules, "other_module", module)
    return module


def add(monkeypatch: pytest.MonkeyPatch, group: str, name: str) -> None:
    """Install the package, with one entry point."""
    point = EntryPoint(name, "other_module:made", group)
    monkeypatch.setattr(found, "points", lambda asked: [point] if asked == group else [])


def systolic() -> Any:
    return next(iter(BASELINES.values()))()


def test_a_baseline_of_a_name_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "escc.baselines", "eyeriss")
    with pytest.raises(
        UserError, match="two baselines have the name 'eyeriss', that of escc and 'other_module:made'"
    ) as e:
        load_baseline("eyeriss")
    assert e.value.note == NOTE


@pytest.mark.parametrize("thing", [lambda: 5, 5])
def test_a_baseline_that_is_none(thing: object, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "escc.baselines", "other")
    made.made = thing
    with pytest.raises(UserError, match=r"the baseline 'other' .* is of type int; requires a function that makes") as e:
        load_baseline("other")
    assert e.value.note == NOTE


def test_a_baseline_without_a_number_of_multipliers(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "escc.baselines", "other")
    machine = systolic()
    monkeypatch.setattr(type(machine), "multipliers", math.nan)
    made.made = lambda: machine
    with pytest.raises(AnswerError, match="multipliers of the baseline 'other' are nan; requires a number"):
        load_baseline("other")


@pytest.mark.parametrize("name", ["cycles", "multiplications", "additions"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
def test_a_result_is_of_finite_numbers(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} of a result are {value}; requires a finite number not below 0"):
        Result(**{"cycles": 1.0, "dram": DramBytes(1, 1, 1), "multiplications": 1.0, "additions": 1.0, name: value})


def test_a_baseline_that_answers_no_result(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = systolic()
    monkeypatch.setattr(type(machine), "run", lambda *_: {"cycles": 1})
    network = cast(Weighted, SimpleNamespace(works=[None], coded=[1]))
    with pytest.raises(AnswerError, match="the baseline 'systolic' answers a dict; requires a Result"):
        system_of(cast(BaselineMachine, machine), network, load_target("esc1"))


def test_a_target_of_a_name_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "isa.targets", "esc1")
    installed_places.cache_clear()
    try:
        with pytest.raises(
            TargetError, match="two targets have the name 'esc1'; the second is 'other_module:made'"
        ) as e:
            installed_places()
    finally:
        installed_places.cache_clear()
    assert e.value.note == NOTE


def test_a_unit_without_an_instruction() -> None:
    with pytest.raises(TypeError, match="spec is of type str; requires InstructionSpec"):
        Unit(cast(Any, "load.other"), lambda m, v: None)


def test_passes_and_dialects_that_are_none(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add(monkeypatch, "xdsl.universe", "other")
    made.made = Universe(all_dialects={"d": lambda: cast(Any, 5)}, all_passes={"p": lambda: cast(Any, "x")})
    whole = multiverse()
    with pytest.raises(AnswerError, match="the dialect 'd' answers 5; requires a Dialect"):
        whole.all_dialects["d"]()
    with pytest.raises(AnswerError, match="the pass 'p' answers 'x'; requires a class of ModulePass"):
        whole.all_passes["p"]()
    made.made = 5
    with pytest.raises(UserError, match=r"the extension 'other' .* is of type int; requires Universe") as e:
        multiverse()
    assert e.value.note == NOTE


def test_an_installation_at_fault_is_no_wrong_value(capsys: pytest.CaptureFixture[str]) -> None:
    def loaded(text: str) -> str:
        raise UserError(f"the scheme '{text}' does not load", "reinstall it")

    parser = CommandParser("escc", "A command.")
    parser.add_argument("--scheme", type=loaded)
    with pytest.raises(SystemExit) as left:
        parser.parse_args(["--scheme", "other"])
    assert left.value.code == EXIT_INPUT
    assert capsys.readouterr().err == "error: the scheme 'other' does not load\nnote: reinstall it\n"


class Odd(ConstantRule):
    """A rule of a package, which packs every constant as it is told."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def transfer(self, op: Any, at: Any) -> tuple[str, Transfer]:
        raise NotImplementedError

    def lower(self, layer: Any, op: Any, at: Any) -> None:
        raise NotImplementedError

    def pack(self, value: Any, transfers: Any) -> Packed:
        return cast(Packed, self.answer)


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (b"", "a bytes; requires Packed"),
        (Packed(b"", cast(Any, None)), "shared bytes, pieces NoneType; requires bytes and a list"),
        (Packed(cast(Any, "x"), [(b"", 0)]), "shared str, pieces list; requires bytes and a list"),
        (Packed(b"", [cast(Any, b"")]), "pieces that are not all bytes with an integer"),
        (Packed(b"", [(b"", cast(Any, 0.5))]), "pieces that are not all bytes with an integer"),
        (Packed(b"", [(b"", 0), (b"", 0)]), "2 pieces; requires 1, one for each transfer"),
    ],
)
def test_a_rule_that_packs_something_else(answer: object, wrong: str) -> None:
    one = Transfer(Span(0, 1), Span(0, 1))
    with pytest.raises(AnswerError, match=f"constant @c0: pack of Odd answers {wrong}"):
        pack_coefficients._pack("c0", np.zeros(4, np.int8), {(Odd(answer), one): None})
