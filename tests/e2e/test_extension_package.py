"""The extension package, built and installed outside the tree, is found by every command through its entry points."""

from __future__ import annotations

import os
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
    package = folder / "escc-prune"
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


def write_two_convolutions(path: Path) -> None:
    """Conv, Relu, Conv: the value between them is what `prune-activations` is about."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(3)
    weights = [rng.standard_normal(s, dtype=np.float32) for s in ((8, 4, 3, 3), (6, 8, 1, 1))]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"], "relu"),
            helper.make_node("Conv", ["b", "w1"], ["y"], "second"),
        ],
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 6, 6])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
