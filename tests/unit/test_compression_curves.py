"""The script that measures, keeps and draws points of accuracy against bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks/compression"))

import curves


def point(options: str, compression: float, model: str = "resnet8_cifar10", **more: Any) -> dict[str, Any]:
    found = {"bytes": round(1e5 / compression), "compression": compression, "top1": 80.0, "float_top1": 88.0}
    found |= {"drop": 8.0, "drop_error": 0.5, "images": 1000, "calibration": 100, "seconds": 1.0, "cpu_seconds": 2.0}
    return {"model": model, "options": options, **found, **more}


def test_a_point_replaces_its_predecessor_and_the_file_is_sorted(tmp_path: Path) -> None:
    path = tmp_path / "data/points.jsonl"
    for p in (point("--rate 2", 20), point("--rate 1", 10), point("--rate 2", 30), point("--rate 1", 5, "a")):
        curves.add(path, p)
    assert [(p["model"], p["compression"]) for p in curves.load(path)] == [
        ("a", 5),
        ("resnet8_cifar10", 10),
        ("resnet8_cifar10", 30),
    ]


def test_what_is_there_is_not_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, measured = tmp_path / "points.jsonl", list[str]()

    def measure(model: str, options: str, scratch: Path) -> dict[str, Any]:
        measured.append(options)
        return point(options, 10 + len(measured), model)

    monkeypatch.setattr(curves, "measure", measure)
    curves.add(path, point("--rate 1", 10))
    curves.measure_all(["resnet8_cifar10"], [], False, path, tmp_path)
    assert "--rate 1" not in measured
    assert sorted([*measured, "--rate 1"]) == sorted(curves.STUDIES["resnet8_cifar10"].options)
    measured.clear()
    curves.measure_all(["resnet8_cifar10"], [], False, path, tmp_path)
    assert not measured
    curves.measure_all(["resnet8_cifar10"], ["--rate 1"], True, path, tmp_path)
    assert measured == ["--rate 1"]


def test_equal_points_give_equal_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    points = [point("--rate 1", 10), point("--rate 2", 20), point("--scheme dense", 4), point("--max-drop 1", 12)]
    points += [point("--scheme escalate", 9), {**point("", 300, "other"), "label": "trained, 20 epochs"}]
    for name in ("a.svg", "b.svg"):
        curves.plot(points, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert b"ResNet-8, CIFAR-10" in drawn
    assert b"<dc:date>" not in drawn


def test_tables_hold_every_point_and_every_layer_with_weights(tmp_path: Path) -> None:
    points = [point("--rate 1", 10), {**point("", 300, "other"), "label": "trained"}]
    text = curves.table(points)
    assert "--rate 1" in text
    assert "trained" in text
    layer = {"name": "conv", "kind": "escalate", "density": 0.5, "bits_per_weight": 2.0, "coefficient_bytes": 110}
    layers = [
        {**layer, "coefficient_entropy_bytes": 100.0},
        {**layer, "name": "pool", "coefficient_entropy_bytes": None},
    ]
    report = tmp_path / "r.json"
    totals = {"constant_bytes": 200, "compression": 16.0, "bits_per_weight": 2.0}
    report.write_text(json.dumps({"layers": layers, "totals": totals}))
    text = curves.layer_table(report)
    assert "1.10" in text
    assert "pool" not in text
