"""Input files of any size, and atomic output files."""

import io
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from isa import files
from isa.errors import UserError
from isa.files import MOST_BYTES, read_file, write_atomic


def test_writes_bytes_and_text(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a.bin", b"\x00\x01")
    write_atomic(str(tmp_path / "b.txt"), "é\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\x01"
    assert (tmp_path / "b.txt").read_text(encoding="utf-8") == "é\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin", "b.txt"]


def test_keeps_the_mode_of_an_existing_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640


def test_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_device() -> None:
    write_atomic(os.devnull, b"x")


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"directory '.*nowhere' does not exist"):
        write_atomic(tmp_path / "nowhere" / "a", b"")


def test_directory_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a directory"):
        write_atomic(tmp_path, b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write"):
        write_atomic(tmp_path / "file" / "a", b"")


def test_nothing_is_left_behind_when_the_move_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(UserError, match="Permission denied"):
        write_atomic(tmp_path / "a", b"x")
    assert list(tmp_path.iterdir()) == []


class _Ended(BaseException):
    """What the handler of this test raises, as that of Ctrl-C does."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_process_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def ended(*_: object) -> None:
        raise _Ended

    def interrupted(*options: str, prefix: str, dir: Path) -> tuple[int, str]:
        made = mkstemp(*options, prefix=prefix, dir=dir)
        os.kill(os.getpid(), number)
        time.sleep(0)  # where Python would call the handler
        return made

    mkstemp = tempfile.mkstemp
    monkeypatch.setattr(tempfile, "mkstemp", interrupted)
    before = signal.signal(number, ended)
    try:
        with pytest.raises(_Ended):
            write_atomic(tmp_path / "a", b"x")
        assert signal.getsignal(number) is ended
    finally:
        signal.signal(number, before)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_writes_in_another_thread(tmp_path: Path) -> None:
    thread = threading.Thread(target=write_atomic, args=(tmp_path / "a", b"x"))
    thread.start()
    thread.join()
    assert (tmp_path / "a").read_bytes() == b"x"


def test_reads_whole_files_and_pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(1, 256)) * 100
    (tmp_path / "a").write_bytes(content)
    assert read_file(tmp_path / "a") == content
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
        assert read_file("-") == content
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert read_file("-") == content


def test_a_file_beyond_all_bounds_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as stream:
        stream.write(b"module")
        stream.truncate(MOST_BYTES + 1)
    with pytest.raises(UserError, match=r"^x\.mlir: has 2,147,483,648 bytes; requires at most 2,147,483,647$"):
        read_file(tmp_path / "a", "x.mlir")


def test_a_device_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(read_file("/dev/zero"))
    monkeypatch.setattr(files, "MOST_BYTES", 1 << 20)
    with pytest.raises(UserError, match="stdin: has more than 1,048,576 bytes"), Path("/dev/urandom").open("rb") as end:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(_Odd(end)))
        read_file("-")


class _Odd(io.BufferedReader):
    """A device whose first byte is not zero."""

    def __init__(self, device: io.BufferedReader):
        super().__init__(device.raw)
        self._begun = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not self._begun:
            self._begun, data = True, b"x" + data[1:]
        return data
