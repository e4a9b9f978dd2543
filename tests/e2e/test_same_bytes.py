"""Equal input gives equal bytes whatever the processor, the BLAS kernel, the number of threads and the hash seed.

Other processors are imitated by what libraries let one switch off: kernels of OpenBLAS, NumPy's and the C library's
variants of functions, registers that compiled loops may use.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from conftest import ROOT
from onnx import helper
from sample_models import constant, model, residual_model

_SCRIPT = """
import hashlib, json, sys
from pathlib import Path
from escc.cli.compile import main
found = {}
for arguments in json.loads(sys.argv[1]):
    assert main([*arguments, "-q", "-o", sys.argv[2]]) == 0
    found[" ".join(arguments)] = hashlib.sha256(Path(sys.argv[2]).read_bytes()).hexdigest()
print(json.dumps(found))
"""
_MODERN = {"AVX2": "Haswell", "AVX512_SKX": "SkylakeX"}
"""Kernels of OpenBLAS by what they need, ascending."""


def cpu_features() -> dict[str, bool]:
    """Names of what the processor has, as NumPy sees it."""
    return cast(Any, np)._core._multiarray_umath.__cpu_features__


def dispatched() -> list[str]:
    """Those for which NumPy has functions of its own, and which it would use here."""
    names: list[str] = cast(Any, np)._core._multiarray_umath.__cpu_dispatch__
    return [name for name in names if cpu_features().get(name)]


def old_processor(kernel: str, threads: int, folder: Path) -> dict[str, str]:
    """Environment of a process that uses nothing a processor of 2008 lacks."""
    return {
        "OPENBLAS_CORETYPE": kernel,
        "OPENBLAS_NUM_THREADS": str(threads),
        "NPY_DISABLE_CPU_FEATURES": " ".join(dispatched()),
        "NUMBA_CPU_NAME": "nehalem",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(folder),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F",
        "PYTHONHASHSEED": "1",
    }


def plain(kernel: str, threads: int) -> dict[str, str]:
    """Environment of a process that uses what is there, with another kernel."""
    return {"OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": str(threads), "PYTHONHASHSEED": "2"}


def processors(folder: Path) -> list[dict[str, str]]:
    """Environments of two processors that differ as much as can be imitated on this one."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return [plain("ARMV8", 2), plain("NEOVERSEN1", 1)]
    modern = [kernel for feature, kernel in _MODERN.items() if cpu_features().get(feature)]
    return [old_processor("Prescott", 2, folder), plain(modern[-1] if modern else "Nehalem", 1)]


def run_cases(cases: list[list[str]], output: Path, environment: dict[str, str]) -> dict[str, str]:
    """SHA-256 of what the compiler makes of every case, in a process of its own."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "NUMBA_", "NPY_"))}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _SCRIPT, json.dumps(cases), str(output)],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def activation_model() -> bytes:
    """Tables of every function, batch normalisation, depthwise and grouped windows, means, and constant subgraphs."""
    rng = np.random.default_rng(5)
    constants: list[onnx.TensorProto] = []

    def number(*shape: int) -> str:
        constants.append(constant(f"k{len(constants)}", rng.standard_normal(shape).astype(np.float32)))
        return constants[-1].name

    nodes: list[onnx.NodeProto] = []

    def add(op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op.lower()}{len(nodes)}"
        nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    y = add("Conv", "x", number(12, 3, 3, 3), number(12), pads=[1] * 4)
    slope, offset = add("Exp", number(12)), add("Reshape", add("MatMul", number(12, 7), number(7, 1)), "n")
    variance = add("Pow", number(12), "two")
    y = add("Sigmoid", add("BatchNormalization", y, slope, offset, number(12), variance))
    y = add("Tanh", add("Conv", y, number(12, 1, 3, 3), number(12), group=12, pads=[1] * 4))
    y = add("Elu", add("Conv", y, number(24, 6, 1, 1), group=2), alpha=0.7)
    y = add(
        "Concat",
        add("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2]),
        add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]),
        axis=1,
    )
    y = add("HardSwish", add("Conv", y, number(16, 48, 3, 3), number(16), pads=[1] * 4))
    y = add("LeakyRelu", add("Conv", y, number(16, 16, 3, 3), pads=[1] * 4), alpha=0.2)
    y = add("Gemm", add("Flatten", add("GlobalAveragePool", y)), number(16, 10), number(10))
    add("Softmax", y, axis=1)
    constants += [constant("n", np.array([12])), constant("two", np.array(2, np.float32))]
    return model(nodes, constants, (1, 3, 10, 10), (1, 10))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Arguments of the compiler: small networks with every scheme, with and without calibration, and a budget."""
    folder = tmp_path_factory.mktemp("same")
    (folder / "residual.onnx").write_bytes(residual_model(12, 8))
    (folder / "tables.onnx").write_bytes(activation_model())
    rng = np.random.default_rng(1)
    np.savez(folder / "residual.npz", x=rng.standard_normal((48, 3, 8, 8)).astype(np.float32))
    np.savez(folder / "tables.npz", x=rng.standard_normal((48, 3, 10, 10)).astype(np.float32))
    residual, tables = str(folder / "residual.onnx"), str(folder / "tables.onnx")
    by = ["--calibration", str(folder / "residual.npz")]
    tables_by = ["--calibration", str(folder / "tables.npz")]
    return [
        [residual, *by, "--scheme", "dense"],
        [residual, *by, "--scheme", "escalate", "--basis", "4", "--planes", "2"],
        [residual, *by, "--scheme", "auto", "--rate", "0.5"],
        [residual, *by, "--scheme", "kmeans", "--rate", "0.5"],
        [residual, *by, "--scheme", "smartexchange", "--rate", "0.5", "--scheme-option", "rebuilt=1"],
        [residual, *by, "--scheme", "circulant", "--scheme-option", "k=3"],
        [residual, *by, "--max-bytes", "1500"],
        [residual, "--scheme", "escalate", "--range", "percentile"],
        [tables, *tables_by, "--scheme", "dense", "--range", "mse"],
        [tables, *tables_by, "--scheme", "auto", "--rate", "0.3"],
    ]


