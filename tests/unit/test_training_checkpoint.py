"""Checkpoints of a training: files that are damaged, or none."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from escc.training import checkpoint  # noqa: E402
from isa.errors import UserError  # noqa: E402


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    with pytest.raises(UserError, match="No such file"):
        checkpoint.load(str(path), {})
    checkpoint.save(str(path), {"a": 1}, {"b": torch.ones(64)})
    assert checkpoint.load(str(path), {"a": 1})["b"].tolist() == [1] * 64
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    damaged = [data[:20], data[:-1], data + b"x", b"not one", b"", data.replace(b"escc training 5", b"escc training 4")]
    for at in rng.integers(0, len(data), 60):  # whatever it hits: a value, a name, padding
        damaged.append(data[:at] + bytes([data[at] ^ (1 << rng.integers(8))]) + data[at + 1 :])
    for raw in damaged:
        path.write_bytes(raw)
        with pytest.raises(UserError, match="checkpoint"):
            checkpoint.load(str(path), {"a": 1})
    for content in ([1], {"identity": 1, "state": 2}, {"identity": {}}):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        digest = hashlib.sha256(buffer.getvalue()).digest()
        path.write_bytes(b"escc training 5\n" + digest + buffer.getvalue())
        with pytest.raises(UserError, match="not a checkpoint"):
            checkpoint.load(str(path), {"a": 1})
