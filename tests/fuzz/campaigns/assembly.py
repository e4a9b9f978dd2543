"""Assembly text: what is assembled is executable, and comes back from its own disassembly."""

from __future__ import annotations

import random
from pathlib import Path

from fuzz.findings import Finding
from fuzz.mutate import mutate_text
from fuzz.oracles import check_binary
from fuzz.sandbox import Sandbox


def seeds(kit: Path) -> list[bytes]:
    return [(kit / name).read_bytes() for name in ("dense.s", "escalate.s")]


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    text, more = data.decode(), other.decode()
    start = text.index(".text")
    if rng.random() < 0.6:  # the instructions, not the constants in hexadecimal
        end = text.index(".sample")
        text = text[:start] + mutate_text(rng, text[start:end], more[more.index(".text") :]) + text[end:]
    else:
        text = mutate_text(rng, text, more)
    return text.encode(errors="surrogatepass")


def check(box: Sandbox, kit: Path, data: bytes) -> bool:
    box.start({"m.s": data})
    if box.command("esc-as", "m.s", "-o", "m.bin", outputs=("m.bin",), about="m.s") != 0:
        return False
    again = ("again.s",), ("again.bin",)
    for arguments, outputs in ((("m.bin", "-o", "again.s"), again[0]), (("again.s", "-o", "again.bin"), again[1])):
        if box.command("esc-dis" if outputs == again[0] else "esc-as", *arguments, outputs=outputs) != 0:
            raise Finding("wrong", f"what esc-as wrote is refused on the way to {outputs[0]}")
    binary = (box.folder / "m.bin").read_bytes()
    if (box.folder / "again.bin").read_bytes() != binary:
        raise Finding("wrong", "the disassembly gives another binary")
    box.command("esc-emu", "m.bin", "--output", "y.npz", outputs=("y.npz",), about="m.bin")
    check_binary(binary, "m.bin")
    return True
