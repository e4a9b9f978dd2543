"""Compare compression schemes: `python benchmarks/schemes.py [ROW...]`.

Printed is the table of docs/schemes/README.md. A row is a model of the data folder ($ESCC_DATA, else ../shared/data)
under a scheme, MODEL:SCHEME; all installed schemes are there, those of other packages included, with the options that
stand below or none. Top-1 is that of the folder's test images; .rodata are all constants of the binary; cycles and
energy are those of one image, the embedded sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import measured
from commanded import cells, table

from passes.decomposition.scheme import scheme_names

MODELS: Mapping[str, str] = {
    "resnet8": "resnet8_cifar10",
    "resnet20": "resnet20_cifar10",
    "squeezenet": "squeezenet_imagenet_pruned",
    "mobilenetv2": "mobilenet_v2_imagenet",
}
"""Name in a row, and file in the data folder."""
OPTIONS: Mapping[str, str] = {
    "block": "--scheme-option sparsity=0.7",
    "bank-balanced": "--scheme-option sparsity=0.7",
    "escalate": "--scheme-option levels=4 --basis 6 --rate 0.5",
    "gs": "--scheme-option sparsity=0.7",
    "kmeans": "--rate 0.1",
    "patdnn": "--scheme-option sparsity=0.7",
    "unstructured": "--scheme-option sparsity=0.7",
}
"""Options beside the scheme's name."""
HEAD = ("network", "options", "top-1", ".rodata", "compression", "cycles", "uJ", "CPU s to compile")
ROWS: Mapping[str, tuple[str, str]] = {
    f"{short}:{scheme}": (model, f"--scheme {scheme} {OPTIONS.get(scheme, '')}".strip())
    for short, model in MODELS.items()
    for scheme in scheme_names()
}


def _stem(name: str) -> str:
    return name.replace(":", "-")


def commands(name: str, row: tuple[str, str], out: Path) -> list[list[str]]:
    """Command lines that measure a row."""
    return measured.commands(_stem(name), *row, out)


def line(name: str, row: tuple[str, str], out: Path) -> str | None:
    """The line of a row, None where the data folder is missing."""
    found = measured.measure(_stem(name), row[0], commands(name, row, out), out)
    if found is None:
        return None
    values = (
        name.partition(":")[0],
        f"`{row[1]}`",
        found.top1,
        f"{found.report['constant_bytes']:,}",
        f"{found.report['compression']:.1f}x",
        f"{found.totals['cycles']:,}",
        f"{found.totals['energy_uj']['total']:.1f}",
        f"{found.compile_seconds:.0f}",
    )
    return cells(values)


def main() -> None:
    """The command line."""
    table(__doc__, ROWS, "out/schemes", HEAD, commands, line)


if __name__ == "__main__":
    main()
