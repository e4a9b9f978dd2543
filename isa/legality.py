"""What a program must obey beyond being encodable, checked before anything runs.

`check_instruction` holds the rules of one instruction, `check_program` those of a whole program: memory bounds, the
final `end`, semaphores, layers and the tensors of inputs and outputs. Whether waits order all conflicting accesses is
`isa.hazards.check_races`, whether they read only what has been written `isa.validity.check_accesses`;
`check_executable` asks for all three.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np

from isa.code import Group, Touched, group, touched
from isa.declaration import Instruction, Rule
from isa.errors import UserError
from isa.formats import Space, TensorFormat
from isa.hazards import check_races, check_semaphores, describe
from isa.layout import DRAM_ALIGN
from isa.program import Port, Program, TensorRef
from isa.target import Target

MAX_RANK = 16
"""Dimensions of the shape of an input or output, at most."""
LEAST_SCALE, GREATEST_SCALE = 1e-45, 1e36
"""Range of scales: q * scale of a stored byte q is a finite float32."""
_LEAST_STD, _GREATEST_PIXEL = 1e-30, 1e30

RULES = """\
The loader rejects a program that breaks one of these, before anything runs.

- Extents, strides, sizes, counts and groups are positive. Row groups do not exceed the PE blocks of the target.
- Every byte range that an instruction may touch lies within its scratchpad; in DRAM, constants lie wholly in `.rodata`,
  and activations wholly in the arena.
- A region lies within its tensor in width and channels; the tensor begins at a multiple of 64. In a BITMAP tensor, the
  first channel is a multiple of the chunk, and a region that is stored covers whole segments and whole chunks.
- PSUM addresses are multiples of 4. Channels that are read or written exist in their tile. Rows and positions of a tile
  in ACT do not overlap, nor does the output tile of an instruction with a tile that it reads, unless both are the same
  tile of an addition.
- Every window of a maximum holds a position of the tile; every window of an average counts at least one position and at
  least `count0`. Clamps are not empty; the shift of an average is in 1..62.
- `end` is the last instruction, and the only one of its kind. Every wait is satisfied by earlier signals, and waits
  order every two instructions of different queues that touch the same bytes, at least one writing.
- No instruction reads, and no output holds, a byte that neither an input nor an instruction before has written.
- Layers cover the instructions in order, the last one with or without `end`. Tensors of inputs and outputs lie
  in the arena, those of layers there or, RAW, in ACT; inputs are RAW; the size of the sample agrees with them. The
  tensor of a layer may be `c` channels of one of `whole_c` channels, from channel `first_c` on, which is a multiple of
  the chunk in a BITMAP tensor. Scales are in 1e-45..1e36.
- The shape of an input or output has 1 to 16 dimensions, begins with 1 (the batch) and has as many elements as its
  tensor; behind an ArgMax its scores have as many. Softmax and ArgMax do not run over the batch. The size of `mean` is
  at most 1e30, that of `std` in 1e-30..1e30; they and the channel order belong to images.
