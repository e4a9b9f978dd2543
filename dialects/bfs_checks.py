"""What a `bfs.program` must obey as a whole: references, order, the lives and places of its tensors, its size.

All checks are linear in the size of the program or n log n in the number of its tensors, and hold at every stage of the
level: what a pass has yet to add (addresses, packed constants) is not asked for.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr, SymbolRefAttr
from xdsl.ir import Block, SSAValue
from xdsl.utils.exceptions import VerifyException

from dialects.bfs_loops import ForOp
from dialects.bfs_tiles import LoadTileOp, OpenTileOp, StoreTileOp, TileOp

if TYPE_CHECKING:
    from dialects.bfs import LayerOp, ProgramOp, TensorOp

MOST_STEPS = 1 << 18
"""Tile operations and loop steps that a program may take when its loops are unrolled."""


def check_program(program: ProgramOp) -> None:
    """Raise VerifyException naming the layer, tensor or constant that is at fault."""
    _check_references(program)
    _check_parts(program)
    _check_order(program)
    _check_buffers(program)
    _check_size(program)
    _check_constants(program)
    _check_bands(program)
    _check_operands(program)
    _check_arena(program)
    _check_chip(program)


def tensors_read(layer: LayerOp) -> Iterator[str]:
    """Names of the tensors that tile operations of a layer read, as often as they do."""
    output = layer.output.string_value()
    for resident in layer.residents:
        if (name := resident.tensor.string_value()) != output:
            yield name
    for op in layer.walk():
        ref = op.properties.get("tensor")
        if isinstance(op, TileOp) and not isinstance(op, StoreTileOp) and isinstance(ref, SymbolRefAttr):
            yield ref.string_value()


def _check_references(program: ProgramOp) -> None:
    tensors = program.tensors
    for port in (*program.inputs, *program.outputs):
        if port.tensor.string_value() not in tensors:
            raise VerifyException(f"port '{port.port_name.data}': {port.tensor} is not a bfs.tensor")
        if tensors[port.tensor.string_value()].resident is not None:
            raise VerifyException(f"port '{port.port_name.data}': {port.tensor} is resident; the host reads DRAM")
        if tensors[port.tensor.string_value()].whole is not None:
            raise VerifyException(
                f"port '{port.port_name.data}': {port.tensor} is a part; the host reads whole tensors"
            )
    for layer in program.layers:
        for name in (layer.output.string_value(), *tensors_read(layer)):
            if name not in tensors:
                raise VerifyException(f"{_named(layer)}: @{name} is not a bfs.tensor")
        for op in layer.walk():
            if isinstance(op, StoreTileOp) and op.tensor != layer.output:
                raise VerifyException(f"{_named(layer)}: stores into {op.tensor}, its output is {layer.output}")
            if isinstance(op, LoadTileOp | StoreTileOp) and tensors[op.tensor.string_value()].resident is not None:
                raise VerifyException(f"{_named(layer)}: {op.name} of {op.tensor}, which is resident")
        _check_residents(layer, tensors)


def _check_residents(layer: LayerOp, tensors: Mapping[str, TensorOp]) -> None:
    names = [op.tensor.string_value() for op in layer.residents]
    for name in names:
        if name not in tensors or tensors[name].resident is None:
            raise VerifyException(f"{_named(layer)}: @{name} is not a resident bfs.tensor")
    if len(set(names)) < len(names):
        raise VerifyException(f"{_named(layer)}: names a resident tensor twice")
    output = layer.output.string_value()
    for op in layer.residents:
        for use in op.result.uses:
            written = use.index == 0 and not isinstance(use.operation, StoreTileOp)
            if written and isinstance(use.operation, TileOp) and use.operation.FILLS:
                written = isinstance(use.operation, OpenTileOp)
                if not written:
                    raise VerifyException(f"{_named(layer)}: {use.operation.name} fills {op.tensor}, which is resident")
            if written != (op.tensor.string_value() == output):
                verb = "writes" if written else "reads"
                raise VerifyException(f"{_named(layer)}: {use.operation.name} {verb} {op.tensor} against its role")
    if tensors[output].resident is not None and output not in names:
        raise VerifyException(f"{_named(layer)}: its output @{output} is resident; requires a bfs.resident of it")


def _check_parts(program: ProgramOp) -> None:
    """A part lies within its whole, which is no part itself, and is stored like it."""
    tensors = program.tensors
    for name, part in tensors.items():
        if part.whole is None:
            continue
        whole = tensors.get(part.storage)
        if whole is None or whole.whole is not None:
            raise VerifyException(f"tensor @{name}: its whole, @{part.storage}, is not a bfs.tensor of its own")
        if part.extents[:2] != whole.extents[:2] or part.channels.start < 0 or part.channels.stop > whole.extents[2]:
            found = f"channels {part.channels.start}..{part.channels.stop - 1} of {part.extents[0]}x{part.extents[1]}"
            raise VerifyException(f"tensor @{name}: {found} positions do not lie in @{part.storage}")
        alike = part.element == whole.element and part.format == whole.format and part.segment == whole.segment
        if not alike or (part.resident is None) != (whole.resident is None):
            raise VerifyException(f"tensor @{name}: is stored in another way than its whole, @{part.storage}")


class _Filled:
    """What fills which channels of the tensors so far, by the names of those that have the bytes."""

    def __init__(self, tensors: Mapping[str, TensorOp]) -> None:
        self._tensors = tensors
        self._filled: dict[str, list[tuple[int, int, str]]] = {}
        """First channel, the one after the last, and who fills them, in order and apart, by the tensor with the bytes.
        """

    def add(self, name: str, source: str) -> str:
        """Note that a tensor is filled; what fills channels of it already, "" if nothing does."""
        tensor = self._tensors[name]
        filled, channels = self._filled.setdefault(tensor.storage, []), tensor.channels
        at = bisect_left(filled, (channels.start, 0, ""))
        for first, end, who in filled[max(0, at - 1) : at + 1]:
            if first < channels.stop and channels.start < end:
                return who
        filled.insert(at, (channels.start, channels.stop, source))
        return ""

    def whole(self, name: str) -> bool:
        """Whether every channel of a tensor is filled."""
        tensor = self._tensors[name]
        filled, channels = self._filled.get(tensor.storage, []), tensor.channels
        reached = channels.start
        for first, end, _ in filled[max(0, bisect_left(filled, (reached + 1, 0, "")) - 1) :]:
            if first > reached or reached >= channels.stop:
                break
            reached = max(reached, end)
        return reached >= channels.stop


def _check_order(program: ProgramOp) -> None:
    """Every channel of a tensor is computed once, and before it is read."""
    filled = _Filled(program.tensors)
    for port in program.inputs:
        filled.add(port.tensor.string_value(), f"input '{port.port_name.data}'")
    for layer in program.layers:
        for name in tensors_read(layer):
            if not filled.whole(name):
                raise VerifyException(f"{_named(layer)}: reads tensor @{name}, which no layer before it computes")
        output = layer.output.string_value()
        if source := filled.add(output, _named(layer)):
            raise VerifyException(f"{_named(layer)}: computes tensor @{output}, which {source} fills already")
    for port in program.outputs:
        if not filled.whole(port.tensor.string_value()):
            raise VerifyException(f"output '{port.port_name.data}': no layer computes tensor {port.tensor}")


def _check_buffers(program: ProgramOp) -> None:
    target = program.machine
    for layer in program.layers:
        for buffer in layer.buffers:
            capacity = int(getattr(target.scratchpad, buffer.space))
            if any(not 0 <= a <= capacity - buffer.nbytes for a in buffer.places):
                raise VerifyException(
                    f"{_named(layer)}: buffer of {buffer.nbytes} bytes at {list(buffer.places)} "
                    f"does not fit the {capacity} bytes of {buffer.space}"
                )


def _check_size(program: ProgramOp) -> None:
    left = MOST_STEPS
    for layer in program.layers:
        left -= _steps(layer.body.block, {})
        if left < 0:
            raise VerifyException(
                f"{_named(layer)}: up to its end, the program takes more than {MOST_STEPS} tile operations and steps"
            )


def _steps(block: Block, bounds: dict[SSAValue, int]) -> int:
    """An upper bound of the operations and steps of a block; `bounds`: largest values of indices."""
    total = 0
    for op in block.ops:
        total += 1
        if isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
            bounds[op.result] = op.value.value.data
        elif isinstance(op, ForOp):
            first, extent, step = bounds.get(op.first, 0), bounds.get(op.extent, 0), op.step.value.data
            index, size = op.body.block.args
            bounds[index], bounds[size] = first + extent, min(step, extent)
            total += -(-max(0, extent) // step) * (1 + _steps(op.body.block, bounds))
    return total


def _check_constants(program: ProgramOp) -> None:
    constants = program.constants
    for layer in program.layers:
        for op in layer.walk():
            ref = op.properties.get("constant")
            if not isinstance(op, TileOp) or not isinstance(ref, SymbolRefAttr):
                continue
            constant = constants.get(ref.string_value())
            if constant is None:
                raise VerifyException(f"{_named(layer)}: {ref} is not a bfs.constant")
            if constant.value is None or op.CONSTANT is None:
                continue
            kind = constant.value.type
            if kind.element_type != op.CONSTANT.element or len(kind.get_shape()) != op.CONSTANT.rank:
                raise VerifyException(f"{_named(layer)}: {op.name} needs {op.CONSTANT.text}, constant {ref} is {kind}")


def _check_bands(program: ProgramOp) -> None:
    """Tensors between the layers of bands stay in ACT, a ring of rows is for these layers alone, and no two of the
    layers share constants' buffers.
    """
    tensors = program.tensors
    readers: dict[str, set[int]] = {}
    computed: dict[str, set[int]] = {}
    for i, group in enumerate(program.groups):
        for layer in group:
            computed.setdefault(tensors[layer.output.string_value()].storage, set()).add(i)
            for name in tensors_read(layer):
                readers.setdefault(tensors[name].storage, set()).add(i)
        for layer in group[:-1]:
            if tensors[layer.output.string_value()].resident is None:
                found = f"its output {layer.output} is not resident"
                raise VerifyException(f"{_named(layer)}: {found}; only that of the last layer of bands may be so")
        _check_kept(group)
    for name, tensor in tensors.items():
        within = computed.get(name, set())
        if tensor.ring is not None and (len(within) != 1 or not readers.get(name, set()) <= within):
            raise VerifyException(f"tensor @{name}: its ring of rows is for the layers of the bands that compute it")


def _check_operands(program: ProgramOp) -> None:
    """What is computed over another tensor comes from the last layer that needs that one, the last of its bands."""
    tensors, lives = program.tensors, lifetimes(program)
    computed: dict[str, list[int]] = {}
    for i, group in enumerate(program.groups):
        for layer in group:
            computed.setdefault(tensors[layer.output.string_value()].storage, []).append(i)
    for name, before in program.over.items():
        operand = tensors.get(before)
        own = operand is not None and operand.resident is not None and operand.ring is None and operand.whole is None
        if operand is None or not own or operand.extents != tensors[name].extents:
            raise VerifyException(f"tensor @{name}: @{before} is no resident tensor of its extents with its own place")
        last, by = lives[before][1], computed.get(name, [])
        alone = by == [last] and last not in computed.get(before, [])
        if not alone or program.groups[last][-1].output.string_value() != name:
            found = f"is computed over @{before}, which group {last} of the layers needs last"
            raise VerifyException(f"tensor @{name}: {found}; requires to be what the last layer of that group computes")


def _check_kept(group: Sequence[LayerOp]) -> None:
    """What layers of bands keep in COEF and PAR lies apart."""
    if len(group) == 1:
        return
    taken = sorted(
        (b.space, at, at + b.nbytes, _named(layer))
        for layer in group
        for b in layer.buffers
        if b.space in ("coef", "par")
        for at in b.places
    )
    for (space, low, high, first), (other, start, _, second) in pairwise(taken):
        if space == other and start < high:
            raise VerifyException(f"{second}: a buffer of {space} at {start} overlaps [{low}, {high}) of {first}")


# Lives and places ----------------------------------------------------------------------------------------------------


def lifetimes(program: ProgramOp) -> dict[str, tuple[int, int]]:
    """Numbers of the first and the last group of layers that need each tensor that has bytes, or a part of it; both
    included.

    Inputs live from before the first group (-1), outputs until after the last.
    """
    storage = {name: tensor.storage for name, tensor in program.tensors.items()}
    first = {port.tensor.string_value(): -1 for port in program.inputs}
    last: dict[str, int] = {}
    groups = program.groups
    for i, group in enumerate(groups):
        for layer in group:
            output = storage[layer.output.string_value()]
            first.setdefault(output, i)
            last[output] = i
            last.update((storage[name], i) for name in tensors_read(layer))
    for port in program.outputs:
        last[port.tensor.string_value()] = len(groups)
    return {name: (first.get(name, -1), last.get(name, first.get(name, -1))) for name in program.stored}


class Placed(NamedTuple):
    """A tensor at bytes [low, high) of the arena from step `first` to step `last`."""

    low: int
    high: int
    name: str
    first: int
    last: int


def overlap(tensors: Sequence[Placed]) -> tuple[Placed, Placed] | None:
    """Two tensors that lie on the same bytes at the same time, the one that comes later second; None if no two do.

    Takes time n log n: those that are alive are disjoint, or the answer is known, and are kept by address.
    """
    ends = sorted(tensors, key=lambda t: t.last)
    ended = 0
    alive: list[Placed] = []
    for tensor in sorted(tensors, key=lambda t: (t.first, t.low)):
        while ends[ended].last < tensor.first:
            del alive[bisect_left(alive, ends[ended])]
            ended += 1
        at = bisect_left(alive, tensor)
        for other in alive[max(0, at - 1) : at + 1]:
            if other.low < tensor.high and tensor.low < other.high:
                return other, tensor
        insort(alive, tensor)
    return None


def _check_arena(program: ProgramOp) -> None:
    chunk = program.machine.array.chunk
    lives = lifetimes(program)
    placed: list[Placed] = []
    for name, tensor in program.stored.items():
        if tensor.offset is not None and tensor.resident is None:
            low = tensor.offset.value.data
            placed.append(Placed(low, low + tensor.layout(chunk).nbytes, name, *lives[name]))
    if program.arena is not None:
        arena = program.arena.value.data
        for tensor in placed:
            if tensor.high > arena:
                raise VerifyException(
                    f"tensor @{tensor.name}: bytes [{tensor.low}, {tensor.high}) lie outside the arena of {arena} bytes"
                )
    found = overlap(placed)
    if found is not None:
        earlier, later = found
        where = _named(program.groups[later.first][0]) if later.first >= 0 else "before the first layer"
        raise VerifyException(
            f"{where}: tensor @{later.name} at [{later.low}, {later.high}) of the arena overlaps @{earlier.name} at "
            f"[{earlier.low}, {earlier.high}), which is still needed"
        )


def _check_chip(program: ProgramOp) -> None:
    """Resident tensors lie in ACT, apart from one another and from the buffers of every layer of their lives."""
    capacity, lives = program.machine.scratchpad.act, lifetimes(program)
    placed: list[Placed] = []
    shared: dict[str, Placed] = {}
    for name, tensor in sorted(program.stored.items(), key=lambda item: lives[item[0]]):
        if tensor.offset is not None and tensor.resident is not None:
            low = tensor.offset.value.data
            shared[name] = Placed(low, low + tensor.resident_bytes, f"tensor @{name}", *lives[name])
            if shared[name].high > capacity:
                raise VerifyException(
                    f"tensor @{name}: bytes [{low}, {shared[name].high}) lie outside the {capacity} bytes of act"
                )
            before = shared.get(tensor.operand or "")
            if before is not None and before.low == low:
                del shared[tensor.operand or ""]
                shared[name] = shared[name]._replace(first=before.first)
    placed += shared.values()
    if not placed:
        return
    for i, group in enumerate(program.groups):
        for buffer in (buffer for layer in group for buffer in layer.buffers):
            if buffer.space == "act":
                placed += [Placed(at, at + buffer.nbytes, "a buffer", i, i) for at in buffer.places]
    found = overlap(placed)
    if found is not None:
        earlier, later = found
        raise VerifyException(
            f"{_named(program.groups[later.first][0])}: {later.name} at [{later.low}, {later.high}) of act overlaps "
            f"{earlier.name} at [{earlier.low}, {earlier.high}), which is still needed"
        )


def _named(layer: LayerOp) -> str:
    return f"layer '{layer.layer_name.data}'"
