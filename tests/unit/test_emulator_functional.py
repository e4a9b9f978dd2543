"""The functional machine against slow plain models, bit for bit, and everything that it must refuse to run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from emulator_programs import (
    OUT,
    Builder,
    Geometry,
    add_block,
    conv_program,
    identity_requant,
    nchw,
    requant_block,
    slow_conv,
    slow_esc,
    slow_requant,
    sparse,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.machine import Machine
from isa.errors import UserError
from isa.formats import PoolKind, Scratchpad, TensorFormat
from isa.levels import LEVELS, magnitudes
from isa.target import load_target

ESC1 = load_target()
SMALL_CHUNK = replace(ESC1, array=replace(ESC1.array, chunk=16))
FORMATS = list(TensorFormat)


@st.composite
def geometries(draw, max_c=80):
    r, s = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    return Geometry(
        max(1, r - pads[0], draw(st.integers(1, 6))),
        max(1, s - pads[1], draw(st.integers(1, 6))),
        draw(st.sampled_from([1, 3, 8, 16, 20, 64, 70])) if max_c > 64 else draw(st.integers(1, max_c)),
        r,
        s,
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
        pads,
        draw(st.integers(1, 12)),
    )


def requantisation(rng, kn):
    return rng.integers(-5000, 5000, kn), rng.integers(1 << 28, 1 << 30, kn), rng.integers(37, 41, kn)


def run(program, x):
    """Stored output [h, w, c] of one image."""
    return Machine(program).run([nchw(x)]).outputs[0][0].transpose(1, 2, 0)


cases = {
    "seed": st.integers(0, 1 << 30),
    "signed": st.booleans(),
    "fmt": st.sampled_from(FORMATS),
    "out_fmt": st.sampled_from(FORMATS),
    "target": st.sampled_from([ESC1, SMALL_CHUNK]),
    "segment": st.integers(1, 7),
}


@settings(max_examples=40, deadline=None)
@given(
    g=geometries(), v=st.integers(1, 8), shift=st.integers(0, 4), before=st.integers(0, 3),
    level=st.sampled_from(LEVELS), **cases,
)  # fmt: skip
def test_decomposed_convolution(g, v, shift, before, level, seed, signed, fmt, out_fmt, target, segment):
    rng = np.random.default_rng(seed)
    x = sparse(rng, (g.h, g.w, g.c), rng.random(), signed)
    t = (rng.integers(-1, 2, (g.kn, v, g.c)) * (rng.random((g.kn, v, g.c)) < rng.random())).astype(np.int8)
    t *= rng.choice(np.array(magnitudes(level), np.int8), t.shape)
    basis = rng.integers(-128, 128, (v, g.r, g.s)).astype(np.int8)
    q = requantisation(rng, g.kn)
    program = conv_program(
        g, "esc", {"t": t, "basis": basis}, v=v, ic_shift=shift, before=before, signed=signed, fmt=fmt, out_fmt=out_fmt,
        segment=segment, target=target, requant=requant_block(*q), lo=-128, hi=127, two_step=True,
    )  # fmt: skip
    want = slow_requant(slow_esc(x, t, basis, g, shift, target.array.ic_bits), *q, -128, 127)
    np.testing.assert_array_equal(run(program, x), want)


@pytest.mark.parametrize("channels, level", [(200, 1), (50, 4)])
def test_intermediate_values_saturate(channels, level):
    g = Geometry(2, 2, channels, 1, 1, 1, 1, (0, 0, 0, 0), 2)
    x = np.full((2, 2, channels), 255, np.uint8)
    t = np.full((2, 3, channels), level, np.int8)
    t[1] = -level
    basis = np.array([[[3]], [[-1]], [[1]]], np.int8)
    q = (np.zeros(2, int), np.full(2, 1 << 20), np.full(2, 30))
    program = conv_program(g, "esc", {"t": t, "basis": basis}, v=3, requant=requant_block(*q), lo=-128, hi=127)
    want = slow_requant(slow_esc(x, t, basis, g, 0, 16), *q, -128, 127)
    assert want[0, 0, 0] == round(3 * 32767 / 1024)
    np.testing.assert_array_equal(run(program, x), want)


@settings(max_examples=40, deadline=None)
@given(g=geometries(), **cases)
def test_dense_convolution(g, seed, signed, fmt, out_fmt, target, segment):
    rng = np.random.default_rng(seed)
    x = sparse(rng, (g.h, g.w, g.c), rng.random(), signed)
    groups = int(rng.choice([n for n in range(1, g.c + 1) if g.c % n == 0]))
    cpg, kpg = g.c // groups, -(-g.kn // groups)
    w = rng.integers(-128, 128, (g.kn, g.r, g.s, cpg)).astype(np.int8)
    q = requantisation(rng, g.kn)
    program = conv_program(
        g, "dense", {"w": w}, cpg=cpg, kpg=kpg, signed=signed, fmt=fmt, out_fmt=out_fmt, segment=segment, target=target,
        requant=requant_block(*q), lo=-128, hi=127, two_step=True,
    )  # fmt: skip
    np.testing.assert_array_equal(run(program, x), slow_requant(slow_conv(x, w, g, cpg, kpg), *q, -128, 127))


@settings(max_examples=30, deadline=None)
@given(g=geometries(), **cases)
def test_depthwise_convolution(g, seed, signed, fmt, out_fmt, target, segment):
    rng = np.random.default_rng(seed)
    x = sparse(rng, (g.h, g.w, g.c), rng.random(), signed)
    kpg = -(-g.kn // g.c)
    w = rng.integers(-128, 128, (g.kn, g.r, g.s, 1)).astype(np.int8)
    q = requantisation(rng, g.kn)
    program = conv_program(
        g, "dw", {"w": w}, kpg=kpg, signed=signed, fmt=fmt, out_fmt=out_fmt, segment=segment, target=target,
        requant=requant_block(*q), lo=-128, hi=127, two_step=True,
    )  # fmt: skip
    np.testing.assert_array_equal(run(program, x), slow_requant(slow_conv(x, w, g, 1, kpg), *q, -128, 127))


def test_large_sums_need_double_precision():
    """5000 products of 255 * 127 leave float32's 24 bits; an odd weight shows any rounding."""
    g = Geometry(1, 1, 5000, 1, 1, 1, 1, (0, 0, 0, 0), 1)
    x = np.full((1, 1, 5000), 255, np.uint8)
    w = np.full((1, 1, 1, 5000), 127, np.int8)
    w[0, 0, 0, 0] = 126
    acc = int(slow_conv(x, w, g, 5000, 1)[0, 0, 0])
    q = (np.array([100 - acc]), np.array([2]), np.array([1]))
    program = conv_program(g, "dense", {"w": w}, cpg=5000, kpg=1, requant=requant_block(*q))
    assert run(program, x)[0, 0, 0] == 100


