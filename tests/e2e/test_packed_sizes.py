"""What the constants of the real models take: near the entropy, and nothing beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import data_dir

from escc.cli.compile import main


def report(name: str, samples: int, scheme: list[str], folder: Path) -> dict[str, Any]:
    """`escc --report` of a real model."""
    calibration, output = folder / "calib.npz", folder / "report.json"
    script = data_dir() / "prepare.py"
    command = [sys.executable, str(script), name, str(calibration), "--split", "calib", "--limit", str(samples)]
    subprocess.run(command, check=True, capture_output=True)
    arguments = [str(data_dir() / "models" / f"{name}.onnx"), "--calibration", str(calibration), *scheme, "-q"]
    assert main([*arguments, "-o", str(folder / "m.bin"), "--report", str(output)]) == 0
    return json.loads(output.read_text())


@pytest.mark.parametrize(
    ("name", "scheme", "compression"),
    [
        ("resnet20_cifar10", ["--scheme", "escalate", "--basis", "9", "--planes", "1"], 19),
        ("resnet20_cifar10", ["--scheme", "dense"], 4.3),
        ("squeezenet_imagenet_pruned", ["--scheme", "dense"], 9),
    ],
)
def test_packed_within_ten_percent_of_the_entropy(
    name: str, scheme: list[str], compression: float, tmp_path: Path
) -> None:
    found = report(name, 8, scheme, tmp_path)
    layers = [layer for layer in found["layers"] if layer["coefficient_bytes"] > 1024]
    assert len(layers) >= 10
    beyond = {
        layer["name"]: layer["coefficient_bytes"] / layer["coefficient_entropy_bytes"]
        for layer in layers
        if layer["coefficient_bytes"] > 1.1 * layer["coefficient_entropy_bytes"]
    }
    assert not beyond
    totals = found["totals"]
    assert totals["constant_bytes"] <= totals["packed_bytes"]
    assert totals["compression"] > compression
