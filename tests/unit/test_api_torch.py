"""`escc.compile` takes networks of PyTorch as they are."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import escc

torch = pytest.importorskip("torch")

from escc import torch_export  # noqa: E402

X = np.random.default_rng(1).standard_normal((8, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    layers = (torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU())
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 5))


def test_a_network_answers_as_before_and_keeps_its_modes(network: Any) -> None:
    network.train()
    network[1].eval()
    compiled = escc.compile(network, torch.from_numpy(X), "dense")
    assert network.training and network[0].training and not network[1].training
    network.eval()
    with torch.no_grad():
        expected = network(torch.from_numpy(X)).numpy()
    assert np.abs(compiled.run(torch.from_numpy(X)) - expected).mean() < 0.02 * np.abs(expected).max()
    assert compiled.inputs[0].name == "input" and compiled.name == "Sequential"


def test_loaders_give_the_shape_and_the_data(network: Any) -> None:
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(X), torch.arange(8) % 5), batch_size=3
    )
    assert escc.compile(network, loader, "dense").binary == escc.compile(network, X, "dense").binary


def test_a_shape_is_enough(network: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", X)
    compiled = escc.compile(network, tmp_path / "c.npy", "dense", input_shape=(1, 3, 8, 8))
    assert compiled.binary == escc.compile(network, X, "dense").binary


@pytest.mark.parametrize("loaded", [False, True], ids=["whole", "batches"])
def test_a_batch_of_signals_is_no_image(loaded: bool) -> None:
    torch.manual_seed(0)
    layers = (torch.nn.Conv1d(5, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten())
    network = torch.nn.Sequential(*layers).eval()
    signals = np.random.default_rng(2).standard_normal((6, 5, 12)).astype(np.float32)
    compiled = escc.compile(network, iter((signals[:4], signals[4:])) if loaded else signals, "dense")
    assert compiled.inputs[0].shape == (1, 5, 12)
    with torch.no_grad():
        expected = network(torch.from_numpy(signals)).numpy()
    assert np.abs(compiled.run(signals) - expected).mean() < 0.02 * np.abs(expected).max()


def test_one_image_is_enough_and_a_shape_that_does_not_fit_is_told_both_ways(network: Any) -> None:
    assert escc.compile(network, X[0], "dense").inputs[0].shape == (1, 3, 8, 8)
    with pytest.raises(escc.Error) as caught:
        escc.compile(network, X[0, :2], "dense")
    assert [cause.split(":")[1] for cause in caught.value.causes] == [
        " does not take inputs of shape [1, 2, 8, 8]",
        " does not take inputs of shape [1, 8, 8]",
    ]


class TwoInputs(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(3, 4, 1)

    def forward(self, first: Any, second: Any) -> Any:
        return self.left(first) + self.right(second)


def test_inputs_have_their_names_in_the_order_of_forward() -> None:
    torch.manual_seed(0)
    network = TwoInputs()
    compiled = escc.compile(network, {"a": X, "b": 2 * X}, "dense")
    assert [port.name for port in compiled.inputs] == ["a", "b"]
    with torch.no_grad():
        expected = network(torch.from_numpy(X), torch.from_numpy(2 * X)).numpy()
    assert np.abs(compiled.run({"b": 2 * X, "a": X}) - expected).mean() < 0.02 * np.abs(expected).max()


class ManyOutputs(torch.nn.Module):
    def __init__(self, form: Any) -> None:
        super().__init__()
        self.form, self.layer = form, torch.nn.Conv2d(3, 4, 1)

    def forward(self, x: Any) -> Any:
        return self.form(torch.relu(x), self.layer(x))


@pytest.mark.parametrize("exporter", ["TorchScript", "dynamo"])
@pytest.mark.parametrize(
    ("form", "names"),
    [
        (lambda a, b: b, ["output"]),
        (lambda a, b: (a, b), ["output0", "output1"]),
        (lambda a, b: {"mask": b, "map": a}, ["mask", "map"]),
    ],
    ids=["one", "tuple", "dictionary"],
)
def test_outputs_have_names_that_say_which_they_are(
    form: Any, names: list[str], exporter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = {exporter: torch_export._exporters()[exporter]}
    monkeypatch.setattr(torch_export, "_exporters", lambda: only)
    network = ManyOutputs(form)
    compiled = escc.compile(network, X, "dense")
    assert [port.name for port in compiled.outputs] == names
    with torch.no_grad():
        found, x = compiled.run_all(X), torch.from_numpy(X)
        for name in names:
            expected = (torch.relu(x) if name in ("output0", "map") else network.layer(x)).numpy()
            assert np.abs(found[name] - expected).mean() < 0.02 * np.abs(expected).max()


class Unexportable(torch.nn.Module):
    def forward(self, x: Any) -> Any:
        return torch.linalg.eigvals(x).real


def test_what_cannot_be_compiled_is_refused_with_a_reason(network: Any) -> None:
    with pytest.raises(escc.Error, match=r"TwoInputs: does not take inputs of shape .* missing 1 required") as caught:
        escc.compile(TwoInputs(), X)
    assert len(caught.value.causes) == 1 and "several inputs by name" in caught.value.note
    with pytest.raises(escc.Error, match=r"Sequential: does not take .*: query should be"):
        escc.compile(torch.nn.Sequential(torch.nn.TransformerEncoderLayer(8, 2)), X)
    with pytest.raises(escc.Error, match="Sequential: a network of PyTorch does not say what shape") as caught:
        escc.compile(network)
    assert "input_shape" in caught.value.note
    with pytest.raises(escc.Error, match=r"Sequential: does not take inputs of shape \[1, 4, 8, 8\]"):
        escc.compile(network, np.zeros((2, 4, 8, 8), np.float32))
    with pytest.raises(escc.Error, match="Unexportable: the TorchScript exporter of PyTorch fails"):
        escc.compile(Unexportable(), X)
    for shape in ((2, 3, 8, 8), (1, 3, 0, 8), ()):
        with pytest.raises(escc.Error, match=r"input_shape is .*; requires positive integers, the first of them 1"):
            escc.compile(network, input_shape=shape)


def test_the_second_exporter_takes_what_the_first_refuses(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*arguments: object) -> None:
        raise RuntimeError("refused\nfor good")

    first = torch_export._exporters()["TorchScript"]
    monkeypatch.setattr(torch_export, "_exporters", lambda: {"one": refuses, "two": first})
    assert escc.compile(network, X, "dense").run(X).shape == (8, 5)
    monkeypatch.setattr(torch_export, "_exporters", lambda: {"one": refuses, "two": refuses})
    with pytest.raises(escc.Error) as caught:
        escc.compile(network, X)
    assert [cause.split(": ", 1)[1] for cause in caught.value.causes] == [
        "the one exporter of PyTorch fails: refused for good",
        "the two exporter of PyTorch fails: refused for good",
    ]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
