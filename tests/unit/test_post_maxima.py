"""`post.maxima`: rules, results, cycles and counts; which poolings become one with the convolution before them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulator_programs import Builder, Geometry, nchw, requant_block, slow_conv, slow_requant, sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_programs import problems_of
from tile_models import MAIN, Graph, lower
from xdsl.dialects.builtin import ModuleOp

from dialects.eisa import to_program
from dialects.esc import shape_of
from dialects.interpreters.run import run_module
from emulator.machine import Machine
from isa.counts import Count
from isa.formats import Scratchpad
from isa.instructions import post_requant
from isa.instructions.post_maxima import counts, cycles
from isa.program import Program
from isa.table import make
from isa.target import load_target
from passes.tiling.bfs_module import bfs_program

TARGET = load_target()
LEGAL = {
    "oh": 4, "ow": 6, "kt": 16, "kn": 16, "r": 2, "s": 3, "out": 65536, "out_w": 2, "out_c": 16, "lo": -128, "hi": 127,
}  # fmt: skip
problems = problems_of("post.maxima", LEGAL)


def test_legal() -> None:
    assert problems() == problems(r=4, s=2, out_w=3) == problems(k=3, kn=13, lut=1, table=1024) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"r": 3}, "oh=4 and ow=6 are not whole windows of r=3 rows and s=3 columns"),
        ({"s": 4}, "oh=4 and ow=6 are not whole windows of r=2 rows and s=4 columns"),
        ({"r": 0}, "r must be positive"),
        ({"k": 1}, "channels 1..16 exceed kt=16"),
        ({"psum": 2}, "psum=0x2 is not a multiple of 4"),
        ({"lo": 1, "hi": 0}, "lo=1 exceeds hi=0"),
        ({"out_w": 1}, "rows or positions of the tile at out overlap"),
        ({"out": 131072 - 63}, "ACT is touched up to byte 0x20001, it has 0x20000"),
    ],
)
def test_one_rule(changes: dict[str, int], problem: str) -> None:
    assert problems(**changes) == [problem]


def requantisation(rng: np.random.Generator, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bias, multiplier and shift of channels, so that results spread over the range of 8 bits."""
    return rng.integers(-500, 500, k), rng.integers(1 << 20, 1 << 22, k), rng.integers(24, 30, k)


# One instruction -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 3), columns=st.integers(1, 3), r=st.integers(1, 4), s=st.integers(1, 4),
    first=st.integers(0, 5), kn=st.integers(1, 40), lut=st.booleans(), signed=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_results_are_maxima_of_what_is_requantised(rows, columns, r, s, first, kn, lut, signed, seed):
    """Of some of the channels of a tile of partial sums; the output tile has gaps."""
    rng = np.random.default_rng(seed)
    h, w, k = rows * r, columns * s, first + kn + 2
    g = Geometry(h, w, 6, 1, 1, 1, 1, (0, 0, 0, 0), k)
    x = sparse(rng, (h, w, 6), 0.7, True)
    weights = rng.integers(-128, 128, (k, 1, 1, 6)).astype(np.int8)
    q, table = requantisation(rng, k), rng.integers(0, 256, 256).astype(np.uint8)
    b = Builder()
    source, y = b.tensor("x", h, w, 6, signed=True), b.tensor("y", rows, columns, kn, signed=signed)
    b.emit("load.act", source)
    b.emit("load.bytes", dram=b.constant(weights.tobytes()), size=weights.size, pad=Scratchpad.COEF, dst=0)
    block = requant_block(*(p[first : first + kn] for p in q))
    for data, at in ((block, 0), (table.tobytes(), 512)):
        b.emit("load.bytes", dram=b.constant(data), size=len(data), pad=Scratchpad.PAR, dst=at)
    b.emit("conv.dense", **g.tile, **g.window, kt=k, kn=k, cpg=6, kpg=k, groups=1, signed=1)
    low, high = (-128, 127) if signed else (0, 255)
    b.emit(
        "post.maxima", oh=h, ow=w, kt=k, k=first, kn=kn, r=r, s=s, lo=low, hi=high, lut=int(lut), table=512,
        q_signed=int(signed), out_w=columns + 1, out_c=kn + 3,
    )  # fmt: skip
    b.emit("store.act", y, act_w=columns + 1, act_c=kn + 3)
    got = Machine(b.finish([source], [y])).run([nchw(x)]).outputs[0][0].transpose(1, 2, 0)
    values = slow_requant(slow_conv(x, weights, g, 6, k), *q, low, high)[:, :, first : first + kn]
    if lut:
        values = table[values & 255].view(np.int8 if signed else np.uint8).astype(np.int64)
    want = values.reshape(rows, r, columns, s, kn).max((1, 3))
    np.testing.assert_array_equal(got, want)


