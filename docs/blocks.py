"""Run the command blocks of Markdown files: `python docs/blocks.py [--update] FILE.md...`.

A ```sh block is a script. In a ```console block every line that starts with `$ ` is a command (a trailing backslash
continues it) and the lines below it are the output it must print, standard output and error together; `...` stands for
any text within a line and, alone on a line, for any number of lines. `98..100` stands for any number from 98 to 100:
for results of training, which hang on how a CPU rounds; what the compiler makes is the same on every machine. In a
```console ~25% block, numbers may differ by 25 % and by two units of their last digit, and spacing is free: for whole
tables of a trained network. With --update outputs that differ are rewritten, but for lines that fit.

The blocks of one file run in order, as if typed into one shell, in a scratch directory that links to what the checkout
holds. Not run:
- blocks with a command that starts with make, git, `python -m venv` or `pip install` (unless with --no-index): they set
  up or test the checkout itself;
- blocks that mention $ESCC_DATA, where that folder (default ../shared/data) does not exist, readelf, where it is not
  installed, or docs/screenshot.py, where there is no Chromium.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import screenshot

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600
_FENCE = re.compile(r"^```(\w*)(?: ~(\d+)%)?\s*$")
_NUMBER = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")
_RANGE = re.compile(rf"{_NUMBER.pattern}\.\.{_NUMBER.pattern}")
_TOKEN = re.compile(rf"{_RANGE.pattern}|{_NUMBER.pattern}")
_SETUP = re.compile(r"^\s*(make|git|python -m venv|pip install(?!.*--no-index))\b", re.MULTILINE)
# Environment, functions and directory that a command leaves are those that the next one finds.
_SHELL = """
state="$ESCC_BLOCKS_STATE"
[ -e "$state" ] && source "$state"
{command}
{{ declare -f; export -p; printf 'cd %q\\n' "$PWD"; }} > "$state"
"""


@dataclass
class ShellCommand:
    """A command and what it must print (None: anything)."""

    text: str
    expected: list[str] | None = None


@dataclass
class CommandBlock:
    """A command block; `line` is the number of its opening fence, `end` that of its closing one (from 1)."""

    path: Path
    line: int
    end: int
    commands: list[ShellCommand] = field(default_factory=list[ShellCommand])
    tolerance: float | None = None

    @property
    def where(self) -> str:
        """`README.md:12`."""
        return f"{self.path.name}:{self.line}"


def parse(path: Path) -> list[CommandBlock]:
    """The ```sh and ```console blocks of a Markdown file, in order. Raises ValueError for output before any command."""
    blocks: list[CommandBlock] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            at += 1
            continue
        end = next(i for i in range(at + 1, len(lines)) if lines[i].rstrip() == "```")
        body = lines[at + 1 : end]
        if fence[1] == "sh":
            blocks.append(CommandBlock(path, at + 1, end + 1, [ShellCommand("\n".join(body))]))
        elif fence[1] == "console":
            tolerance = int(fence[2]) / 100 if fence[2] else None
            blocks.append(CommandBlock(path, at + 1, end + 1, list(_console(body, f"{path}:{at + 1}")), tolerance))
        at = end + 1
    return blocks


def _console(body: Sequence[str], where: str) -> Iterator[ShellCommand]:
    command: ShellCommand | None = None
    for line in body:
        if command is not None and not command.expected and command.text.endswith("\\"):
            command.text += "\n" + line
        elif line.startswith("$ "):
            if command is not None:
                yield command
            command = ShellCommand(line[2:], [])
        elif command is None or command.expected is None:
            raise ValueError(f"{where}: output before the first command")
        else:
            command.expected.append(line)
    if command is not None:
        yield command


def matches(expected: Sequence[str], printed: Sequence[str], tolerance: float | None = None) -> bool:
    """Whether the printed lines fit the expected ones, `...` being any text in a line or, alone, any lines.

    A range `a..b` fits the numbers in it. With a tolerance, numbers fit that differ by this share of the larger one and
    two units of their last digit, runs of spaces fit each other, and so do rules of any length.
    """
    pattern, wanted = "", list[str]()
    for line in expected:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            parts = [part.rstrip() for part in line.rstrip().split("...")]
            pattern += ".*?".join(_literal(part, tolerance) for part in parts) + r"[ \t]*\n"
            wanted += [token for part in parts for token in _tokens(tolerance).findall(part)]
    found = re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in printed))
    return found is not None and all(_fits(a, b, tolerance or 0.0) for a, b in zip(wanted, found.groups(), strict=True))


def _tokens(tolerance: float | None) -> re.Pattern[str]:
    """What in an expected line stands for more than itself."""
    return _RANGE if tolerance is None else _TOKEN


def _literal(text: str, tolerance: float | None) -> str:
    """Pattern for text without wildcards, in which each token is a group."""
    parts = _tokens(tolerance).split(text)
    number = f"({_NUMBER.pattern})"
    if tolerance is None:
        return number.join(map(re.escape, parts))
    parts = [re.sub(r"-{3,}", "---", re.sub(r"\s+", " ", part)) for part in parts]
    return number.join(re.escape(p).replace("\\ ", r"\s+").replace(r"\-\-\-", "-+") for p in parts)


def _fits(token: str, printed: str, tolerance: float) -> bool:
    low, _, high = token.partition("..")
    if high:
        return _value(low) <= _value(printed) <= _value(high)
    x, y = _value(token), _value(printed)
    last_digit = 10.0 ** -max(len(n.partition(".")[2]) for n in (token, printed))
    return abs(x - y) <= tolerance * max(abs(x), abs(y)) + 2.001 * last_digit


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def updated(expected: Sequence[str], printed: Sequence[str], tolerance: float | None = None) -> list[str]:
    """The printed lines, but the expected ones where they fit."""
    if len(expected) != len(printed) or any(line.strip() == "..." for line in expected):
        return list(printed)
    return [e if matches([e], [p], tolerance) else p for e, p in zip(expected, printed, strict=True)]


def data_folder() -> Path | None:
    """Folder of the real models and images, None where it is absent."""
    folder = Path(os.environ.get("ESCC_DATA", ROOT / "../shared/data")).resolve()
    return folder if (folder / "models").is_dir() else None


def skip_reason(block: CommandBlock) -> str | None:
    """Why a block is not run here, None if it is."""
    text = "\n".join(c.text for c in block.commands)
    if _SETUP.search(text):
        return "builds or tests the checkout itself"
    if "$ESCC_DATA" in text and data_folder() is None:
        return "needs the models and images of $ESCC_DATA"
    if re.search(r"\breadelf\b", text) and shutil.which("readelf") is None:
        return "needs readelf"
    if "docs/screenshot.py" in text and screenshot.browser() is None:
        return "needs Chromium"
    return None


def prepare(scratch: Path) -> dict[str, str]:
    """Link the checkout's entries into `scratch`, with an empty out/; returns the environment for `run`."""
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name != "out":
            (scratch / entry.name).symlink_to(entry)
    (scratch / "out").mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "COLUMNS": "120", "ESCC_BLOCKS_STATE": str(scratch / ".state")}
    folder = data_folder()
    if folder is not None:
        env["ESCC_DATA"] = str(folder)
    return env


