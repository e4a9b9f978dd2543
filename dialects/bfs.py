"""The `bfs` dialect: Basis-First streaming. Programs of layers, which are loop nests of tile operations on scratchpads.

Tile operations name *what* they touch by half-open ranges `[%y : %h]` (first index and extent) in the coordinates of
the tensors; *where* it lies follows from what their buffers hold. A load fills the next instance of its buffer (one
address: always the same place; two: alternating), `bfs.open_tile` turns to the next instance of an output buffer, and a
convolution that starts new partial sums (see there) turns to the next instance of its PSUM buffer. Loops (`bfs.for`)
hand their body the clipped extent of each step, so edge tiles need no separate code. Program order is the order of
meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    FlatSymbolRefAttr,
    IntegerAttr,
    StringAttr,
    SymbolNameConstraint,
    SymbolRefAttr,
)
from xdsl.ir import Block, Dialect, Operation, Region
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsolatedFromAbove, NoTerminator, SymbolOpInterface, SymbolTable
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer, ints
from dialects.bfs_checks import check_program
from dialects.bfs_loops import ForOp
from dialects.bfs_tensor import TensorOp
from dialects.bfs_tiles import ACT, BufferType, numbers
from dialects.blob import DenseAttr
from dialects.found import operations
from dialects.machine import PortDecl, checked_target, strings
from isa.target import Target

_KIND = re.compile(r"[a-z][a-z0-9-]*")
_Op = TypeVar("_Op", bound=Operation)


# Declarations --------------------------------------------------------------------------------------------------------


@irdl_op_definition
class ConstantOp(IRDLOperation):
    """A constant of the layers: int8 weights [K][R][S][C/groups], ternary coefficients [K][V][C], bases [V][R][S],
    requantisation parameters int32 [3][K] (bias, mult, shift), tables and parameter blocks.

    pack-coefficients replaces `value` by the bytes that the machine reads, `packed`, at DRAM `address`; `pieces`
    holds (first output channel, first input channel, offset, size, coding) for each transfer; the coding is that of
    `isa.packing` for coefficients, 1 for packed requantisation parameters, their number for packed weights (whose table
    comes first in `packed`), else 0.
    """

    name = "bfs.constant"
    sym_name = prop_def(SymbolNameConstraint())
    value = opt_prop_def(DenseAttr)
    packed = opt_prop_def(DenseAttr)
    pieces = opt_prop_def(DenseArrayBase)
    address = opt_prop_def(IntegerAttr)
    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(SymbolOpInterface())
    assembly_format = "$sym_name attr-dict"

    def __init__(self, name: str, value: DenseAttr):
        super().__init__(properties={"sym_name": StringAttr(name), "value": value})

    @property
    def transfers(self) -> dict[tuple[int, int], tuple[int, int, int]]:
        """(first output channel, first input channel) -> (offset, size, coding) of the packed constant."""
        flat = ints(self.pieces) if self.pieces is not None else ()
        columns = [flat[i::5] for i in range(5)]
        return {(k, c): (offset, size, coding) for k, c, offset, size, coding in zip(*columns, strict=True)}

    def verify_(self) -> None:
        if (self.value is None) == (self.packed is None):
            raise VerifyException("constant needs either a value or its packed bytes")
        if self.packed is None:
            return
        if self.pieces is None or len(ints(self.pieces)) % 5 or self.packed.array.ndim != 1:
            raise VerifyException("packed bytes need pieces of five integers each")
        size = self.packed.array.size
        if any(offset < 0 or offset + n > size for offset, n, _ in self.transfers.values()):
            raise VerifyException(f"a piece lies outside the {size} packed bytes")


@irdl_op_definition
class InputOp(PortDecl):
    """A model input: the host quantises it into the tensor before the program runs."""

    name = "bfs.input"
    tensor = prop_def(FlatSymbolRefAttr)
    assembly_format = "$port_name $tensor attr-dict"


@irdl_op_definition
class OutputOp(PortDecl):
    """A model output: the host dequantises the tensor after the program has run."""

    name = "bfs.output"
    tensor = prop_def(FlatSymbolRefAttr)
    assembly_format = "$port_name $tensor attr-dict"


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """A tiled program: tensors, constants and ports, then layers in order. `target` is the canonical text of the
    machine, `float_weights` the number of weights of the original float model.
    """

    name = "bfs.program"
    target = prop_def(StringAttr)
    sample = opt_prop_def(DenseAttr)
    arena = opt_prop_def(IntegerAttr)
    float_weights = opt_prop_def(IntegerAttr)
    body = region_def("single_block")
    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(IsolatedFromAbove(), NoTerminator(), SymbolTable())
    assembly_format = "attr-dict-with-keyword $body"

    def __init__(self, target: Target, ops: Sequence[Operation], sample: DenseAttr | None = None):
        properties = {"target": StringAttr(target.text)}
        super().__init__(
            properties=properties if sample is None else {**properties, "sample": sample},
            regions=[Region(Block(ops))],
        )

    @property
    def machine(self) -> Target:
        """The machine that the program is tiled for."""
        return checked_target(self.target)

    def _all(self, kind: type[_Op]) -> Iterator[_Op]:
        return (op for op in self.body.block.ops if isinstance(op, kind))

    @property
    def tensors(self) -> dict[str, TensorOp]:
        return {op.sym_name.data: op for op in self._all(TensorOp)}

    @property
    def stored(self) -> dict[str, TensorOp]:
        """The tensors that have bytes of their own: all but parts of others."""
        return {name: op for name, op in self.tensors.items() if op.whole is None}

    @property
    def over(self) -> dict[str, str]:
        """The tensors in whose places others are computed, by the names of these."""
        return {name: op.operand for name, op in self.stored.items() if op.operand is not None}

    @property
    def constants(self) -> dict[str, ConstantOp]:
        return {op.sym_name.data: op for op in self._all(ConstantOp)}

    @property
    def inputs(self) -> list[InputOp]:
        return list(self._all(InputOp))

    @property
    def outputs(self) -> list[OutputOp]:
        return list(self._all(OutputOp))

    @property
    def layers(self) -> list[LayerOp]:
        """All layers, those of `bfs.bands` among them, in the order of their declaration."""
        return [layer for group in self.groups for layer in group]

    @property
    def groups(self) -> list[tuple[LayerOp, ...]]:
        """The layers in the order in which they run: those of a `bfs.bands` together, each other one alone."""
        ops = (op for op in self.body.block.ops if isinstance(op, LayerOp | BandsOp))
        return [op.layers if isinstance(op, BandsOp) else (op,) for op in ops]

    @property
    def delays(self) -> list[tuple[int, ...]]:
        """The delays of the layers of each of the `groups`."""
        ops = (op for op in self.body.block.ops if isinstance(op, LayerOp | BandsOp))
        return [ints(op.delays) if isinstance(op, BandsOp) else (0,) for op in ops]

    def verify_(self) -> None:
        check_program(self)


def group_name(layers: Sequence[LayerOp]) -> str:
    """What one of the `ProgramOp.groups` is called: a layer by its own name, layers side by side by the names of the
    first and the last, as `conv1..pool1`.
    """
    first, last = layers[0].layer_name.data, layers[-1].layer_name.data
    return first if len(layers) == 1 else f"{first}..{last}"


@irdl_op_definition
class BandsOp(IRDLOperation):
    """Layers that run side by side, one band of rows after the other, so that a tensor between them needs the place of
    a few rows only.

    A tile of a layer is one turn of its outermost loop, the first one with all that stands before the loop. In step n
    every layer in turn computes its tile n - delay, if there is one; `delays` has a number for each layer. Only the
    last layer may compute a tensor that is not resident.
    """

    name = "bfs.bands"
    delays = prop_def(DenseArrayBase)
    body = region_def("single_block")
    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(NoTerminator(), HasParent(ProgramOp))
    assembly_format = "attr-dict-with-keyword $body"

    def __init__(self, delays: Sequence[int], layers: Sequence[LayerOp]):
        super().__init__(properties={"delays": i64_array(delays)}, regions=[Region(Block(layers))])

    @property
    def layers(self) -> tuple[LayerOp, ...]:
        return tuple(op for op in self.body.block.ops if isinstance(op, LayerOp))

    def verify_(self) -> None:
        ops = list(self.body.block.ops)
        if len(ops) < 2 or any(not isinstance(op, LayerOp) for op in ops):
            raise VerifyException("bands hold layers only, and two at least")
        numbers(self.delays, len(ops), 0, "delays")
        for layer in self.layers:
            loops = sum(isinstance(op, ForOp) for op in layer.body.block.ops)
            if loops > 1:
                raise VerifyException(f"layer '{layer.layer_name.data}' has {loops} outermost loops; requires one")


@irdl_op_definition
class LayerOp(IRDLOperation):
    """Computes one tensor. `nodes` are the ONNX nodes that went into it, main node first; `macs` and `weights` count
    the multiply-accumulates and weights of the original dense operation.
    """

    name = "bfs.layer"
    layer_name = prop_def(StringAttr)
    kind = prop_def(StringAttr)
    output = prop_def(FlatSymbolRefAttr)
    nodes = prop_def(ArrayAttr[StringAttr])
    macs = prop_def(IntegerAttr)
    weights = prop_def(IntegerAttr)
    body = region_def("single_block")
    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(IsolatedFromAbove(), NoTerminator(), HasParent(ProgramOp, BandsOp))
    assembly_format = "$layer_name $kind `->` $output attr-dict-with-keyword $body"

    def __init__(
        self,
        name: str,
        kind: str,
        output: str,
        nodes: Sequence[str],
        macs: int,
        weights: int,
        ops: Sequence[Operation],
    ):
        super().__init__(
            properties={
                "layer_name": StringAttr(name),
                "kind": StringAttr(kind),
                "output": SymbolRefAttr(output),
                "nodes": strings(nodes),
                "macs": integer(macs),
                "weights": integer(weights),
            },
            regions=[Region(Block(ops))],
        )

    @property
    def buffers(self) -> list[BufferOp]:
        """The scratchpad buffers of the layer."""
        return [op for op in self.body.block.ops if isinstance(op, BufferOp)]

    @property
    def residents(self) -> list[ResidentOp]:
        """The resident tensors that the layer reads or computes."""
        return [op for op in self.body.block.ops if isinstance(op, ResidentOp)]

    def verify_(self) -> None:
        if not _KIND.fullmatch(self.kind.data):
            raise VerifyException(f"kind must be lower-case letters, digits and '-', found '{self.kind.data}'")
        if self.body.block.args:
            raise VerifyException("a layer takes no arguments")
        taken = sorted((b.space, place, place + b.nbytes) for b in self.buffers for place in b.places)
        for (space, low, high), (other, start, _) in pairwise(taken):
            if space == other and start < high:
                raise VerifyException(f"buffers of {space} overlap: [{low}, {high}) and one at {start}")


@irdl_op_definition
class BufferOp(IRDLOperation):
    """Reserves bytes of a scratchpad for the layer; plan-memory gives the address, double-buffer further ones."""

    name = "bfs.buffer"
    bytes = prop_def(IntegerAttr)
    addresses = opt_prop_def(DenseArrayBase)
    result = result_def(BufferType)
    traits = traits_def(HasParent(LayerOp))

    def __init__(self, type: BufferType, size: int):
        super().__init__(result_types=[type], properties={"bytes": integer(size)})

    @property
    def space(self) -> str:
        """Name of the scratchpad."""
        assert isinstance(self.result.type, BufferType)
        return self.result.type.data

    @property
    def nbytes(self) -> int:
        """Bytes of one instance."""
        return self.bytes.value.data

    @property
    def places(self) -> tuple[int, ...]:
        """Addresses of the instances; empty before plan-memory."""
        return () if self.addresses is None else ints(self.addresses)

    def print(self, printer: Printer) -> None:
        printer.print_string(f" {self.space} {self.nbytes}")
        if self.addresses is not None:
            printer.print_string(f" at {list(self.places)}")

    @classmethod
    def parse(cls, parser: Parser) -> BufferOp:
        op = cls(BufferType(parser.parse_identifier()), parser.parse_integer())
        if parser.parse_optional_keyword("at"):
            places = parser.parse_comma_separated_list(parser.Delimiter.SQUARE, parser.parse_integer)
            op.addresses = i64_array(places)
        return op

    def verify_(self) -> None:
        places = self.places
        if self.nbytes < 1:
            raise VerifyException("buffer must have at least one byte")
        if any(abs(a - b) < self.nbytes for i, a in enumerate(places) for b in places[:i]):
            raise VerifyException(f"instances of {self.nbytes} bytes at {list(places)} overlap")


@irdl_op_definition
class ResidentOp(IRDLOperation):
    """Stands for a resident tensor as a buffer: as an input it holds the whole tensor, or the rows in its ring; as an
    output, `bfs.open_tile` says which part is computed next. Nothing loads or stores it.
    """

    name = "bfs.resident"
    tensor = prop_def(FlatSymbolRefAttr)
    result = result_def(ACT)
    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(HasParent(LayerOp))
    assembly_format = "$tensor attr-dict"

    def __init__(self, tensor: str):
        super().__init__(result_types=[ACT], properties={"tensor": SymbolRefAttr(tensor)})


Bfs = Dialect(
    "bfs",
    [ConstantOp, InputOp, OutputOp, ProgramOp, BandsOp, LayerOp, BufferOp, ResidentOp, *operations("bfs")],
    [BufferType],
)
