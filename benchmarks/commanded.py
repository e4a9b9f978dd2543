"""The command line of a table whose rows are measured by commands."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

R = TypeVar("R")


def cells(values: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return f"| {' | '.join(values)} |"


def table(
    description: str | None,
    rows: Mapping[str, R],
    folder: str,
    head: Sequence[str],
    commands: Callable[[str, R, Path], Sequence[Sequence[str]]],
    line: Callable[[str, R, Path], str | None],
    foot: Sequence[str] = (),
) -> None:
    """Print the table of the rows that the command line names, or the `commands` of these rows.

    `folder` is where files go unless the command line says otherwise; a row of which `line` gives None is left out.
    `foot` is the last line, if there is one.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(rows)} (default: all)")
    parser.add_argument("--out", type=Path, default=Path(folder), help="folder of all files (default: %(default)s)")
    parser.add_argument("--commands", action="store_true", help="print the commands and run nothing")
    args = parser.parse_args()
    if unknown := sorted(set(args.rows) - set(rows)):
        parser.error(f"unknown row '{unknown[0]}'; there are {', '.join(rows)}")
    chosen = {name: row for name, row in rows.items() if name in (args.rows or rows)}
    if args.commands:
        for name, row in chosen.items():
            print("\n".join(shlex.join(command) for command in commands(name, row, args.out)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"{cells(head)}\n|{'---|' * len(head)}", flush=True)
    for name, row in chosen.items():
        if (text := line(name, row, args.out)) is not None:
            print(text, flush=True)
    if foot:
        print(cells(foot))