def run(command: ShellCommand, scratch: Path, env: dict[str, str]) -> list[str]:
    """Lines that a command prints. Raises ValueError with its output if it fails."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _SHELL.format(command=command.text)],
        cwd=scratch,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise ValueError(f"`{command.text}` ended with exit code {done.returncode}:\n{done.stdout}")
    return done.stdout.splitlines()


def check(path: Path, scratch: Path, update: bool = False) -> tuple[list[str], list[str]]:
    """Run the blocks of a file in `scratch`: failures and skipped blocks, a line or more each.

    With `update`, outputs that differ are rewritten in the file instead of being reported.
    """
    failures: list[str] = []
    skipped: list[str] = []
    replaced: dict[int, list[str]] = {}
    env = prepare(scratch)
    blocks = parse(path)
    for block in blocks:
        reason = skip_reason(block)
        if reason is not None:
            skipped.append(f"{block.where}: {reason}")
            continue
        for command in block.commands:
            try:
                printed = run(command, scratch, env)
            except (ValueError, subprocess.TimeoutExpired) as e:
                failures.append(f"{block.where}: {e}")
                continue
            if command.expected is None or matches(command.expected, printed, block.tolerance):
                continue
            if update:
                command.expected = updated(command.expected, printed, block.tolerance)
                replaced[block.line] = [x for c in block.commands for x in (f"$ {c.text}", *(c.expected or []))]
            else:
                diff = difflib.unified_diff(command.expected, printed, "expected", "printed", n=1, lineterm="")
                failures.append(f"{block.where}: `{command.text}` printed something else:\n" + "\n".join(diff))
    if replaced:
        lines = path.read_text(encoding="utf-8").splitlines()
        for block in reversed(blocks):
            if block.line in replaced:
                lines[block.line : block.end - 1] = replaced[block.line]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return failures, skipped


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="rewrite outputs that differ")
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    failed = False
    for path in args.files:
        with tempfile.TemporaryDirectory() as scratch:
            failures, skipped = check(path, Path(scratch), args.update)
        for text in failures:
            print(text)
        for text in skipped:
            print(f"not run: {text}", file=sys.stderr)
        failed = failed or bool(failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
