"""What long passes tell of themselves."""

from __future__ import annotations

import pytest
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from escc.driver import run_passes
from passes.analysis.progress import Progress, listening


def test_the_time_left_follows_the_work() -> None:
    now, told = [100.0], list[str]()
    with listening(told.append):
        progress = Progress([1.0, 19.0, 180.0], clock=lambda: now[0])
        progress.next("a")
        now[0] += 2.0
        progress.next("b")
        now[0] += 2.0
        progress.next("c")
    assert told == ["a (1 of 3)", "b (2 of 3)", "c (3 of 3), about 36 s left"]


def test_nobody_listens_outside_the_context() -> None:
    told: list[str] = []
    with pytest.raises(KeyError), listening(told.append):
        raise KeyError
    Progress([1.0]).next("a")
    assert not told


class Slow(ModulePass):
    name = "slow"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        Progress([1.0]).next("piece")


def test_the_driver_passes_on_what_a_pass_tells() -> None:
    told: list[str] = []
    run_passes(Context(), ModuleOp([]), [Slow()], announce=told.append)
    assert told == ["[1/1] slow", "[1/1] slow: piece (1 of 1)", ""]
