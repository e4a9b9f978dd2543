"""The pipeline as data: built from options, to text and back; levels, provenance, failing passes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects import test
from xdsl.dialects.builtin import ModuleOp, StringAttr, UnitAttr
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import PassFailedException

from escc.driver import PassError, attach_input, level_of, provenance, record, run_passes
from escc.irtext import has_locations, make_context, parse_module, print_module
from escc.universe import ESCC_UNIVERSE, PASSES
from isa.arrays import Arrays
from isa.errors import UserError
from passes.decompose_conv import DecomposeConvPass
from passes.pipelines import LEVELS, STAGES, PipelineOptions, before, build, parse, to_text
from passes.quantize import QuantizePass

ESC = """
builtin.module attributes {escc.passes = ["onnx-canonicalize"]} {
  func.func @main(%x : tensor<1x2x2x1x!esc.q<u8, 0.5>>) -> tensor<1x2x2x1xi32> {
    %y = esc.conv2d %x {weight = #blob.dense<1x1x1x1xi8, [3]>, strides = array<i64: 1, 1>,
      pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}
      : tensor<1x2x2x1x!esc.q<u8, 0.5>> -> tensor<1x2x2x1xi32> loc("/conv")
    func.return %y : tensor<1x2x2x1xi32>
  }
}
"""


@dataclass(frozen=True)
class Marked(ModulePass):
    """Marks the module; every kind of option."""

    name = "marked"
    text: str = ""
    number: float = 0.0
    count: int | None = None
    flag: bool = False

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        op.attributes["marked"] = UnitAttr()


@dataclass(frozen=True)
class Failing(ModulePass):
    """Fails as `how` says."""

    name = "failing"
    how: str = "bug"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        if self.how == "user":
            raise UserError("node 'a' is at fault")
        if self.how == "refuse":
            raise PassFailedException("cannot")
        if self.how == "invalid":
            next(o for o in op.walk() if o.name == "esc.conv2d").properties["groups"] = StringAttr("x")
            return
        raise ZeroDivisionError("by zero")


REGISTRY = {"marked": lambda: Marked, "failing": lambda: Failing}


@pytest.mark.parametrize(
    "step",
    [
        Marked(),
        Marked(text='a "quoted" \\ name.npz', number=1e-05, count=3, flag=True),
        Marked(text="/a/b c.npz", number=-2.5e20),
        Marked(number=99.99, count=0),
    ],
)
def test_text_reads_back(step: Marked) -> None:
    assert parse(REGISTRY, to_text([step, Marked()])) == (step, Marked())


def test_arrays_in_memory_reach_the_passes_as_they_are() -> None:
    arrays = Arrays({"x": np.zeros((1, 2))}, "what I have")
    passes = build(ESCC_UNIVERSE.all_passes, PipelineOptions(calibration=arrays), "esc")
    takers = [step for step in passes if isinstance(step, QuantizePass | DecomposeConvPass)]
    assert len(takers) == 2 and all(step.calibration is arrays for step in takers)
    assert to_text(takers) == 'quantize{calibration="what I have"},decompose-conv{calibration="what I have"}'


def test_unknown_passes_are_named_all_at_once() -> None:
    with pytest.raises(UserError) as e:
        parse(REGISTRY, "markd,nothing,marked")
    assert e.value.causes == (
        "pass pipeline: no pass 'markd'; did you mean 'marked'?",
        "pass pipeline: no pass 'nothing'",
    )


@pytest.mark.parametrize(
    "text", ["marked{", "marked{text}x", "marked marked", "marked{wrong=1}", "marked{count=a}", ","]
)
def test_wrong_pipeline_text_is_one_line(text: str) -> None:
    with pytest.raises(UserError) as e:
        parse(REGISTRY, text)
    assert (
        len(e.value.causes) == 1 and "\n" not in e.value.causes[0] and e.value.causes[0].startswith("pass pipeline: ")
    )


def test_stages_hold_every_pass_once_in_order() -> None:
    assert [name for level in LEVELS for name in STAGES[level]] == list(PASSES)
    assert before("onnx") == ()
    assert before("bfs")[-1] == "tile-basis-first" and "esc-legalize" in before("bfs")


def test_options_reach_the_passes_that_have_them() -> None:
    options = PipelineOptions(calibration="c.npz", seed=3, scheme="escalate", basis=9, planes=2, target="big")
    passes: dict[str, Any] = {p.name: p for p in build(ESCC_UNIVERSE.all_passes, options)}
    assert list(passes) == list(PASSES)
    assert passes["quantize"].calibration == passes["decompose-conv"].calibration == "c.npz"
    assert passes["decompose-conv"].basis == 9 and passes["decompose-conv"].scheme == "escalate"
    assert passes["esc-legalize"].target == passes["tile-basis-first"].target == "big"
    assert parse(ESCC_UNIVERSE.all_passes, to_text(tuple(passes.values()))) == tuple(passes.values())


def test_a_level_stops_the_pipeline_and_done_passes_are_left_out() -> None:
    registry = ESCC_UNIVERSE.all_passes
    names = [p.name for p in build(registry, PipelineOptions(), "esc", before("esc"))]
    assert names == ["fuse-epilogues", "decompose-conv", "round-parameters", "drop-dead-channels", "esc-legalize"]


def module() -> tuple[Context, ModuleOp]:
    context = make_context()
    return context, parse_module(context, ESC, "a.mlir")


def test_level_and_provenance() -> None:
    _, m = module()
    assert level_of(m) == "esc" and provenance(m) == ("onnx-canonicalize",)
    record(m, ["quantize", "onnx-canonicalize"])
    assert provenance(m) == ("onnx-canonicalize", "quantize")
    with pytest.raises(UserError, match="no operation of any level"):
        level_of(ModuleOp([test.TestOp()]))


def test_text_keeps_locations() -> None:
    context, m = module()
    assert has_locations(m) and 'loc("/conv")' in print_module(m)
    assert print_module(parse_module(context, print_module(m), "b.mlir")) == print_module(m)


def test_passes_run_are_recorded_and_timed() -> None:
    context, m = module()
    seen: list[str] = []
    timings = run_passes(context, m, [Marked()], [lambda step, module: seen.append(step.name)])
    assert "marked" in m.attributes and provenance(m)[-1] == "marked"
    assert seen == ["marked"] == [t.name for t in timings] and timings[0].run >= 0


@pytest.mark.parametrize(("how", "error"), [("user", UserError), ("refuse", PassFailedException)])
def test_refusals_of_passes_stay_what_they_are(how: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        run_passes(*module(), [Failing(how)])


def test_bug_in_a_pass_carries_the_ir_before_it(tmp_path: Path) -> None:
    context, m = module()
    path = tmp_path / "a.mlir"
    path.write_text(ESC)
    passes = [Marked(), Failing()]
    with pytest.raises(PassError, match=r"pass 'failing': ZeroDivisionError: by zero") as e:
        run_passes(context, m, passes)
    attach_input(e.value, context, str(path), passes)
    before_failure = parse_module(context, e.value.ir, "ir")
    assert "marked" in before_failure.attributes


def test_invalid_result_is_a_bug_that_names_the_node() -> None:
    with pytest.raises(PassError, match=r"pass 'failing': leaves an invalid module: node '/conv' \(esc.conv2d\)"):
        run_passes(*module(), [Failing("invalid")])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"", "m.mlir: empty file"),
        (b"\xff\xfe", "m.mlir: not IR text"),
        (ESC.replace("1x2x2x1xi32", "1x2x2x2xi32").encode(), r"m.mlir: node '/conv' \(esc.conv2d\): output must be"),
    ],
)
def test_bad_text(text: bytes, cause: str) -> None:
    with pytest.raises(UserError, match=cause):
        parse_module(make_context(), text, "m.mlir")
