"""What a pass keeps of what a module computes, so that tools that compare levels need not know passes by name."""

from __future__ import annotations

from enum import Enum

from xdsl.passes import ModulePass


class Preserved(Enum):
    """What stays the same to the bit on every input; a pass says it by its class attribute `PRESERVES`."""

    VALUES = "every value that both modules have"
    OUTPUTS = "every output"
    NOTHING = "nothing: the pass changes what is computed, or its level"


def preserved_by(step: ModulePass) -> Preserved:
    """What a pass keeps; a pass that does not say keeps nothing."""
    return getattr(step, "PRESERVES", Preserved.NOTHING)