def test_channel_tiles_accumulate():
    """A dense convolution in two steps over the input channels, reading a region of channels of a BITMAP tensor."""
    rng = np.random.default_rng(1)
    g = Geometry(3, 4, 100, 3, 3, 1, 1, (1, 1, 1, 1), 5)
    x = sparse(rng, (3, 4, 100), 0.6)
    w = rng.integers(-128, 128, (5, 3, 3, 100)).astype(np.int8)
    b = Builder()
    source, mid, y = b.tensor("x", 3, 4, 100), b.tensor("mid", 3, 4, 100, TensorFormat.BITMAP), b.tensor("y", 3, 4, 5)
    b.emit("load.act", source)
    b.emit("post.map", **g.tile, oh=3, ow=4, kn=100, sy=1, sx=1)
    b.emit("store.act", mid)
    q = requantisation(rng, 5)
    b.emit("load.bytes", dram=b.constant(requant_block(*q)), size=45, pad=Scratchpad.PAR, dst=0)
    at = 0
    for first, cn in ((0, 64), (64, 36)):
        part = np.ascontiguousarray(w[:, :, :, first : first + cn])
        b.emit("load.bytes", dram=b.constant(part.tobytes()), size=part.size, pad=Scratchpad.COEF, dst=at)
        b.emit("load.act", mid, c=first, cn=cn, act=16384)
        b.emit(
            "conv.dense", act=16384, ih=3, iw=4, ic=cn, **g.window, kt=5, kn=5, coef=at, cpg=cn, kpg=5, groups=1,
            accumulate=int(first > 0),
        )  # fmt: skip
        at += part.size
    b.emit("post.requant", oh=3, ow=4, kt=5, kn=5, lo=-128, hi=127)
    b.emit("store.act", y)
    program = b.finish([source], [replace(y, signed=True)])
    np.testing.assert_array_equal(run(program, x), slow_requant(slow_conv(x, w, g, 100, 5), *q, -128, 127))


