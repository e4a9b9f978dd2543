"""`lower-to-eisa`: bfs -> eisa. Unrolls the loops into instructions; transfers of what a buffer already holds
disappear.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute, Block, Operation, Region
from xdsl.passes import ModulePass

from dialects import bfs, eisa
from dialects.bfs_checks import tensors_read
from dialects.locations import fused
from dialects.machine import PortDecl
from isa.declaration import Instruction
from isa.errors import UserError
from isa.layout import DRAM_ALIGN, align
from isa.program import PAGE, TensorRef
from isa.table import make
from passes.analysis.preserved import Preserved
from passes.layers.table import tile_rules
from passes.tiling.bfs_module import bfs_program
from passes.tiling.layer_faults import StoredTensor, layer_faults
from passes.tiling.layer_to_instructions import LayerLowering, Ring, Rules
from passes.tiling.loop_nest import tiles

BANDS = "bands"
"""The kind of what layers side by side are in a program: one layer."""


def rodata_image(program: bfs.ProgramOp) -> bytes:
    """`.rodata`: every packed constant at its address.

    Raises `UserError` if constants are not packed, overlap others that differ, or leave more room between them than
    alignment needs.
    """
    placed: list[tuple[int, str, bytes]] = []
    for name, constant in program.constants.items():
        if constant.packed is None or constant.address is None:
            raise UserError(f"constant @{name} is not packed", "run pack-coefficients first")
        placed.append((constant.address.value.data, name, constant.packed.data.data))
    image = bytearray()
    for address, name, data in sorted(placed):
        if not 0 <= address < len(image) + DRAM_ALIGN:
            found = f"constant @{name} lies at {address}, the constants before it end at {len(image)}"
            raise UserError(found, "run pack-coefficients again")
        image += bytes(max(0, address - len(image)))
        shared = bytes(image[address : address + len(data)])
        if shared != data[: len(shared)]:
            raise UserError(f"constant @{name} overlaps another one", "run pack-coefficients again")
        image += data[len(shared) :]
    return bytes(image)


def _tensor(op: bfs.TensorOp, whole: bfs.TensorOp, name: str, arena_base: int) -> eisa.TensorOp:
    """The declaration of a tensor whose bytes are those of `whole`, or a part of them."""
    if whole.offset is None:
        raise UserError(f"tensor @{whole.sym_name.data} has no offset", "run plan-memory first")
    h, w, c = op.extents
    q, resident = op.element, op.resident is not None
    address = whole.offset.value.data + (0 if resident else arena_base)
    ref = TensorRef(name, address, h, w, c, op.tensor_format, op.segment.value.data, q.signed, q.scale, resident)
    if whole is not op:
        ref = replace(ref, first_c=op.channels.start, whole_c=whole.extents[2])
    return eisa.TensorOp.of(op.sym_name.data, ref)


def _port(op: PortDecl, kind: type[eisa.InputOp] | type[eisa.OutputOp]) -> Operation:
    return kind.create(properties=dict(op.properties))


def lower_program(program: bfs.ProgramOp) -> eisa.ProgramOp:
    """The machine program of a tiled, placed and packed program, without synchronisation."""
    if program.arena is None:
        raise UserError("the program has no arena", "run plan-memory first")
    rodata = rodata_image(program)
    arena_base = align(len(rodata), PAGE)
    tensors, constants = program.tensors, program.constants
    rules = {operation: rule.lower for operation, rule in tile_rules().items()}
    names = {op.tensor.string_value(): op.port_name.data for op in program.inputs}
    names |= {layer.output.string_value(): layer.layer_name.data for layer in program.layers}
    whole = {s: op for s, op in tensors.items() if tensors[op.storage].ring is None}
    ops: list[Operation] = [_tensor(op, tensors[op.storage], names.get(s, s), arena_base) for s, op in whole.items()]
    ops += [_port(op, eisa.InputOp) for op in program.inputs]
    ops += [_port(op, eisa.OutputOp) for op in program.outputs]
    used: dict[str, None] = {}
    causes: list[str] = []
    for group, delays in zip(program.groups, program.delays, strict=True):
        rings: dict[str, Ring] = {}
        lowerings = [LayerLowering(x, tensors, constants, program.machine, arena_base, rings) for x in group]
        try:
            ops.append(_group(lowerings, delays, rules))
        except UserError as e:
            causes += e.causes
        used |= {name: None for lowering in lowerings for name in lowering.used}
    causes = causes or _unused(program, used)
    if causes:
        raise UserError(causes, "the bfs program is not complete")
    ops.append(eisa.InstructionOp.of(make("end")))
    properties: dict[str, Attribute] = {
        "target": program.target,
        "rodata": eisa.blob_of(rodata),
        "arena": program.arena,
    }
    if program.sample is not None:
        properties["sample"] = eisa.blob_of(program.sample.data.data)
    if program.float_weights is not None:
        properties["float_weights"] = program.float_weights
    return eisa.ProgramOp.create(properties=properties, regions=[Region(Block(ops))])


def _interleaved(lowerings: Sequence[LayerLowering], delays: Sequence[int], rules: Rules) -> list[Instruction]:
    """The instructions of layers that run side by side: in step n, every layer computes its tile n - delay."""
    found: list[Instruction] = []
    pending = [tiles(lowering.layer) for lowering in lowerings]
    left, step = set(range(len(lowerings))), 0
    while left:
        for i in sorted(left):
            if step < delays[i]:
                continue
            lowering, tile = lowerings[i], next(pending[i], None)
            if tile is None:
                left.discard(i)
                continue
            have = len(lowering.instructions)
            lowering.lower(tile, rules)
            found += lowering.instructions[have:]
        step += 1
    return found


def _group(lowerings: Sequence[LayerLowering], delays: Sequence[int], rules: Rules) -> eisa.LayerOp:
    """The instructions of a layer, or of several that run side by side, which count as one that computes the last
    one's output. Raises `UserError` naming the layer if they do not do all that it is there for.
    """
    layers, last = [lowering.layer for lowering in lowerings], lowerings[-1]
    instructions = last.run(rules) if len(layers) == 1 else _interleaved(lowerings, delays, rules)
    output, inner = last.tensor(last.layer.output), {last.tensor(layer.output).storage for layer in layers[:-1]}
    names = {op.tensor: None for layer in layers for op in layer.residents if op.tensor != last.layer.output}
    read = [name for name in names if last.tensor(name).storage not in inner]
    stored = [StoredTensor(tensor, last.whole(tensor)) for tensor in (output, *map(last.tensor, read))]
    name = bfs.group_name(layers)
    faults = layer_faults(instructions, stored[0], stored[1:], last.arena_base, last.target)
    if faults:
        raise UserError([f"layer '{name}': {fault}" for fault in faults])
    used = {name: last.constants[name] for lowering in lowerings for name in lowering.used}
    return eisa.layer_op(
        name,
        last.layer.kind.data if len(layers) == 1 else BANDS,
        last.layer.output.string_value(),
        list(dict.fromkeys(n.data for layer in layers for n in layer.nodes.data)),
        sum(layer.macs.value.data for layer in layers),
        sum(layer.weights.value.data for layer in layers),
        [_extent(constant) for constant in used.values()],
        instructions,
        fused(*layers) if len(layers) > 1 else last.layer.location,
    )


def _unused(program: bfs.ProgramOp, used: Collection[str]) -> list[str]:
    """Constants and tensors that are there for nothing: a part of the program is missing."""
    tensors = program.tensors
    names = [port.tensor.string_value() for port in program.outputs]
    names += [name for layer in program.layers for name in tensors_read(layer)]
    read = {tensors[name].storage for name in names}
    computed = (layer.output.string_value() for layer in program.layers)
    return [
        *(f"constant @{name} is read by no layer" for name in program.constants if name not in used),
        *(f"tensor @{n} is computed, but nothing reads it" for n in computed if tensors[n].storage not in read),
    ]


def _extent(constant: bfs.ConstantOp) -> tuple[int, int]:
    assert constant.packed is not None and constant.address is not None
    return constant.address.value.data, len(constant.packed.data.data)


@dataclass(frozen=True)
class LowerToEisaPass(ModulePass):
    """Unroll every layer into machine instructions in program order, without waits and signals (see insert-sync).

    Refuses a layer whose instructions have numbers that no field holds, break a rule of the machine, read from a
    scratchpad what the layer has not put there, or leave a part of its output unstored; and constants and tensors that
    nothing reads. A program that lacks a line is found out here and does not compute with old data.
    """

    name = "lower-to-eisa"
    PRESERVES: ClassVar[Preserved] = Preserved.NOTHING

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        program = bfs_program(op)
        lowered = lower_program(program)
        op.body.block.erase_op(program)
        op.body.block.add_op(lowered)
