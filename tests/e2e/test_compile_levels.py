"""A small model through every level: as text, in parts, under other hash seeds, to a file that standard tools read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import command
from sample_models import residual_model

from escc.cli.compile import main
from escc.cli.opt import main as opt
from isa.container import read_elf
from passes.pipelines import LEVELS, STAGES

SCHEMES = {
    "dense": ["--scheme", "dense"],
    "escalate": ["--scheme", "escalate", "--basis", "3", "--planes", "2"],
    "larger": ["--scheme", "escalate", "--basis", "3", "--scheme-option", "levels=4"],
    "auto": ["--scheme", "auto"],
}


@pytest.fixture(scope="module", params=SCHEMES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with m.onnx, c.npz and the binary direct.bin of one scheme."""
    made = tmp_path_factory.mktemp(request.param)
    (made / "m.onnx").write_bytes(residual_model())
    x = np.random.default_rng(1).standard_normal((8, 3, 8, 8)).astype(np.float32)
    np.savez(made / "c.npz", x=x)
    (made / "options").write_text(json.dumps(["--calibration", str(made / "c.npz"), *SCHEMES[request.param]]))
    assert main([str(made / "m.onnx"), *options(made), "-q", "-o", str(made / "direct.bin")]) == 0
    return made


def options(folder: Path) -> list[str]:
    return json.loads((folder / "options").read_text())


def test_every_level_is_valid_text_and_goes_on_to_the_same_binary(folder: Path, tmp_path: Path) -> None:
    direct = (folder / "direct.bin").read_bytes()
    for level in LEVELS:
        text, binary = tmp_path / f"{level}.mlir", tmp_path / f"{level}.bin"
        assert main([str(folder / "m.onnx"), *options(folder), "--emit", level, "-q", "-o", str(text)]) == 0
        rest = options(folder) if level == "onnx" else []
        assert main([str(text), *rest, "-q", "-o", str(binary)]) == 0
        assert binary.read_bytes() == direct, f"through {level}"


def test_larger_coefficients_are_in_the_program(folder: Path) -> None:
    code = read_elf((folder / "direct.bin").read_bytes()).instructions
    levels = {i["level"] for i in code if i.spec.mnemonic == "conv.esc"}
    if "auto" not in options(folder):  # which takes the level that is worth its price
        assert (max(levels, default=0) == 2) == ("levels=4" in options(folder))


def test_text_of_every_level_round_trips(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for level in LEVELS:
        text = tmp_path / f"{level}.mlir"
        assert main([str(folder / "m.onnx"), *options(folder), "--emit", level, "-q", "-o", str(text)]) == 0
        assert opt([str(text)]) == 0
        assert capsys.readouterr().out.rstrip("\n") == text.read_text().rstrip("\n"), level


def test_pipe_through_esc_opt(folder: Path) -> None:
    arguments = " ".join(options(folder))
    line = (
        f"{command('escc')} {folder}/m.onnx {arguments} --emit esc -q | {command('esc-opt')} -p canonicalize | "
        f"{command('escc')} - -q -o {folder}/piped.bin"
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "", done.stderr
    assert (folder / "piped.bin").read_bytes() == (folder / "direct.bin").read_bytes()


def test_passes_one_by_one_as_text(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder / "m.onnx"), *options(folder), "--dump-pass-pipeline"]) == 0
    pipeline = capsys.readouterr().out.strip()
    steps = re.findall(r"[a-z0-9-]+(?:\{[^}]*\})?", pipeline)
    assert len(steps) == sum(len(stage) for stage in STAGES.values())
    text = tmp_path / "step.mlir"
    assert main([str(folder / "m.onnx"), "-p", steps[0], "--emit", "onnx", "-q", "-o", str(text)]) == 0
    for step in steps[1:]:
        assert opt([str(text), "-p", step]) == 0, capsys.readouterr().err
        text.write_text(capsys.readouterr().out)
    assert main([str(text), "-q", "-o", str(tmp_path / "step.bin")]) == 0
    assert (tmp_path / "step.bin").read_bytes() == (folder / "direct.bin").read_bytes()


def test_the_dumped_pipeline_is_the_default_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(folder / "m.onnx"), *options(folder), "--dump-pass-pipeline"]) == 0
    pipeline = capsys.readouterr().out.strip()
    assert main([str(folder / "m.onnx"), "-p", pipeline, "-q", "-o", str(tmp_path / "p.bin")]) == 0
    assert (tmp_path / "p.bin").read_bytes() == (folder / "direct.bin").read_bytes()