def test_region_and_output_channel_tiles():
    """A region of a BITMAP tensor that cuts lines and chunks; output channels in two instructions on one PSUM tile."""
    rng = np.random.default_rng(2)
    x = sparse(rng, (6, 9, 130), 0.5)
    b = Builder()
    source, y = b.tensor("x", 6, 9, 130, segment=4), b.tensor("y", 3, 5, 40)
    mid = b.tensor("mid", 6, 9, 130, TensorFormat.BITMAP)
    b.emit("load.act", source)
    b.emit("post.map", ih=6, iw=9, ic=130, oh=6, ow=9, kn=130, sy=1, sx=1)
    b.emit("store.act", mid)
    b.emit("load.act", mid, y=2, x=3, c=64, h=3, w=5, cn=40)
    weights = np.eye(40, dtype=np.int8)
    b.emit("load.bytes", dram=b.constant(weights.tobytes()), size=1600, pad=Scratchpad.COEF, dst=0)
    b.emit("load.bytes", dram=b.constant(identity_requant(24)), size=9 * 24, pad=Scratchpad.PAR, dst=0)
    b.emit("load.bytes", dram=b.constant(identity_requant(16)), size=9 * 16, pad=Scratchpad.PAR, dst=512)
    unit = {"r": 1, "s": 1, "sy": 1, "sx": 1, "oh": 3, "ow": 5, "kt": 40}
    for k, kn, par in ((0, 24, 0), (24, 16, 512)):
        b.emit("conv.dense", ih=3, iw=5, ic=40, **unit, k=k, kn=kn, coef=40 * k, cpg=40, kpg=40, groups=1)
        b.emit("post.requant", oh=3, ow=5, kt=40, k=k, kn=kn, par=par, hi=255, out=OUT + k, out_c=40)
    b.emit("store.act", y)
    np.testing.assert_array_equal(run(b.finish([source], [y]), x), x[2:5, 3:8, 64:104])


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("lut", [False, True])
def test_requantise_with_table_and_residual(signed, lut):
    rng = np.random.default_rng(3)
    g = Geometry(4, 3, 6, 1, 1, 1, 1, (0, 0, 0, 0), 6)
    x = sparse(rng, (4, 3, 6), 0.7, signed)
    w = rng.integers(-128, 128, (6, 1, 1, 6)).astype(np.int8)
    q = requantisation(rng, 6)
    table = rng.integers(0, 256, 256).astype(np.uint8)
    ma, mb, shift = 1 << 14, 3 << 13, 15
    b = Builder()
    source, y = b.tensor("x", 4, 3, 6, signed=signed), b.tensor("y", 4, 3, 4, signed=True)
    b.emit("load.act", source)
    b.emit("load.bytes", dram=b.constant(w.tobytes()), size=w.size, pad=Scratchpad.COEF, dst=0)
    for data, at in (
        (requant_block(*q), 0),
        (add_block(ma, mb, -100, 90, shift), 100),
        (table.tobytes(), 128),
    ):
        b.emit("load.bytes", dram=b.constant(data), size=len(data), pad=Scratchpad.PAR, dst=at)
    b.emit("conv.dense", **g.tile, **g.window, kt=6, kn=6, cpg=6, kpg=6, groups=1, signed=signed)
    b.emit("load.bytes", dram=b.constant(requant_block(*(p[1:5] for p in q))), size=36, pad=Scratchpad.PAR, dst=0)
    b.emit(
        "post.requant", oh=4, ow=3, kt=6, k=1, kn=4, lo=-128, hi=127, lut=int(lut), table=128, add=1, res=2, res_c=6,
        res_signed=int(signed), q_signed=1, addpar=100,
    )  # fmt: skip
    b.emit("store.act", y)
    mid = slow_requant(slow_conv(x, w, g, 6, 6), *q, -128, 127)[:, :, 1:5]
    if lut:
        mid = table[mid & 255].view(np.int8).astype(np.int64)
    total = (mid * ma + x[:, :, 2:6].astype(np.int64) * mb + (1 << (shift - 1))) >> shift
    np.testing.assert_array_equal(run(b.finish([source], [y]), x), np.clip(total, -100, 90))


