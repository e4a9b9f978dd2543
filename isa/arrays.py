"""Arrays of samples in files or in memory: one set of rules for calibration, accuracy, training, inputs of a run.

A file is a .npy or an .npz by its contents. Headers are read first, and from the values only the rows that are asked
for: memory follows the work, not the file.

An input of a model takes, of an .npz, the array of its name; the only input of a model may also be called `x`, or be
the only array beside `y`. Labels are the array `y`. A .npy holds the only input. A file may hold one sample without
the leading axis. Arrays in memory (`Arrays`) follow the rules of an .npz.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from isa.errors import UserError
from isa.text import clipped

Array: TypeAlias = NDArray[Any]

LABELS = "y"
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 10_000
_LONGEST_NAME = 1000
_TYPES = re.compile(r"[<>|=]?[biuf][1248]")
_DEFLATE_RATIO = 1040
"""More bytes than this do not come out of one byte of DEFLATE data."""
_SLACK = 4096
_PIECE = 1 << 20
# What zipfile raises on archives that are damaged, encrypted or packed by other methods than NumPy's; for the latter a
# kind of RuntimeError.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True)
class Input:
    """An input of a model: its name and the shape of one sample, without the batch, as the model declares it.

    `perm` are the axes of such a sample in the order of the compiled network, which has the channels first; empty where
    that is the order of the model.
    """

    name: str
    shape: tuple[int, ...]
    perm: tuple[int, ...] = ()

    @property
    def inner(self) -> tuple[int, ...]:
        """Shape of one sample in the compiled network."""
        return tuple(self.shape[axis] for axis in self.perm) if self.perm else self.shape

    def moved(self, x: Array) -> Array:
        """Samples [N, *shape] as the compiled network takes them, [N, *inner]."""
        return np.ascontiguousarray(x.transpose(0, *(axis + 1 for axis in self.perm))) if self.perm else x

    def given(self, x: Array) -> Array:
        """Samples [N, *inner] as the model declares them, [N, *shape]."""
        axes = (0, *(self.perm.index(axis) + 1 for axis in range(len(self.perm))))
        return np.ascontiguousarray(x.transpose(axes)) if self.perm else x

    @property
    def wanted(self) -> str:
        """The shape that an array must have, for diagnostics."""
        return f"[{','.join(['N', *map(str, self.shape)])}]"

    def note(self, shape: Sequence[int]) -> str:
        """What to do about an array of another shape, "" where that is not known.

        It is for images whose channels come last, [N, H, W, C] or one [H, W, C], where the model has them first, and
        the other way round.
        """
        batch, sample = len(shape) - 3, tuple(shape[-3:])
        if batch not in (0, 1) or len(self.shape) != 3:
            return ""
        for place, order in (("last", (2, 0, 1)), ("first", (1, 2, 0))):
            if tuple(sample[axis] for axis in order) == self.shape:
                axes = (0, *(axis + 1 for axis in order)) if batch else order
                return (
                    f"in this array the channels seem to come {place}, and the model takes {self.wanted}: transpose "
                    f"arrays by ({','.join(map(str, axes))})"
                )
        return ""


class Arrays:
    """Arrays by name in memory, in place of an .npz file, for programs that have their samples already.

    They are not copied: who gives them leaves them as they are. `title` stands in diagnostics where the name of a file
    would.
    """

    def __init__(self, arrays: Mapping[str, Array], title: str = "arrays in memory"):
        self.by_name = {name: np.asarray(x) for name, x in arrays.items()}
        self.title = title

    def __str__(self) -> str:
        return self.title


Source: TypeAlias = str | Path | Arrays
"""Where samples come from: the name of a .npy or .npz file, or arrays in memory."""


@dataclass(frozen=True)
class _Header:
    """What stands before the values of an array: where they begin, their type and shape."""

    start: int
    dtype: np.dtype[Any]
    columns_first: bool
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        size = self.dtype.itemsize
        for extent in self.shape:
            size *= extent
        return size

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def contents(path: str | Path) -> Literal["npy", "npz", ""]:
    """What a file is by its first bytes. Raises `UserError` if it cannot be read."""
    with _reading(str(path)):
        if not Path(path).is_file() and Path(path).exists() and not Path(path).is_dir():
            raise UserError(f"{path}: no regular file; requires one that can be read in any order")
        with Path(path).open("rb") as stream:
            start = stream.read(len(_MAGIC))
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz"
    return "npy" if start == _MAGIC else ""


@contextlib.contextmanager
def _reading(where: str) -> Generator[None]:
    """Put the file before the causes of what goes wrong while it is read."""
    try:
        yield
    except UserError:
        raise
    except OSError as e:
        raise UserError(f"{where}: {e.strerror or e}") from e
    except _DAMAGED as e:
        raise UserError(f"{where}: damaged, encrypted or not written by NumPy: {e or type(e).__name__}") from e


@dataclass(frozen=True)
class Rows:
    """Samples [N, *shape] of one input (or labels [N]); `len` is N."""

    path: str
    """How diagnostics call the file, or the arrays in memory."""
    title: str
    """How diagnostics call the array."""
    shape: tuple[int, ...]
    """Of one row."""
    count: int
    _header: _Header = field(repr=False)
    _stored: str | Array | None = field(repr=False)
    """Member of an archive, the array itself where it is in memory, None for the one array of a file."""

    def __len__(self) -> int:
        return self.count

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type in which the values are stored."""
        return self._header.dtype

    def read(self, rows: Sequence[int] | NDArray[np.integer[Any]] | slice = slice(None)) -> Array:
        """Rows (ascending) [n, *shape] in their stored type, in the byte order of this machine.

        Raises `UserError` on a damaged file and on values that are not finite as float32.
        """
        wanted = np.arange(self.count)[rows] if isinstance(rows, slice) else np.asarray(rows, np.int64)
        if isinstance(self._stored, np.ndarray):
            x = self._stored.reshape(self.count, *self.shape)[wanted]
        else:
            with _reading(self.path), self._stream(self._stored) as stream:
                x = self._whole(stream)[wanted] if self._header.columns_first else self._some(stream, wanted)
        self._check(x)
        return x.astype(x.dtype.newbyteorder("="), copy=False)

    def blocks(self, step: int, limit: int | None = None) -> Iterator[Array]:
        """The first `limit` rows in order, in blocks of at most `step`."""
        count = self.count if limit is None else min(limit, self.count)
        if isinstance(self._stored, np.ndarray):
            yield from (self.read(slice(n, min(n + step, count))) for n in range(0, count, step))
            return
        if self._header.columns_first:
            x = self.read()
            yield from (x[n : min(n + step, count)] for n in range(0, count, step))
            return
        with _reading(self.path), self._stream(self._stored) as stream:
            _skip(stream, self._header.start)
            for n in range(0, count, step):
                x = np.empty((min(step, count - n), *self.shape), self.dtype)
                _fill(stream, x)
                self._check(x)
                yield x.astype(x.dtype.newbyteorder("="), copy=False)

    @contextlib.contextmanager
    def _stream(self, member: str | None) -> Generator[IO[bytes]]:
        if member is None:
            with Path(self.path).open("rb") as stream:
                yield stream
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(member) as stream:
            yield stream

    def _whole(self, stream: IO[bytes]) -> Array:
        _skip(stream, self._header.start)
        flat = np.empty(self._header.shape[::-1], self.dtype)
        _fill(stream, flat)
        return flat.T.reshape(self.count, *self.shape)

    def _some(self, stream: IO[bytes], wanted: NDArray[np.int64]) -> Array:
        x = np.empty((len(wanted), *self.shape), self.dtype)
        size = x.nbytes // max(1, len(wanted))
        at = 0
        _skip(stream, self._header.start)
        ends = np.flatnonzero(np.diff(wanted) != 1) + 1  # rows that follow one another are read at once
        for part in np.split(np.arange(len(wanted)), ends):
            if part.size:
                first = int(wanted[part[0]])
                _skip(stream, first * size - at)
                _fill(stream, x[part[0] : part[-1] + 1])
                at = (first + part.size) * size
        return x

    def _check(self, x: Array) -> None:
        if x.dtype.kind != "f":
            return
        with np.errstate(over="ignore"):
            finite = np.isfinite(x if x.dtype.itemsize <= 4 else x.astype(np.float32)).all()
        if not finite:
            wrong = "values beyond those of float32" if np.isfinite(x).all() else "NaN or infinite values"
            raise UserError(f"{self.path}: {self.title} holds {wrong}; requires finite numbers of float32")


