"""`pack-coefficients`: the constants of every layer as the bytes that each transfer reads, and their addresses in
`.rodata`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects.attributes import i64_array, integer
from dialects.bfs import ConstantOp, LayerOp
from dialects.blob import DenseAttr
from isa.errors import UserError
from isa.found import AnswerError
from passes.analysis.preserved import Preserved
from passes.layers.table import constant_rule
from passes.tiling.bfs_module import bfs_program
from passes.tiling.layer_kind import ConstantRule, Packed, Transfer
from passes.tiling.loop_nest import executions

Array = NDArray[np.generic]
Wanted = dict[tuple[ConstantRule, Transfer], None]
"""The different transfers of a constant, in the order of their first use."""


def transfers(layer: LayerOp) -> Iterator[tuple[str, ConstantRule, Transfer]]:
    """Constant, rule and part of every transfer of a layer's constants."""
    for op, at in executions(layer):
        if (rule := constant_rule(op)) is not None:
            name, part = rule.transfer(op, at)
            yield name, rule, part


@dataclass(frozen=True)
class PackCoefficientsPass(ModulePass):
    """Replace the constants by the bytes that the machine reads: the coefficients of each output channel as a stream in
    the code of its layer, weights in the order of the accumulation steps, weights and requantisation parameters packed
    where that is smaller. Equal constants share an address.
    """

    name = "pack-coefficients"
    PRESERVES: ClassVar[Preserved] = Preserved.OUTPUTS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = bfs_program(op)
        constants = program.constants
        wanted: dict[str, Wanted] = {name: {} for name in constants}
        for layer in program.layers:
            for name, rule, part in transfers(layer):
                if name not in constants:
                    raise UserError(f"layer '{layer.layer_name.data}': no constant @{name}")
                wanted[name][(rule, part)] = None
        places: dict[bytes, int] = {}
        end = 0
        for name, constant in constants.items():
            if constant.value is None:
                raise UserError(f"constant @{name} is packed already", "run pack-coefficients once")
            data, pieces = _pack(name, constant.value.array, wanted[name])
            if data not in places:
                places[data] = end
                end += len(data)
            _replace(constant, data, pieces, places[data])


def _pack(name: str, value: Array, wanted: Wanted) -> tuple[bytes, list[int]]:
    parts = [part for _, part in wanted]
    if len({rule for rule, _ in wanted}) > 1 or len({(p.k.first, p.c.first) for p in parts}) < len(parts):
        raise UserError(f"constant @{name} is loaded in two different ways")
    if not wanted:
        return b"", []
    rule, _ = next(iter(wanted))
    for part in parts:
        for axis, wanted_span in zip(rule.axes, (part.k, part.c), strict=True):
            if axis is not None and not 0 <= wanted_span.first < wanted_span.end <= value.shape[axis]:
                found = f"{wanted_span.first}..{wanted_span.end - 1} of constant @{name}, which has {value.shape[axis]}"
                raise UserError(f"a tile loads channels {found}")
    packed = rule.pack(value, parts)
    if wrong := _packing_faults(packed, len(parts)):
        raise AnswerError(rule, f"constant @{name}: pack of {type(rule).__qualname__} answers {wrong}")
    data = bytearray(packed.shared)
    pieces: list[int] = []
    for part, (piece, coding) in zip(parts, packed.pieces, strict=True):
        pieces += [part.k.first, part.c.first, len(data), len(piece), coding]
        data += piece
    return bytes(data), pieces


def _packing_faults(answer: object, transfers: int) -> str:
    """How what a rule packs is no `Packed` for so many transfers, "" if it is one."""
    if not isinstance(answer, Packed):
        return f"a {type(answer).__name__}; requires Packed"
    shared, pieces = cast(object, answer.shared), cast(object, answer.pieces)
    if not isinstance(shared, bytes) or not isinstance(pieces, list | tuple):
        return f"shared {type(shared).__name__}, pieces {type(pieces).__name__}; requires bytes and a list"
    listed = cast("Sequence[object]", pieces)
    if not all(_is_piece(piece) for piece in listed):
        return "pieces that are not all bytes with an integer"
    if len(listed) != transfers:
        return f"{len(listed)} pieces; requires {transfers}, one for each transfer"
    return ""


def _is_piece(piece: object) -> bool:
    match piece:
        case (bytes(), int() | np.integer()):
            return True
        case _:
            return False


def _replace(constant: ConstantOp, data: bytes, pieces: list[int], address: int) -> None:
    constant.value = None
    constant.packed = DenseAttr.of(np.frombuffer(data, np.uint8))
    constant.pieces = i64_array(pieces)
    constant.address = integer(address)