def test_add_of_tiles():
    rng = np.random.default_rng(4)
    a, c = sparse(rng, (3, 4, 70), 0.5, True), sparse(rng, (3, 4, 70), 0.5)
    ma, mb, shift = 5000, 7000, 13
    b = Builder()
    ta, tb = b.tensor("a", 3, 4, 70, signed=True), b.tensor("b", 3, 4, 70)
    y = b.tensor("y", 3, 4, 70, TensorFormat.BITMAP, signed=True)
    b.emit("load.act", ta)
    b.emit("load.act", tb, act=8192)
    block = add_block(ma, mb, -128, 127, shift)
    b.emit("load.bytes", dram=b.constant(block), size=13, pad=Scratchpad.PAR, dst=0)
    b.emit("post.add", signed=1, res=8192, oh=3, ow=4, kn=70)
    b.emit("store.act", y)
    out = Machine(b.finish([ta, tb], [y])).run([nchw(a), nchw(c)]).outputs[0][0].transpose(1, 2, 0)
    total = (a.astype(np.int64) * ma + c.astype(np.int64) * mb + (1 << (shift - 1))) >> shift
    np.testing.assert_array_equal(out, np.clip(total, -128, 127))


def test_map_moves_strides_and_looks_up():
    rng = np.random.default_rng(5)
    x = sparse(rng, (5, 6, 20), 0.6)
    table = rng.permutation(256).astype(np.uint8)
    b = Builder()
    source, y = b.tensor("x", 5, 6, 20), b.tensor("y", 4, 4, 24)
    b.emit("load.act", source)
    b.emit("load.bytes", dram=b.constant(table.tobytes()), size=256, pad=Scratchpad.PAR, dst=0)
    b.emit("post.map", ih=5, iw=6, ic=20, oh=4, ow=4, kn=24, sy=2, sx=2, dy=-1, dx=1, dc=-3, lut=1)
    b.emit("store.act", y)
    want = np.zeros((4, 4, 24), np.uint8)
    for i, j, k in np.ndindex(4, 4, 24):
        a, c, d = 2 * i - 1, 2 * j + 1, k - 3
        want[i, j, k] = x[a, c, d] if 0 <= a < 5 and 0 <= c < 6 and 0 <= d < 20 else 0
    np.testing.assert_array_equal(run(b.finish([source], [y]), x), table[want])


