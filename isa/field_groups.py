"""Groups of fields that several instructions share, each with its rules and with the bytes that it names."""

from __future__ import annotations

from isa.coefficients import StreamCode
from isa.declaration import Field, Rule, address, extent, flag
from isa.extents import Extent, reads
from isa.formats import Space, TensorFormat
from isa.integers import Number, Values, ceil_div, choose, least, most
from isa.layout import ADD_BLOCK_BYTES, DRAM_ALIGN, TABLE_BYTES, TensorLayout
from isa.target import Target

ROW_GROUPS = extent(
    "groups", "row groups: PE blocks are split into this many groups that take different output rows", 8
)
ACCUMULATE = flag("accumulate", "add to the partial sums, 0: overwrite them")
ADDITION = address("addpar", "in PAR of int32 ma, int32 mb, int16 alo, int16 ahi, uint8 as")
STREAM_CODE = (
    Field("level", 2, "binary logarithm of the greatest magnitude that a coefficient may have"),
    Field("common", 2, "binary logarithm of the magnitude that has the shortest code"),
    Field("count_bits", 5, "low bits of the number of non-zeros of an output channel"),
)
CLAMP = (Field("lo", 10, "lower clamp", signed=True), Field("hi", 10, "upper clamp", signed=True))


def exceeds(first: Number, count: Number, name: str, v: Values) -> Rule:
    """Channels [first, first + count) must exist in a tile whose channels are the field `name`."""
    last = first + count - 1
    text = f"channels {{first}}..{{last}} exceed {name}={{{name}}}"
    return Rule(last >= v[name], text, {"first": first, "last": last})


def stream_code_of(v: Values) -> StreamCode:
    """How streams of coefficients are coded: the fields `STREAM_CODE`."""
    return StreamCode(v["count_bits"], v["level"], v["common"])


def common_rule(v: Values) -> Rule:
    """The most common magnitude is none beyond the greatest."""
    return Rule(v["common"] > v["level"], "common={common} exceeds level={level}")


def clamp_rule(v: Values, when: Number = True) -> Rule:
    """Some value must pass the clamp."""
    return Rule((v["lo"] > v["hi"]) & when, "lo={lo} exceeds hi={hi}")


def groups_rule(v: Values, target: Target) -> Rule:
    """Every row group has a block."""
    blocks = target.array.blocks
    return Rule(v["groups"] > blocks, f"groups={{groups}} exceed the {blocks} blocks")


# A region of a tensor in DRAM ---------------------------------------------------------------------------------------

DRAM_TENSOR = (
    address("dram", "of the tensor in DRAM", 40),
    Field("format", 2, "layout of the tensor in DRAM", enum=TensorFormat),
    extent("tensor_w", "width of the whole tensor, positions"),
    extent("tensor_c", "channels of the whole tensor"),
    Field("segment", 16, "positions per line of a BITMAP tensor"),
    Field("y", 16, "first row of the region"),
    Field("x", 16, "first column of the region"),
    Field("c", 16, "first channel of the region; a multiple of the chunk in a BITMAP tensor"),
    extent("h", "rows of the region"),
    extent("w", "columns of the region"),
    extent("cn", "channels of the region"),
)


def region_rules(v: Values, target: Target) -> list[Rule]:
    """What holds for every region."""
    chunk = target.array.chunk
    lines = v["format"] == TensorFormat.BITMAP
    return [
        Rule(v["dram"] % DRAM_ALIGN != 0, f"dram={{dram:#x}} is not a multiple of {DRAM_ALIGN}"),
        Rule(
            (v["x"] + v["w"] > v["tensor_w"]) | (v["c"] + v["cn"] > v["tensor_c"]),
            "the region exceeds the tensor",
        ),
        Rule(lines & (v["segment"] == 0), "segment must be positive"),
        Rule(lines & (v["c"] % chunk != 0), f"c={{c}} is not a multiple of the chunk, {chunk}"),
    ]


def bitmap_layout(v: Values, chunk: int) -> TensorLayout:
    """The tensor of a BITMAP region, as far down as the region reaches."""
    return TensorLayout(
        v["y"] + v["h"], v["tensor_w"], v["tensor_c"], TensorFormat.BITMAP, most(v["segment"], 1), chunk
    )