def readme_example(samples: int) -> list[list[str]]:
    """The first example of the README, on fewer images, and dense."""
    models = ROOT / "examples" / "models"
    arguments = [str(models / "resnet8_cifar10.onnx"), "--calibration", str(models / "calibration.npz")]
    return [[*arguments, "--samples", str(samples), "--scheme", scheme] for scheme in ("dense", "auto")]


def test_equal_bytes_on_every_processor(small: list[list[str]], tmp_path: Path) -> None:
    cases = [*small, *readme_example(20)]
    first, *others = processors(tmp_path / "cache")
    expected = run_cases(cases, tmp_path / "m.bin", first)
    assert len(set(expected.values())) == len(cases)
    for environment in others:
        assert run_cases(cases, tmp_path / "m.bin", environment) == expected, environment


def test_equal_bytes_inside_another_process(small: list[list[str]], tmp_path: Path) -> None:
    """Where libraries were loaded by somebody else, with whatever threads and kernel: here, those of the tests."""
    from hashlib import sha256

    from escc.cli.compile import main

    cases = small[:3]
    expected = run_cases(cases, tmp_path / "m.bin", {"OPENBLAS_NUM_THREADS": "3"})
    for case in cases:
        assert main([*case, "-q", "-o", str(tmp_path / "m.bin")]) == 0
        assert sha256((tmp_path / "m.bin").read_bytes()).hexdigest() == expected[" ".join(case)]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="kernels of x86-64")
def test_equal_bytes_with_every_kernel(tmp_path: Path) -> None:
    models = ROOT / "examples" / "models"
    cases = [*readme_example(100)]
    cases.append([*cases[0][:-1], "escalate", "--basis", "9", "--planes", "1"])
    cases.append([str(models / "lenet5_mnist_compressed.onnx"), "--scheme", "dense"])
    kernels = ["Prescott", "Core2", "Nehalem"]
    kernels += ["Sandybridge", "Haswell", "Zen"] if cpu_features().get("AVX2") else []
    kernels += ["SkylakeX"] if cpu_features().get("AVX512_SKX") else []
    environments = [plain(kernel, 1 + i % 2) for i, kernel in enumerate(kernels)]
    environments += [old_processor("Nehalem", 2, tmp_path / "cache")]
    for name in dispatched():
        environments.append({**plain("Prescott", 1), "NPY_DISABLE_CPU_FEATURES": name})
    found = [run_cases(cases, tmp_path / "m.bin", environment) for environment in environments]
    for environment, digests in zip(environments, found, strict=True):
        assert digests == found[0], environment
