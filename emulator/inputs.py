"""Inputs of a program from files: .npy, .npz and images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa.arrays import Input, Samples, contents, open_samples
from isa.errors import UserError
from isa.hosted import HostPort
from isa.program import Port

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

Array: TypeAlias = NDArray[Any]

_IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP")
"""What Pillow may decode: it has formats beyond these that start other programs, or that hardly anybody uses."""
_MOST_PIXELS = 1 << 26


@dataclass(frozen=True)
class Source:
    """Samples for every input of a program. `batches(step)` reads them in order, [at most step, *shape] each."""

    count: int
    batches: Callable[[int], Iterator[list[Array]]]


def wanted(port: Port | HostPort) -> Input:
    """What arrays for a port must be; a first extent of 1 is that of the images."""
    return Input(port.name, port.shape[1:] if port.shape[:1] == (1,) else port.shape)


def open_inputs(path: str, ports: Sequence[Port | HostPort], limit: int | None = None) -> Source:
    """The first `limit` samples of a file. Raises `UserError` with one line.

    What is neither .npy nor .npz by its contents is read as an image.
    """
    if not contents(path) and Path(path).suffix.lower() not in (".npy", ".npz") and len(ports) == 1:
        image = load_image(path, ports[0])
        return Source(1, lambda step: iter([[image]]))
    samples: Samples = open_samples(path, [wanted(port) for port in ports])
    count = len(samples) if limit is None else min(limit, len(samples))

    def batches(step: int) -> Iterator[list[Array]]:
        yield from map(list, zip(*(rows.blocks(step, count) for rows in samples.inputs), strict=True))

    return Source(count, batches)


def files_by_name(given: Sequence[str], ports: Sequence[Port | HostPort]) -> Mapping[str, str]:
    """The file of each input where all are given as NAME=FILE; nothing if there is one file without a name.

    Raises `UserError` for names of no input, given twice or missing, and for several files without names.
    """
    names = [port.name for port in ports]
    split = _split(given, names)
    named = {name: path for name, path in split if name}
    if len(given) == 1 and not named:
        return {}
    twice = sorted({name for name, _ in split if name and sum(name == other for other, _ in split) > 1})
    missing = [name for name in names if name not in named]
    causes = [f"--input {path}: names none of the inputs" for name, path in split if not name]
    causes += [f"--input {name}=...: is given twice" for name in twice]
    if causes or missing:
        causes += [] if causes else [f"no file for input {', '.join(repr(name) for name in missing)}"]
        raise UserError(causes, f"the inputs are {', '.join(repr(name) for name in names)}; give each as NAME=FILE")
    return named


def _split(given: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    """Name and file of each argument NAME=FILE; names may hold an equals sign too. No name: only a file."""
    found: list[tuple[str, str]] = []
    for text in given:
        fitting = [name for name in names if text.startswith(f"{name}=")]
        name = max(fitting, key=len, default="")
        found.append((name, text[len(name) + 1 :] if name else text))
    return found


def open_inputs_by_name(named: Mapping[str, str], ports: Sequence[Port | HostPort], limit: int | None = None) -> Source:
    """The first `limit` samples of a file for each input. Raises `UserError` if one holds more than another."""
    sources = [open_inputs(named[port.name], [port], limit) for port in ports]
    counts = {named[port.name]: source.count for port, source in zip(ports, sources, strict=True)}
    if len(set(counts.values())) > 1:
        held = ", ".join(f"{path} {count}" for path, count in counts.items())
        raise UserError(f"the inputs hold different numbers of samples: {held}", "give as many of each")

    def batches(step: int) -> Iterator[list[Array]]:
        for parts in zip(*(source.batches(step) for source in sources), strict=True):
            yield [array for part in parts for array in part]

    return Source(sources[0].count, batches)


def load_image(path: str, port: Port | HostPort) -> Array:
    """Input [1, c, h, w], or [1, h, w, c] where the model has the channels last, from an image file: scaled to cover
    w x h, cut at the centre, (pixel - mean) / std.

    Raises `UserError` if the binary does not say how an image becomes numbers, or if the file is not an image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as e:
        raise UserError(
            f"{path}: reading images needs Pillow",
            "in the clone of escc, run: pip install '.[images]'; or give .npy or .npz",
        ) from e

    channels_last = isinstance(port, Port) and port.channels_last
    shape = port.shape[1:]
    c, h, w = (*shape[-1:], *shape[:-1]) if channels_last else shape if len(shape) == 3 else (0, 0, 0)
    if c not in (1, 3):
        raise UserError(
            f"{path}: input '{port.name}' of shape {wanted(port).wanted} takes no image", "give .npy or .npz"
        )
    if not port.mean or not port.std or (c == 3 and not port.channel_order):
        missing = [
            name
            for name, value in (("mean", port.mean), ("std", port.std), ("channel order", port.channel_order))
            if not value and not (name == "channel order" and c == 1)
        ]
        raise UserError(
            f"{path}: the binary does not say how an image becomes input '{port.name}': {', '.join(missing)} unknown",
            "compile with escc --image-mean, --image-std and --channel-order, or give .npy or .npz",
        )
    try:
        with Image.open(path, formats=_IMAGE_FORMATS) as file:
            if file.width * file.height > _MOST_PIXELS:
                raise UserError(
                    f"{path}: an image of {file.width} x {file.height} pixels; requires at most {_MOST_PIXELS:,}"
                )
            image = _in_8_bits(file).convert("L" if c == 1 else "RGB")
    except UserError:
        raise
    except UnidentifiedImageError as e:
        raise UserError(
            f"{path}: neither .npy, .npz nor an image", f"formats of images: {', '.join(_IMAGE_FORMATS)}"
        ) from e
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        raise UserError(f"{path}: {getattr(e, 'strerror', None) or e}") from e
    pixels = np.asarray(_cut(image, w, h), np.float64).reshape(h, w, c)
    if port.channel_order == "bgr":
        pixels = pixels[:, :, ::-1]
    x = (pixels - np.array(port.mean)) / np.array(port.std)
    return x[None] if channels_last else x.transpose(2, 0, 1)[None]


def _in_8_bits(image: Picture) -> Picture:
    """An image with 8 bits a value: of 16 bits of gray, which Pillow would clip, the upper 8."""
    if not image.mode.startswith("I"):
        return image
    from PIL.Image import fromarray

    return fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))


def _cut(image: Picture, width: int, height: int) -> Picture:
    """The middle of the image as it is when scaled to cover `width` x `height`; only that part is ever made."""
    from PIL.Image import Resampling

    scale = max(width / image.width, height / image.height)
    whole = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    left, top = (whole[0] - width) // 2, (whole[1] - height) // 2
    x, y = image.width / whole[0], image.height / whole[1]  # pixels of the image in one of the scaled
    box = (left * x, top * y, (left + width) * x, (top + height) * y)
    return image.resize((width, height), Resampling.BILINEAR, box)