def _skip(stream: IO[bytes], count: int) -> None:
    if count and isinstance(stream, zipfile.ZipExtFile):
        while count > 0:
            piece = len(stream.read(min(count, _PIECE)))
            if not piece:
                raise EOFError("the values end too early")
            count -= piece
    elif count:
        stream.seek(count, 1)


def _fill(stream: IO[bytes], x: Array) -> None:
    """Read the bytes of a contiguous array."""
    view = x.reshape(-1).view(np.uint8).data
    while len(view):
        piece = stream.read(min(len(view), _PIECE))
        if not piece:
            raise EOFError("the values end too early")
        view[: len(piece)] = piece
        view = view[len(piece) :]


@dataclass(frozen=True)
class Samples:
    """What a source holds for a model: an array for each input, of equal length, and labels if there are any."""

    path: str
    inputs: tuple[Rows, ...]
    labels: Rows | None

    def __len__(self) -> int:
        return len(self.inputs[0])

    def classes(self, count: int, limit: int | None = None) -> NDArray[np.int64]:
        """Labels int64 [N] of the first `limit` samples. Raises `UserError` if one is no number in [0, count)."""
        if self.labels is None:
            raise UserError(f"{self.path}: no array '{LABELS}'; requires labels, an integer for each sample")
        try:
            return checked_labels(self.labels.read(slice(limit)), count)
        except UserError as e:
            raise e.about(self.path) from None


