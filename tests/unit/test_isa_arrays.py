"""Arrays in files: which are taken, how much of them is read, and one line for everything that is wrong with a file."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from isa.arrays import Arrays, Input, contents, npz, open_samples
from isa.errors import UserError

Array = NDArray[Any]
IMAGE = Input("image", (2, 3))


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def stored(n: int, start: int = 0) -> Array:
    return (np.arange(n * 6, dtype=np.float32) + start).reshape(n, 2, 3)


def refused(path: Path, *words: str, inputs: tuple[Input, ...] = (IMAGE,)) -> str:
    """The one line that says why a file is not read."""
    with pytest.raises(UserError) as caught:
        samples = open_samples(path, inputs)
        for rows in samples.inputs:
            rows.read()
        samples.classes(3)
    (cause,) = caught.value.causes
    assert cause.startswith(f"{path}: ") and "\n" not in cause
    assert all(word in cause for word in words), cause
    return cause


# Which array is taken ----------------------------------------------------------------------------------------------


def test_the_name_of_the_input_comes_first_then_x_then_the_only_array(tmp_path: Path) -> None:
    a, b = stored(4), stored(4, 100)
    for arrays, want in (
        ({"mask": b, "image": a, "x": b}, a),
        ({"mask": b, "x": a}, a),
        ({"anything": a}, a),
        ({"y": np.zeros(4, int), "anything": a}, a),
    ):
        samples = open_samples(saved(tmp_path / "d.npz", **arrays), [IMAGE])
        np.testing.assert_array_equal(samples.inputs[0].read(), want)
        assert (samples.labels is not None) == ("y" in arrays)
    refused(saved(tmp_path / "d.npz", mask=b, other=a), "'image'", "'mask', 'other'", "'x'", "[N,2,3]")
    refused(saved(tmp_path / "d.npz", y=a), "'image'")
    np.save(tmp_path / "x.npy", a)
    np.testing.assert_array_equal(open_samples(tmp_path / "x.npy", [IMAGE]).inputs[0].read(), a)


@pytest.mark.parametrize(
    "arrays",
    [
        {"mask": stored(4, 100), "image": stored(4), "y": np.array([0, 1, 2, 1])},
        {"x": stored(5).astype(">i2")},
        {"anything": np.asfortranarray(stored(4))},
        {"image": stored(1)[0]},
        {"other": stored(4), "mask": stored(4)},
        {"x": stored(4)[:, 0]},
        {"x": stored(0)},
        {"x": np.full((3, 2, 3), np.inf)},
        {"x": stored(3).astype(complex)},
        {"x": stored(3).astype(str)},
        {"x": stored(3), "y": np.zeros(2, int)},
        {"x": stored(3), "y": np.full(3, 7)},
    ],
)
def test_arrays_in_memory_follow_the_rules_of_a_file(tmp_path: Path, arrays: dict[str, Array]) -> None:
    """The same rows, or the same words of refusal."""

    def found(source: Path | Arrays) -> object:
        try:
            samples = open_samples(source, [IMAGE])
            (rows,) = samples.inputs
            parts = rows.read(), rows.read([1, 2]) if len(rows) > 2 else None, np.concatenate([*rows.blocks(2, 3)])
            labels = None if samples.labels is None else samples.classes(3)
        except UserError as error:
            (cause,) = error.causes
            assert cause.startswith(f"{source}: ")
            return cause.removeprefix(f"{source}: ").replace("damaged, encrypted or not written by NumPy: ", "")
        return [(x.dtype, x.tolist()) for x in (*parts, labels) if x is not None]

    assert found(saved(tmp_path / "d.npz", **arrays)) == found(Arrays(arrays, "samples"))


def test_arrays_in_memory_are_not_changed_by_who_reads_them() -> None:
    x = stored(4)
    rows = open_samples(Arrays({"x": x}), [IMAGE]).inputs[0].read()
    rows += 1
    np.testing.assert_array_equal(x, stored(4))


def test_an_input_may_be_called_y(tmp_path: Path) -> None:
    samples = open_samples(saved(tmp_path / "d.npz", y=stored(4)), [Input("y", (2, 3))])
    assert samples.labels is None and len(samples) == 4


def test_several_inputs_are_taken_by_name_only(tmp_path: Path) -> None:
    inputs = (IMAGE, Input("mask", (1,)))
    path = saved(tmp_path / "d.npz", mask=np.ones((4, 1)), image=stored(4))
    found = open_samples(path, inputs)
    assert [r.shape for r in found.inputs] == [(2, 3), (1,)] and len(found) == 4
    refused(saved(path, mask=np.ones((4, 1)), x=stored(4)), "'image' [N,2,3]", "'mask' [N,1]", inputs=inputs)
    refused(saved(path, mask=np.ones((3, 1)), image=stored(4)), "'image' 4, 'mask' 3", inputs=inputs)
    np.save(tmp_path / "x.npy", stored(4))
    refused(tmp_path / "x.npy", "2 inputs: 'image', 'mask'", inputs=inputs)


def test_the_contents_decide_and_not_the_name(tmp_path: Path) -> None:
    saved(tmp_path / "d.npz", x=stored(2)).rename(tmp_path / "d.npy")
    assert contents(tmp_path / "d.npy") == "npz" and len(open_samples(tmp_path / "d.npy", [IMAGE])) == 2


def test_one_sample_without_the_leading_axis(tmp_path: Path) -> None:
    samples = open_samples(saved(tmp_path / "d.npz", x=stored(1)[0]), [IMAGE])
    assert len(samples) == 1 and samples.inputs[0].read().shape == (1, 2, 3)


# What is read ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    x=hnp.arrays(
        st.sampled_from(["|i1", "|u1", "|b1", "<i2", ">i4", "<u8", "<f2", ">f4", "<f8"]),
        st.tuples(st.integers(1, 9), st.just(2), st.just(3)),
    ).filter(
        lambda x: x.dtype.kind != "f" or bool(np.isfinite(x).all() and (np.abs(x.astype(np.float64)) < 1e38).all())
    ),
    columns=st.booleans(),
    packed=st.booleans(),
    data=st.data(),
)
def test_rows_are_those_of_numpy(
    x: Array, columns: bool, packed: bool, data: st.DataObject, tmp_path_factory: Any
) -> None:
    path = tmp_path_factory.mktemp("rows") / "d.npz"
    (np.savez_compressed if packed else np.savez)(path, x=np.asfortranarray(x) if columns else x)
    rows = open_samples(path, [IMAGE]).inputs[0]
    assert len(rows) == len(x) and rows.dtype == x.dtype
    pick = sorted(data.draw(st.sets(st.integers(0, len(x) - 1))))
    found = rows.read(pick)
    np.testing.assert_array_equal(found, x[pick])
    assert found.dtype.isnative
    np.testing.assert_array_equal(rows.read(slice(1, None, 2)), x[1::2])
    step, limit = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 12))
    blocks = list(rows.blocks(step, limit))
    assert all(len(b) == step for b in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate(blocks), x[:limit])


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_memory_follows_the_rows_that_are_wanted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"big.{suffix}"
    x = np.zeros((40_000, 2, 3, 100), np.float32)  # 96 MB
    if suffix == "npz":
        np.savez_compressed(path, x=x, y=np.zeros(40_000, np.int64))
    else:
        np.save(path, x)
    del x
    tracemalloc.start()
    samples = open_samples(path, [Input("image", (2, 3, 100))])
    rows = samples.inputs[0]
    assert len(rows.read([0, 39_999])) == 2
    assert len(next(rows.blocks(16))) == 16
    if suffix == "npz":
        assert len(samples.classes(2, 5)) == 5
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


# What is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((5, 3, 2), np.float32), ("array 'x' is float32[5,3,2]", "'image' requires [N,2,3]")),
        (np.zeros((0, 2, 3), np.float32), ("holds no sample",)),
        (np.zeros((1, 2, 3), np.complex64), ("<c8", "integers or floats")),
        (np.array(["a", "b"]), ("integers or floats",)),
        (np.zeros(3, np.dtype([("a", "<f4")])), ("integers or floats",)),
        (np.zeros(3, "<M8[s]"), ("integers or floats",)),
        (np.full((2, 2, 3), np.inf), ("finite",)),
        (np.full((2, 2, 3), 1e300), ("beyond those of float32",)),
        (np.array(1.0), ("float64[]",)),
    ],
)
def test_arrays_that_do_not_fit(tmp_path: Path, array: Array, words: tuple[str, ...]) -> None:
    refused(saved(tmp_path / "d.npz", x=array), *words)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.zeros(3, int), "y is int64[3]; requires integers [4]"),
        (np.zeros(4), "y is float64[4]"),
        (np.array([0, 1, 3, 0]), "1 of 4 labels are outside [0, 3), the first is y[2] = 3"),
        (np.array([0, -1, 1, 0], np.int8), "y[1] = -1"),
        (np.array([0, 1, 2**64 - 1, 2**63], np.uint64), "y[2] = 18446744073709551615"),
        (None, "no array 'y'"),
    ],
)
def test_labels(tmp_path: Path, labels: Array | None, words: str) -> None:
    refused(saved(tmp_path / "d.npz", x=stored(4), **({} if labels is None else {"y": labels})), words)


def test_labels_may_be_a_column_of_any_integers(tmp_path: Path) -> None:
    path = saved(tmp_path / "d.npz", x=stored(3), y=np.array([2, 0, 1], np.uint8)[:, None])
    found = open_samples(path, [IMAGE]).classes(3)
    assert found.dtype == np.int64 and found.tolist() == [2, 0, 1]


def npy(header: bytes, version: bytes = b"\x01\x00", data: bytes = bytes(100)) -> bytes:
    length = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + version + length + header + data


FORM = "{{'descr': {}, 'fortran_order': {}, 'shape': {}}}"
HEADERS = {
    "empty": b"",
    "text": b"hello",
    "no dict": b"[1, 2]",
    "deep": b"(" * 5000,
    "minus": b"-" * 9000 + b"1",
    "name": FORM.format("x", False, "(1,2,3)").encode(),
    "object": FORM.format("'|O'", False, "(1,2,3)").encode(),
    "odd type": FORM.format("'<f1'", False, "(1,2,3)").encode(),
    "odd shape": FORM.format("'<f4'", False, "(1,2,-3)").encode(),
    "shape of numbers": FORM.format("'<f4'", False, "(1,2,3.0)").encode(),
    "true": FORM.format("'<f4'", False, "(True,2,3)").encode(),
    "long": FORM.format("'<f4'", False, "(" + "9" * 5000 + ",2,3)").encode(),
    "many": FORM.format("'<f4'", False, str((1,) * 100)).encode(),
    "order": FORM.format("'<f4'", 7, "(1,2,3)").encode(),
    "huge": FORM.format("'<f4'", False, f"({10**15},2,3)").encode(),
    "keys": b"{'descr': '<f4'}",
    "nul": b"\0" * 64,
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("version", [b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\xff\x00"])
def test_broken_headers(tmp_path: Path, name: str, version: bytes) -> None:
    path = tmp_path / "d.npy"
    path.write_bytes(npy(HEADERS[name], version))
    refused(path, "d.npy: ")
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", npy(HEADERS[name], version))
    with pytest.raises(UserError, match="array 'x'"):
        open_samples(tmp_path / "d.npz", [IMAGE])


def test_good_headers_of_other_writers(tmp_path: Path) -> None:
    header = b"{ \"shape\":(1,2,3,),'fortran_order':False, 'descr':\"<f4\" }  \n"
    for version in (b"\x01\x00", b"\x02\x00"):
        (tmp_path / "d.npy").write_bytes(npy(header, version, stored(1).tobytes()))
        np.testing.assert_array_equal(open_samples(tmp_path / "d.npy", [IMAGE]).inputs[0].read(), stored(1))


def member(data: bytes, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("x.npy", data)
    return buffer.getvalue()


def array_bytes(x: Array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, x)
    return buffer.getvalue()


def patched(data: bytes, local: int, central: int, value: bytes) -> bytes:
    """A zip file with a field of its only member overwritten in both of its headers."""
    raw = bytearray(data)
    at = raw.index(b"PK\x01\x02")
    raw[local : local + len(value)] = value
    raw[at + central : at + central + len(value)] = value
    return bytes(raw)


GOOD = member(array_bytes(stored(50)), compression=zipfile.ZIP_DEFLATED)
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "encrypted": lambda: patched(GOOD, 6, 8, b"\x01\x00"),
    "method": lambda: patched(GOOD, 8, 10, b"\x63\x00"),
    "bzip2": lambda: member(array_bytes(stored(5)), compression=zipfile.ZIP_BZIP2),
    "lzma": lambda: member(array_bytes(stored(5)), compression=zipfile.ZIP_LZMA),
    "size": lambda: patched(GOOD, 22, 24, struct.pack("<I", 2**31)),
    "data": lambda: GOOD[:60] + bytes(40) + GOOD[100:],
    "cut": lambda: GOOD[:-30],
    "no member": lambda: GOOD[:4],
    "empty": lambda: b"PK\x05\x06" + bytes(18),
    "text": lambda: member(b"hello"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_foreign_archives(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d.npz"
    path.write_bytes(ARCHIVES[name]())
    refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_members_are_no_arrays_and_names_are_unique(tmp_path: Path) -> None:
    path = saved(tmp_path / "d.npz", x=stored(2))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "hello")
    assert len(open_samples(path, [IMAGE])) == 2
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", array_bytes(stored(3)))
    refused(path, "several arrays 'x'")


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_archive_is_refused_or_read(at: int, byte: int, cut: bool, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("damage") / "d.npz"
    path.write_bytes(GOOD[:at] if cut else GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])
    try:
        found = open_samples(path, [IMAGE]).inputs[0].read()
    except UserError as e:
        assert len(e.causes) == 1
    else:
        np.testing.assert_array_equal(found, stored(50))


def test_files_that_hold_no_arrays(tmp_path: Path) -> None:
    for data in (b"", b"hello", b"\x93NUMPY"):
        (tmp_path / "d.npz").write_bytes(data)
        refused(tmp_path / "d.npz")
    refused(tmp_path / "none.npz", "No such file")
    refused(tmp_path, "directory")
    refused(Path("/dev/null"), "regular file")


# Writing -----------------------------------------------------------------------------------------------------------


def test_any_names_can_be_written(tmp_path: Path) -> None:
    names = ["file", "a/b", "\ud800", "\x1b[31m", "n\0ul", "ö", "x" * 100_000]
    raw = npz({name: np.full(3, i, np.float32) for i, name in enumerate(names)})
    (tmp_path / "d.npz").write_bytes(raw)
    with np.load(tmp_path / "d.npz") as archive:
        assert [archive[key][0] for key in archive.files] == list(range(len(names)))
        assert archive.files[:6] == ["file", "a/b", "\\ud800", "\\u001b[31m", "n\\u0000ul", "ö"]
    with pytest.raises(UserError, match="several arrays are called"):
        npz({"\x1b": np.zeros(1), "\\u001b": np.zeros(1)})
