"""What the CIFAR-10 examples compute with, and the figures of docs/results.md."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "docs/data"


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))


def test_a_start_takes_the_best_combination_for_every_kernel_and_gains_by_bases() -> None:
    from examples.cifar10.ternary_start import decompose

    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 6, 9)).astype(np.float32))
    errors: list[float] = []
    for bases in (2, 4):
        t, b, scale = decompose(weight, bases)
        assert t.dtype == torch.int8 and set(t.unique().tolist()) <= {-1, 0, 1}
        assert torch.equal(b, b.round()) and b.abs().max() == 127
        made = (t.float() @ b) * scale[:, None, None]
        errors.append(float((made - weight).square().sum() / weight.square().sum()))
        for change in range(bases):  # no single coefficient has a better value
            for value in (-1, 0, 1):
                other = t.clone()
                other[:, :, change] = value
                apart = ((other.float() @ b) * scale[:, None, None] - weight).square().sum(2)
                assert (apart >= (made - weight).square().sum(2) * 0.9).all()
    assert errors[1] < errors[0] < 1


def test_copies_of_held_out_images_are_left_out_however_they_were_compressed() -> None:
    from examples.cifar10.images import Images, without_copies

    rng = np.random.default_rng(1)
    x = (
        torch.from_numpy(rng.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8))
        .repeat_interleave(4, 1)
        .repeat_interleave(4, 2)
    )
    noisy = (x[:5].int() + torch.randint(-12, 13, x[:5].shape, generator=torch.Generator().manual_seed(0))).clamp(
        0, 255
    )
    kept = without_copies(Images(x, torch.arange(20)), Images(noisy.to(torch.uint8), torch.zeros(5)))
    assert kept.y.tolist() == list(range(5, 20))


def test_an_epoch_holds_every_image_as_often_as_asked() -> None:
    from examples.cifar10.images import Images, Mixture

    jpeg = Images(torch.zeros(6, 32, 32, 3, dtype=torch.uint8), torch.arange(6))
    clean = Images(torch.zeros(3, 32, 32, 3, dtype=torch.uint8), torch.arange(6, 9))
    mixture = Mixture(jpeg, clean, repeats=4, cutout=0)
    batches = list(mixture.batches(6, 24, torch.Generator().manual_seed(0)))
    assert [x.shape for x, _ in batches] == [(6, 3, 24, 24)] * 3
    seen = torch.cat([y for _, y in batches]).bincount(minlength=9)
    assert seen.tolist() == [1] * 6 + [4] * 3


def test_results_are_those_of_the_files_that_the_commands_wrote() -> None:
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    log = (DATA / "cifar10_compressed.log").read_text()
    finished = (DATA / "cifar10_finished.log").read_text()
    rows = re.findall(r"^\| ((?:vgg|resnet)\S+) \| (about )?([\d,]+) \| ([\d.]+)x \| ([\d.]+) %", page, re.MULTILINE)
    assert len(rows) == 6
    for name, about, size, ratio, top1 in rows:
        (result,) = re.findall(rf"^RESULT {name}: ([\d,]+) bytes, ([\d.]+)x, .* test ([\d.]+),", log, re.MULTILINE)
        assert f"{100 * float(result[2]):.2f}" == top1
        found = (
            result[:2] if about else re.findall(rf"{name}.onnx: ([\d,]+) bytes of constants, ([\d.]+)x", finished)[0]
        )
        assert found == (size, ratio)
    floats = (DATA / "cifar10_float.log").read_text()
    for model, top1 in (("vgg16", "92.92"), ("resnet18", "93.61"), ("resnet20", "89.38")):
        assert f"{model}_cifar10.onnx: top-1 {top1}%" in floats and f"{top1} %" in page


def test_the_comparison_is_that_of_the_file_that_the_command_wrote() -> None:
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    log = (DATA / "vgg16_compared.log").read_text()
    rows = re.findall(
        r"^\| (?:model, kB|cycles, thousands|energy, uJ|latency .*|energy .*|the same .*?) \|(.*)\|$",
        page,
        re.MULTILINE,
    )
    assert len(rows) == 7
    for row in rows:
        for value in filter(None, map(str.strip, row.split("|"))):
            assert re.search(rf"\s{re.escape(value)}\s", log), value
    assert "0.4 0.88888" in (DATA / "vgg16_pruned.log").read_text() and "88.89 %" in page


def _comparison(name: str, ours: float, machine: float) -> dict[str, Any]:
    def system(name: str, kind: str, cycles: float) -> dict[str, Any]:
        figures = {
            "cycles": cycles,
            "energy_uj": [{"name": "dram", "value": cycles}, {"name": "post", "value": cycles}],
        }
        return {"name": name, "kind": kind, "total": figures, "batch": figures}

    return {"networks": [{"name": name, "systems": [system("x.bin", "binary", ours), system("m", "machine", machine)]}]}


def test_means_are_geometric_over_networks_whatever_our_files_are_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from examples.cifar10.means import main

    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, comparison in zip(files, (_comparison("a.onnx", 2, 4), _comparison("b.onnx", 1, 8)), strict=True):
        path.write_text(json.dumps(comparison))
    main([str(path) for path in files])
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split() == ["over", "ours", "a", "b", "geometric", "mean"]
    assert len(rows) == 6 and all(row.split()[-3:] == ["2.00", "8.00", "4.00"] for row in rows[2:])


def test_the_means_are_those_of_the_file_that_the_command_wrote() -> None:
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    log = (DATA / "means.log").read_text()
    rows = re.findall(r"^\| (Eyeriss|SCNN|SparTen), (latency|energy)( in a batch)? \|(.*)\|.*\|$", page, re.MULTILINE)
    assert len(rows) == 12
    for machine, measure, batch, values in rows:
        name = f"{measure}{', batch' if batch else ''}, {machine.lower()}"
        (line,) = re.findall(rf"^{name} +(.*)$", log, re.MULTILINE)
        assert [v.strip() for v in values.split("|")] == line.split()
    assert "0.41 0.87413" in (DATA / "resnet18_pruned.log").read_text() and "87.41 %" in page


def test_results_of_esc_compress_are_those_of_the_files_that_it_wrote() -> None:
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ResNet-(\d+), V = 6, level \d \| ([\d,]+) \| ([\d.]+)x \| ([\d.]+) %", page, re.MULTILINE)
    assert rows
    for number, size, ratio, top1 in rows:
        log = (DATA / f"resnet{number}_trained.log").read_text()
        assert f"{size} bytes of constants, {ratio}x smaller" in log and f"top-1 {top1} %" in log
