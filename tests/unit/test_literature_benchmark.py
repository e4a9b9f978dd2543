"""The script that measures ratios to accelerators of the literature: its networks, its commands, its table."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import literature
import synthetic

ROOT = Path(__file__).resolve().parents[2]


def test_a_plain_network_has_the_shapes_and_the_density_that_were_asked_for() -> None:
    pairs, _ = synthetic.generate("vgg16_cifar", 6, 0.05, 0)
    plain, _ = synthetic.generate("vgg16_cifar", 0, 0.05, 0, kept=0.1)
    weights = [numpy_helper.to_array(t) for t in plain.graph.initializer if len(t.dims) == 4]
    shapes = [tuple(t.dims) for t in pairs.graph.initializer if len(t.dims) == 4]
    assert len(weights) == 13 and weights[0].shape == shapes[0] and weights[0].all()
    for w, first, second in zip(weights[1:], shapes[1::2], shapes[2::2], strict=True):
        k, v, r, s = second
        assert w.shape == (k, first[1], r, s) and first[0] == k * v
        assert np.count_nonzero(w) / w.size == pytest.approx(0.1, abs=0.01)


def test_commands_follow_one_another() -> None:
    lines = literature.commands("vgg-05", literature.ROWS["vgg-05"], Path("out"))
    made = {line[3] for line in lines[:3]}
    compile_, compare = lines[3][1:], lines[4][1:]
    assert compile_[0] in made and compare[:2] == ["out/vgg-05-dense.onnx", compile_[-1]]
    assert compare[compare.index("--sparse-model") + 1] in made and compare[-1] == "out/vgg-05.json"


def test_a_line_has_a_cell_for_each_head() -> None:
    systems = [
        {"name": name, "total": {"cycles": cycles, "energy_uj": [{"value": cycles / 4000}, {"value": cycles / 4000}]}}
        for name, cycles in (("vgg-05.bin", 50_000), ("eyeriss", 1_000_000), ("sparten", 200_000))
    ]
    line = literature.line(literature.ROWS["vgg-05"], {"networks": [{"systems": systems}]})
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert len(cells) == len(literature.HEAD) == len(literature.GOALS)
    assert cells[1:] == ["50.0, 1000.0, 200.0", "25.0, 500.0, 100.0", "20.00", "4.00", "20.00", "4.00"]


def test_the_page_has_every_row() -> None:
    page = (ROOT / "docs/comparison.md").read_text(encoding="utf-8")
    assert f"| {' | '.join(literature.HEAD)} |" in page
    for row in literature.ROWS.values():
        assert f"\n| {row.title} | " in page
    assert f"| {' | '.join(literature.GOALS)} |" in page
