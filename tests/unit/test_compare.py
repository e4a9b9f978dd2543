"""Comparisons: tables, JSON, differences, and what is refused, on a small network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sample_models import residual_model

from escc.cli.compare import main
from escc.cli.compile import main as compile_model
from escc.compare.diff import difference
from escc.compare.figures import Comparison, FigurePart, Figures
from escc.compare.tables import lines_of
from escc.compare.works import layer_works
from isa.jsonform import from_plain

MACHINES = "eyeriss,sparten,ideal-sparse,timely"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, labelled data, calibration data, and a comparison of them."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "model.onnx").write_bytes(residual_model())
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 3, 8, 8)).clip(-2, 2).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=rng.integers(0, 10, 40))
    np.savez(folder / "calibration.npz", x=rng.standard_normal((48, 3, 8, 8)).clip(-2, 2).astype(np.float32))
    assert _compare(folder, "--machines", MACHINES, "--sparse-price", "0.3", "--json", folder / "c.json") == 0
    options = ["--calibration", str(folder / "calibration.npz"), "--scheme", "dense", "-q"]
    assert compile_model([str(folder / "model.onnx"), *options, "-o", str(folder / "dense.bin")]) == 0
    return folder


def _compare(folder: Path, *options: str | Path, models: tuple[str, ...] = ("model.onnx",)) -> int:
    arguments = [str(folder / name) for name in models]
    arguments += ["--data", str(folder / "data.npz"), "--calibration", str(folder / "calibration.npz")]
    return main([*arguments, "--schemes", "dense,escalate:basis=4", "--images", "2", "-q", *map(str, options)])


def _read(path: Path) -> Comparison:
    return from_plain(Comparison, json.loads(path.read_text()), "c")


def test_every_system_is_there_and_layers_sum_to_the_total(files: Path) -> None:
    (network,) = _read(files / "c.json").networks
    assert [s.name for s in network.systems] == ["dense", "escalate:basis=4", "eyeriss", "sparten", "ideal-sparse"]
    assert (network.images, network.evaluated) == (2, 40)
    for system in network.systems:
        for measure in ("cycles", "compute_cycles", "energy"):
            total = sum(getattr(layer.figures, measure) for layer in system.layers)
            assert total == pytest.approx(getattr(system.total, measure))
        for figures in (system.total, *(layer.figures for layer in system.layers)):
            assert sum(p.value for p in figures.time) == pytest.approx(figures.cycles)
        assert system.total.dram == sum(p.value for p in system.total.dram_bytes) > 0
    by_name = {s.name: s for s in network.systems}
    assert by_name["dense"].total == by_name["dense"].batch and by_name["dense"].coded is None
    assert by_name["eyeriss"].batch.dram < by_name["eyeriss"].total.dram
    assert by_name["ideal-sparse"].total.cycles <= by_name["sparten"].total.cycles
    assert by_name["ideal-sparse"].model_bytes < by_name["eyeriss"].model_bytes
    assert [c.name for c in network.counted] == ["timely"]
    assert all(system.top1 is not None for system in network.systems)


def test_the_tables_fit_80_columns_unless_all_is_asked_for(files: Path) -> None:
    comparison = _read(files / "c.json")
    brief, wide = list(lines_of(comparison)), list(lines_of(comparison, wide=True))
    assert max(map(len, brief)) <= 80
    assert any(line.startswith("weights dense: eyeriss") for line in brief) and " memory " not in brief[3]
    head = next(line.split() for line in wide if line.startswith("system"))
    assert head[1:5] == ["weights", "mult", "memory", "model"]
    for lines in (brief, wide):
        at = next(i for i, line in enumerate(lines) if line.startswith("latency of a baseline over ours"))
        ratio = comparison.ratios("cycles")["dense", "eyeriss"]
        assert lines[at + 3].split()[:2] == ["eyeriss", f"{ratio:.2f}"]


def test_a_network_beside_a_binary_without_any_scheme(files: Path) -> None:
    data = ["--data", str(files / "data.npz"), "--calibration", str(files / "calibration.npz"), "--images", "1", "-q"]
    models = [str(files / "model.onnx"), str(files / "dense.bin")]
    assert main([*models, *data, "--schemes", "none", "--machines", "eyeriss", "--json", str(files / "n.json")]) == 0
    assert [s.name for s in _read(files / "n.json").networks[0].systems] == ["dense.bin", "eyeriss"]


def test_our_side_alone(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(files / "data.npz"), "--calibration", str(files / "calibration.npz"), "--images", "1", "-q"]
    alone = [str(files / "model.onnx"), *data, "--machines", "none", "--schemes"]
    assert main([*alone, "dense,auto"]) == 0
    printed = capsys.readouterr().out
    assert "\ndense " in printed and "\nauto " in printed
    assert "baseline" not in printed and "weights" not in printed
    assert main([*alone, "none"]) == 1
    assert "leave nothing to compare" in capsys.readouterr().err


def test_ratios_are_geometric_means_over_networks(files: Path) -> None:
    found = _read(files / "c.json")
    (network,) = found.networks
    by_name = {s.name: s for s in network.systems}
    ratio = by_name["eyeriss"].total.cycles / by_name["dense"].total.cycles
    assert found.ratios("cycles")["dense", "eyeriss"] == pytest.approx(ratio)
    batched = by_name["eyeriss"].batch.cycles / by_name["dense"].total.cycles
    assert found.ratios("cycles", batched=True)["dense", "eyeriss"] == pytest.approx(batched)
    assert batched < ratio
    half = Figures(by_name["eyeriss"].total.cycles / 4, 0.0, (), (FigurePart("dram", 1.0),), ())
    from dataclasses import replace

    other = replace(network, systems=(by_name["dense"], replace(by_name["eyeriss"], total=half)))
    both = replace(found, networks=(network, other)).ratios("cycles")
    assert both == {("dense", "eyeriss"): pytest.approx(ratio / 2)}


def test_the_same_comparison_writes_the_same_bytes(files: Path) -> None:
    assert _compare(files, "--machines", MACHINES, "--sparse-price", "0.3", "--json", files / "again.json") == 0
    assert (files / "again.json").read_bytes() == (files / "c.json").read_bytes()


def test_tables_keep_published_figures_apart(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _compare(files, "--machines", "ideal-dense,prime-like") == 0
    text = capsys.readouterr().out
    assert "model.onnx: cost of one image, mean of 2; top-1 over 40" in text
    titles = [
        "latency of",
        "computing alone of",
        "latency in a batch of 16 of",
        "energy of",
        "energy in a batch of 16 of",
    ]
    places = [text.index(f"{title} a baseline over ours (above 1: ours is better)") for title in titles]
    assert places == sorted(places) and places[-1] < text.index("published, other machine")
    assert "17.9" not in text[: text.index("published")]
    assert "processing in memory" in text and "prime-like" in text


def test_pruning_keeps_the_accuracy_that_is_asked_for(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _compare(files, "--machines", "ideal-sparse,ideal-dense", "--max-drop", "5", "--json", "-") == 0
    found = from_plain(Comparison, json.loads(capsys.readouterr().out), "c")
    systems = {s.name: s for s in found.networks[0].systems}
    dense, sparse = systems["ideal-dense"], systems["ideal-sparse"]
    assert dense.top1 is not None and sparse.top1 is not None and sparse.top1 >= dense.top1 - 5 - 1e-9
    assert "pruned at price" in sparse.weights


def test_a_network_that_guesses_is_worth_a_warning_and_keeps_weights(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No price costs it points of top-1: those that the network guesses right may even become more."""
    assert _compare(files, "--machines", "ideal-sparse", "--json", "-") == 0
    text = capsys.readouterr()
    (network,) = from_plain(Comparison, json.loads(text.out), "c").networks
    assert network.systems[-1].total.cycles > 0 and not network.systems[-1].weights.startswith("0.0%")
    said = f"warning: {files / 'data.npz'}: the network answers "
    assert [line.startswith(said) for line in text.err.splitlines()] == [True]
    assert "of 40 images right before compression, no more than guessing: look at the labels" in text.err