@pytest.mark.parametrize("kind", list(PoolKind))
@pytest.mark.parametrize("signed", [False, True])
def test_pooling(kind, signed):
    rng = np.random.default_rng(6)
    x = sparse(rng, (5, 6, 20), 0.6, signed)
    counted = {"bt": 1, "bl": 0, "bb": 1, "br": 1}
    mult = rng.integers(1 << 12, 1 << 13, 9)
    b = Builder()
    source, y = b.tensor("x", 5, 6, 20, signed=signed), b.tensor("y", 3, 3, 17, signed=signed)
    b.emit("load.act", source)
    b.emit("load.bytes", dram=b.constant(mult.astype("<i4").tobytes()), size=36, pad=Scratchpad.PAR, dst=0)
    lo, hi = (-128, 127) if signed else (0, 255)
    extra = {"count0": 1, "shift": 14, "lo": lo, "hi": hi, **counted} if kind is PoolKind.AVERAGE else {}
    b.emit(
        "post.pool", ih=5, iw=6, ic=20, r=3, s=3, sy=2, sx=2, pt=1, pl=1, kind=kind, oh=3, ow=3, cs=2, kn=17,
        signed=int(signed), **extra,
    )  # fmt: skip
    b.emit("store.act", y)
    want = np.zeros((3, 3, 17), np.int64)
    for i, j in np.ndindex(3, 3):
        top, left = 2 * i - 1, 2 * j - 1
        part = x[max(top, 0) : top + 3, max(left, 0) : left + 3, 2:19].astype(np.int64).reshape(-1, 17)
        if kind is PoolKind.MAX:
            want[i, j] = part.max(axis=0)
        else:
            n = sum(-1 <= a < 6 for a in range(top, top + 3)) * sum(0 <= c < 7 for c in range(left, left + 3))
            want[i, j] = np.clip((part.sum(axis=0) * mult[n - 1] + (1 << 13)) >> 14, lo, hi)
    np.testing.assert_array_equal(run(b.finish([source], [y]), x), want)


def simple_program(**options):
    g = Geometry(4, 5, 16, 3, 3, 1, 1, (1, 1, 1, 1), 8)
    rng = np.random.default_rng(7)
    constants = {"t": rng.integers(-1, 2, (8, 4, 16)).astype(np.int8), "basis": rng.integers(-9, 9, (4, 3, 3), np.int8)}
    program = conv_program(
        g, "esc", constants, v=4, requant=identity_requant(8, 8), fmt=TensorFormat.BITMAP, two_step=True, **options
    )
    return program, sparse(rng, (4, 5, 16), 0.5)


def test_a_batch_is_its_images():
    program, _ = simple_program()
    rng = np.random.default_rng(8)
    images = np.concatenate([nchw(sparse(rng, (4, 5, 16), d)) for d in (0.0, 0.3, 1.0)])
    machine = Machine(program)
    together = machine.run([images]).outputs[0]
    for i in range(3):
        np.testing.assert_array_equal(machine.run([images[i : i + 1]]).outputs[0][0], together[i])


def test_observer_sees_every_layer():
    program, x = simple_program(out_fmt=TensorFormat.BITMAP)
    seen = {}
    result = Machine(program).run([nchw(x)], observer=lambda layer, y: seen.update({layer.name: y.copy()}))
    np.testing.assert_array_equal(seen["copy"][0], x)
    np.testing.assert_array_equal(seen["conv"], result.outputs[0].transpose(0, 2, 3, 1))


def edited(program, index, **values):
    """The program with some fields of an instruction changed."""
    code = [replace(i, values=dict(i.values)) for i in program.instructions]
    code[index].values.update(values)
    return replace(program, instructions=tuple(code))


def find(program, mnemonic, which=0):
    return [i for i, ins in enumerate(program.instructions) if ins.spec.mnemonic == mnemonic][which]


def test_missing_wait_is_a_race():
    program, _ = simple_program()
    with pytest.raises(UserError, match=r"race: instruction \d+ 'conv\.esc .*act\["):
        Machine(edited(program, find(program, "conv.esc"), wait_load=0))