"""
"""The rules, for people."""

Faults: TypeAlias = dict[int, list[str]]
_UNBOUNDED = 1 << 62


def instruction_faults(groups: Sequence[Group], instructions: Sequence[Instruction], target: Target) -> Faults:
    """Rules that instructions break by themselves: one line each, by the instruction's number.

    Scratchpad sizes are checked here, DRAM bounds with the program.
    """
    faults = _rule_faults(groups, instructions, target)
    _add_pad_faults(faults, touched([_without(part, faults) for part in groups], target), target)
    return faults


def _rule_faults(groups: Sequence[Group], instructions: Sequence[Instruction], target: Target) -> Faults:
    faults: Faults = {}
    for part in groups:
        _add(faults, part, instructions, [_positive(part, f.name) for f in part.spec.own_fields if f.positive])
        sound = _without(part, faults)
        if sound.number.size:
            _add(faults, sound, instructions, part.spec.rules(sound.values, target))
    return faults


def _add_pad_faults(faults: Faults, table: Touched, target: Target) -> None:
    """Bytes that lie beyond the end of their scratchpad."""
    size = np.array([getattr(target.scratchpad, space.name.lower(), _UNBOUNDED) for space in Space], np.int64)
    for i in np.flatnonzero(table.end > size[table.space]).tolist():
        space = Space(int(table.space[i]))
        text = f"{space.name} is touched up to byte {int(table.end[i]):#x}, it has {int(size[space]):#x}"
        faults.setdefault(int(table.number[i]), []).append(text)


def _positive(part: Group, name: str) -> Rule:
    return Rule(part.values[name] == 0, f"{name} must be positive")


def _add(faults: Faults, part: Group, instructions: Sequence[Instruction], rules: Iterable[Rule]) -> None:
    for rule in rules:
        for i in np.flatnonzero(np.broadcast_to(rule.broken, part.number.shape)).tolist():
            number = int(part.number[i])
            faults.setdefault(number, []).append(rule.tell(instructions[number].values, i))


def _without(part: Group, faults: Faults) -> Group:
    """The instructions of a group that have no fault."""
    if not faults:
        return part
    return part.where(~np.isin(part.number, list(faults)))


def check_instruction(instruction: Instruction, target: Target) -> list[str]:
    """Rules of the instruction that it breaks, one line each; empty if it is legal.

    An instruction that breaks none has well-defined byte ranges (`isa.hazards.accesses`).
    """
    return instruction_faults(group([instruction]), [instruction], target).get(0, [])


def check_executable(program: Program) -> None:
    """The check of whoever writes, reads or runs a program: it is legal, its semaphores leave no race, and it reads
    nothing that it has not written.

    Raises `UserError` with all causes.
    """
    program.derive(_check)


def _check(program: Program) -> None:
    from isa.validity import check_accesses  # only those who ask pay for the compiler of loops

    check_program(program)
    check_races(program)
    check_accesses(program)


def check_program(program: Program) -> None:
    """Check all rules of a program but the order of its queues. Raises `UserError` with all causes."""
    causes = [*_memory(program), *_instructions(program), *_layers(program), *_ports(program)]
    if causes:
        raise UserError(causes, "the program is not executable")
    check_semaphores(program.instructions, program.synchronisation)


def _memory(program: Program) -> list[str]:
    capacity = min(program.target.dram.capacity_mib << 20, 1 << 40)
    if program.arena_bytes < 0 or program.dram_bytes > capacity:
        return [f"constants and arena need {program.dram_bytes} bytes of DRAM; target has {capacity}"]
    return []


def _instructions(program: Program) -> list[str]:
    faults = _rule_faults(program.groups, program.instructions, program.target)
    sound = [_without(part, faults) for part in program.groups]
    table = touched(sound, program.target) if faults else program.touched
    _add_pad_faults(faults, table, program.target)
    for number, fault in _dram_bounds(program, table):
        faults.setdefault(number, [fault])
    names = {index: describe(program.instructions, index) for index in faults}
    causes = [f"{names[index]}: {fault}" for index in sorted(faults) for fault in faults[index]]
    ends = [i for i, instruction in enumerate(program.instructions) if instruction.spec.mnemonic == "end"]
    if ends != [len(program.instructions) - 1]:
        found = f"instructions {', '.join(map(str, ends[:4]))}" if ends else "none"
        causes.append(
            f"'end' must be the last instruction, {len(program.instructions) - 1}, and no other; found {found}"
        )
    return causes


def _dram_bounds(program: Program, table: Touched) -> Iterator[tuple[int, str]]:
    """Instructions whose constants lie outside `.rodata`, or whose activations lie outside the arena."""
    for space, what, low, high in (
        (Space.CONSTANTS, "constants", 0, len(program.rodata)),
        (Space.ARENA, "the arena", program.arena_base, program.dram_bytes),
    ):
        for i in np.flatnonzero((table.space == space) & ((table.base < low) | (table.end > high))).tolist():
            where = f"DRAM [{int(table.base[i]):#x}, {int(table.end[i]):#x})"
            verb = "writes" if table.write[i] else "reads"
            yield int(table.number[i]), f"{verb} {where}, not all of it in {what} [{low:#x}, {high:#x})"


def _layers(program: Program) -> list[str]:
    causes: list[str] = []
    position = 0
    for layer in program.layers:
        what = f"layer {layer.name!r}"
        if layer.start != position or layer.end < layer.start:
            causes.append(f"{what}: covers instructions [{layer.start}, {layer.end}), expected a range from {position}")
        position = layer.end
        causes += _tensor(program, layer.output, what)
        for address, size in layer.rodata:
            if address < 0 or size < 0 or address + size > len(program.rodata):
                causes.append(f"{what}: constants [{address:#x}, {address + size:#x}) lie outside .rodata")
        if layer.macs < 0 or layer.weights < 0:
            causes.append(f"{what}: macs and weights must not be negative")
    total = len(program.instructions)
    if program.layers and position not in (total - 1, total):
        causes.append(f"layers cover {position} of {total} instructions")
    return causes


def _tensor(program: Program, tensor: TensorRef, what: str) -> list[str]:
    what = f"{what}: tensor {tensor.name!r}"
    if min(tensor.h, tensor.w, tensor.c) < 1 or (tensor.format is TensorFormat.BITMAP and tensor.segment < 1):
        return [f"{what}: extents must be positive, found {tensor.h}x{tensor.w}x{tensor.c}, segment {tensor.segment}"]
    if not 0 <= tensor.first_c <= tensor.stored_c - tensor.c:
        return [f"{what}: channels from {tensor.first_c} on, {tensor.c} of them, do not lie in {tensor.whole_c}"]
    causes = _on_chip(program, tensor, what) if tensor.resident else _in_arena(program, tensor, what)
    if tensor.format is TensorFormat.BITMAP and tensor.first_c % program.target.array.chunk:
        causes.append(f"{what}: first channel {tensor.first_c} is not a multiple of the chunk")
    if not LEAST_SCALE <= tensor.scale <= GREATEST_SCALE:
        causes.append(f"{what}: scale must be in {LEAST_SCALE:g}..{GREATEST_SCALE:g}, found {tensor.scale}")
    return causes


def _on_chip(program: Program, tensor: TensorRef, what: str) -> list[str]:
    """What is wrong with the place of a resident tensor."""
    low, high = tensor.address, tensor.address + tensor.h * tensor.w * tensor.stored_c
    size = program.target.scratchpad.act
    if tensor.format is not TensorFormat.RAW:
        return [f"{what}: a resident tensor must be RAW"]
    if low < 0 or high > size:
        return [f"{what}: bytes [{low:#x}, {high:#x}) lie outside the {size:#x} bytes of ACT"]
    return []


def _in_arena(program: Program, tensor: TensorRef, what: str) -> list[str]:
    """What is wrong with the place of a tensor in DRAM."""
    causes: list[str] = []
    low, high = tensor.address, tensor.address + tensor.layout(program.target.array.chunk).nbytes
    if low % DRAM_ALIGN:
        causes.append(f"{what}: address {low:#x} is not a multiple of {DRAM_ALIGN}")
    if low < program.arena_base or high > program.dram_bytes:
        arena = f"[{program.arena_base:#x}, {program.dram_bytes:#x})"
        causes.append(f"{what}: bytes [{low:#x}, {high:#x}) lie outside the arena {arena}")
    return causes


def _ports(program: Program) -> list[str]:
    causes = ["float_weights must not be negative"] if program.float_weights < 0 else []
    for kind, ports in (("input", program.inputs), ("output", program.outputs)):
        for port in ports:
            causes += _tensor(program, port.tensor, f"{kind} {port.name!r}")
            causes += [f"{kind} {port.name!r}: {problem}" for problem in _port(port)]
            if port.tensor.resident:
                causes.append(f"{kind} {port.name!r}: its tensor must lie in DRAM, for the host")
            if port.tensor.whole_c:
                causes.append(f"{kind} {port.name!r}: its tensor must be a whole one, for the host")
        names = Counter(port.name for port in ports)
        causes += [f"two {kind}s are named {name!r}" for name in sorted(n for n, count in names.items() if count > 1)]
    for port in program.inputs:
        finished = port.softmax_axis is not None or port.logarithm or port.arg_max is not None
        if port.shape[:1] != (1,) or finished:
            causes.append(f"input {port.name!r}: requires a shape [1, ...], without Softmax and ArgMax")
        if port.tensor.format is not TensorFormat.RAW:
            causes.append(f"input {port.name!r}: must be a RAW tensor")
    size = sum(port.tensor.h * port.tensor.w * port.tensor.c for port in program.inputs)
    if len(program.sample) not in (0, size):
        causes.append(f"the sample has {len(program.sample)} bytes; the inputs take {size}")
    try:
        _ = program.hosted
    except UserError as e:
        causes += e.causes
    return causes


def _port(port: Port) -> Sequence[str]:
    t = port.tensor
    for what, extents in (("shape" if port.arg_max is None else "shape of scores", port.scores), ("view", port.view)):
        if len(extents) > MAX_RANK or min(extents, default=1) < 1:
            return [f"{what} must be at most {MAX_RANK} positive extents, found {list(extents)}"[:300]]
        if (what != "view" or extents) and math.prod(extents) != t.h * t.w * t.c:
            return [f"{what} {list(extents)} does not fit the tensor {t.h}x{t.w}x{t.c} of one image"]
    if sorted(port.perm) != list(range(len(port.view))):
        return [f"perm {list(port.perm)} is no permutation of the axes of view {list(port.view)}"[:300]]
    problems: list[str] = []
    if port.softmax_axis is not None and not 0 <= port.softmax_axis < len(port.scores):
        problems.append(f"softmax axis {port.softmax_axis} is outside rank {len(port.scores)}")
    if port.logarithm and port.softmax_axis is None:
        problems.append("logarithm is set, but the output has no Softmax")
    if port.softmax_axis == 0 and port.scores[:1] == (1,):
        problems.append("a Softmax over axis 0 would mix images; requires another axis")
    if port.arg_max is not None and (fault := port.arg_max.fault(port.shape)):
        problems.append(fault)
    if len(port.mean) not in (0, t.c) or len(port.std) not in (0, t.c):
        problems.append(f"mean and std must have {t.c} values or none")
    image = (1, t.h, t.w, t.c) if port.channels_last else (1, t.c, t.h, t.w)
    other = port.shape != image or (port.perm and not (port.channels_last and port.view == (t.c, t.h, t.w)))
    if (port.mean or port.std or port.channel_order) and other:
        problems.append(f"mean, std and channel order need the shape of an image, {list(image)}")
    if not all(abs(x) <= _GREATEST_PIXEL for x in port.mean):
        problems.append(f"mean must be in -{_GREATEST_PIXEL:g}..{_GREATEST_PIXEL:g}")
    if not all(_LEAST_STD <= abs(x) <= _GREATEST_PIXEL for x in port.std):
        problems.append(f"the size of std must be in {_LEAST_STD:g}..{_GREATEST_PIXEL:g}")
    if port.channel_order not in ("", "rgb", "bgr"):
        problems.append(f"channel order {port.channel_order!r} is neither 'rgb' nor 'bgr'")
    return problems
