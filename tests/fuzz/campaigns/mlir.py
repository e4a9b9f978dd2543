"""IR text of every level: what is accepted prints and parses back, and what is compiled runs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

from fuzz.findings import Finding
from fuzz.kit import LEVELS
from fuzz.mutate import mutate_text
from fuzz.oracles import check_binary
from fuzz.sandbox import Sandbox


def seeds_of(level: str) -> Callable[[Path], list[bytes]]:
    """The seeds of a level: the network with and without compression."""

    def seeds(kit: Path) -> list[bytes]:
        return [path.read_bytes() for path in sorted(kit.glob(f"*.{level}.mlir"))]

    return seeds


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    return mutate_text(rng, data.decode(), other.decode()).encode(errors="surrogatepass")


def check(box: Sandbox, kit: Path, data: bytes) -> bool:
    box.start({"m.mlir": data})
    if box.command("esc-opt", "m.mlir", "-o", "one.mlir", outputs=("one.mlir",), about="m.mlir") == 0:
        if box.command("esc-opt", "one.mlir", "-o", "two.mlir", outputs=("two.mlir",)) != 0:
            raise Finding("wrong", "printed IR text does not parse")
        one, two = ((box.folder / name).read_bytes() for name in ("one.mlir", "two.mlir"))
        if one != two:
            lines = itertools.zip_longest(one.split(b"\n"), two.split(b"\n"))
            differing = next(pair for pair in lines if pair[0] != pair[1])
            raise Finding("wrong", f"IR text that is parsed and printed again differs: {differing}"[:600])
    options = ["--scheme", "dense", "-q", "-o", "m.bin"]
    if b'"onnx.' in data or b" onnx." in data or b"esc.quantize" in data:
        options.append("--verify-numerics")  # levels that must agree do, or it is a bug
    if box.command("escc", "m.mlir", *options, outputs=("m.bin",), about="m.mlir") != 0:
        return False
    check_binary((box.folder / "m.bin").read_bytes(), "m.bin")
    return True


__all__ = ["LEVELS", "check", "mutate", "seeds_of"]
