"""Compare patterns of sparse weights: `python benchmarks/patterns.py [ROW...]`.

Printed is the table of docs/schemes/sparse.md. Each row is ResNet-20 of the data folder ($ESCC_DATA, else
../shared/data), compiled and emulated by the commands that --commands prints. Top-1 is that of the folder's test
images; all else is of one image, the embedded sample. `conflicts` and `imbalance` are shares of the cycles that
multipliers spend gathering; `compute` are cycles in which the compute unit works.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import measured
from commanded import cells, table

from escc.cli.common import script

MODEL = "resnet20_cifar10"


def _at_70(scheme: str, *own: str) -> str:
    return " ".join([f"--scheme {scheme}", *(f"--scheme-option {option}" for option in ("sparsity=0.7", *own))])


ROWS: Mapping[str, str] = {
    "dense": "--scheme dense",
    "unstructured": _at_70("unstructured"),
    "unstructured-4": _at_70("unstructured", "bundle=4"),
    "unstructured-4-scatter": _at_70("unstructured", "bundle=4", "scatter=yes"),
    "gs": _at_70("gs"),
    "gs-hybrid": _at_70("gs", "orientation=hybrid"),
    "gs-horizontal": _at_70("gs", "orientation=horizontal"),
    "gs-16-banks": _at_70("gs", "banks=16"),
    "bank-balanced": _at_70("bank-balanced"),
    "patdnn": _at_70("patdnn"),
    "unstructured-weights": _at_70("unstructured", "rule=weights"),
    "gs-weights": _at_70("gs", "rule=weights"),
    "block-4x1-weights": _at_70("block", "rule=weights"),
    "gs-weights-50": "--scheme gs --scheme-option sparsity=0.5 --scheme-option rule=weights",
    "block-4x1-weights-50": "--scheme block --scheme-option sparsity=0.5 --scheme-option rule=weights",
    "block-4x1": _at_70("block"),
    "block-1x16": _at_70("block", "block=1x16"),
    "gs-rate": "--scheme gs --rate 0.2",
    "gs-budget": "--scheme gs --max-drop 1",
    "gs-cycles": "--scheme gs --max-cycles 20800",
}
"""Options of each row."""
HEAD = ("options", "top-1", "conflicts", "imbalance", "compute", "cycles", ".rodata", "uJ")


def commands(name: str, options: str, out: Path) -> list[list[str]]:
    """Command lines that measure a row."""
    return measured.commands(name, MODEL, options, out)


def line(name: str, options: str, out: Path) -> str | None:
    """The line of a row, None where the data folder is missing."""
    if not (measured.DATA / f"models/{MODEL}.onnx").exists():
        return None
    found = measured.measure(out / name, commands(name, options, out))
    gather = found.totals["gather_cycles"]
    whole = sum(gather.values())
    lost = [f"{100 * gather[what] / whole:.1f} %" if whole else "-" for what in ("conflict", "imbalance")]
    values = (
        f"`{options}`",
        found.top1,
        *lost,
        f"{found.totals['compute_cycles']:,}",
        f"{found.totals['cycles']:,}",
        f"{found.report['constant_bytes']:,}",
        f"{found.totals['energy_uj']['total']:.1f}",
    )
    return cells(values)


def main() -> None:
    """The command line."""
    table(__doc__, ROWS, "out/patterns", HEAD, commands, line)


if __name__ == "__main__":
    script(main)
