"""What bounds a network: `python benchmarks/bounds.py STATS.json...`, for files of `esc-emu --stats-json`.

For each file: cycles; the bound of the whole network, in which every part of the machine works without a pause; the sum
of the bounds of the layers, which is what they take one after the other if none of them waits for anything; and the
shares of the cycles in which the blocks stand still for loads, and for what a layer leaves to its end: the post unit,
stores and the drain of the program.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commanded import cells

from escc.cli.common import script

HEAD = ("network", "cycles", "bound of the whole", "binds", "sum of the layers' bounds", "waits for loads", "at ends")
_AT_ENDS = ("post", "store", "drain")


def line(name: str, statistics: Mapping[str, Any]) -> str:
    """A line of the table."""
    totals = statistics["totals"]
    cycles, bound, stalls = totals["cycles"], totals["lower_bound"], totals["stall_cycles"]
    layers = sum(layer["lower_bound"]["cycles"] for layer in statistics["layers"])
    shares = (stalls["load"], sum(stalls[cause] for cause in _AT_ENDS))
    return cells(
        (
            name,
            f"{cycles / 1e3:.1f} K",
            f"{bound['cycles'] / 1e3:.1f} K",
            bound["binding"].replace("_", " "),
            f"{layers / 1e3:.1f} K",
            *(f"{share / cycles:.1%}" for share in shares),
        )
    )


def main() -> None:
    """The command line."""
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    print(cells(HEAD), cells(["---"] * len(HEAD)), sep="\n")
    for path in map(Path, sys.argv[1:]):
        print(line(path.stem, json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    script(main)