def test_reading_what_nothing_has_written():
    program, _ = simple_program()
    with pytest.raises(UserError, match=r"post\.requant .*reads par\[0x0\], which nothing has written"):
        Machine(edited(program, find(program, "load.bytes"), dst=2048))
    with pytest.raises(UserError, match=r"conv\.esc .*reads act\[0x2000\], which nothing has written"):
        Machine(edited(program, find(program, "conv.esc"), act=8192))
    with pytest.raises(UserError, match=r"load\.act .*reads dram\[.*which nothing has written"):
        Machine(edited(program, find(program, "store.act"), h=3))


def test_output_that_nothing_writes():
    program, _ = simple_program()
    index = find(program, "store.act", 1)
    with pytest.raises(UserError, match=r"output 'y': reads dram.* which nothing has written"):
        Machine(edited(program, index, w=4))


def test_constants_and_activations_stay_apart():
    program, _ = simple_program()
    program = replace(program, rodata=program.rodata.ljust(4096, b"\0"))
    with pytest.raises(UserError, match=r"load\.act .*reads DRAM .*not all of it in the arena"):
        Machine(edited(program, find(program, "load.act"), dram=0))
    with pytest.raises(UserError, match=r"load\.bytes .*reads DRAM .*not all of it in constants"):
        Machine(edited(program, find(program, "load.bytes"), dram=program.arena_base))


def test_out_of_bounds():
    program, _ = simple_program()
    with pytest.raises(UserError, match=r"PSUM is touched up to byte"):
        Machine(edited(program, find(program, "conv.esc"), psum=32760))
    with pytest.raises(UserError, match=r"writes DRAM .*not all of it in the arena"):
        Machine(edited(program, find(program, "store.act"), dram=program.arena_base + program.arena_bytes))


def test_malformed_coefficients():
    program, x = simple_program()
    machine = Machine(
        edited(program, find(program, "conv.esc"), size=program.instructions[find(program, "conv.esc")]["size"] - 1)
    )
    with pytest.raises(UserError, match=r"instruction \d+ 'conv\.esc .*"):
        machine.run([nchw(x)])


def test_a_level_that_the_array_does_not_compute():
    g = Geometry(4, 5, 16, 3, 3, 1, 1, (1, 1, 1, 1), 8)
    constants = {"t": np.full((8, 2, 16), 4, np.int8), "basis": np.ones((2, 3, 3), np.int8)}
    target = replace(ESC1, array=replace(ESC1.array, coefficient_level=2))
    with pytest.raises(UserError, match="level=2 stands for magnitudes up to 4; the array computes those up to 2"):
        Machine(conv_program(g, "esc", constants, v=2, target=target))


def test_malformed_bitmaps():
    """A line read with fewer channels than it was written with has bits beyond them."""
    program, _ = simple_program()
    code = edited(program, find(program, "load.act", 1), tensor_c=12, cn=12)
    code = edited(code, find(code, "conv.esc"), ic=12)
    x = np.full((4, 5, 16), 7, np.uint8)
    with pytest.raises(UserError, match="bits beyond its channels"):
        Machine(code).run([nchw(x)])


def test_partial_sums_must_fit_int32():
    g = Geometry(1, 1, 255, 1, 1, 1, 1, (0, 0, 0, 0), 1)
    b = Builder()
    source, y = b.tensor("x", 1, 1, 255), b.tensor("y", 1, 1, 1)
    weights = np.full(255, 127, np.int8)
    b.emit("load.act", source)
    b.emit("load.bytes", dram=b.constant(weights.tobytes()), size=255, pad=Scratchpad.COEF, dst=0)
    b.emit("load.bytes", dram=b.constant(identity_requant(1)), size=9, pad=Scratchpad.PAR, dst=0)
    for i in range(300):
        values = {"kt": 1, "kn": 1, "cpg": 255, "kpg": 1, "groups": 1, "accumulate": int(i > 0)}
        b.emit("conv.dense", **g.tile, **g.window, **values)
    b.emit("post.requant", oh=1, ow=1, kt=1, kn=1, hi=255)
    b.emit("store.act", y)
    machine = Machine(b.finish([source], [y]))
    assert machine.run([np.full((1, 255, 1, 1), 200.0)]).outputs[0].item() == 255
    with pytest.raises(UserError, match=r"conv\.dense .*: a partial sum leaves int32"):
        machine.run([np.full((1, 255, 1, 1), 255.0)])


