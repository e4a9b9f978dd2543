"""`pack-coefficients`: the constants of every layer as the bytes that each transfer reads, and their addresses in
`.rodata`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects.attributes import i64_array, integer
from dialects.bfs import ConstantOp, LayerOp
from dialects.bfs_tiles import LoadBytesOp, LoadCoefficientsOp, LoadParametersOp, LoadWeightsOp
from dialects.blob import DenseAttr
from isa.errors import UserError
from isa.packing import best
from isa.parameters import pack_parameters, plain_blocks
from isa.weights import pack_weights, weight_table
from passes.bfs_module import bfs_program
from passes.math.geometry import Span
from passes.nest import executions, span

Array = NDArray[np.generic]


def parameter_blocks(parameters: Array, channels: Span, block: int) -> tuple[bytes, int]:
    """Requantisation parameters int32 [3][K] of some channels, and their coding: packed (1), or as they lie in PAR (0)
    where that is smaller.
    """
    bias, mult, shift = parameters[:, channels.first : channels.end]
    plain, packed = plain_blocks(bias, mult, shift, block), pack_parameters(bias, mult, shift)
    return (packed, 1) if len(packed) < len(plain) else (plain, 0)


def transfers(layer: LayerOp) -> Iterator[tuple[str, str, int, Span, Span]]:
    """Constant, kind of load, block, output and input channels of every transfer of a layer's constants."""
    none = Span(0, 0)
    for op, at in executions(layer):
        if isinstance(op, LoadWeightsOp):
            yield op.constant.string_value(), "weights", 0, span(at, op.k, op.channels), span(at, op.c, op.depth)
        elif isinstance(op, LoadCoefficientsOp):
            yield op.constant.string_value(), "coefficients", 0, span(at, op.k, op.channels), none
        elif isinstance(op, LoadParametersOp):
            k = span(at, op.k, op.channels)
            yield op.constant.string_value(), "parameters", op.block.value.data, k, none
        elif isinstance(op, LoadBytesOp):
            yield op.constant.string_value(), "bytes", 0, none, none


def weights_of(value: Array, k: Span, c: Span) -> NDArray[np.int8]:
    """Dense weights [k][R][S][c] of some output and input channels."""
    return np.ascontiguousarray(value[k.first : k.end, :, :, c.first : c.end], np.int8)


def pack_transfer(value: Array, kind: str, block: int, k: Span, c: Span) -> tuple[bytes, int]:
    """The bytes of one transfer of a constant, and their coding (0 unless packed coefficients or parameters)."""
    if kind == "weights":
        return weights_of(value, k, c).tobytes(), 0
    if kind == "coefficients":
        coding, data = best(np.asarray(value[k.first : k.end], np.int8))
        return data, int(coding)
    if kind == "parameters":
        return parameter_blocks(value, k, block)
    return value.tobytes(), 0


@dataclass(frozen=True)
class PackCoefficientsPass(ModulePass):
    """Replace the constants by the bytes that the machine reads: ternary coefficients in the smallest format for each
    transfer, weights in the order of the accumulation steps, weights and requantisation parameters packed where that is
    smaller. Equal constants share an address.
    """

    name = "pack-coefficients"

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = bfs_program(op)
        constants = program.constants
        wanted: dict[str, dict[tuple[str, int, Span, Span], None]] = {name: {} for name in constants}
        for layer in program.layers:
            for name, kind, block, k, c in transfers(layer):
                if name not in constants:
                    raise UserError(f"layer '{layer.layer_name.data}': no constant @{name}")
                wanted[name][(kind, block, k, c)] = None
        places: dict[bytes, int] = {}
        end = 0
        for name, constant in constants.items():
            if constant.value is None:
                raise UserError(f"constant @{name} is packed already", "run pack-coefficients once")
            data, pieces = _pack(name, constant.value.array, list(wanted[name]))
            if data not in places:
                places[data] = end
                end += len(data)
            _replace(constant, data, pieces, places[data])


def _pack(name: str, value: Array, wanted: list[tuple[str, int, Span, Span]]) -> tuple[bytes, list[int]]:
    table = _useful_table(value, wanted)
    data = bytearray(table)
    pieces: list[int] = []
    seen: set[tuple[int, int]] = set()
    for kind, block, k, c in wanted:
        if (k.first, c.first) in seen:
            raise UserError(f"constant @{name} is loaded in two different ways")
        seen.add((k.first, c.first))
        packed, coding = pack_transfer(value, kind, block, k, c)
        if table:
            packed, coding = pack_weights(weights_of(value, k, c), table), len(packed)
        pieces += [k.first, c.first, len(data), len(packed), coding]
        data += packed
    return bytes(data), pieces


def _useful_table(value: Array, wanted: list[tuple[str, int, Span, Span]]) -> bytes:
    """The table with which the transfers of dense weights become smaller; empty if they do not, or are none."""
    parts = [weights_of(value, k, c) for kind, _, k, c in wanted if kind == "weights"]
    if not parts:
        return b""
    table = weight_table(np.concatenate([part.reshape(-1) for part in parts]))
    packed = len(table) + sum(len(pack_weights(part, table)) for part in parts)
    return table if packed < sum(part.size for part in parts) else b""


def _replace(constant: ConstantOp, data: bytes, pieces: list[int], address: int) -> None:
    constant.value = None
    constant.packed = DenseAttr.of(np.frombuffer(data, np.uint8))
    constant.pieces = i64_array(pieces)
    constant.address = integer(address)
