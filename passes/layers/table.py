"""All layer kinds: what of level `esc` becomes a layer, and how its tile operations become bytes and instructions.

The kinds of the tree are the modules beside this one that have a `KIND`. A package adds a kind by an entry point of the
group `escc.layers` that names its `LayerKind`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from xdsl.ir import Operation

from dialects.bfs_tiles import TileOp
from dialects.locations import describe
from isa import found
from isa.errors import UserError
from passes import layers
from passes.tiling.esc_op_to_layer import LayerTiler
from passes.tiling.layer_kind import ConstantRule, LayerKind, TileRule
from passes.tiling.transfer_rules import TRANSFER_RULES

GROUP = "escc.layers"
"""Entry points, each an instance of `LayerKind` under the name of its kind."""


def assemble_kinds(candidates: Iterable[tuple[str, object]]) -> tuple[LayerKind, ...]:
    """Layer kinds by name; a kind that is found twice counts once.

    Raises `UserError` if one is no `LayerKind`, is found under another name than its own, or shares its name with
    another one.
    """
    kinds: dict[str, LayerKind] = {}
    for name, kind in candidates:
        if not isinstance(kind, LayerKind):
            raise UserError(f"the layer kind '{name}' must be a LayerKind, found {type(kind).__name__}")
        if kind.name != name:
            raise UserError(
                f"the layer kind '{kind.name}' is found under the name '{name}'; both must be equal",
                found.mend(GROUP, name),
            )
        other = kinds.setdefault(name, kind)
        if other is not kind:
            raise UserError(
                f"two layer kinds have the name '{name}', {type(other).__qualname__} and {type(kind).__qualname__}",
                found.mend(GROUP, name),
            )
    return tuple(kinds[name] for name in sorted(kinds))


@cache
def layer_kinds() -> tuple[LayerKind, ...]:
    """The layer kinds of the tree and those that other packages add, by name. Raises like `assemble_kinds`."""
    return assemble_kinds((*found.own(layers, "KIND"), *found.installed(GROUP, "layer kind", LayerKind)))


def layer_kind(name: str) -> LayerKind:
    """The installed layer kind of that name. Raises `UserError` listing those there are."""
    kinds = {kind.name: kind for kind in layer_kinds()}
    if name not in kinds:
        raise UserError(
            f"unknown layer kind '{name}'",
            f"installed: {', '.join(sorted(kinds))}; a package adds one through the entry points '{GROUP}'",
        )
    return kinds[name]


def tile_operation(op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
    """Append the layer of an `esc` operation that computes a tensor, by the kind that matches it, or a cause."""
    kinds = [kind for kind in layer_kinds() if kind.matches(op)]
    if len(kinds) == 1:
        kinds[0].tile(op, tiler, averaged)
    elif kinds:
        tiler.causes.append(f"{describe(op)}: claimed by the layer kinds {', '.join(k.name for k in kinds)}")
    else:
        tiler.causes.append(f"{describe(op)}: no layer kind computes it")


@cache
def tile_rules() -> dict[type[TileOp], TileRule]:
    """The rule of every tile operation. Raises `UserError` if two kinds have different ones for the same operation."""
    rules: dict[type[TileOp], TileRule] = {}
    for rule in (*TRANSFER_RULES, *(rule for kind in layer_kinds() for rule in kind.rules)):
        other = rules.setdefault(rule.operation, rule)
        if type(other) is not type(rule):
            raise UserError(
                f"{rule.operation.name}: two rules lower it, {type(other).__qualname__} and {type(rule).__qualname__}",
                f"uninstall one of the packages that name them in the entry points '{GROUP}'",
            )
    return rules


def constant_rule(op: TileOp) -> ConstantRule | None:
    """The rule of an operation that loads a constant; None for all others."""
    rule = tile_rules().get(type(op))
    return rule if isinstance(rule, ConstantRule) else None
