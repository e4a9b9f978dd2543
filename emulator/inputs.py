"""Inputs of a program from files: .npy, .npz and images."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from emulator.host import shape_text
from isa.errors import UserError
from isa.program import Port

Array: TypeAlias = NDArray[Any]


def load_inputs(path: str, ports: Sequence[Port]) -> list[Array]:
    """Float inputs [N, *port.shape[1:]] for every port.

    .npy: the only input. .npz: the key `x` for the only input, else the names of the inputs. Anything else is read as
    an image. Raises `UserError` with one line.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".npz":
        arrays = load_archive(path)
        if len(ports) == 1 and ports[0].name not in arrays:
            return [pick(arrays, path, "x", f"x or {ports[0].name}")]
        return [pick(arrays, path, port.name) for port in ports]
    if len(ports) != 1:
        raise UserError(
            f"{path}: the model has {len(ports)} inputs: {', '.join(p.name for p in ports)}",
            "give an .npz with one array for each",
        )
    if suffix == ".npy":
        return [_load_array(path)]
    return [load_image(path, ports[0])]


def _load_array(path: str) -> Array:
    try:
        array = cast(object, np.load(path, allow_pickle=False))
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from e
    except (ValueError, EOFError, zipfile.BadZipFile) as e:
        raise UserError(f"{path}: not a NumPy .npy file of numbers") from e
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: an .npz file by its contents", "rename it to .npz")
    return cast(Array, array)


def load_archive(path: str) -> Mapping[str, Array]:
    """All arrays of an .npz file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from e
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as e:
        raise UserError(f"{path}: not a NumPy .npz file of numbers") from e


def pick(arrays: Mapping[str, Array], path: str, key: str, wanted: str = "") -> Array:
    """An array of an .npz file by its key."""
    if key not in arrays:
        raise UserError(
            f"{path}: no array '{key}'; it holds {', '.join(arrays) or 'nothing'}; requires {wanted or key}"
        )
    return arrays[key]


def load_image(path: str, port: Port) -> Array:
    """Input [1, c, h, w] from an image file: scaled to cover w x h, cut at the centre, (pixel - mean) / std.

    Raises `UserError` if the binary does not say how an image becomes numbers, or if the file is not an image.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as e:
        raise UserError(f"{path}: reading images needs Pillow", "install escc[images], or give .npy or .npz") from e

    if len(port.shape) != 4 or port.shape[1] not in (1, 3):
        raise UserError(f"{path}: input '{port.name}' of shape {shape_text(port)} takes no image", "give .npy or .npz")
    c, h, w = port.shape[1:]
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
        with Image.open(path) as file:
            image = file.convert("L" if c == 1 else "RGB")
    except UnidentifiedImageError as e:
        raise UserError(f"{path}: neither .npy, .npz nor an image") from e
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        raise UserError(f"{path}: {getattr(e, 'strerror', None) or e}") from e
    scale = max(w / image.width, h / image.height)
    size = (max(w, round(image.width * scale)), max(h, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - w) // 2, (size[1] - h) // 2
    pixels = np.asarray(image.crop((left, top, left + w, top + h)), np.float64).reshape(h, w, c)
    if port.channel_order == "bgr":
        pixels = pixels[:, :, ::-1]
    return ((pixels - np.array(port.mean)) / np.array(port.std)).transpose(2, 0, 1)[None]
