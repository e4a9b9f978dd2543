"""Arrays: .npy and .npz files as inputs, as labelled data and as calibration data."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from fuzz.findings import Finding
from fuzz.kit import SHAPE
from fuzz.mutate import mutate_bytes, mutate_text
from fuzz.sandbox import Sandbox

_DTYPES = ("f4", "f8", "f2", ">f4", "i1", "u1", "i8", "u8", "?", "c8", "U3", "S3", "O", "M8[s]", "V4", "f16")


def seeds(kit: Path) -> list[bytes]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *SHAPE)).astype(np.float32)
    members = {"x.npy": _npy(x), "y.npy": _npy(np.array([1, 9], np.uint8))}
    plain, packed = (_zip(members.items(), method) for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    return [members["x.npy"], _zip([("x.npy", members["x.npy"])], zipfile.ZIP_STORED), plain, packed]


def _npy(array: np.ndarray) -> bytes:
    with io.BytesIO() as file:
        np.save(file, array, allow_pickle=False)
        return file.getvalue()


def _zip(members: Iterable[tuple[str, bytes]], method: int) -> bytes:
    """An archive without the time of day, which would change the bytes."""
    with io.BytesIO() as file:
        with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
            warnings.simplefilter("ignore")  # a name may stand there twice
            for name, content in members:
                archive.writestr(zipfile.ZipInfo(name), content, method)
        return file.getvalue()


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    if rng.random() < 0.3:
        return mutate_bytes(rng, data, other)
    if rng.random() < 0.4:
        members = {"x.npy": _member(rng), "y.npy": _member(rng)}
        return rng.choice((members["x.npy"], _archive(rng, members)))
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        name = rng.choice(sorted(members))
        members[name] = _header(rng, members[name])
        return _archive(rng, members)
    return _header(rng, data)


def _header(rng: random.Random, data: bytes) -> bytes:
    """An .npy file with another header, whose length is right."""
    (size,) = struct.unpack_from("<H", data, 8)
    text = mutate_text(rng, data[10 : 10 + size].decode("latin1")).encode("latin1", errors="replace")[:65535]
    return data[:8] + struct.pack("<H", len(text)) + text + data[10 + size :]


def _member(rng: random.Random) -> bytes:
    """An .npy file of some type and shape."""
    dtype = rng.choice(_DTYPES)
    shape = rng.choice(
        ((2, *SHAPE), SHAPE, (2,), (), (0, *SHAPE), (1 << 40, *SHAPE), (2, 3, 5, 4), (-1, *SHAPE), (2, 48))
    )
    text = repr({"descr": dtype, "fortran_order": rng.random() < 0.2, "shape": shape})
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"
    return head + rng.choice((rng.randbytes(768), bytes(768), b"\xff" * 768, b""))


def _archive(rng: random.Random, members: dict[str, bytes]) -> bytes:
    """A zip file whose directory may lie."""
    strange = ("../x.npy", "x", "\x1b[31m.npy", "x.npy")
    contents = [(rng.choice((name, name, name, *strange)), content) for name, content in members.items()]
    if rng.random() < 0.1:
        contents.append(("z.npy", bytes(1 << 22)))  # a bomb: many bytes of a few
    data = bytearray(_zip(contents, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))))
    if rng.random() < 0.4:
        at = data.rfind(b"PK\x01\x02")
        field = at + rng.choice((8, 10, 16, 20, 24, 28, 30, 32, 42))
        data[field : field + 2] = rng.choice((b"\0\0", b"\x01\0", b"\xff\xff", b"\x63\0", rng.randbytes(2)))
    return bytes(data)


def check(box: Sandbox, kit: Path, data: bytes) -> bool:
    name = "x.npz" if data.startswith(b"PK") else "x.npy"
    files = {name: data, "m.bin": (kit / "dense.bin").read_bytes(), "m.onnx": (kit / "model.onnx").read_bytes()}
    box.start(files)
    ran = box.command("esc-emu", "m.bin", "--input", name, "--output", "y.npy", outputs=("y.npy",), about=name) == 0
    if ran:
        y = np.load(box.folder / "y.npy")
        if y.shape != (len(y), 10) or not np.isfinite(y).all():
            raise Finding("wrong", f"outputs of shape {y.shape}")
    limited = box.command("esc-emu", "m.bin", "--eval", name, "--jobs", "1", "--limit", "2", about=name)
    if zlib.crc32(data) % 4 == 0:
        options = ("--calibration", name, "--scheme", "dense", "-q", "-o", "c.bin")
        ran |= box.command("escc", "m.onnx", *options, outputs=("c.bin",), about=(name, "m.onnx")) == 0
    return ran or limited == 0
