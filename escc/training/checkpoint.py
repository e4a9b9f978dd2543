"""Checkpoints of a training: one file, written whole or not at all, that fits only the run that it came from."""

from __future__ import annotations

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from isa.errors import UserError
from isa.files import write_atomic

_HEAD = b"escc training 5\n"
_DIGEST_BYTES = 32
"""SHA-256 of all that follows it; the archive of torch has checksums of its tensors only, and does not always look."""
_NOTE = "leave --resume out to start a new run"


def save(path: str, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint. `identity` (plain values) says which run it belongs to."""
    buffer = io.BytesIO()
    torch.save({"identity": dict(identity), "state": dict(state)}, buffer)
    content = buffer.getvalue()
    write_atomic(path, _HEAD + hashlib.sha256(content).digest() + content)


def load(path: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """State of a checkpoint. Raises UserError if it is none, or belongs to another run."""
    try:
        raw = Path(path).read_bytes()
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}", _NOTE) from e
    digest, packed = raw[len(_HEAD) : len(_HEAD) + _DIGEST_BYTES], raw[len(_HEAD) + _DIGEST_BYTES :]
    if not raw.startswith(_HEAD):
        raise UserError(f"{path}: not a checkpoint of this version of esc-compress", _NOTE)
    if hashlib.sha256(packed).digest() != digest:
        raise UserError(f"{path}: truncated or damaged: the checkpoint's SHA-256 does not match", _NOTE)
    try:
        loaded: object = torch.load(io.BytesIO(packed), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as e:
        raise UserError(f"{path}: not a checkpoint that this version of torch reads", _NOTE) from e
    content = cast("dict[str, Any]", loaded) if isinstance(loaded, dict) else {}
    theirs, state = content.get("identity"), content.get("state")
    if not isinstance(theirs, dict) or not isinstance(state, dict):
        raise UserError(f"{path}: not a checkpoint of esc-compress", _NOTE)
    theirs = cast("dict[str, Any]", theirs)
    different = [
        f"{path}: {name} was {theirs.get(name)}, is now {value}"
        for name, value in identity.items()
        if theirs.get(name) != value
    ]
    if different:
        raise UserError(different, "resume with the same model, data and options, or leave --resume out")
    return cast("dict[str, Any]", state)