@pytest.mark.parametrize("options", [("--max-drop", "100"), ("--max-drop", "200")])
def test_a_limit_that_everything_keeps_ends_at_a_network_that_reads_its_input(
    options: tuple[str, str], files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _compare(files, "--machines", "ideal-sparse", *options, "--json", "-") == 0
    (network,) = from_plain(Comparison, json.loads(capsys.readouterr().out), "c").networks
    assert network.systems[-1].model_bytes > 0 and network.systems[-1].total.cycles > 0


def test_a_sparse_model_is_taken_as_it_is(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _compare(files, "--machines", "ideal-sparse", "--sparse-model", files / "model.onnx", "--json", "-") == 0
    (network,) = from_plain(Comparison, json.loads(capsys.readouterr().out), "c").networks
    assert network.systems[-1].weights.endswith("kept, as given")


def test_binaries_stand_beside_a_network_or_alone(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _compare(files, "--machines", "ideal-dense", "--json", "-", models=("model.onnx", "dense.bin")) == 0
    (network,) = from_plain(Comparison, json.loads(capsys.readouterr().out), "c").networks
    systems = {s.name: s for s in network.systems}
    assert systems["dense.bin"].kind == "binary"
    assert systems["dense.bin"].model_bytes == pytest.approx(systems["dense"].model_bytes, rel=0.02)
    assert _compare(files, "--json", "-", models=("dense.bin",)) == 0
    (alone,) = from_plain(Comparison, json.loads(capsys.readouterr().out), "c").networks
    assert [s.name for s in alone.systems] == ["dense.bin"]


def test_binaries_of_another_clock_are_refused_and_their_own_is_told(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "slow.toml").write_text('base = "esc1"\nname = "slow"\n[clock]\nfrequency_mhz = 100.0\n')
    slow = [
        "--calibration",
        str(files / "calibration.npz"),
        "--scheme",
        "dense",
        "-q",
        "--target",
        f"{files}/slow.toml",
    ]
    assert compile_model([str(files / "model.onnx"), *slow, "-o", str(files / "slow.bin")]) == 0
    data = ["--data", str(files / "data.npz"), "--images", "1"]
    capsys.readouterr()
    assert main([str(files / "slow.bin"), *data]) == 0
    assert capsys.readouterr().out.startswith("target slow: 100 MHz, 128 bytes a cycle")
    for models in (("slow.bin", "dense.bin"), ("model.onnx", "slow.bin")):
        assert main([*(str(files / name) for name in models), *data, "--machines", "none"]) == 1
        err = capsys.readouterr().err
        assert ".bin: made for" in err and "'slow')" in err and "'esc1')" in err


def test_options_without_an_effect_are_told(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(files / "data.npz"), "--calibration", str(files / "data.npz"), "--images", "1"]
    assert main([str(files / "dense.bin"), *data, "--machines", "none", "--max-drop", "2"]) == 0
    assert "--calibration, --max-drop have no effect: binaries alone are compared" in capsys.readouterr().err
    ours = ["--schemes", "dense", "--machines", "none", "--sparse-price", "1"]
    assert main([str(files / "model.onnx"), *data, *ours]) == 0
    assert "--sparse-price has no effect: no baseline is compared" in capsys.readouterr().err


def test_only_what_is_quantised_here_is_warned_of(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(files / "data.npz"), "--images", "1", "--machines", "ideal-dense", "--schemes", "dense"]
    assert main([str(files / "dense.bin"), *data]) == 0
    assert "--calibration" not in capsys.readouterr().err
    assert main([str(files / "model.onnx"), *data]) == 0
    assert "no --calibration" in capsys.readouterr().err


def test_differences_name_layers_and_causes(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads((files / "c.json").read_text())
    layer = data["networks"][0]["systems"][0]["layers"][1]
    stalls = {part["name"]: part for part in layer["figures"]["time"]}
    for figures in (layer["figures"], data["networks"][0]["systems"][0]["total"]):
        figures["cycles"] += 1500
    stalls["load"]["value"] += 2000
    stalls["compute"]["value"] -= 500
    (files / "d.json").write_text(json.dumps(data))
    assert main(["--diff", str(files / "c.json"), str(files / "d.json")]) == 0
    text = capsys.readouterr().out
    assert f"  {layer['name']}: " in text and "waiting for load +2,000, compute -500" in text
    assert "model.onnx, eyeriss: " in text and "(+0.0%) cycles" in text


def test_statistics_of_runs_can_be_compared_too(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from escc.cli.emulate import main as emulate

    for scheme in ("dense", "escalate"):
        binary, stats = str(files / f"{scheme}.bin"), str(files / f"{scheme}.json")
        options = ["--calibration", str(files / "calibration.npz"), "--scheme", scheme, "-q", "-o", binary]
        assert compile_model([str(files / "model.onnx"), *options]) == 0
        assert emulate([binary, "--stats-json", stats]) == 0
    capsys.readouterr()
    assert main(["--diff", str(files / "dense.json"), str(files / "escalate.json")]) == 0
    assert capsys.readouterr().out.startswith("run: ")


def test_layers_side_by_side_are_compared_with_the_same_layers_one_by_one(tmp_path: Path) -> None:
    def run(name: str, layers: dict[str, tuple[tuple[str, ...], float]]) -> str:
        def row(cycles: float) -> dict[str, object]:
            parts = {"energy_uj": {"total": 1.0}, "dram_bytes": {"total": 0}, "stall_cycles": {"total": 0}}
            return {"cycles": cycles, "compute_cycles": cycles, "busy_cycles": {"compute": cycles}, **parts}

        rows = [{"name": n, "nodes": list(nodes), **row(cycles)} for n, (nodes, cycles) in layers.items()]
        total = row(sum(cycles for _, cycles in layers.values()))
        (tmp_path / name).write_text(json.dumps({"totals": total, "layers": rows}))
        return str(tmp_path / name)

    apart = run(
        "apart.json",
        {"c1": (("c1", "r1"), 70), "p1": (("p1",), 30), "e1": (("e1", "cat"), 20), "e2": (("e2", "cat"), 20)},
    )
    beside = run(
        "beside.json", {"c1..p1": (("c1", "r1", "p1"), 60), "e1": (("e1", "cat"), 30), "e2": (("e2", "cat"), 20)}
    )
    other = run("other.json", {"c1": (("c1", "r1"), 70), "p1..e1": (("p1", "e1", "cat"), 40), "x": (("x",), 1)})
    once = run("once.json", {"p1": (("c1", "r1", "p1"), 60)})  # as layers side by side were once called

    def lines(before: str, after: str) -> list[str]:
        return list(difference(before, after))[1:]

    assert lines(apart, beside) == [
        "  c1 + p1 -> c1..p1: 100 -> 60 (-40.0%): compute -40",
        "  e1: 20 -> 30 (+50.0%): compute +10",
    ]
    assert lines(beside, apart)[0] == "  c1..p1 -> c1 + p1: 60 -> 100 (+66.7%): compute +40"
    assert lines(beside, other) == ["  new: x"]  # what shares nodes takes as long as before
    assert lines(once, apart) == [
        "  p1 -> c1 + p1: 60 -> 100 (+66.7%): compute +40",
        "  new: e1, e2",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--machines", "spartan"), "no baseline 'spartan'; installed: "),
        (("--schemes", "denser"), "no scheme 'denser'"),
        (("--schemes", "auto:bases=2"), "scheme 'auto' has no option 'bases'; requires one of basis, planes"),
        (("--schemes", "dense,dense"), "expected different schemes"),
        (("--sparse-model", "m.onnx", "--sparse-price", "1"), "not allowed with argument"),
    ],
)
def test_usage_errors(options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["m.onnx", "--data", "x.npz", *options])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_faults_of_the_input(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fails(*arguments: str | Path) -> str:
        assert main([str(a) for a in arguments]) == 1
        return capsys.readouterr().err

    data = ("--data", files / "data.npz", "--calibration", files / "calibration.npz")
    (files / "no.json").write_text("{}")
    assert "neither a comparison nor the statistics" in fails("--diff", files / "no.json", files / "c.json")
    (files / "cut.json").write_text((files / "c.json").read_text()[:50])
    assert "not JSON" in fails("--diff", files / "c.json", files / "cut.json")
    two = fails(files / "model.onnx", files / "model.onnx", *data, "--data", files / "data.npz", *data[:2])
    assert "--data given 3 times for 2 models" in two
    np.savez(files / "small.npz", x=np.zeros((2, 3, 4, 4), np.float32))
    assert "small.npz" in fails(files / "model.onnx", "--data", files / "small.npz", *data[2:])
    missing = fails(files / "absent.onnx", *data)
    assert "absent.onnx" in missing and "Traceback" not in missing


def test_compressed_layers_are_refused_before_anything_is_pruned(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--calibration", str(files / "calibration.npz"), "--scheme", "escalate", "--basis", "4", "--emit", "qdq"]
    assert compile_model([str(files / "model.onnx"), *options, "-q", "-o", str(files / "q.onnx")]) == 0
    capsys.readouterr()
    arguments = [str(files / "q.onnx"), "--data", str(files / "data.npz"), "--machines", "sparten"]
    assert main([*arguments, "--calibration", str(files / "calibration.npz")]) == 1
    err = capsys.readouterr().err
    assert "a compressed layer; the baseline machines need the original convolution" in err and "prun" not in err


def test_decomposed_layers_have_no_baseline(files: Path) -> None:
    from escc.compare.network import ComparedNetwork, CompareSettings
    from escc.irtext import make_context
    from isa.errors import UserError

    settings = CompareSettings("esc1", str(files / "calibration.npz"), 16, 0, 1, 8)
    network = ComparedNetwork(make_context(), str(files / "model.onnx"), settings)
    x = np.load(files / "data.npz")["x"][:2]
    works = layer_works(network.dense(), [x])
    assert [w.geometry.filters for w in works] == [16, 16, 32, 10]
    assert all(w.images == 2 and w.matches.min() > 0 for w in works)
    from escc.driver import run_passes
    from passes.decompose_conv import DecomposeConvPass

    module = network.module.clone()
    run_passes(network.context, module, [DecomposeConvPass(scheme="escalate", calibration=settings.calibration)])
    with pytest.raises(UserError, match="compressed layer"):
        layer_works(module, [x])


def test_several_networks_each_with_its_data_and_no_labels(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "wider.onnx").write_bytes(residual_model(channels=24, seed=1))
    x = np.load(files / "data.npz")["x"]
    np.savez(files / "unlabelled.npz", x=x)
    second = ("--data", files / "unlabelled.npz", "--calibration", files / "data.npz")
    chosen = ("--machines", "ideal-dense,ideal-sparse", "--sparse-price", "0.3")
    assert _compare(files, *second, *chosen, models=("model.onnx", "wider.onnx")) == 0
    text = capsys.readouterr().out
    assert "model.onnx: cost of one image, mean of 2; top-1 over 40" in text
    assert "wider.onnx: cost of one image, mean of 2; no labels" in text
    assert "geometric mean of 2 networks" in text
