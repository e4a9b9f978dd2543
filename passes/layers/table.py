"""All installed layer kinds: what of level `esc` becomes a layer, and how its tile operations become bytes and
instructions.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import cast

from xdsl.ir import Operation

from dialects.bfs_tiles import TileOp
from dialects.locations import describe
from isa.errors import UserError
from passes.tiling.esc_op_to_layer import LayerTiler
from passes.tiling.layer_kind import ConstantRule, LayerKind, TileRule
from passes.tiling.transfer_rules import TRANSFER_RULES

GROUP = "escc.layers"
"""Entry points, each an instance of `LayerKind` under the name of its kind."""


@cache
def layer_kinds() -> tuple[LayerKind, ...]:
    """All installed layer kinds, by name."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    return tuple(cast(LayerKind, points[name].load()) for name in sorted(points))


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
    found: dict[type[TileOp], TileRule] = {}
    for rule in (*TRANSFER_RULES, *(rule for kind in layer_kinds() for rule in kind.rules)):
        other = found.setdefault(rule.operation, rule)
        if type(other) is not type(rule):
            raise UserError(
                f"{rule.operation.name}: two rules lower it, {type(other).__qualname__} and {type(rule).__qualname__}",
                f"uninstall one of the packages that name them in the entry points '{GROUP}'",
            )
    return found


def constant_rule(op: TileOp) -> ConstantRule | None:
    """The rule of an operation that loads a constant; None for all others."""
    rule = tile_rules().get(type(op))
    return rule if isinstance(rule, ConstantRule) else None
