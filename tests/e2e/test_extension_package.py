"""The extension package, built and installed outside the tree, is found by every command through its entry points."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples/models/tiny_conv.onnx"


def call(name: str, *arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment; the caller checks the exit code."""
    command = [str(Path(sys.executable).parent / name), *arguments]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Copy of the package and an environment in which it is installed; the environment of the tests stays as it is."""
    folder = tmp_path_factory.mktemp("extension")
    package = folder / "escc-extension"
    shutil.copytree(
        ROOT / "examples/extension", package, ignore=shutil.ignore_patterns("build", "*.egg-info", "Output")
    )
    site = folder / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(site), str(package)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    bin_folder = str(Path(sys.executable).parent)
    path = os.pathsep.join((bin_folder, os.environ["PATH"]))
    return package, {**os.environ, "PYTHONPATH": str(site), "PATH": path, "LIT_OUTPUT": str(folder / "lit")}


def test_its_ir_tests_pass(installed: tuple[Path, dict[str, str]]) -> None:
    package, env = installed
    done = call("lit", "-v", "tests", env=env, cwd=package)
    assert done.returncode == 0, done.stdout


def test_its_target_is_listed(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    done = call("escc", "--list-targets", env=installed[1], cwd=tmp_path)
    assert done.returncode == 0 and "esc1-half" in done.stdout, done.stdout + done.stderr


def test_without_the_package_its_names_are_unknown(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = call("escc", str(MODEL), "-p", "lower-prune", "-o", "m.bin", env=env, cwd=tmp_path)
    assert done.returncode in (1, 2) and "lower-prune" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_its_passes_in_the_pipeline_change_what_the_machine_computes(
    installed: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    _, env = installed
    model = tmp_path / "two.onnx"
    write_two_convolutions(model)
    dumped = call("escc", str(model), "--dump-pass-pipeline", env=env, cwd=tmp_path)
    assert dumped.returncode == 0, dumped.stderr
    plain = dumped.stdout.strip()
    assert plain.count("fuse-epilogues") == 1
    pruned = plain.replace("fuse-epilogues", "prune-activations{threshold=100},lower-prune,fuse-epilogues")
    outputs = []
    for name, pipeline in (("plain", plain), ("pruned", pruned)):
        done = call("escc", str(model), "-p", pipeline, "-o", f"{name}.bin", env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        done = call("esc-emu", f"{name}.bin", "--output", f"{name}.npy", env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        outputs.append(np.load(tmp_path / f"{name}.npy"))
    assert not np.array_equal(*outputs)


POW2 = ("--scheme", "pow2", "--scheme-option", "levels=5", "-q")


@pytest.fixture(scope="module")
def powers(installed: tuple[Path, dict[str, str]]) -> tuple[Path, dict[str, str]]:
    """Folder with a model `m.onnx` (Conv, Softsign, Conv), what `escc --scheme pow2` makes of it, `m.bin`, and
    `verified`, the text of --verify-numerics.
    """
    package, env = installed
    folder = package.parent / "powers"
    folder.mkdir()
    write_two_convolutions(folder / "m.onnx", "Softsign")
    done = call("escc", "m.onnx", *POW2[:-1], "--verify-numerics", "-o", "m.bin", env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "verified").write_text(done.stdout)
    return folder, env


def test_its_weight_form_is_emulated_bit_for_bit(powers: tuple[Path, dict[str, str]]) -> None:
    folder, env = powers
    verified = (folder / "verified").read_text()
    assert "emulator: 2 nodes and 1 output equal, bit for bit" in verified and "DIFFERS" not in verified
    assert "decompose-conv" in verified  # the scheme changed values on the way
    done = call("esc-emu", "m.bin", "--output", "m.npy", "--stats-json", "s.json", env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    layers = json.loads((folder / "s.json").read_text())["layers"]
    assert [layer["kind"] for layer in layers] == ["pow2", "pow2"]
    text = call("esc-dis", "m.bin", env=env, cwd=folder).stdout
    loads = [line for line in text.splitlines() if line.startswith("load.pow2")]
    assert [int(re.findall(r"count=(\d+)", line)[0]) for line in loads] == [8 * 4 * 9, 6 * 8]
    assert "load.weights" not in text


def test_its_events_are_in_statistics_and_energy(powers: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, env = powers
    binary = str(folder / "m.bin")
    done = call("esc-emu", binary, "--stats", "--stats-json", "s.json", "--report", "r.html", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "s.json").read_text())
    for figures, codes in zip((*data["layers"], data["totals"]), (288, 48, 336), strict=True):
        counted = figures["load_pow2_codes"]
        assert list(counted) == ["shifted", "skipped"] and sum(counted.values()) == codes
        assert figures["energy_uj"]["load_pow2"] == pytest.approx(counted["shifted"] * 0.03 * 24 * 1.862 / 36 * 1e-6)
    totals = data["totals"]
    own = totals["load_pow2_codes"]
    assert own["shifted"] > 0
    assert totals["energy_uj"]["total"] == pytest.approx(
        sum(value for name, value in totals["energy_uj"].items() if name != "total")
    )
    assert f"pow2       codes: shifted {own['shifted']}, skipped {own['skipped']}\n" in done.stdout
    assert "shifters of load.pow2" in (tmp_path / "r.html").read_text()
    printed = call("escc", "--print-target", env=env, cwd=tmp_path).stdout
    assert "0.037 pJ: a code that is shifted into a weight\n" in printed


def test_its_weights_are_powers_and_its_option_limits_them(powers: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, env = powers
    model = str(folder / "m.onnx")
    done = call("escc", model, *POW2, "--emit", "qdq", "-o", "q.onnx", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    import onnx
    from onnx import numpy_helper

    exported = onnx.load(tmp_path / "q.onnx")
    found = [numpy_helper.to_array(i) for i in exported.graph.initializer if i.name.endswith("weight/integers")]
    assert [w.shape for w in found] == [(8, 4, 3, 3), (6, 8, 1, 1)]
    assert {abs(int(v)) for w in found for v in w.reshape(-1)} <= {0, 1, 2, 4, 8, 16}
    assert "Softsign" in {node.op_type for node in exported.graph.node}
    done = call("escc", "q.onnx", "--scheme", "dense", "-q", "-o", "q.bin", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name, binary in (("q.npy", tmp_path / "q.bin"), ("m.npy", folder / "m.bin")):
        done = call("esc-emu", str(binary), "--output", name, env=env, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "q.npy"), np.load(tmp_path / "m.npy"))


@pytest.mark.parametrize("level", ["esc", "bfs", "eisa"])
def test_its_operations_are_text_at_every_level(
    powers: tuple[Path, dict[str, str]], tmp_path: Path, level: str
) -> None:
    folder, env = powers
    done = call("escc", str(folder / "m.onnx"), *POW2, "--emit", level, "-o", "l.mlir", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    own = {"esc": "pow2.conv2d", "bfs": "pow2.load_weights", "eisa": "eisa.load.pow2"}[level]
    assert own in (tmp_path / "l.mlir").read_text()
    done = call("escc", "l.mlir", "-q", "-o", "l.bin", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "l.bin").read_bytes() == (folder / "m.bin").read_bytes()


def test_its_instruction_is_assembled_again(powers: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, env = powers
    (tmp_path / "m.s").write_text(call("esc-dis", str(folder / "m.bin"), env=env, cwd=tmp_path).stdout)
    done = call("esc-as", "m.s", "-o", "again.bin", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "again.bin").read_bytes() == (folder / "m.bin").read_bytes()


def test_a_model_of_its_operator_alone_compiles(installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 6, 6]) for name in "xy"]
    graph = helper.make_graph(
        [helper.make_node("Softsign", ["x"], ["y"], "softsign")], "softsign", ports[:1], ports[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    done = call("escc", "m.onnx", "--verify-numerics", "-q", "-o", "m.bin", env=installed[1], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "emulator: 1 node and 1 output equal, bit for bit" in done.stdout
    listed = call("escc", "--supported-ops", env=installed[1], cwd=tmp_path).stdout
    assert "\n| Softsign |" in listed and "\n| pow2.softsign |" in listed


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("levels=9", "scheme 'pow2': levels=9; requires an integer from 1 to 7"),
        ("level=3", "scheme 'pow2': unknown option 'level=3'"),
    ],
)
def test_its_option_is_checked(powers: tuple[Path, dict[str, str]], tmp_path: Path, option: str, message: str) -> None:
    folder, env = powers
    wrong = ("--scheme", "pow2", "--scheme-option", option)
    done = call("escc", str(folder / "m.onnx"), *wrong, "-o", "m.bin", env=env, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("error: ") == 1 and message in done.stderr, done.stderr


def test_its_report_counts_the_codes_as_weights(powers: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, env = powers
    done = call("escc", str(folder / "m.onnx"), *POW2, "-o", "m.bin", "--report", "r.json", env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    layers = json.loads((tmp_path / "r.json").read_text())["layers"]
    assert [layer["coefficients"] for layer in layers] == [8 * 4 * 9, 6 * 8]
    assert [layer["coefficient_bytes"] for layer in layers] == [8 * 4 * 9 // 2, 6 * 8 // 2]


def write_two_convolutions(path: Path, between: str = "Relu") -> None:
    """Conv, an activation function, Conv: the value between them is what `prune-activations` is about."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(s, dtype=np.float32) for s in ((8, 4, 3, 3), (6, 8, 1, 1))]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
            helper.make_node(between, ["a"], ["b"], between.lower()),
            helper.make_node("Conv", ["b", "w1"], ["y"], "second"),
        ],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 6, 6])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
