"""The ESC-1 instruction set, declared once.

Every instruction is 64 bytes, self-contained and belongs to one of four in-order queues (`Queue`). Encoder, decoder,
assembler, disassembler, hazard analysis and `docs/isa.md` all derive from `INSTRUCTIONS`.

Synchronisation. Each queue owns one semaphore, a counter that starts at 0 and is incremented when an instruction with
`signal=1` completes. `wait_<queue>=n` (n > 0) holds an instruction back until that queue's semaphore has reached n.
Counters never go down, so a program whose waits name only earlier signals cannot deadlock. Program order in `.text` is
the order of meaning: a program is correct if and only if every two instructions of different queues that touch the same
bytes (at least one writing) are ordered by semaphores as they are ordered in `.text`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType

from isa.errors import UserError

INSTRUCTION_BYTES = 64


class Queue(IntEnum):
    """The four in-order instruction queues."""

    LOAD = 0
    COMPUTE = 1
    POST = 2
    STORE = 3


class TensorFormat(IntEnum):
    """How an activation tensor lies in DRAM (see `isa.layout`)."""

    RAW = 0
    BITMAP = 1


class CoefficientFormat(IntEnum):
    """How packed ternary coefficients lie in DRAM (see `isa.packing`)."""

    FLAT = 0
    TWO_LEVEL = 1
    DELTA = 2


class Scratchpad(IntEnum):
    """Destination of a linear load."""

    COEF = 0
    PAR = 1


class PoolKind(IntEnum):
    """Reduction of `post.pool`."""

    MAX = 0
    AVERAGE = 1


@dataclass(frozen=True)
class Field:
    """One bit field. `enum` makes the assembler print and accept the member names in lower case."""

    name: str
    bits: int
    doc: str
    signed: bool = False
    enum: type[IntEnum] | None = None

    @property
    def is_address(self) -> bool:
        """Whether the value is an address, printed in hexadecimal."""
        return self.doc.startswith("byte address")

    @property
    def low(self) -> int:
        """Smallest encodable value."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest encodable value."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1


OPCODE = Field("opcode", 8, "instruction selector")

SYNC_FIELDS = (
    Field("signal", 1, "1: increment this queue's semaphore on completion"),
    Field("wait_load", 23, "start only when the load semaphore has reached this count; 0: no wait"),
    Field("wait_compute", 24, "likewise for the compute semaphore"),
    Field("wait_post", 24, "likewise for the post semaphore"),
    Field("wait_store", 24, "likewise for the store semaphore"),
)

# Groups of fields shared by several instructions ---------------------------------------------------------------------

_DRAM_TENSOR = (
    Field("dram", 40, "byte address of the tensor in DRAM"),
    Field("format", 2, "layout of the tensor in DRAM", enum=TensorFormat),
    Field("tensor_w", 16, "width of the whole tensor, positions"),
    Field("tensor_c", 16, "channels of the whole tensor"),
    Field("segment", 16, "positions per line of a BITMAP tensor"),
    Field("y", 16, "first row of the region"),
    Field("x", 16, "first column of the region"),
    Field("c", 16, "first channel of the region; a multiple of the chunk in a BITMAP tensor"),
    Field("h", 16, "rows of the region"),
    Field("w", 16, "columns of the region"),
    Field("cn", 16, "channels of the region"),
)

_ACT_TILE = (
    Field("act", 24, "byte address of the input tile (records) in ACT"),
    Field("ih", 16, "rows of the input tile"),
    Field("iw", 16, "columns of the input tile"),
    Field("ic", 16, "channels of the input tile (fixes the record stride)"),
    Field("signed", 1, "1: activations are int8, 0: uint8"),
)

_WINDOW = (
    Field("r", 8, "kernel height"),
    Field("s", 8, "kernel width"),
    Field("sy", 8, "vertical stride"),
    Field("sx", 8, "horizontal stride"),
    Field(
        "pt",
        16,
        "row of the first window relative to the tile, negated: output row y reads tile rows y*sy-pt+i",
        signed=True,
    ),
    Field("pl", 16, "likewise for columns", signed=True),
)

_PSUM_TILE = (
    Field("psum", 24, "byte address of the partial-sum tile [oh][ow][kt] of int32 in PSUM"),
    Field("oh", 16, "rows of the output tile"),
    Field("ow", 16, "columns of the output tile"),
    Field("kt", 16, "output channels of the partial-sum tile (its innermost stride)"),
    Field("k", 16, "first channel of the partial-sum tile that this instruction touches"),
    Field("kn", 16, "number of output channels that this instruction touches"),
)

