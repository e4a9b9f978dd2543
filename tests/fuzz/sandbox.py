"""Runs commands of ours inside this process and judges how they behave; meant for a process that may be lost.

The process gets limits of memory and processor time, and an audit hook that knows which files it opens. What a command
prints goes to files of the scratch folder.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fuzz.findings import Finding

SECONDS = 10.0
"""Processor time that the answer to an input may take."""
GROWTH = 1 << 30
"""Bytes that the resident memory may grow while it is answered."""
_ADDRESS_SPACE = 4 << 30
"""Bytes of address space beyond those in use before; beyond them, allocations fail."""
_LONGEST_LINE = 2100

_MAINS = {
    "escc": "escc.cli.compile",
    "esc-opt": "escc.cli.opt",
    "esc-emu": "escc.cli.emulate",
    "esc-as": "escc.cli.assemble",
    "esc-dis": "escc.cli.disassemble",
}
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Sandbox:
    """A folder to work in. `command` raises `Finding` where an answer is not allowed."""

    def __init__(self, trusted: Sequence[Path] = ()) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.folder = self._base / "work"
        self._out, self._err = (os.open(self._base / n, os.O_RDWR | os.O_CREAT) for n in ("stdout", "stderr"))
        root = Path(__file__).resolve().parents[2]
        prefixes = (root, self._base, Path(sys.prefix), Path(sys.base_prefix), *trusted)
        caches = (Path.home() / ".cache", Path(os.environ.get("NUMBA_CACHE_DIR") or sys.prefix))
        system = ("/usr", "/lib", "/lib64", "/proc", "/sys", "/dev", "/etc/localtime", "/etc/mime.types")
        self._allowed = tuple(str(p) for p in (*{p.resolve() for p in (*prefixes, *caches)}, *system))
        self._foreign: list[str] = []
        self._watching = False
        self._seconds = 0.0

    def prepare(self) -> None:
        """Take over the standard streams of this process, and watch which files it opens. Irrevocable."""
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (self._out, 1), (self._err, 2)):
            os.dup2(source, target)
        sys.addaudithook(self._audit)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))

    def limit(self) -> None:
        """From now on, processor time is limited, and allocations fail that would take far more than is allowed.

        Call it once all libraries are loaded and all kernels compiled, which may take longer than an answer.
        """
        self._seconds = SECONDS
        gc.collect()
        gc.freeze()  # what stays for good need not be looked through before every input
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if _has_proc() else 0
        limit = size + _ADDRESS_SPACE
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect"):
            self._foreign.append(f"{event} {str(args[0])[:100]}")
        elif event == "open" and isinstance(args[0], str | bytes):
            path = os.path.realpath(os.path.join(self.folder, os.fsdecode(args[0])))  # noqa: PTH118
            if not path.startswith(self._allowed):
                self._foreign.append(f"open {path}")

    def start(self, files: dict[str, bytes]) -> None:
        """Make the working folder anew, with these files and nothing else."""
        gc.collect()
        os.chdir(self._base)
        if self.folder.exists():
            for path in self.folder.iterdir():
                path.unlink()
        self.folder.mkdir(exist_ok=True)
        os.chdir(self.folder)
        for name, data in files.items():
            (self.folder / name).write_bytes(data)

    def command(
        self, name: str, *arguments: str, outputs: Sequence[str] = (), about: str | tuple[str, ...] = ""
    ) -> int:
        """Exit code (0, 1 or 2) of a command. With 0 it wrote just `outputs`, with 1 nothing but its reasons.

        `about` is the file that every error must name; one of them where there are several.
        """
        before = {p.name for p in self.folder.iterdir()}
        what = " ".join((name, *arguments))
        code = self._guarded(name, arguments, what)
        out, err = self._printed(self._out), self._printed(self._err)
        made = {p.name for p in self.folder.iterdir()} - before
        if code not in (0, 1, 2):
            raise Finding("crash", f"{name}: exit {code}: {self._reason(made, err)}")
        if "Traceback (most recent call last)" in err:
            raise Finding("crash", f"{name}: traceback: {err.strip().splitlines()[-1][:200]}")
        if self._foreign:
            raise Finding("files", f"{name}: {self._foreign[0]}")
        if (control := _CONTROLS.search(err)) or (control := _CONTROLS.search(out)):
            raise Finding("text", f"{name}: prints the control character {control[0]!r}")
        if made != (set(outputs) if code == 0 else set()):
            raise Finding("files", f"{name}: exit {code} and files {sorted(made)}")
        if code == 1:
            self._check_reasons(name, out, err, about)
        return code

    def _guarded(self, name: str, arguments: Sequence[str], what: str) -> int:
        """Run a command under the limits of time and memory."""
        main = importlib.import_module(_MAINS[name]).main
        for stream in (self._out, self._err):
            os.ftruncate(stream, 0)
            os.lseek(stream, 0, os.SEEK_SET)
        _reset_peak()
        memory = _peak()
        self._foreign.clear()
        began = time.process_time()
        # The default action ends the process: also inside C code, which no exception would leave.
        signal.setitimer(signal.ITIMER_PROF, self._seconds)
        self._watching = True
        try:
            code = int(main(list(arguments)) or 0)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException as error:
            raise Finding("crash", f"{what}: {type(error).__name__} left main: {str(error)[:200]}") from error
        finally:
            self._watching = False
            signal.setitimer(signal.ITIMER_PROF, 0)
            for text in (sys.stdout, sys.stderr):
                text.flush()
        if self._seconds and time.process_time() - began > self._seconds:
            raise Finding("slow", f"{name}: more than {SECONDS:g} s")
        if (growth := _peak() - memory) > GROWTH:
            raise Finding("memory", f"{name}: {growth / 1e9:.1f} GB")
        return code

    def _printed(self, stream: int) -> str:
        os.lseek(stream, 0, os.SEEK_SET)
        with os.fdopen(os.dup(stream), "rb") as file:
            return file.read().decode(errors="replace")

    def _reason(self, made: set[str], err: str) -> str:
        """The error of a crash and the line of ours that raised it, from the report that the command saved."""
        lines = err.strip().splitlines() or ["no message"]
        reason = next((line for line in lines if line.startswith("error: ")), lines[-1])
        for name in made:
            if "-crash-" in name:
                frames = re.findall(r'File "([^"]+)", line \d+, in (\w+)', (self.folder / name).read_text())
                ours = [(Path(file).name, function) for file, function in frames if "site-packages" not in file]
                reason += f" in {'/'.join(ours[-1])}" if ours else ""
        return reason[:400]

    @staticmethod
    def _check_reasons(name: str, out: str, err: str, about: str | tuple[str, ...]) -> None:
        files = (about,) if isinstance(about, str) else about
        lines = err.splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        strange = [line for line in lines if not line.startswith(("error: ", "note: ", "warning: "))]
        if out:
            raise Finding("text", f"{name}: exit 1 and on standard output: {out[:80]!r}")
        if not errors or sum(line.startswith("note: ") for line in lines) > 1 or strange:
            raise Finding(
                "text", f"{name}: exit 1 with {len(errors)} errors and: {(strange or ['too many notes'])[0]!r}"
            )
        if nameless := [line for line in errors if not any(file in line for file in files)]:
            raise Finding("text", f"{name}: an error does not name {' or '.join(files)}: {nameless[0][:160]!r}")
        if any("out of memory" in line for line in errors):
            raise Finding("memory", f"{name}: {errors[0][:160]}")
        if long := [line for line in lines if len(line) > _LONGEST_LINE]:
            raise Finding("text", f"{name}: a line of {len(long[0])} characters: {long[0][:80]!r}")


def _has_proc() -> bool:
    return Path("/proc/self/clear_refs").exists()


def _reset_peak() -> None:
    if _has_proc():
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes of the largest resident memory since it was reset; since the start where it cannot be."""
    if _has_proc():
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) << 10  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
