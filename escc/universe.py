"""Our dialects and passes as an xDSL universe: lazy factories, found by `xdsl-opt` and by our own command lines."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from xdsl.ir import Dialect
from xdsl.passes import ModulePass
from xdsl.universe import Universe

from isa import found
from isa.errors import UserError
from isa.found import checked

GROUP = "xdsl.universe"
"""Entry points, each a `Universe`."""

DIALECTS = {
    "blob": "dialects.blob:Blob",
    "onnx": "dialects.onnx:Onnx",
    "esc": "dialects.esc:Esc",
    "bfs": "dialects.bfs:Bfs",
    "eisa": "dialects.eisa:Eisa",
}

PASSES = {
    "onnx-canonicalize": "passes.onnx_canonicalize:OnnxCanonicalizePass",
    "onnx-legalize": "passes.onnx_legalize:OnnxLegalizePass",
    "quantize": "passes.quantize:QuantizePass",
    "fuse-epilogues": "passes.fuse_epilogues:FuseEpiloguesPass",
    "decompose-conv": "passes.decompose_conv:DecomposeConvPass",
    "round-parameters": "passes.round_parameters:RoundParametersPass",
    "drop-dead-channels": "passes.drop_dead_channels:DropDeadChannelsPass",
    "esc-legalize": "passes.esc_legalize:EscLegalizePass",
    "tile-basis-first": "passes.tile_basis_first:TileBasisFirstPass",
    "plan-memory": "passes.plan_memory:PlanMemoryPass",
    "double-buffer": "passes.double_buffer:DoubleBufferPass",
    "pack-coefficients": "passes.pack_coefficients:PackCoefficientsPass",
    "lower-to-eisa": "passes.lower_to_eisa:LowerToEisaPass",
    "stage-weights": "passes.stage_weights:StageWeightsPass",
    "insert-sync": "passes.insert_sync:InsertSyncPass",
    "eisa-legalize": "passes.eisa_legalize:EisaLegalizePass",
}
"""Every pass of ours, in the order of the default pipeline."""


def _load(where: str) -> object:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)


def _dialect(where: str) -> Callable[[], Dialect]:
    return lambda: cast(Dialect, _load(where))


def _pass(where: str) -> Callable[[], type[ModulePass]]:
    return lambda: cast(type[ModulePass], _load(where))


ESCC_UNIVERSE = Universe(
    all_dialects={name: _dialect(where) for name, where in DIALECTS.items()},
    all_passes={name: _pass(where) for name, where in PASSES.items()},
)


def multiverse() -> Universe:
    """Everything installed: xDSL's, ours and the extensions'. Raises UserError if an extension does not load."""
    added = [universe for _, universe in found.installed(GROUP, "extension", Universe)]
    try:
        whole = Universe.get_multiverse()
    except ValueError as e:  # of two dialects or passes of one name
        raise UserError(
            f"an extension (entry point group '{GROUP}') does not load: {e}", "reinstall or uninstall it"
        ) from e
    dialects, passes = dict(whole.all_dialects), dict(whole.all_passes)
    for universe in added:
        for name, dialect in universe.all_dialects.items():
            dialects[name] = checked(dialect, f"the dialect '{name}'", "a Dialect", _is_dialect)
        for name, step in universe.all_passes.items():
            passes[name] = checked(step, f"the pass '{name}'", "a class of ModulePass", _is_pass)
    return Universe(all_dialects=dialects, all_passes=passes, all_targets=whole.all_targets)


def _is_dialect(value: object) -> bool:
    return isinstance(value, Dialect)


def _is_pass(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, ModulePass)