def checked_labels(labels: Array, count: int) -> NDArray[np.int64]:
    """Integer labels [N] as int64. Raises `UserError` if one is no number in [0, count)."""
    wrong = np.flatnonzero((labels < 0) | (labels >= count))
    if wrong.size:
        raise UserError(
            f"{wrong.size} of {len(labels)} labels are outside [0, {count}), the first is "
            f"{LABELS}[{wrong[0]}] = {labels[wrong[0]]}"
        )
    return labels.astype(np.int64)


def open_samples(source: Source, inputs: Sequence[Input]) -> Samples:
    """Find the arrays for the inputs of a model in a .npy or .npz file, of which only headers are read, or in memory.

    Raises `UserError` naming what is there and what is needed: on a file that is neither, on arrays that are missing,
    ambiguous, of another shape or no numbers, and on inputs or labels of different lengths.
    """
    where = str(source)
    if not inputs:
        raise UserError(f"{where}: the model has no input")
    if isinstance(source, Arrays):
        arrays = source.by_name
        return _samples(where, list(arrays), inputs, lambda key: (_array_header(arrays[key], where, key), arrays[key]))
    kind = contents(source)
    if kind == "npy":
        if len(inputs) != 1:
            names = ", ".join(f"'{i.name}'" for i in inputs)
            raise UserError(
                f"{where}: the model has {len(inputs)} inputs: {names}", "give an .npz with one array for each"
            )
        with _reading(where), Path(source).open("rb") as stream:
            header = _header(stream, Path(source).stat().st_size)
        return Samples(where, (_rows(where, "the array", inputs[0], header, None),), None)
    if kind != "npz":
        raise UserError(f"{where}: not an .npz or .npy file of NumPy")
    with _reading(where), zipfile.ZipFile(where) as archive:
        members = _members(archive, where)

        def stored(key: str) -> tuple[_Header, str]:
            return _member_header(archive, members[key], where), members[key].filename

        return _samples(where, list(members), inputs, stored)


def _samples(
    where: str,
    present: Sequence[str],
    inputs: Sequence[Input],
    stored: Callable[[str], tuple[_Header, str | Array]],
) -> Samples:
    """Arrays for the inputs, and labels, of those that are present; `stored` finds one by its name."""
    keys = _choose(where, present, inputs)
    rows = tuple(_rows(where, f"array '{key}'", i, *stored(key)) for key, i in zip(keys, inputs, strict=True))
    labels = None
    if LABELS in present and LABELS not in keys:
        header, values = stored(LABELS)
        labels = _labels(where, header, len(rows[0]), values)
    if len({len(r) for r in rows}) > 1:
        found = ", ".join(f"'{i.name}' {len(r)}" for i, r in zip(inputs, rows, strict=True))
        raise UserError(f"{where}: inputs have different numbers of samples: {found}; requires equal numbers")
    return Samples(where, rows, labels)


def _members(archive: zipfile.ZipFile, where: str) -> Mapping[str, zipfile.ZipInfo]:
    """Arrays of an archive by name; members that are no .npy are none."""
    found = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    twice = [name for name, count in Counter(info.filename for info in found).items() if count > 1]
    if twice:
        raise UserError(f"{where}: holds several arrays '{twice[0][:-4]}'; requires different names")
    return {info.filename[:-4]: info for info in found}


def _choose(where: str, present: Sequence[str], inputs: Sequence[Input]) -> list[str]:
    """Names of the arrays for the inputs."""
    names = [i.name for i in inputs]
    if len(names) == 1:
        others = [key for key in present if key != LABELS]
        key = next((k for k in (names[0], "x") if k in present), others[0] if len(others) == 1 else None)
        if key is not None:
            return [key]
        wanted = " or ".join(f"'{n}'" for n in dict.fromkeys(("x", names[0])))
        wanted = f"the array {wanted}, or only one beside '{LABELS}', {inputs[0].wanted}"
    else:
        if all(name in present for name in names):
            return names
        wanted = "an array for each input: " + ", ".join(f"'{i.name}' {i.wanted}" for i in inputs)
    missing = next((n for n in names if n not in present), "x")
    here = ", ".join(f"'{key}'" for key in present[:20]) or "no array"
    raise UserError(f"{where}: no array for input '{missing}'; found {here}; requires {wanted}")


