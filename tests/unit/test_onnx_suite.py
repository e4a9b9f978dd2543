"""ONNX's own suite through `escc.onnx_backend`: no wrong answer, no crash, and a list of passes that only grows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt

from escc.onnx_backend import EsccBackend

PASSING = Path(__file__).with_name("onnx_suite.txt")
PAGE = Path(__file__).parents[2] / "docs/onnx.md"
FOLDERS = ("simple", "pytorch-converted", "pytorch-operator")

Case = tuple[str, onnx.ModelProto, list[tuple[list[Any], list[Any]]]]


def _arrays(folder: Path, what: str) -> list[Any]:
    files = sorted(folder.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.rpartition("_")[2]))
    return [numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())) for path in files]


def suite() -> Iterator[Case]:
    """Names, models, and inputs with the outputs that belong to them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = collect_testcases(None)
    for case in nodes:
        if case.model is not None and case.data_sets:
            yield case.name, case.model, [(list(inputs), list(outputs)) for inputs, outputs in case.data_sets]
    for kind in FOLDERS:
        for case in load_model_tests(kind=kind):
            folder = Path(case.model_dir or "")
            if kind == "simple" and "sequence" in case.name:
                continue  # no tensors
            sets = [(_arrays(data, "input"), _arrays(data, "output")) for data in sorted(folder.glob("test_data_set*"))]
            yield f"{kind}/{case.name}", onnx.load(folder / "model.onnx"), sets


def outcome(model: onnx.ModelProto, sets: list[tuple[list[Any], list[Any]]]) -> str:
    """What becomes of a case: passed, refused, or what is wrong."""
    try:
        for inputs, outputs in sets:
            found = EsccBackend.prepare(model).run(inputs)
            for got, want in zip(found, outputs, strict=True):
                if (got.shape, got.dtype) != (want.shape, want.dtype):
                    return f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
                if not np.allclose(got.astype(np.float64), want.astype(np.float64), 1e-3, 1e-5, equal_nan=True):
                    return f"off by {np.abs(got - want).max()}"
    except BackendIsNotSupposedToImplementIt:
        return "refused"
    return "passed"


def test_no_wrong_answer_no_crash_and_no_case_lost() -> None:
    outcomes = {name: outcome(model, sets) for name, model, sets in suite()}
    assert {name: text for name, text in outcomes.items() if text not in ("passed", "refused")} == {}
    listed = PASSING.read_text(encoding="utf-8").split()
    passed = [name for name, text in outcomes.items() if text == "passed"]
    assert listed == sorted(listed)
    assert not set(listed) - set(passed), "cases that passed are refused"
    assert not set(passed) - set(listed), f"add to {PASSING.name}"
    assert f"{len(listed)} cases pass" in PAGE.read_text(encoding="utf-8")


def test_devices() -> None:
    assert EsccBackend.supports_device("CPU") and not EsccBackend.supports_device("CUDA")