def region_extents(v: Values, target: Target, write: bool) -> list[Extent]:
    """The bytes of a region in the arena."""
    chunk = target.array.chunk
    row = v["tensor_w"] * v["tensor_c"]
    base = v["dram"] + v["y"] * row + v["x"] * v["tensor_c"] + v["c"]
    raw = v["format"] == TensorFormat.RAW
    layout = bitmap_layout(v, chunk)
    segment = layout.segment
    first = v["x"] // segment
    lines = (v["x"] + v["w"] - 1) // segment - first + 1
    begin = v["dram"] + layout.line_offset(v["y"], v["c"] // chunk, first)
    between = layout.segments * layout.line_bytes
    return [
        Extent(Space.ARENA, write, base, v["h"] * raw, row, v["w"], v["tensor_c"], v["cn"]),
        Extent(
            Space.ARENA,
            write,
            begin,
            v["h"] * (v["format"] == TensorFormat.BITMAP),
            layout.records.chunks * between,
            ceil_div(v["cn"], chunk),
            between,
            lines * layout.line_bytes,
        ),
    ]


# Tiles in the scratchpads -------------------------------------------------------------------------------------------


STAGED = (
    flag("staged", "take the bytes from ACT, where `load.bytes` has put those at `dram`"),
    address("act", "of the bytes in ACT, if they are staged"),
)


def weight_source(v: Values) -> tuple[Extent, Extent]:
    """The bytes at `dram` that a load of weights names, and those in ACT that it reads instead if it is staged."""
    return reads(Space.CONSTANTS, v["dram"], v["size"]), reads(Space.ACT, v["act"], v["size"], v["staged"] == 1)


def place(name: str, what: str) -> tuple[Field, ...]:
    """Fields that say where a tile of plain bytes lies in ACT: the address `name`, and its strides."""
    return (
        address(name, f"in ACT of element (0,0,0) of {what}"),
        extent(f"{name}_w", f"row stride of {what}, positions"),
        extent(f"{name}_c", f"position stride of {what}, bytes"),
    )


def tile(
    v: Values, name: str, write: bool, height: str = "oh", width: str = "ow", channels: str = "kn", when: Number = True
) -> Extent:
    """A tile that the fields `place(name)` place; `height`, `width` and `channels` name the fields of its extents."""
    stride = v[f"{name}_c"]
    return Extent(Space.ACT, write, v[name], v[height] * when, v[f"{name}_w"] * stride, v[width], stride, v[channels])


def apart(v: Values, name: str, width: str = "ow", channels: str = "kn", when: Number = True) -> Rule:
    """Rows and positions of the tile at `name` do not overlap."""
    broken = (v[width] > v[f"{name}_w"]) | (v[channels] > v[f"{name}_c"])
    return Rule(broken & (when != 0), f"rows or positions of the tile at {name} overlap")


def clear(v: Values, read: Extent, written: Extent, same: str = "", when: Number = True) -> Rule:
    """A tile that is written has no byte of one that is read between its first and its last one, or is the tile at
    `same` itself, or has other channels of the positions of the same tensor, or other positions of its rows.
    """
    broken = (read.base < written.end) & (written.base < read.end) & (when != 0) & (read.outer > 0)
    broken = broken & (_side_by_side(read, written) == 0)
    if same:
        differs = (v[same] != v["out"]) | (v[f"{same}_w"] != v["out_w"]) | (v[f"{same}_c"] != v["out_c"])
        broken = broken & differs
    return Rule(broken, "the output tile overlaps a tile that is read")


def _side_by_side(one: Extent, other: Extent) -> Number:
    """Whether two tiles share no byte because they are different channels of positions equally far apart, or different
    positions of rows equally far apart.
    """
    channels = _in_turn(one, other, (one.inner_stride, one.run), (other.inner_stride, other.run))
    return channels | _in_turn(one, other, _rows(one), _rows(other))


def _rows(tile: Extent) -> tuple[Number, Number]:
    """Bytes from the beginning of a row of a tile to that of the next, and to its own end."""
    return tile.outer_stride, (tile.inner - 1) * tile.inner_stride + tile.run


def _in_turn(one: Extent, other: Extent, piece: tuple[Number, Number], of_other: tuple[Number, Number]) -> Number:
    """Whether pieces of two tiles, each given by its stride and its bytes, lie in turn and do not touch."""
    (stride, nbytes), (stride_of_other, nbytes_of_other) = piece, of_other
    apart_by = (other.base - one.base) % most(stride, 1)
    return (stride == stride_of_other) & (apart_by >= nbytes) & (apart_by + nbytes_of_other <= stride)


ACT_TILE = (
    *place("act", "the input tile"),
    extent("ih", "rows of the input tile"),
    extent("iw", "columns of the input tile"),
    extent("ic", "channels of the input tile"),
    Field("signed", 1, "1: activations are int8, 0: uint8"),
)


ACT_RING = (
    Field("act_turn", 9, "rows of the input tile before the end of the ring that it lies in, 0: it crosses no end"),
    Field("act_ring", 9, "rows of that ring: row i >= act_turn of the tile lies so many rows lower"),
)
"""Fields of an input tile of `ACT_TILE` whose rows lie in a ring: the end of the ring may lie between two of them."""


def act_tile(v: Values) -> tuple[Extent, Extent]:
    """The input tile, which is read: its rows up to the end of a ring, and those behind that."""
    whole = tile(v, "act", False, "ih", "iw", "ic")
    turn = v["act_turn"]
    behind = whole._replace(
        base=whole.base + (turn - v["act_ring"]) * whole.outer_stride * (turn > 0),
        outer=(whole.outer - turn) * (turn > 0),
    )
    return whole._replace(outer=choose(turn > 0, turn, whole.outer)), behind


def act_rules(v: Values) -> tuple[Rule, Rule]:
    """Rows and positions of the input tile do not overlap; a ring holds all of its rows and begins in ACT."""
    turn, ring = v["act_turn"], v["act_ring"]
    before = (ring - turn) * v["act_w"] * v["act_c"]
    torn = ((turn == 0) != (ring == 0)) | (turn > 0) & ((turn >= v["ih"]) | (v["ih"] > ring) | (before > v["act"]))
    text = "act_turn={act_turn} and act_ring={act_ring}: no ring at act={act:#x} holds ih={ih} rows and ends there"
    return apart(v, "act", "iw", "ic"), Rule(torn, text)


WINDOW = (
    extent("r", "kernel height", 8),
    extent("s", "kernel width", 8),
    extent("sy", "vertical stride", 8),
    extent("sx", "horizontal stride", 8),
    Field(
        "pt",
        16,
        "row of the first window relative to the tile, negated: output row y reads tile rows y*sy-pt+i",
        signed=True,
    ),
    Field("pl", 16, "likewise for columns", signed=True),
)

PSUM_TILE = (
    address("psum", "of the partial-sum tile [oh][ow][kt] of int32 in PSUM"),
    extent("oh", "rows of the output tile"),
    extent("ow", "columns of the output tile"),
    extent("kt", "output channels of the partial-sum tile (its innermost stride)"),
    Field("k", 16, "first channel of the partial-sum tile that this instruction touches"),
    extent("kn", "number of output channels that this instruction touches"),
)


def psum_rules(v: Values) -> list[Rule]:
    """What holds for every tile of partial sums."""
    return [
        Rule(v["psum"] % 4 != 0, "psum={psum:#x} is not a multiple of 4"),
        exceeds(v["k"], v["kn"], "kt", v),
    ]


def psum_tile(v: Values, write: bool, when: Number = True) -> Extent:
    """The channels [k, k + kn) of the tile of partial sums."""
    return Extent(Space.PSUM, write, v["psum"] + 4 * v["k"], when * 1, 0, v["oh"] * v["ow"], 4 * v["kt"], 4 * v["kn"])


OUT_TILE = place("out", "the output tile")


def table(v: Values) -> Extent:
    """The table, which is read where the instruction has one."""
    return reads(Space.PAR, v["table"], TABLE_BYTES, v["lut"])


def addition(v: Values, when: Number = True) -> Extent:
    """The parameters of an addition."""
    return reads(Space.PAR, v["addpar"], ADD_BLOCK_BYTES, when)


# Sliding windows ----------------------------------------------------------------------------------------------------


def inside(outputs: Number, stride: Number, offset: Number, size: Number) -> Number:
    """How many i < outputs have 0 <= i*stride + offset < size."""
    return most(0, least(outputs, (size - 1 - offset) // stride + 1) - most(0, ceil_div(-offset, stride)))
