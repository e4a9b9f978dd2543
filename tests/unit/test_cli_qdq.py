"""`escc --emit qdq`: the compressed network as an ONNX model, from which the same binary is compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from elftools.elf.elffile import ELFFile
from sample_models import residual_model

from escc.cli.compile import main

SCHEME = ["--scheme", "escalate", "--basis", "4", "--planes", "1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model and calibration data."""
    (tmp_path / "m.onnx").write_bytes(residual_model())
    np.savez(tmp_path / "c.npz", x=np.random.default_rng(0).standard_normal((8, 3, 8, 8)).astype(np.float32))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sections(path: Path) -> list[bytes]:
    """What the machine runs and reads."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        return [elf.get_section_by_name(name).data() for name in (".text", ".rodata")]


def test_the_exported_model_compiles_to_the_same_binary(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (folder / "m.onnx").read_bytes()
    assert main(["m.onnx", "--calibration", "c.npz", *SCHEME, "--emit", "qdq"]) == 0
    assert (folder / "m.onnx").read_bytes() == before
    onnx.checker.check_model(str(folder / "m.qdq.onnx"), full_check=True)
    assert main(["m.onnx", "--calibration", "c.npz", *SCHEME, "-o", "direct.bin", "-q"]) == 0
    capsys.readouterr()
    assert main(["m.qdq.onnx", "-o", "again.bin"]) == 0
    assert "warning" not in capsys.readouterr().err  # nothing is left to calibrate or to choose
    assert sections(folder / "again.bin") == sections(folder / "direct.bin")


def test_it_is_the_same_for_the_same_input(folder: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        assert main(["m.onnx", "--calibration", "c.npz", *SCHEME, "--emit", "qdq", "-o", name, "-q"]) == 0
    assert (folder / "a.onnx").read_bytes() == (folder / "b.onnx").read_bytes()


def test_from_text_of_level_esc_and_below_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["m.onnx", "--calibration", "c.npz", *SCHEME, "--emit", "esc", "-o", "m.mlir", "-q"]) == 0
    assert main(["m.mlir", "--emit", "qdq", "-q"]) == 0
    assert main(["m.onnx", "--calibration", "c.npz", *SCHEME, "--emit", "qdq", "-o", "d.onnx", "-q"]) == 0
    assert (folder / "m.qdq.onnx").read_bytes() == (folder / "d.onnx").read_bytes()
    assert main(["m.mlir", "--emit", "bfs", "-o", "b.mlir", "-q"]) == 0
    assert main(["b.mlir", "--emit", "qdq", "-q"]) == 1
    assert "stands at level 'bfs', below --emit qdq" in capsys.readouterr().err
    assert not (folder / "b.qdq.onnx").exists()


def test_standard_input_needs_a_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["-", "--emit", "qdq"])
    assert stopped.value.code == 2
    assert "needs a name: -o FILE" in capsys.readouterr().err