def test_cycles_are_those_of_the_requantisation_and_a_window_is_written_once() -> None:
    shared = {"oh": 4, "ow": 6, "kt": 48, "kn": 48, "out": 0, "out_w": 6, "out_c": 48, "lo": 0, "hi": 255}
    plain = make("post.requant", **shared).values
    v = make("post.maxima", **shared, r=2, s=3).values
    assert cycles(v, TARGET) == post_requant.cycles(plain, TARGET)
    counted, whole = counts(v, TARGET), post_requant.counts(plain, TARGET)
    assert counted[Count.ACT_WRITE] == 4 * 48 and whole[Count.ACT_WRITE] == 24 * 48
    assert counted[Count.POST_ADD_INT8] - whole[Count.POST_ADD_INT8] == (24 - 4) * 48
    for count in (Count.PSUM_READ, Count.PAR_READ, Count.POST_ADD_INT32, Count.POST_MUL_INT32):
        assert counted[count] == whole[count] > 0


# Networks ------------------------------------------------------------------------------------------------------------


def kinds(module: ModuleOp, target: str = "esc1") -> list[str]:
    return [layer.kind.data for layer in bfs_program(lower(module, target, MAIN[:1])).layers]


def used(program: Program) -> set[str]:
    return {instruction.spec.mnemonic for instruction in program.instructions}


def pooled(kernel=(2, 2), strides=(2, 2), pads=(0, 0, 0, 0), ceil=(0, 0), h=12, w=10, **options) -> ModuleOp:
    g = Graph(h, w, 8)
    return g.module(g.conv(g.pool(g.conv(g.x, 16, **options), False, kernel, strides, pads, ceil), 8))


def test_a_maximum_of_windows_side_by_side_has_no_layer() -> None:
    for module in (pooled(), pooled((3, 5), (3, 5)), pooled((2, 2), (2, 2), h=13, w=11), pooled(table=True)):
        assert kinds(module) == ["dense", "dense"]
    assert kinds(pooled(groups=8)) == ["depthwise", "dense"]
    program = to_program(lower(pooled()))
    assert "post.maxima" in used(program) and "post.pool" not in used(program)


