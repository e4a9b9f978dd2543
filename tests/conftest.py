"""Fixtures of all tests: real models and images, compiled binaries shared by the tests of a session."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Tests run side by side; a thread pool in each only gets in the way. Set before NumPy is loaded.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--slow-sample N`."""
    parser.addoption(
        "--slow-sample",
        type=int,
        default=1,
        metavar="N",
        help="run one in N of the tests marked slow, others for every commit (default: 1, all)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is no part of the sample of slow tests."""
    every: int = config.option.slow_sample
    if every < 1:
        raise pytest.UsageError("--slow-sample needs a number of at least 1")
    slow = sorted(item.nodeid for item in items if item.get_closest_marker("slow"))
    chosen = set(sample(slow, every, _commit()))
    out = [item for item in items if item.get_closest_marker("slow") and item.nodeid not in chosen]
    if out:
        left = set(out)
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=out)


def sample(names: Sequence[str], every: int, commit: str) -> Sequence[str]:
    """One name in `every`: which ones hangs on the commit, so that a series of commits takes them all."""
    return names[int(commit, 16) % every :: every]


def _commit() -> str:
    """The commit of the checkout in hexadecimal digits, 0 where there is none."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return "0" if found.returncode else found.stdout.strip()


def data_dir() -> Path:
    """Folder of the real models and images: $ESCC_DATA, else ../shared/data. Skips the calling test without it."""
    folder = Path(os.environ.get("ESCC_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "models").is_dir():
        pytest.skip(f"no real models and images at {folder}: set ESCC_DATA")
    return folder


@pytest.fixture(name="data_dir")
def data_dir_fixture() -> Path:
    """See `data_dir`."""
    return data_dir()


def command(name: str) -> str:
    """Path of an installed console script of this environment."""
    return str(Path(sys.executable).parent / name)


Tool = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Run a command of ours in a temporary folder: `tool("escc", "m.onnx", stdin=b"", env={...})`; output as bytes."""

    def call(
        name: str, *arguments: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [command(name), *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, **(env or {})},
            check=False,
            timeout=600,
        )

    return call


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, Sequence[str]], Path]:
    """Compile a model once a session and worker: `compiled(model, ("--scheme", "dense")) -> Path` of the binary."""
    folder = tmp_path_factory.mktemp("compiled")
    cache: dict[tuple[Path, tuple[str, ...]], Path] = {}

    def compile_model(model: Path, options: Sequence[str] = ()) -> Path:
        key = (model.resolve(), tuple(options))
        if key not in cache:
            from escc.cli.compile import main

            binary = folder / f"{len(cache)}-{model.stem}.bin"
            assert main([str(model), *options, "-q", "-o", str(binary)]) == 0
            cache[key] = binary
        return cache[key]

    return compile_model
