"""One file for each kind of input.

A campaign has `SEEDS`, the files of the kit that it starts from, and two functions: `mutate(rng, data, other)` gives
another file made of a seed (and of parts of a second one), and `check(box, kit, data)` feeds it to the commands that
read such files. It raises `Finding` where an answer is not allowed, and tells whether the file was accepted.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz.campaigns import arrays, assembly, elf, images, mlir, onnx, target
from fuzz.sandbox import Sandbox


@dataclass(frozen=True)
class Campaign:
    """See the module."""

    name: str
    seeds: Callable[[Path], list[bytes]]
    mutate: Callable[[random.Random, bytes, bytes], bytes]
    check: Callable[[Sandbox, Path, bytes], bool]

    def case(self, seeds: list[bytes], seed: int, number: int) -> bytes:
        """Input `number` of a run: the same for equal seeds. The first ones are the seed files themselves."""
        if number < len(seeds):
            return seeds[number]
        rng = random.Random(f"{seed} {self.name} {number}")
        return self.mutate(rng, rng.choice(seeds), rng.choice(seeds))


_MODULES = {"elf": elf, "target": target, "onnx": onnx, "assembly": assembly, "arrays": arrays, "images": images}

CAMPAIGNS = {
    **{name: Campaign(name, m.seeds, m.mutate, m.check) for name, m in _MODULES.items()},
    **{f"mlir-{n}": Campaign(f"mlir-{n}", mlir.seeds_of(n), mlir.mutate, mlir.check) for n in mlir.LEVELS},
}
"""All campaigns by name."""
