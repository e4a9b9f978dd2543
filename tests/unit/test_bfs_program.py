"""The bfs dialect: round trip of tiled programs at every stage, and the choices that show in the text."""

from __future__ import annotations

import numpy as np
import pytest
from tile_models import MAIN, Graph, lower
from xdsl.context import Context
from xdsl.dialects.arith import Arith
from xdsl.dialects.builtin import Builtin, ModuleOp
from xdsl.parser import Parser

from dialects.bfs import Bfs, ProgramOp
from dialects.bfs_tiles import LoadTileOp
from dialects.blob import Blob
from dialects.esc import Esc
from dialects.interpreters.run import main_function
from isa.coefficients import StreamCode, unpack_streams
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.parameters import plain_blocks, unpack_parameters
from passes.tiling.declarations import tensor_format
from passes.tiling.geometry import Span
from passes.tiling.loop_nest import executions
from passes.tiling.transfer_rules import parameter_blocks


def parse(text: str) -> ModuleOp:
    context = Context()
    for dialect in (Builtin, Arith, Bfs, Esc, Blob):
        context.load_dialect(dialect)
    return Parser(context, text).parse_module()


def model() -> ModuleOp:
    g = Graph(20, 40, 8)
    a = g.conv(g.x, 24, table=True)
    b = g.conv(a, 24, residual=a)
    c = g.decomposed(g.add(a, b, False), 70, 3)
    d = g.conv(c, 70, groups=70, signed=True)
    return g.module(g.lookup(g.slice(g.pool(d, False, (3, 3), (2, 2)), (0, 0, -2), (1, 1), (9, 19, 74)), True))


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_every_stage_round_trips(stages: int) -> None:
    module = lower(model(), passes=MAIN[:stages])
    text = str(module)
    again = parse(text)
    again.verify()
    assert str(again) == text


def test_going_on_from_text_gives_the_same_program() -> None:
    for stages in (1, 2, 3, 4):
        half = lower(model(), passes=MAIN[:stages])
        assert str(lower(parse(str(half)), passes=MAIN[stages:])) == str(lower(half, passes=MAIN[stages:]))


def test_format_rule() -> None:
    assert tensor_format(signed=False, averaged=False) is TensorFormat.BITMAP
    assert tensor_format(signed=True, averaged=False) is TensorFormat.RAW
    assert tensor_format(signed=False, averaged=True) is TensorFormat.RAW


def test_parameters_take_the_smaller_form() -> None:
    parameters = np.array([[1, 2, 3, 9], [4, 5, 6, 9], [7, 8, 9, 9]], np.int32)
    data, packed = parameter_blocks(parameters, Span(1, 2), 2)
    assert packed and [a.tolist() for a in unpack_parameters(data, 2)] == [[2, 3], [5, 6], [8, 9]]
    wide = np.array([[-(1 << 31)], [(1 << 31) - 1], [62]])
    data, packed = parameter_blocks(wide, Span(0, 1), 1)
    assert not packed and data == plain_blocks(wide[0], wide[1], wide[2], 1)


def test_packed_pieces_decode_to_the_coefficients() -> None:
    g = Graph(8, 8, 16)
    module = g.module(g.decomposed(g.x, 48, 5))
    tiled = lower(module, passes=MAIN[:3])
    packed = lower(module, passes=MAIN[:4])
    before, after = (m.body.block.first_op for m in (tiled, packed))
    assert isinstance(before, ProgramOp) and isinstance(after, ProgramOp)
    for name, constant in after.constants.items():
        value = before.constants[name].value.array
        if value.ndim != 3 or value.dtype != np.int8 or value.shape[0] != 48:
            continue
        found = 0
        for (k, _), (offset, size, coding) in sorted(constant.transfers.items()):
            following = [first for first, _ in constant.transfers if first > k]
            n = min(following, default=48) - k
            blob = constant.packed.data.data[offset : offset + size]
            streams = unpack_streams(blob, 0, StreamCode.of(coding), (n, 5, 16))
            np.testing.assert_array_equal(streams.t, value[k : k + n])
            found += n
        assert found == 48


def test_loads_without_halo_cover_whole_inputs() -> None:
    g = Graph(30, 30, 64)
    module = lower(g.module(g.conv(g.x, 256, (1, 1), pads=(0, 0, 0, 0))), passes=MAIN[:1])
    program = module.body.block.first_op
    assert isinstance(program, ProgramOp)
    rows = [at[op.rows] * at[op.columns] for op, at in executions(program.layers[0]) if isinstance(op, LoadTileOp)]
    assert sum(rows) % 900 == 0


def test_faults_are_collected_by_node() -> None:
    g = Graph(300, 300, 64)
    g.pool(g.x, True, (200, 200), (100, 100), (1, 1, 0, 0))
    y = g.pool(g.x, True, (250, 250), (50, 50), (1, 1, 0, 0))
    with pytest.raises(UserError) as info:
        lower(g.module(y), passes=MAIN[:1])
    assert len(info.value.causes) == 2
    assert "node 'node1' (avg_pool): its smallest tile needs" in info.value.causes[0]
    assert "bytes of act; target 'esc1' has 131072" in info.value.causes[1]


def test_an_unread_input_is_named() -> None:
    g = Graph(4, 4, 4)
    module = g.module(g.conv(g.x, 4))
    function = main_function(module)
    block = function.body.block
    block.insert_arg(g.input_type, 1)
    with pytest.raises(UserError, match="input 'input1' must be read by one"):
        lower_function(module)


def lower_function(module: ModuleOp) -> None:
    from passes.tile_basis_first import TileBasisFirstPass

    TileBasisFirstPass().apply(Context(), module)
