"""Measure compression schemes for docs/schemes/README.md: `python benchmarks/schemes.py [ROW...] [--write]`.

A row is NETWORK:SCHEME or NETWORK:SCHEME:SETTING; NETWORK alone stands for all its rows. A network is a folder of
docs/data/schemes whose `network.json` says where the model is and how its images are prepared, from the data folder
($ESCC_DATA, else ../shared/data). All installed schemes are there, those of other packages included, with the settings
that their files in `escc/schemes` name (`ABOUT`). --write puts what a row found into docs/data/schemes/NETWORK, a file
a row, as soon as it is measured; `make docs` then makes the tables of these files. Top-1 is that of the network's test
images; .rodata are all constants of the binary; cycles and energy are those of one image, the embedded sample.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import measured

from escc.cli.common import script
from escc.compress.about import about_schemes
from isa.files import write_atomic
from passes.decomposition.scheme import scheme_names

RESULTS = measured.ROOT / "docs/data/schemes"
FILE = "network.json"
LIMIT_S = 3600


@dataclass(frozen=True)
class SchemeRow:
    """A network, the name of the row's file without its ending, and the options of escc."""

    network: str
    stem: str
    options: str

    @property
    def name(self) -> str:
        """The row on the command line."""
        return ":".join((self.network, *self.stem.split(".")))

    @property
    def file(self) -> Path:
        """Where what it found is written."""
        return RESULTS / self.network / f"{self.stem}.json"


def rows() -> list[SchemeRow]:
    """Every network under every installed scheme, in each of its settings."""
    about = about_schemes()
    settings = [
        (f"{scheme}.{word}" if word else scheme, f"--scheme {scheme} {options}".strip())
        for scheme in scheme_names()
        for word, options in (about[scheme].settings if scheme in about else {"": ""}).items()
    ]
    networks = sorted(file.parent.name for file in RESULTS.glob(f"*/{FILE}"))
    return [SchemeRow(network, stem, options) for network in networks for stem, options in settings]


def _filled(text: str, out: Path) -> str:
    return text.format(data=measured.DATA, out=out, python=sys.executable)


def commands(row: SchemeRow, out: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Command lines that prepare a network, into OUT/NETWORK, and those that measure the row."""
    network: dict[str, Any] = json.loads((RESULTS / row.network / FILE).read_text(encoding="utf-8"))
    folder = out / row.network
    model, calibration, test = (Path(_filled(network[key], folder)) for key in ("model", "calibration", "test"))
    prepare = [[_filled(word, folder) for word in line.split()] for line in network["prepare"]]
    return prepare, measured.run_commands(folder / row.stem, model, calibration, test, row.options)


def measure(row: SchemeRow, out: Path, limit_s: float) -> dict[str, Any]:
    """What is written of a row. A network whose test images are in OUT is not prepared again.

    A row of which a command takes longer than `limit_s` seconds has the entry `more_than_s` in place of its figures.
    """
    prepare, lines = commands(row, out)
    folder = out / row.network
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "test.npz").exists():
        for line in prepare:
            subprocess.run(line, check=True, stdout=sys.stderr, cwd=measured.ROOT)
    try:
        found = measured.measure(folder / row.stem, lines, limit_s)
    except subprocess.TimeoutExpired:
        return {"options": row.options, "version": version("escc"), "more_than_s": round(limit_s)}
    return {
        "options": row.options,
        "version": version("escc"),
        "constant_bytes": found.report["constant_bytes"],
        "compression": round(found.report["compression"], 1),
        "top1": float(found.top1.removesuffix("%")),
        "cycles": found.totals["cycles"],
        "energy_uj": round(found.totals["energy_uj"]["total"], 1),
        "compile_cpu_s": round(found.compile_seconds),
    }


def chosen(names: Sequence[str], known: Sequence[SchemeRow]) -> list[SchemeRow]:
    """The rows that names of rows or networks stand for; all rows if there are none. Raises ValueError for others."""
    there = {row.name for row in known} | {row.network for row in known}
    if unknown := [name for name in names if name not in there]:
        raise ValueError(f"unknown row '{unknown[0]}'; there are {', '.join(row.name for row in known)}")
    return [row for row in known if not names or row.name in names or row.network in names]


def main() -> int:
    """The command line. 1 if a command of a row failed; the other rows are measured all the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="rows or networks (default: all)")
    parser.add_argument("--out", type=Path, default=Path("out/schemes"), help="folder of files (default: %(default)s)")
    parser.add_argument("--commands", action="store_true", help="print the commands and run nothing")
    parser.add_argument("--write", action="store_true", help="write what was found into docs/data/schemes")
    parser.add_argument("--missing", action="store_true", help="leave out rows that are written already")
    parser.add_argument(
        "--limit-s", type=float, default=LIMIT_S, help="seconds that a command may take (default: %(default)s)"
    )
    args = parser.parse_args()
    try:
        asked = chosen(args.rows, rows())
    except ValueError as error:
        parser.error(str(error))
    failed = False
    for row in asked:
        if args.missing and row.file.exists():
            continue
        if args.commands:
            prepare, lines = commands(row, args.out)
            print(f"# {row.name}\n" + "\n".join(shlex.join(line) for line in (*prepare, *lines)))
            continue
        try:
            found = measure(row, args.out.absolute(), args.limit_s)
        except subprocess.CalledProcessError as error:
            print(f"{row.name}: {error}", file=sys.stderr, flush=True)
            failed = True
            continue
        print(row.name, json.dumps(found), flush=True)
        if args.write:
            write_atomic(row.file, json.dumps(found, indent=2) + "\n")
    return int(failed)


if __name__ == "__main__":
    script(main)