def test_other_poolings_have() -> None:
    overlapping, padded = pooled((3, 3), (2, 2)), pooled(pads=(1, 1, 1, 1))
    cut = pooled(h=13, w=11, ceil=(1, 1))
    g = Graph(12, 12, 8)
    a = g.conv(g.x, 16)
    residual = g.module(g.pool(g.conv(a, 16, residual=a), False, (2, 2), (2, 2)))
    assert [kinds(module)[1] for module in (overlapping, padded, cut)] == ["pool"] * 3
    assert kinds(residual)[-1] == "pool"
    g = Graph(12, 12, 8)
    a = g.conv(g.x, 16)
    assert kinds(g.module(g.pool(a, False, (2, 2), (2, 2)), a)) == ["dense", "pool"]
    g = Graph(12, 12, 8)
    a = g.conv(g.x, 16)
    assert kinds(g.module(g.pool(a, True, (2, 2), (2, 2)))) == ["dense", "pool"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("targets")


def test_a_window_that_partial_sums_have_no_room_for_is_pooled_by_itself(folder: Path) -> None:
    narrow = folder / "narrow.toml"
    narrow.write_text('base = "esc1"\nname = "narrow"\n[scratchpad]\npsum = 320\n')
    module = pooled((12, 10), (12, 10))
    assert kinds(pooled(), str(narrow)) == ["dense", "dense"]
    assert kinds(module, str(narrow)) == ["dense", "pool", "dense"]
    assert kinds(module) == ["dense", "dense"]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_bit_is_that_of_the_interpreter(folder: Path, data: st.DataObject) -> None:
    """Chains of convolutions and poolings, with a part of a concatenation now and then, on machines of many sizes."""
    draw = data.draw
    g = Graph(draw(st.integers(6, 30)), draw(st.integers(6, 30)), draw(st.integers(1, 20)), draw(st.booleans()),
              draw(st.integers(0, 1 << 20)))  # fmt: skip
    x = g.x
    for _ in range(draw(st.integers(1, 3))):
        _, h, w, c = shape_of(x)
        kernel = draw(st.sampled_from([1, 3]))
        sort = draw(st.sampled_from(["dense", "depthwise", "decomposed"]))
        k = c if sort == "depthwise" else draw(st.integers(1, 70))
        window = {"kernel": (kernel, kernel), "pads": (kernel // 2,) * 4, "strides": (draw(st.integers(1, 2)),) * 2}
        signed = draw(st.booleans())
        if sort == "decomposed":
            y = g.decomposed(x, k, draw(st.integers(1, 6)), **window, signed=signed)
        else:
            groups = c if sort == "depthwise" else 1
            y = g.conv(x, k, **window, groups=groups, signed=signed, table=draw(st.booleans()))
        _, h, w, _ = shape_of(y)
        pool = draw(st.integers(1, min(4, h))), draw(st.integers(1, min(4, w)))
        z = g.pool(y, False, pool, pool)
        other = g.pool(y, False, pool, pool) if draw(st.booleans()) else None
        x = z if other is None else g.concat(z, other)
    module = g.module(x)
    target = folder / "random.toml"
    act, psum = draw(st.sampled_from([3000, 8192, 32768, 131072])), draw(st.sampled_from([1024, 4096, 32768]))
    blocks = draw(st.sampled_from([3, 8, 32]))
    target.write_text(
        f'base = "esc1"\nname = "random"\n[array]\nblocks = {blocks}\n[scratchpad]\nact = {act}\npsum = {psum}\n'
    )
    program = to_program(lower(module.clone(), str(target)))
    port = program.inputs[0]
    low, high = (-128, 128) if port.tensor.signed else (0, 256)
    images = np.random.default_rng(3).integers(low, high, (2, *port.shape[1:])).astype(np.float32)
    for want, got in zip(run_module(module, [images]), Machine(program).run([images]).outputs, strict=True):
        np.testing.assert_array_equal(want, got)


def test_bands_of_rows_read_and_write_maxima(folder: Path) -> None:
    """Two convolutions with poolings side by side, whose tensors do not fit ACT."""
    small = folder / "bands.toml"
    small.write_text('base = "esc1"\nname = "bands"\n[scratchpad]\nact = 12000\n')

    def module() -> ModuleOp:
        g = Graph(48, 40, 8)
        a = g.pool(g.conv(g.x, 24), False, (2, 2), (2, 2))
        b = g.pool(g.conv(a, 32), False, (2, 2), (2, 2))
        return g.module(g.conv(b, 8, strides=(2, 2)))

    lowered = lower(module(), str(small), MAIN[:2])
    together = [group for group in bfs_program(lowered).groups if len(group) > 1]
    assert together
    program = to_program(lower(module(), str(small)))
    assert "post.maxima" in used(program)
    x = np.random.default_rng(1).integers(-128, 128, (2, *program.inputs[0].shape[1:])).astype(np.float32)
    for want, got in zip(run_module(module(), [x]), Machine(program).run([x]).outputs, strict=True):
        np.testing.assert_array_equal(want, got)


def test_macs_are_those_of_the_whole_convolution() -> None:
    """Positions that no window has are not computed, but they are work that the network names."""
    program = to_program(lower(pooled(h=13, w=11)))
    assert program.layers[0].macs == 13 * 11 * 16 * 9 * 8
