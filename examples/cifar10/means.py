"""Geometric means over comparisons: `python -m examples.cifar10.means A.json B.json ...`, from `esc-compare --json`.

Each file holds one network with one system of ours, however it is called, and the same baselines.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MEASURES = (
    ("latency", "total", "cycles"),
    ("latency, batch", "batch", "cycles"),
    ("energy", "total", "energy_uj"),
    ("energy, batch", "batch", "energy_uj"),
)
"""Name of a measure, and where a system has it: for one image alone, or for one of a batch."""


def _amount(value: float | list[dict[str, Any]]) -> float:
    """A number, or the sum of the parts that it is given in."""
    return sum(part["value"] for part in value) if isinstance(value, list) else value


def ratios(comparison: dict[str, Any]) -> dict[tuple[str, str], float]:
    """What each baseline takes over what ours takes, by measure and baseline. Raises ValueError if not one of ours."""
    (network,) = comparison["networks"]
    ours = [s for s in network["systems"] if s["kind"] != "machine"]
    if len(ours) != 1:
        raise ValueError(f"{network['name']}: {len(ours)} systems of ours, one is required")
    return {
        (measure, s["name"]): _amount(s[part][key]) / _amount(ours[0][part][key])
        for measure, part, key in MEASURES
        for s in network["systems"]
        if s["kind"] == "machine"
    }


def table(comparisons: Sequence[dict[str, Any]]) -> str:
    """A line for each measure and baseline: every network's ratio, and the geometric mean of those that all have."""
    found = [ratios(c) for c in comparisons]
    names = [c["networks"][0]["name"].removesuffix(".onnx") for c in comparisons]
    head = f"{'over ours':<26}" + "".join(f"{name:>20}" for name in names) + f"{'geometric mean':>20}"
    lines = [head, "-" * len(head)]
    for key in found[0]:
        if all(key in f for f in found):
            values = [f[key] for f in found]
            mean = math.exp(sum(map(math.log, values)) / len(values))
            lines.append(f"{key[0] + ', ' + key[1]:<26}" + "".join(f"{v:>20.2f}" for v in [*values, mean]))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("files", type=Path, nargs="+", metavar="FILE.json")
    print(table([json.loads(path.read_text()) for path in p.parse_args(argv).files]))


if __name__ == "__main__":
    main()
