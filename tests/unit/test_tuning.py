"""Tilings by emulation: `escc --tune`, and the option of the pass that tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tile_models import Graph
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from dialects.eisa import to_program
from dialects.interpreters.run import main_function
from emulator.machine import Machine
from escc import driver
from escc.cli.compile import main
from escc.compilation import CompileRequest
from escc.errors import InternalError
from escc.irtext import print_module
from escc.tuning import ScheduleTrials, TunedTiling
from escc.universe import ESCC_UNIVERSE
from isa.errors import UserError
from isa.target import load_target
from passes.pipelines import STAGES, PipelineOptions, parse, to_text
from passes.tile_basis_first import TileBasisFirstPass, places_of
from passes.tiling.search import ranked

PASSES = ESCC_UNIVERSE.all_passes
AFTER = [PASSES[name]()() for name in (*STAGES["bfs"], *STAGES["eisa"]) if name != "tile-basis-first"]


def model() -> ModuleOp:
    g = Graph(12, 12, 16)
    return g.module(g.conv(g.pool(g.conv(g.x, 48), average=False, kernel=(2, 2), strides=(2, 2)), 32))


def trials(module: ModuleOp) -> ScheduleTrials:
    return ScheduleTrials(main_function(module), load_target("esc1"), AFTER)


def cycles_of(module: ModuleOp, step: TileBasisFirstPass) -> tuple[int, list[np.ndarray]]:
    """Cycles and outputs of a network that is compiled with a pass."""
    copy = module.clone()
    for p in (step, *AFTER):
        p.apply(Context(), copy)
    found = Machine(to_program(copy)).run_sample(stats=True)
    assert found.statistics is not None
    return found.statistics.data["totals"]["cycles"], found.outputs


def test_what_is_found_is_as_fast_as_the_best_single_change() -> None:
    module = model()
    network = trials(module)
    found = network.fastest(most=4)
    planned = network.planned()
    posed = planned.tiled().posed
    assert found.before == network.emulated(planned).cycles == cycles_of(module, TileBasisFirstPass())[0]
    assert found.cycles == network.emulated(network.planned(found.outside), found.places).cycles
    alone = [
        network.emulated(planned, {tensor: place}).cycles
        for tensor in posed
        for place in range(1, min(4, len(ranked(*posed[tensor]))))
    ]
    alone += [network.emulated(network.planned({tensor})).cycles for tensor in planned.resident]
    assert found.cycles <= min(alone)
    assert found.cycles < found.before  # or nothing here could fail


def test_the_options_of_the_pass_give_what_was_tuned() -> None:
    module = model()
    said: list[str] = []
    tuned = TunedTiling.of(TileBasisFirstPass(), 4, AFTER, said.append)
    cycles, outputs = cycles_of(module, tuned)
    assert to_text([tuned]) == to_text([TileBasisFirstPass()])
    text = said[0].partition("as a pass: ")[2]
    (step,) = parse(PASSES, text)
    assert isinstance(step, TileBasisFirstPass) and step.tilings and to_text([step]) == text
    again, same = cycles_of(module, step)
    assert again == cycles < cycles_of(module, TileBasisFirstPass())[0]
    assert all(np.array_equal(a, b) for a, b in zip(outputs, same, strict=True))


def test_a_place_is_that_of_the_order_by_the_estimate() -> None:
    planned = trials(model()).planned()
    cheapest = planned.tiled()
    plain = {x.output.string_value(): x for x in cheapest.program.layers}
    for tensor, problem in cheapest.posed.items():
        best, second = (tiling for _, tiling in ranked(*problem)[:2])
        assert best != second
        layers = {x.output.string_value(): x for x in planned.tiled({tensor: 1}).program.layers}
        assert [t for t in layers if str(layers[t]) != str(plain[t])] == [tensor]


def test_a_tensor_outside_does_not_stay_in_act() -> None:
    network = trials(model())
    resident = network.planned().resident
    assert "t1" in resident
    assert network.planned({"t1"}).resident == resident - {"t1"}
    module = model()
    TileBasisFirstPass(outside=("t1",)).apply(Context(), module)
    declared = [line for line in str(module).splitlines() if "bfs.tensor @t" in line]
    assert ["resident" in line for line in declared] == [f"t{n}" in resident - {"t1"} for n in range(len(declared))]


def test_a_tensor_in_bands_may_be_outside() -> None:
    g = Graph(96, 96, 16)
    network = trials(g.module(g.conv(g.conv(g.conv(g.x, 24), 24), 8)))
    resident = network.planned().resident
    assert resident  # a ring of rows
    assert network.planned(resident).resident == set()


def test_a_schedule_that_changes_results_is_a_bug() -> None:
    network = trials(model())
    planned = network.planned()
    network.emulated(planned)
    assert network.outputs is not None
    network.outputs = [x + 1 for x in network.outputs]
    with pytest.raises(InternalError, match=r"results of the network change with its schedule: \{"):
        network.emulated(planned, {"t1": 1})


def test_a_tensor_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="no layer computes 't9', which is to stay outside"):
        TileBasisFirstPass(outside=("t9",)).apply(Context(), model())


@pytest.mark.parametrize(
    ("tiling", "fault"),
    [
        ("t2", "requires TENSOR=PLACE"),
        ("=1", "requires TENSOR=PLACE"),
        ("t2=-1", "requires TENSOR=PLACE"),
        ("t2=99999999999", "requires TENSOR=PLACE"),
        ("t9=1", "no layer computes 't9'"),
        ("t0=1", "no layer computes 't0'"),
        ("t2=99999", r"has no tiling t2=99999; requires a place below \d+"),
    ],
)
def test_a_tiling_that_is_none_is_refused(tiling: str, fault: str) -> None:
    module = model()
    with pytest.raises(UserError, match=fault):
        TileBasisFirstPass(tilings=(tiling,)).apply(Context(), module)
    assert driver.level_of(module) == "esc"  # as it was


def test_places_of_texts() -> None:
    assert places_of(["t1=2", "t10=0"]) == {"t1": 2, "t10": 0}


def test_what_carries_no_sample_is_not_tuned() -> None:
    module = model()
    del main_function(module).attributes["sample"]
    with pytest.raises(UserError, match="--tune needs a sample"):
        trials(module).fastest(most=2)


def test_only_a_pipeline_that_tiles_is_tuned() -> None:
    module = model()
    options = PipelineOptions()
    request = CompileRequest(options, "esc", tune=3)
    with pytest.raises(UserError, match="--tune needs the pass tile-basis-first ahead"):
        request.tuned(module, request.passes(module, "m"), print)
    plain = CompileRequest(options, "bin")
    passes = plain.passes(module, "m")
    assert plain.tuned(module, passes, print) == passes


@pytest.mark.parametrize("kind", ["bfs", "bin"])
def test_the_command_tunes(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "m.mlir", tmp_path / "m.out"
    source.write_text(print_module(model()), encoding="utf-8")
    assert main([str(source), "--tune", "3", "--emit", kind, "-o", str(output)]) == 0
    said = capsys.readouterr().err
    assert "tuned schedule: " in said and " changed" in said
    assert output.stat().st_size


def test_the_command_refuses_what_it_cannot_tune(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "m.mlir", tmp_path / "m.bin"
    source.write_text(print_module(model()), encoding="utf-8")
    with pytest.raises(SystemExit, match="2"):
        main([str(source), "--tune", "0", "-o", str(output)])
    assert main([str(source), "--emit", "bfs", "-q", "-o", str(tmp_path / "b.mlir")]) == 0
    assert main([str(tmp_path / "b.mlir"), "--tune", "2", "-o", str(output)]) == 1
    assert "--tune needs the pass tile-basis-first ahead" in capsys.readouterr().err
    assert not output.exists()
