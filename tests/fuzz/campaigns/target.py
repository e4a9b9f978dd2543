"""Machine descriptions: a network compiled without compression gives the same bits on every machine."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np

from fuzz.findings import Finding
from fuzz.mutate import mutate_text
from fuzz.oracles import check_binary
from fuzz.sandbox import Sandbox
from isa.target import load_target, parse_target

_SHORT = 'base = "esc1"\nname = "mine"\n[array]\nblocks = 8\nslices = 4\n[scratchpad]\nact = 4096\n[dram]\nbanks = 4\n'


def seeds(kit: Path) -> list[bytes]:
    return [
        load_target().text.encode(),
        _SHORT.encode(),
        _SHORT.encode() + b"[energy]\nadd_int8 = 0.5\n[energy.leakage_mw]\nact = 2\n",
    ]


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return mutate_text(rng, data.decode(), other.decode()).encode(errors="surrogatepass")


def check(box: Sandbox, kit: Path, data: bytes) -> bool:
    box.start(
        {"t.toml": data, "m.onnx": (kit / "model.onnx").read_bytes(), "esc1.bin": (kit / "dense.bin").read_bytes()}
    )
    options = ("--scheme", "dense", "--target", "t.toml", "-q", "-o", "m.bin")
    if box.command("escc", "m.onnx", *options, outputs=("m.bin",), about=("t.toml", "m.onnx")) != 0:
        return False
    parsed = load_target(str(box.folder / "t.toml"))
    if parse_target(parsed.text, "again") != parsed:
        raise Finding("wrong", "the canonical text of a target means another one")
    for name in ("m", "esc1"):
        run = (f"{name}.bin", "--output", f"{name}.npy", "--stats-json", f"{name}.json")
        if box.command("esc-emu", *run, outputs=run[2::2], about=f"{name}.bin") != 0:
            raise Finding("wrong", "esc-emu refuses what escc wrote")
        json.loads((box.folder / f"{name}.json").read_text(), parse_constant=_no_number)
    if not np.array_equal(*(np.load(box.folder / f"{name}.npy") for name in ("m", "esc1"))):
        raise Finding("wrong", "a network without compression computes something else on another machine")
    check_binary((box.folder / "m.bin").read_bytes(), "m.bin")
    return True


def _no_number(text: str) -> None:
    raise Finding("text", f"JSON holds {text}")
