"""What xDSL's entry point group `xdsl.universe` loads: names and lazy factories."""

from __future__ import annotations

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe


def _prune() -> Dialect:
    from escc_prune.dialect import Prune

    return Prune


def _prune_activations() -> type[ModulePass]:
    from escc_prune.prune_activations import PruneActivationsPass

    return PruneActivationsPass


def _lower_prune() -> type[ModulePass]:
    from escc_prune.lower_prune import LowerPrunePass

    return LowerPrunePass


PRUNE_UNIVERSE = Universe(
    all_dialects={"prune": _prune},
    all_passes={"prune-activations": _prune_activations, "lower-prune": _lower_prune},
)