def _rows(where: str, title: str, wanted: Input, header: _Header, stored: str | Array | None) -> Rows:
    shape = header.shape
    if shape == wanted.shape:
        shape = (1, *shape)
    if shape[1:] != wanted.shape or not shape:
        raise UserError(
            f"{where}: {title} is {header}; input '{wanted.name}' requires {wanted.wanted}", wanted.note(header.shape)
        )
    if shape[0] == 0:
        raise UserError(f"{where}: {title} holds no sample; input '{wanted.name}' requires at least one")
    return Rows(where, title, wanted.shape, shape[0], header, stored)


def _labels(where: str, header: _Header, count: int, stored: str | Array) -> Rows:
    if header.dtype.kind not in "iu" or header.shape not in ((count,), (count, 1)):
        raise UserError(f"{where}: {LABELS} is {header}; requires integers [{count}], one for each sample")
    return Rows(where, f"array '{LABELS}'", (), count, header, stored)


def _array_header(x: Array, where: str, key: str) -> _Header:
    """What the header of a file would say of an array in memory. Raises UserError on anything but numbers."""
    if not _is_number(x.dtype.str):
        raise UserError(f"{where}: array '{key}': {_no_numbers(x.dtype.str)}")
    return _Header(0, x.dtype, False, x.shape)


def _member_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> _Header:
    with _reading(f"{where}: array '{info.filename[:-4]}'"):
        if info.flag_bits & 1:
            raise RuntimeError("it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RuntimeError("it is packed by another method than those of NumPy")
        if info.file_size > _DEFLATE_RATIO * info.compress_size + _SLACK:
            raise ValueError("it cannot be as large as the archive says")
        with archive.open(info) as stream:
            return _header(stream, info.file_size)


def _header(stream: IO[bytes], size: int) -> _Header:
    """Header of an array that takes `size` bytes with it. Raises ValueError on anything but an array of numbers."""
    start = stream.read(len(_MAGIC) + 2)
    if not start.startswith(_MAGIC):
        raise ValueError("not an array of NumPy")
    width = {1: 2, 2: 4}.get(start[len(_MAGIC)] if len(start) > len(_MAGIC) else 0)
    if width is None:
        raise ValueError("not an array of numbers in a format version that NumPy writes for them")
    length = int.from_bytes(stream.read(width), "little")
    if length > _LONGEST_HEADER:
        raise ValueError(f"a header of {length} bytes")
    dtype, columns_first, shape = _described(stream.read(length))
    header = _Header(len(start) + width + length, dtype, columns_first, shape)
    if header.start + header.nbytes > size:
        raise ValueError(f"{header} needs more bytes than the {size} that there are")
    return header


def _described(raw: bytes) -> tuple[np.dtype[Any], bool, tuple[int, ...]]:
    """Type, order and shape that the text of a header gives."""
    try:
        value: object = ast.literal_eval(raw.decode("latin-1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as e:
        raise ValueError("its header is damaged") from e
    described = cast("dict[object, object]", value) if isinstance(value, dict) else {}
    descr, order, shape = (described.get(key) for key in ("descr", "fortran_order", "shape"))
    if not isinstance(descr, str | list) or not isinstance(order, bool) or not isinstance(shape, tuple):
        raise ValueError("its header is damaged")
    extents = cast("tuple[object, ...]", shape)
    if len(extents) > 32 or not all(type(e) is int and 0 <= e < 1 << 62 for e in extents):
        raise ValueError("its header is damaged")
    if not isinstance(descr, str) or not _is_number(descr):
        raise ValueError(_no_numbers(cast(object, descr)))
    return np.dtype(descr), order, cast("tuple[int, ...]", extents)


def _is_number(descr: str) -> bool:
    return bool(_TYPES.fullmatch(descr)) and descr[-2:] not in ("f1", "b2", "b4", "b8")


def _no_numbers(found: object) -> str:
    return f"elements of type {str(found)[:40]}; requires integers or floats of up to 64 bits"


def npz(arrays: Mapping[str, Array]) -> bytes:
    """An .npz file of arrays whose names may be anything; they are stored in printable form."""
    names = [clipped(name, _LONGEST_NAME) for name in arrays]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"several arrays are called '{twice[0]}' once their names are printable; requires other names")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, x in zip(names, arrays.values(), strict=True):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(x), allow_pickle=False)
    return buffer.getvalue()
