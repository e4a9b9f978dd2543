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
    ("name", "scheme", "most", "compression"),
    [
        ("resnet20_cifar10", ["--scheme", "escalate", "--basis", "9", "--planes", "1"], 1.1, 19),
        # A small dense layer may be cut into transfers of a few channels, each with some bytes of its own.
        ("resnet20_cifar10", ["--scheme", "dense"], 1.2, 4.3),
        ("squeezenet_imagenet_pruned", ["--scheme", "dense"], 1.2, 9),
    ],
)
def test_packed_near_the_entropy(name: str, scheme: list[str], most: float, compression: float, tmp_path: Path) -> None:
    """Layer by layer within `most`, and the layers together within 10 %."""
    found = report(name, 8, scheme, tmp_path)
    layers = [layer for layer in found["layers"] if layer["coefficient_bytes"] > 1024]
    assert len(layers) >= 10
    beyond = {
        layer["name"]: layer["coefficient_bytes"] / layer["coefficient_entropy_bytes"]
        for layer in layers
        if layer["coefficient_bytes"] > most * layer["coefficient_entropy_bytes"]
    }
    assert not beyond
    packed, entropy = (
        sum(layer[key] for layer in layers) for key in ("coefficient_bytes", "coefficient_entropy_bytes")
    )
    assert packed <= 1.1 * entropy
    totals = found["totals"]
    assert totals["constant_bytes"] <= totals["packed_bytes"]
    assert totals["compression"] > compression
