"""Checkpoints of a training: one file, written whole or not at all, that fits only the run that it came from."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from typing import Any, cast

import torch

from isa.errors import UserError
from isa.files import write_atomic

_FORMAT = "escc training 1"


def save(path: str, identity: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Write a checkpoint. `identity` (plain values) says which run it belongs to."""
    buffer = io.BytesIO()
    torch.save({"format": _FORMAT, "identity": dict(identity), "state": dict(state)}, buffer)
    write_atomic(path, buffer.getvalue())


def load(path: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """State of a checkpoint. Raises UserError if it is none, or belongs to another run."""
    try:
        saved: object = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}", "leave --resume out to start a new run") from e
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as e:
        raise UserError(f"{path}: not a checkpoint of esc-compress, or damaged") from e
    content = cast("dict[str, Any]", saved) if isinstance(saved, dict) else {}
    if content.get("format") != _FORMAT:
        raise UserError(f"{path}: not a checkpoint of this version of esc-compress")
    theirs = cast("dict[str, Any]", content["identity"])
    different = [
        f"{path}: {name} was {theirs.get(name)}, is now {value}"
        for name, value in identity.items()
        if theirs.get(name) != value
    ]
    if different:
        raise UserError(different, "resume with the same model, data and options, or leave --resume out")
    return cast("dict[str, Any]", content["state"])