def test_same_bytes_under_any_hash_seed(folder: Path, tool: Callable[..., subprocess.CompletedProcess[bytes]]) -> None:
    made: list[bytes] = []
    for seed in ("1", "2"):
        done = tool("escc", folder / "m.onnx", *options(folder), "-q", "-o", "-", env={"PYTHONHASHSEED": seed})
        assert done.returncode == 0, done.stderr.decode()
        made.append(done.stdout)
    assert made[0] == made[1] == (folder / "direct.bin").read_bytes()


def test_readelf_and_objdump_read_the_binary(folder: Path) -> None:
    if shutil.which("readelf") is None or shutil.which("objdump") is None:
        pytest.skip("readelf and objdump (binutils) are not installed")
    done = subprocess.run(
        ["readelf", "-S", "-s", "-n", "-W", folder / "direct.bin"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    for section in (".text", ".rodata", ".bss", ".note.esc", ".esc.target", ".esc.io", ".esc.map", ".esc.sample"):
        assert section in done.stdout
    program = read_elf((folder / "direct.bin").read_bytes())
    assert all(layer.name[:20] in done.stdout for layer in program.layers)
    dumped = subprocess.run(["objdump", "-s", folder / "direct.bin"], capture_output=True, text=True, check=False)
    assert dumped.returncode == 0 and "Contents of section .text" in dumped.stdout


def test_disassembly_assembles_to_the_same_bytes(
    folder: Path, tmp_path: Path, tool: Callable[..., subprocess.CompletedProcess[bytes]]
) -> None:
    listing = tool("esc-dis", folder / "direct.bin")
    assert listing.returncode == 0, listing.stderr.decode()
    again = tool("esc-as", "-", "-o", "again.bin", stdin=listing.stdout)
    assert again.returncode == 0, again.stderr.decode()
    assert (tmp_path / "again.bin").read_bytes() == (folder / "direct.bin").read_bytes()


def test_nodes_of_the_model_reach_the_binary(folder: Path) -> None:
    program = read_elf((folder / "direct.bin").read_bytes())
    nodes = {node for layer in program.layers for node in layer.nodes}
    assert {"stem", "stem_relu", "block", "block_add", "block_relu", "down", "pool", "fc"} <= nodes
    assert next(layer.nodes[0] for layer in program.layers if layer.weights) == "stem"
    assert program.sample and program.producer.startswith("escc ")


def test_numerics_agree_at_every_level(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*options(folder), "--verify-numerics", "--tolerance", "0.5", "-q", "-o", str(tmp_path / "v.bin")]
    assert main([str(folder / "m.onnx"), *arguments]) == 0
    out = capsys.readouterr().out
    assert "deviation from float after quantize" in out and re.search("^stem  ", out, re.MULTILINE)
    assert re.search(r"^emulator: \d+ nodes and 1 output equal, bit for bit$", out, re.MULTILINE)
    assert (tmp_path / "v.bin").read_bytes() == (folder / "direct.bin").read_bytes()


def test_report(folder: Path, tmp_path: Path) -> None:
    binary, report = tmp_path / "r.bin", tmp_path / "r.json"
    for name in ("r.json", "r.html"):
        arguments = [*options(folder), "-q", "-o", str(binary), "--report", str(tmp_path / name)]
        assert main([str(folder / "m.onnx"), *arguments]) == 0
    data = json.loads(report.read_text())
    program = read_elf(binary.read_bytes())
    assert [layer["name"] for layer in data["layers"]] == [layer.name for layer in program.layers]
    convolutions = [layer for layer in data["layers"] if layer["weights"]]
    assert len(convolutions) == 4
    for layer in convolutions:
        assert 0 < layer["density"] <= 1 and layer["entropy_bytes"] > 0 and layer["tile"]["rows"]
        assert layer["original_bytes"] == 4 * layer["weights"] and layer["packed_bytes"] > 0 and layer["macs"] > 0
    assert data["totals"]["packed_bytes"] == sum(layer["packed_bytes"] for layer in data["layers"])
    page = (tmp_path / "r.html").read_text()
    assert (
        page.startswith("<!doctype html>") and "http" not in page.split("</style>")[1].split('<script id="library"')[0]
    )
    assert all(layer["name"] in page for layer in data["layers"])


def test_another_target_gives_another_program_of_the_same_function(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "small.toml"
    target.write_text('base = "esc1"\nname = "small"\n[array]\nblocks = 8\n[scratchpad]\nact = 24576\n')
    binary = tmp_path / "small.bin"
    arguments = [*options(folder), "--target", str(target), "--verify-numerics", "--tolerance", "0.5", "-q"]
    assert main([str(folder / "m.onnx"), *arguments, "-o", str(binary)]) == 0
    assert binary.read_bytes() != (folder / "direct.bin").read_bytes()
    assert read_elf(binary.read_bytes()).target.array.blocks == 8