def test_depthwise_parts_accumulate():
    """A depthwise 5x3 convolution in parts of rows 0..1 and 2..4; the second reads the partial sums of the first."""
    rng = np.random.default_rng(3)
    g = Geometry(6, 5, 16, 5, 3, 1, 1, (2, 1, 2, 1), 16)
    x = sparse(rng, (6, 5, 16), 0.7)
    w = rng.integers(-128, 128, (16, 5, 3, 1)).astype(np.int8)
    q = requantisation(rng, 16)
    b = Builder()
    source, y = b.tensor("x", 6, 5, 16), b.tensor("y", 6, 5, 16)
    b.emit("load.act", source)
    b.emit("load.bytes", dram=b.constant(requant_block(*q)), size=16 * 9, pad=Scratchpad.PAR, dst=0)
    for first, rows in ((0, 2), (2, 3)):
        part = np.ascontiguousarray(w[:, first : first + rows])
        b.emit("load.bytes", dram=b.constant(part.tobytes()), size=part.size, pad=Scratchpad.COEF, dst=first * 1024)
        window = {**g.window, "r": rows, "pt": 2 - first}
        sums = {"kt": 16, "kn": 16, "kpg": 1, "accumulate": int(first > 0)}
        b.emit("conv.dw", **g.tile, **window, **sums, coef=first * 1024)
    b.emit("post.requant", oh=6, ow=5, kt=16, kn=16, lo=-128, hi=127)
    b.emit("store.act", y)
    got = run(b.finish([source], [replace(y, signed=True)]), x)
    np.testing.assert_array_equal(got, slow_requant(slow_conv(x, w, g, 1, 1), *q, -128, 127))


def test_depthwise_partial_sums_must_fit_int32():
    b = Builder()
    source, y = b.tensor("x", 255, 255, 1), b.tensor("y", 1, 1, 1)
    weights = np.full(255 * 100, 127, np.int8)
    b.emit("load.act", source, h=100)
    b.emit("load.bytes", dram=b.constant(weights.tobytes()), size=weights.size, pad=Scratchpad.COEF, dst=0)
    b.emit("load.bytes", dram=b.constant(identity_requant(1)), size=9, pad=Scratchpad.PAR, dst=0)
    window = {"ih": 100, "iw": 255, "ic": 1, "r": 100, "s": 255, "sy": 1, "sx": 1, "oh": 1, "ow": 1}
    for i in range(3):
        b.emit("conv.dw", **window, kt=1, kn=1, kpg=1, accumulate=int(i > 0))
    b.emit("post.requant", oh=1, ow=1, kt=1, kn=1, hi=255)
    b.emit("store.act", y)
    machine = Machine(b.finish([source], [y]))
    assert machine.run([np.full((1, 1, 255, 255), 200.0)]).outputs[0].item() == 255
    with pytest.raises(UserError, match=r"conv\.dw .*: a partial sum leaves int32"):
        machine.run([np.full((1, 1, 255, 255), 255.0)])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 5, 4, 16)), r"input 'x': shape \[1, 5, 4, 16\] does not fit; requires \[N, 16, 4, 5\]"),
        (np.zeros((1, 16, 4, 5), complex), "requires numbers"),
        (np.full((1, 16, 4, 5), np.nan), "NaN"),
    ],
)
def test_wrong_inputs(x, message):
    with pytest.raises(UserError, match=message):
        Machine(simple_program()[0]).run([x])


def test_sample():
    program, x = simple_program()
    with pytest.raises(UserError, match="embedded sample: this binary has none"):
        Machine(program).run_sample()
    machine = Machine(replace(program, sample=x.tobytes()))
    np.testing.assert_array_equal(machine.run_sample().outputs[0], machine.run([nchw(x)]).outputs[0])
