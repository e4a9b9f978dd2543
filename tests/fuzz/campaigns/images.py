"""Image files of the usual formats, and of some that nobody expects."""

from __future__ import annotations

import io
import random
import struct
import zlib
from pathlib import Path

import numpy as np

from fuzz.findings import Finding
from fuzz.mutate import mutate_bytes
from fuzz.sandbox import Sandbox

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "ICO", "TGA", "PCX", "DDS", "SGI", "EPS", "PDF")


def seeds(kit: Path) -> list[bytes]:
    from PIL import Image, features

    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
    found = []
    for name in _FORMATS:
        if name == "WEBP" and not features.check("webp"):
            continue
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, name)
            found.append(file.getvalue())
    return found


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    if data.startswith(b"\x89PNG") and rng.random() < 0.7:
        return _png(rng, data)
    return mutate_bytes(rng, data, other)


def _png(rng: random.Random, data: bytes) -> bytes:
    """A PNG file with one chunk changed and right checksums."""
    chunks = []
    at = 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    index = rng.randrange(len(chunks))
    kind, body = chunks[index]
    if kind == b"IHDR" and rng.random() < 0.7:
        sizes = (1, 2, 7, 4000, 20000, 1 << 16, (1 << 31) - 1)
        body = struct.pack(">II", rng.choice(sizes), rng.choice(sizes)) + body[8:]
    else:
        body = mutate_bytes(rng, body)
    chunks[index] = (rng.choice((kind, kind, kind, b"tEXt", b"zTXt", b"iCCP", b"eXIf", b"acTL")), body)
    if rng.random() < 0.2:
        chunks.insert(rng.randrange(len(chunks)), rng.choice(chunks))
    parts = (struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    return data[:8] + b"".join(parts)


def check(box: Sandbox, kit: Path, data: bytes) -> bool:
    box.start({"x.img": data, "m.bin": (kit / "dense.bin").read_bytes()})
    run = ("m.bin", "--input", "x.img", "--output", "y.npy")
    if box.command("esc-emu", *run, outputs=("y.npy",), about="x.img") != 0:
        return False
    y = np.load(box.folder / "y.npy")
    if y.shape != (1, 10) or not np.isfinite(y).all():
        raise Finding("wrong", f"outputs of shape {y.shape}")
    return True
