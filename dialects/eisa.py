"""The `eisa` dialect: one operation for each machine instruction, derived from `isa.table`, grouped by layer.

The text after the operation's name is the assembler's: `eisa.load.act signal=1, dram=0x1000, ...`. A module of this
level and an `isa.program.Program` hold the same information: `to_program` and `from_program` are inverse to each
other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, TypeVar, cast

import numpy as np
from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    DenseArrayBase,
    FlatSymbolRefAttr,
    IntegerAttr,
    LocationAttr,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
)
from xdsl.ir import Attribute, Block, Data, Dialect, Operation, Region
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_attr_definition,
    irdl_op_definition,
    opt_prop_def,
    prop_def,
    region_def,
    traits_def,
)
from xdsl.parser import AttrParser, Parser
from xdsl.printer import Printer
from xdsl.traits import HasParent, IsolatedFromAbove, NoTerminator, SymbolTable
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, integer, ints
from dialects.blob import DenseAttr
from dialects.eisa_tensor import TensorOp
from dialects.locations import fused_names
from dialects.machine import (
    PortDecl,
    checked_target,
    float_values,
    port_properties,
    strings,
)
from isa.assembly import format_instruction, parse_instruction
from isa.declaration import Instruction, InstructionSpec
from isa.errors import UserError
from isa.program import Layer, Port, Program
from isa.table import INSTRUCTIONS
from isa.target import Target

HOST = "escc.host"
"""Module attribute of any level: what the host computes around the network."""


@irdl_attr_definition
class FieldsAttr(Data[tuple[int, ...]]):
    """The values of all fields of an instruction, in the order of their declaration."""

    name = "eisa.fields"

    @classmethod
    def parse_parameter(cls, parser: AttrParser) -> tuple[int, ...]:
        return tuple(parser.parse_comma_separated_list(parser.Delimiter.ANGLE, parser.parse_integer))

    def print_parameter(self, printer: Printer) -> None:
        with printer.in_angle_brackets():
            printer.print_string(", ".join(map(str, self.data)))


class InstructionOp(IRDLOperation):
    """Base of the instruction operations; a subclass for each entry of `isa.table.INSTRUCTIONS`."""

    SPEC: ClassVar[InstructionSpec]
    fields = prop_def(FieldsAttr)

    @property
    def instruction(self) -> Instruction:
        """The machine instruction."""
        names = (f.name for f in self.SPEC.fields)
        return Instruction(self.SPEC, dict(zip(names, self.fields.data, strict=True)))

    @classmethod
    def of(cls, instruction: Instruction) -> InstructionOp:
        """The operation of an instruction."""
        values = instruction.values
        attr = FieldsAttr(tuple(values[f.name] for f in instruction.spec.fields))
        return _OPS[instruction.spec.mnemonic].create(properties={"fields": attr})

    def print(self, printer: Printer) -> None:
        text = format_instruction(self.instruction)[len(self.SPEC.mnemonic) :]
        if text.startswith(" ;"):  # no token of MLIR begins with a semicolon
            printer.print_string(" ")
            printer.print_string_literal(text[1:])
        else:
            printer.print_string(text)

    @classmethod
    def parse(cls, parser: Parser) -> InstructionOp:
        # The assembler reads the rest of the line: tokens of MLIR would cost ten times as much for programs of 10^5
        # instructions. xDSL has no public call that skips text.
        source, start = parser.lexer.input.content, parser.pos
        name = source.rfind(cls.SPEC.mnemonic, 0, start) + len(cls.SPEC.mnemonic)
        end = source.find("\n", name)
        line = source[name : len(source) if end < 0 else end]
        for stop in (" loc(", "//"):
            line = line.partition(stop)[0]
        text = line.rstrip()
        quoted = parser.parse_optional_str_literal() if text.lstrip().startswith('"') else None
        try:
            instruction = parse_instruction(cls.SPEC.mnemonic + (text if quoted is None else f" {quoted}"))
        except UserError as e:
            parser.raise_error(str(e))
        if quoted is None:
            parser._resume_from(name + len(text))  # pyright: ignore[reportPrivateUsage]
        return cls.of(instruction)

    def verify_(self) -> None:
        if len(self.fields.data) != len(self.SPEC.fields):
            raise VerifyException(
                f"{self.SPEC.mnemonic} has {len(self.SPEC.fields)} fields, found {len(self.fields.data)}"
            )
        for f, value in zip(self.SPEC.fields, self.fields.data, strict=True):
            if not f.low <= value <= f.high:
                raise VerifyException(f"{self.SPEC.mnemonic}: {f.name}={value} does not fit [{f.low}, {f.high}]")


def _instruction_op(spec: InstructionSpec) -> type[InstructionOp]:
    name = "".join(part.capitalize() for part in spec.mnemonic.split(".")) + "Op"
    body = {
        "name": f"eisa.{spec.mnemonic}",
        "SPEC": spec,
        "__annotations__": {"SPEC": ClassVar[InstructionSpec]},
        "__doc__": spec.doc,
        "__module__": __name__,
    }
    return irdl_op_definition(cast(type[InstructionOp], type(name, (InstructionOp,), body)))


_OPS: dict[str, type[InstructionOp]] = {spec.mnemonic: _instruction_op(spec) for spec in INSTRUCTIONS}

_Op = TypeVar("_Op", bound=Operation)


def _tensor(op: Operation, ref: SymbolRefAttr) -> TensorOp:
    found = SymbolTable.lookup_symbol(op, ref)
    if not isinstance(found, TensorOp):
        raise VerifyException(f"{ref} is not an eisa.tensor")
    return found


@irdl_op_definition
class InputOp(PortDecl):
    """A model input: the host quantises it into the tensor before the program runs."""

    name = "eisa.input"
    tensor = prop_def(FlatSymbolRefAttr)
    assembly_format = "$port_name $tensor attr-dict"

    def verify_(self) -> None:
        _tensor(self, self.tensor)


@irdl_op_definition
class OutputOp(PortDecl):
    """A model output: the host dequantises the tensor after the program has run."""

    name = "eisa.output"
    tensor = prop_def(FlatSymbolRefAttr)
    assembly_format = "$port_name $tensor attr-dict"

    def verify_(self) -> None:
        _tensor(self, self.tensor)


@irdl_op_definition
class ProgramOp(IRDLOperation):
    """A machine program: constants, arena, ports and the instructions of every layer, ending in `eisa.end`;
    `float_weights` is the number of weights of the original float model.
    """

    name = "eisa.program"
    target = prop_def(StringAttr)
    rodata = prop_def(DenseAttr)
    arena = prop_def(IntegerAttr)
    sample = opt_prop_def(DenseAttr)
    producer = opt_prop_def(StringAttr)
    float_weights = opt_prop_def(IntegerAttr)
    body = region_def("single_block")
    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(IsolatedFromAbove(), NoTerminator(), SymbolTable())
    assembly_format = "attr-dict-with-keyword $body"

    @property
    def machine(self) -> Target:
        """The machine that the program is for."""
        return checked_target(self.target)

    @property
    def instruction_ops(self) -> Iterator[InstructionOp]:
        """All instructions in program order."""
        for op in self.body.block.ops:
            if isinstance(op, InstructionOp):
                yield op
            elif isinstance(op, LayerOp):
                yield from op.instruction_ops

    def verify_(self) -> None:
        self.machine  # noqa: B018 - the verification is that the target parses
        last = self.body.block.last_op
        ends = sum(isinstance(op, _OPS["end"]) for op in self.instruction_ops)
        if not isinstance(last, _OPS["end"]) or ends != 1:
            raise VerifyException("a program ends with eisa.end, exactly once")
        if self.arena.value.data < 0:
            raise VerifyException("arena must not be negative")


@irdl_op_definition
class LayerOp(IRDLOperation):
    """The instructions that compute one tensor; properties as `isa.program.Layer`, `rodata` as flat (address, size)
    pairs.
    """

    name = "eisa.layer"
    layer_name = prop_def(StringAttr)
    kind = prop_def(StringAttr)
    output = prop_def(FlatSymbolRefAttr)
    nodes = prop_def(ArrayAttr[StringAttr])
    macs = prop_def(IntegerAttr)
    weights = prop_def(IntegerAttr)
    rodata = prop_def(DenseArrayBase)
    body = region_def()
    irdl_options = (ParsePropInAttrDict(),)
    traits = traits_def(IsolatedFromAbove(), NoTerminator(), HasParent(ProgramOp))
    assembly_format = "$layer_name $kind `->` $output attr-dict-with-keyword $body"

    @property
    def instruction_ops(self) -> Iterator[InstructionOp]:
        """The instructions of the layer in order."""
        return (op for op in self._ops if isinstance(op, InstructionOp))

    @property
    def _ops(self) -> Iterator[Operation]:
        # A layer without instructions prints as `{ }`, which parses as a region without a block.
        return (op for block in self.body.blocks for op in block.ops)

    def verify_(self) -> None:
        _tensor(self, self.output)
        if len(ints(self.rodata)) % 2:
            raise VerifyException("rodata must be pairs of address and size")
        if any(not isinstance(op, InstructionOp) for op in self._ops):
            raise VerifyException("a layer holds instructions only")


def _ports(program: ProgramOp, kind: type[InputOp] | type[OutputOp]) -> tuple[Port, ...]:
    return tuple(
        Port(
            name=op.port_name.data,
            shape=ints(op.shape),
            tensor=_tensor(op, op.tensor).ref,
            softmax_axis=None if op.softmax_axis is None else op.softmax_axis.value.data,
            logarithm=op.logarithm is not None,
            arg_max=op.arg_max,
            mean=float_values(op.mean),
            std=float_values(op.std),
            channel_order="" if op.channel_order is None else op.channel_order.data,
            view=() if op.view is None else ints(op.view),
            perm=() if op.perm is None else ints(op.perm),
        )
        for op in program.body.block.ops
        if isinstance(op, kind)
    )


def program_of(module: ModuleOp) -> ProgramOp:
    """The single `eisa.program` of a module. Raises `UserError` if it holds anything else."""
    ops = list(module.body.block.ops)
    if len(ops) != 1 or not isinstance(ops[0], ProgramOp):
        found = ", ".join(sorted({op.name for op in ops})) or "nothing"
        raise UserError(f"expected a module with one eisa.program, found {found}", "run the passes up to lower-to-eisa")
    return ops[0]


def to_program(module: ModuleOp) -> Program:
    """The program that a module of level `eisa` holds. Raises `UserError` if the module is of another level."""
    op = program_of(module)
    instructions: list[Instruction] = []
    layers: list[Layer] = []
    for child in op.body.block.ops:
        if isinstance(child, InstructionOp):
            instructions.append(child.instruction)
        elif isinstance(child, LayerOp):
            start = len(instructions)
            instructions.extend(i.instruction for i in child.instruction_ops)
            layers.append(_layer(child, start, len(instructions)))
    return Program(
        target=op.machine,
        instructions=tuple(instructions),
        rodata=op.rodata.data.data,
        arena_bytes=op.arena.value.data,
        inputs=_ports(op, InputOp),
        outputs=_ports(op, OutputOp),
        layers=tuple(layers),
        sample=b"" if op.sample is None else op.sample.data.data,
        producer="" if op.producer is None else op.producer.data,
        float_weights=0 if op.float_weights is None else op.float_weights.value.data,
        host=host_of(module),
    )


def _layer(op: LayerOp, start: int, end: int) -> Layer:
    flat = ints(op.rodata)
    return Layer(
        name=op.layer_name.data,
        kind=op.kind.data,
        start=start,
        end=end,
        nodes=tuple(n.data for n in op.nodes.data),
        output=_tensor(op, op.output).ref,
        macs=op.macs.value.data,
        weights=op.weights.value.data,
        rodata=tuple(zip(flat[::2], flat[1::2], strict=True)),
    )


def layer_op(
    name: str,
    kind: str,
    output: str,
    nodes: Sequence[str],
    macs: int,
    weights: int,
    rodata: Iterable[tuple[int, int]],
    instructions: Iterable[Instruction],
    location: LocationAttr = UNKNOWN_LOC,
) -> LayerOp:
    """An `eisa.layer` around instructions; the instructions share its location."""
    body = Block()
    for instruction in instructions:
        op = InstructionOp.of(instruction)
        op.location = location
        body.add_op(op)
    layer = LayerOp.create(
        properties={
            "layer_name": StringAttr(name),
            "kind": StringAttr(kind),
            "output": SymbolRefAttr(output),
            "nodes": strings(nodes),
            "macs": integer(macs),
            "weights": integer(weights),
            "rodata": i64_array([v for pair in rodata for v in pair]),
        },
        regions=[Region(body)],
    )
    layer.location = location
    return layer


def blob_of(data: bytes) -> DenseAttr:
    """Plain bytes as a constant."""
    return DenseAttr.of(np.frombuffer(data, np.uint8))


def set_host(module: ModuleOp, host: bytes) -> None:
    """Write onto a module of any level what the host computes around it, as `isa.hosted` packs it; nothing for b""."""
    if host:
        module.attributes[HOST] = blob_of(host)


def host_of(module: ModuleOp) -> bytes:
    """What the host computes around a module of any level, b"" if nothing."""
    found = module.attributes.get(HOST)
    return found.data.data if isinstance(found, DenseAttr) else b""


def from_program(program: Program) -> ModuleOp:
    """The module of level `eisa` that holds a program. Raises `UserError` if its layers overlap or are out of order."""
    refs = [p.tensor for p in (*program.inputs, *program.outputs)] + [layer.output for layer in program.layers]
    symbols = {ref: f"t{i}" for i, ref in enumerate(dict.fromkeys(refs))}
    ops: list[Operation] = [TensorOp.of(symbol, ref) for ref, symbol in symbols.items()]
    for kind, ports in ((InputOp, program.inputs), (OutputOp, program.outputs)):
        for p in ports:
            properties = port_properties(
                p.name, p.shape, p.softmax_axis, p.mean, p.std, p.channel_order, p.view, p.perm, p.logarithm, p.arg_max
            )
            ops.append(kind.create(properties={**properties, "tensor": SymbolRefAttr(symbols[p.tensor])}))
    position = 0
    for layer in program.layers:
        if not position <= layer.start <= layer.end <= len(program.instructions):
            raise UserError(f"layer '{layer.name}': instructions [{layer.start}, {layer.end}) are out of order")
        ops.extend(InstructionOp.of(i) for i in program.instructions[position : layer.start])
        ops.append(
            layer_op(
                layer.name,
                layer.kind,
                symbols[layer.output],
                layer.nodes,
                layer.macs,
                layer.weights,
                layer.rodata,
                program.instructions[layer.start : layer.end],
                fused_names(layer.nodes),
            )
        )
        position = layer.end
    ops.extend(InstructionOp.of(i) for i in program.instructions[position:])
    properties: dict[str, Attribute] = {
        "target": StringAttr(program.target.text),
        "rodata": blob_of(program.rodata),
        "arena": integer(program.arena_bytes),
    }
    if program.sample:
        properties["sample"] = blob_of(program.sample)
    if program.producer:
        properties["producer"] = StringAttr(program.producer)
    if program.float_weights:
        properties["float_weights"] = integer(program.float_weights)
    op = ProgramOp.create(properties=properties, regions=[Region(Block(ops))])
    module = ModuleOp([op])
    set_host(module, program.host)
    return module


Eisa = Dialect(
    "eisa",
    [TensorOp, InputOp, OutputOp, ProgramOp, LayerOp, *_OPS.values()],
    [FieldsAttr],
)
