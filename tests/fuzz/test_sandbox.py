"""The sandbox tells every kind of bad answer, and lets good ones pass."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from fuzz import sandbox
from fuzz.findings import Finding


def main(argv: Sequence[str]) -> int:
    """A command that does what its argument says."""
    (act,) = argv
    match act:
        case "good":
            print("a result")
            Path("out").write_text("whole")
        case "refused":
            print("error: in: no good\nnote: mend it", file=sys.stderr)
            return 1
        case "bug":
            return 70
        case "raises":
            raise KeyError("x")
        case "half":
            Path("out").write_text("ha")
            print("error: in: no good", file=sys.stderr)
            return 1
        case "forgets":
            return 0
        case "nameless":
            print("error: no good", file=sys.stderr)
            return 1
        case "mute":
            return 1
        case "colours":
            Path("out").write_text("whole")
            print("\x1b[31mred")
        case "peeps":
            Path("out").write_text(Path("/etc/passwd").read_text()[:0])
        case "starts":
            subprocess.run([sys.executable, "--version"], check=True)
            Path("out").write_text("whole")
        case "grows":
            Path("out").write_bytes(bytearray(b"x" * (1200 << 20))[:1])
        case "spins":
            while True:
                pass
    return 0


EXPECTED = {
    "good": 0, "refused": 1, "bug": "crash", "raises": "crash", "half": "files", "forgets": "files", "nameless": "text",
    "mute": "text", "colours": "text", "peeps": "files", "starts": "files", "grows": "memory",
}  # fmt: skip


def _serve(link: Connection) -> None:
    sandbox._MAINS["esc-test"] = __name__
    sandbox.SECONDS = 0.5 if os.environ.get("FUZZ_TEST_SPIN") else 20.0
    box = sandbox.Sandbox()
    box.prepare()
    box.limit()
    while act := link.recv():
        box.start({"in": b""})
        try:
            link.send(box.command("esc-test", act, outputs=("out",), about="in"))
        except Finding as finding:
            link.send(finding.kind)


def _process() -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    link, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return process, link


def test_answers_are_judged() -> None:
    process, link = _process()
    found: dict[str, object] = {}
    for act in EXPECTED:
        link.send(act)
        found[act] = link.recv()
    link.send("")
    process.join(30)
    assert found == EXPECTED


def test_a_process_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUZZ_TEST_SPIN", "1")
    process, link = _process()
    link.send("spins")
    with pytest.raises(EOFError):
        link.recv()
    process.join(30)
    assert process.exitcode == -signal.SIGPROF