_OUT_TILE = (
    Field("out", 24, "byte address in OUT of output element (0,0,0)"),
    Field("out_w", 16, "row stride of the OUT tile, positions"),
    Field("out_c", 16, "position stride of the OUT tile, bytes"),
)


@dataclass(frozen=True)
class InstructionSpec:
    """Declaration of one instruction: `fields` excludes the opcode and includes the synchronisation fields."""

    mnemonic: str
    opcode: int
    queue: Queue
    doc: str
    own_fields: tuple[Field, ...] = ()
    fields: tuple[Field, ...] = field(init=False)
    offsets: MappingProxyType[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        fields = SYNC_FIELDS + self.own_fields
        offsets: dict[str, int] = {}
        position = OPCODE.bits
        for f in fields:
            offsets[f.name] = position
            position += f.bits
        if position > INSTRUCTION_BYTES * 8:
            raise ValueError(f"{self.mnemonic}: {position} bits do not fit {INSTRUCTION_BYTES} bytes")
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "offsets", MappingProxyType(offsets))


INSTRUCTIONS: tuple[InstructionSpec, ...] = (
    InstructionSpec(
        "load.act",
        0x01,
        Queue.LOAD,
        "Fetch a region of an activation tensor from DRAM and lay it down in ACT as records (bitmap + packed non-zeros "
        "per position and channel chunk). RAW tensors are compressed on the way, BITMAP lines are redistributed.",
        (*_DRAM_TENSOR, Field("act", 24, "byte address of the destination tile in ACT")),
    ),
    InstructionSpec(
        "load.coef",
        0x02,
        Queue.LOAD,
        "Fetch packed ternary coefficients T[kn,v,c] and expand them in COEF to one (bitmap, sign) pair per output "
        "channel, basis and chunk.",
        (
            Field("dram", 40, "byte address of the packed coefficients"),
            Field("size", 24, "packed bytes"),
            Field("coding", 2, "packing of the coefficients", enum=CoefficientFormat),
            Field("kn", 16, "output channels"),
            Field("v", 16, "virtual bases"),
            Field("c", 16, "input channels"),
            Field("coef", 24, "byte address of the destination in COEF"),
        ),
    ),
    InstructionSpec(
        "load.bytes",
        0x03,
        Queue.LOAD,
        "Copy bytes unchanged: dense weights int8 [kn][r][s][cpg] to COEF; bases, requantisation blocks, other "
        "parameters and tables to PAR.",
        (
            Field("dram", 40, "byte address of the source"),
            Field("size", 24, "bytes"),
            Field("pad", 2, "destination scratchpad", enum=Scratchpad),
            Field("dst", 24, "byte address of the destination"),
        ),
    ),
    InstructionSpec(
        "load.par",
        0x04,
        Queue.LOAD,
        "Fetch packed requantisation parameters of kn channels and expand them in PAR to requantisation blocks of "
        "`block` channels, the last one of those that are left.",
        (
            Field("dram", 40, "byte address of the packed parameters"),
            Field("size", 24, "packed bytes"),
            Field("kn", 16, "output channels"),
            Field("block", 16, "output channels of a block"),
            Field("dst", 24, "byte address of the destination in PAR"),
        ),
    ),
    InstructionSpec(
        "load.weights",
        0x05,
        Queue.LOAD,
        "Fetch packed dense weights and the table of their codes, and expand them in COEF to `count` bytes.",
        (
            Field("dram", 40, "byte address of the packed weights"),
            Field("size", 24, "packed bytes"),
            Field("table", 40, "byte address of the table"),
            Field("count", 24, "weights"),
            Field("dst", 24, "byte address of the destination in COEF"),
        ),
    ),
    InstructionSpec(
        "conv.dense",
        0x10,
        Queue.COMPUTE,
        "Dense convolution on the MAC rows: psum[y,x,k+i] (+)= sum over window and channels of "
        "weight[i,r,s,j] * act[y*sy-pt+r, x*sx-pl+s, cs + (i // kpg)*cpg + j]. Positions outside the tile count as 0.",
        (
            *_ACT_TILE,
            *_WINDOW,
            *_PSUM_TILE,
            Field("coef", 24, "byte address of the weights in COEF"),
            Field("cs", 16, "first channel of the input tile that is read"),
            Field("cpg", 16, "input channels per group"),
            Field("kpg", 16, "output channels per group"),
            Field("accumulate", 1, "1: add to the partial sums, 0: overwrite them"),
            Field("groups", 8, "row groups: PE blocks are split into this many groups that take different output rows"),
        ),
    ),
    InstructionSpec(
        "conv.dw",
        0x11,
        Queue.COMPUTE,
        "Depthwise convolution: as conv.dense with cpg = 1; every PE slice takes an output channel of its own.",
        (
            *_ACT_TILE,
            *_WINDOW,
            *_PSUM_TILE,
            Field("coef", 24, "byte address of the weights int8 [kn][r][s] in COEF"),
            Field("cs", 16, "first channel of the input tile that is read"),
            Field("kpg", 16, "output channels per input channel (depth multiplier)"),
            Field("accumulate", 1, "1: add to the partial sums, 0: overwrite them"),
        ),
    ),
    InstructionSpec(
        "conv.esc",
        0x12,
        Queue.COMPUTE,
        "Decomposed convolution, Basis-First: ic[i,b,p] = saturate((sum_c T[i,b,c] * act[p,c] + round) >> ic_shift) "
        "and psum[y,x,k+i] = sum over b and window of basis[b,r,s] * ic[i,b,(y*sy-pt+r, x*sx-pl+s)].",
        (
            *_ACT_TILE,
            *_WINDOW,
            *_PSUM_TILE,
            Field("coef", 24, "byte address of the expanded coefficients in COEF"),
            Field("v", 16, "virtual bases"),
            Field("basis", 24, "byte address of the bases int8 [v][r][s] in PAR"),
            Field("ic_shift", 5, "right shift of the intermediate channel, round half up"),
            Field("groups", 8, "row groups: PE blocks are split into this many groups that take different output rows"),
        ),
    ),
    InstructionSpec(
        "post.requant",
        0x20,
        Queue.POST,
        "Requantise partial sums: q = clamp(((psum + bias)*mult + 2^(shift-1)) >> shift, lo, hi) with per-channel "
        "bias/mult/shift; then q = table[q & 255] if `lut`; then, if `add`, "
        "q = clamp((q*ma + res*mb + 2^(as-1)) >> as, alo, ahi). `res` has the geometry of the output tile.",
        (
            *_PSUM_TILE,
            *_OUT_TILE,
            Field("par", 24, "byte address in PAR of int32 bias[kn], int32 mult[kn], uint8 shift[kn]"),
            Field("lo", 10, "lower clamp", signed=True),
            Field("hi", 10, "upper clamp", signed=True),
            Field("lut", 1, "1: apply the 256-byte table"),
            Field("table", 24, "byte address of the table in PAR"),
            Field("add", 1, "1: add the residual"),
            Field("res", 24, "byte address of the residual tile (records, oh x ow) in ACT"),
            Field("res_c", 16, "channels of the residual tile"),
            Field("res_k", 16, "channel of the residual tile that meets output channel 0"),
            Field("res_signed", 1, "1: the residual is int8"),
            Field("q_signed", 1, "1: q before the addition is int8"),
            Field("addpar", 24, "byte address in PAR of int32 ma, int32 mb, int16 alo, int16 ahi, uint8 as"),
        ),
    ),
    InstructionSpec(
        "post.add",
        0x21,
        Queue.POST,
        "Add two activation tiles: out = clamp((a*ma + b*mb + 2^(as-1)) >> as, alo, ahi).",
        (
            Field("act", 24, "byte address of tile a (records) in ACT"),
            Field("signed", 1, "1: a is int8"),
            Field("res", 24, "byte address of tile b (records) in ACT"),
            Field("res_signed", 1, "1: b is int8"),
            Field("oh", 16, "rows"),
            Field("ow", 16, "columns"),
            Field("kn", 16, "channels"),
            *_OUT_TILE,
            Field("addpar", 24, "byte address in PAR of int32 ma, int32 mb, int16 alo, int16 ahi, uint8 as"),
        ),
    ),
    InstructionSpec(
        "post.map",
        0x22,
        Queue.POST,
        "Move and map: out[y,x,i] = f(act[y*sy+dy, x*sx+dx, i+dc]), 0 where that lies outside the tile; f is the "
        "identity or a 256-byte table indexed by the stored byte (the fill value 0 is mapped too).",
        (
            *_ACT_TILE,
            Field("oh", 16, "rows of the output"),
            Field("ow", 16, "columns of the output"),
            Field("kn", 16, "channels of the output"),
            Field("sy", 8, "vertical stride"),
            Field("sx", 8, "horizontal stride"),
            Field("dy", 16, "row offset", signed=True),
            Field("dx", 16, "column offset", signed=True),
            Field("dc", 17, "channel offset", signed=True),
            *_OUT_TILE,
            Field("lut", 1, "1: apply the table"),
            Field("table", 24, "byte address of the table in PAR"),
        ),
    ),
    InstructionSpec(
        "post.pool",
        0x23,
        Queue.POST,
        "Pooling over valid positions of each window. MAX: the maximum. AVERAGE: "
        "clamp((sum*mult[n-count0] + 2^(shift-1)) >> shift, lo, hi), n = number of counted positions: those of the "
        "window inside rows [-bt, ih+bb) and columns [-bl, iw+br) of the tile.",
        (
            *_ACT_TILE,
            *_WINDOW,
            Field("kind", 2, "reduction", enum=PoolKind),
            Field("oh", 16, "rows of the output"),
            Field("ow", 16, "columns of the output"),
            Field("cs", 16, "first channel of the input tile that is read"),
            Field("kn", 16, "channels of the output"),
            *_OUT_TILE,
            Field("bt", 8, "counted padding above the tile"),
            Field("bl", 8, "counted padding left of the tile"),
            Field("bb", 8, "counted padding below the tile"),
            Field("br", 8, "counted padding right of the tile"),
            Field("par", 24, "byte address in PAR of int32 mult[]"),
            Field("count0", 16, "window count of mult[0]"),
            Field("shift", 6, "right shift"),
            Field("lo", 10, "lower clamp", signed=True),
            Field("hi", 10, "upper clamp", signed=True),
        ),
    ),
    InstructionSpec(
        "store.act",
        0x30,
        Queue.STORE,
        "Write a tile of plain bytes [h][w][out_c] from OUT to a region of a DRAM tensor; BITMAP tensors are "
        "compressed on the way, and the region then covers whole segments and whole chunks.",
        (
            *_DRAM_TENSOR,
            Field("out", 24, "byte address of the tile in OUT"),
            Field("out_w", 16, "row stride of the tile, positions"),
            Field("out_c", 16, "position stride of the tile, bytes"),
        ),
    ),
    InstructionSpec("end", 0x3F, Queue.STORE, "End of the program; the last instruction, exactly once."),
)

BY_MNEMONIC = MappingProxyType({spec.mnemonic: spec for spec in INSTRUCTIONS})
BY_OPCODE = MappingProxyType({spec.opcode: spec for spec in INSTRUCTIONS})


@dataclass
class Instruction:
    """One machine instruction: its declaration and the value of every field (missing fields are 0)."""

    spec: InstructionSpec
    values: dict[str, int]

    @classmethod
    def make(cls, mnemonic: str, **values: int) -> Instruction:
        """Build from field values; unknown field names raise KeyError."""
        spec = BY_MNEMONIC[mnemonic]
        for name in values:
            if name not in spec.offsets:
                raise KeyError(f"{mnemonic} has no field '{name}'")
        return cls(spec, {f.name: int(values.get(f.name, 0)) for f in spec.fields})

    def __getitem__(self, name: str) -> int:
        return self.values[name]


class EncodingError(UserError):
    """A field value or an instruction word that the instruction set does not allow."""


def _check_defined(spec: InstructionSpec, f: Field, value: int) -> None:
    if f.enum is not None and value not in f.enum.__members__.values():
        raise EncodingError(f"{spec.mnemonic}: {f.name}={value} is undefined")


def encode(instruction: Instruction) -> bytes:
    """Encode to `INSTRUCTION_BYTES` little-endian bytes. Raises `EncodingError` naming the field that does not fit."""
    spec = instruction.spec
    word = spec.opcode
    for f in spec.fields:
        value = instruction.values[f.name]
        if not f.low <= value <= f.high:
            raise EncodingError(f"{spec.mnemonic}: {f.name}={value} does not fit [{f.low}, {f.high}]")
        _check_defined(spec, f, value)
        word |= (value & ((1 << f.bits) - 1)) << spec.offsets[f.name]
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode(raw: bytes) -> Instruction:
    """Decode one instruction. Raises `EncodingError` on an unknown opcode, an undefined enum value or stray bits."""
    word = int.from_bytes(raw, "little")
    spec = BY_OPCODE.get(word & 0xFF)
    if spec is None:
        raise EncodingError(f"unknown opcode 0x{word & 0xFF:02x}")
    values: dict[str, int] = {}
    position = OPCODE.bits
    for f in spec.fields:
        value = (word >> position) & ((1 << f.bits) - 1)
        position += f.bits
        if f.signed and value > f.high:
            value -= 1 << f.bits
        _check_defined(spec, f, value)
        values[f.name] = value
    if word >> position:
        raise EncodingError(f"{spec.mnemonic}: bits beyond the last field are set")
    return Instruction(spec, values)
