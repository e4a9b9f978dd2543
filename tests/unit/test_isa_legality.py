"""Rules of instructions and programs: each broken on its own."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from isa_programs import small_program, with_instruction

from isa.declaration import InstructionSpec
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.legality import check_instruction, check_program
from isa.program import Program
from isa.table import OWN_INSTRUCTIONS, make
from isa.target import load_target

TARGET = load_target()

REGION = {"dram": 4096, "tensor_w": 8, "tensor_c": 128, "h": 2, "w": 4, "cn": 64}
BITMAP = {**REGION, "format": 1, "segment": 4}
ACT = {"act_w": 4, "act_c": 16, "ih": 4, "iw": 4, "ic": 16}
WINDOW = {"r": 3, "s": 3, "sy": 1, "sx": 1, "pt": 1, "pl": 1}
PSUM = {"oh": 4, "ow": 4, "kt": 16, "kn": 16}
OUT = {"out": 65536, "out_w": 4, "out_c": 16}
POOL = {**ACT, **WINDOW, "oh": 4, "ow": 4, "kn": 16, **OUT}
AVERAGE = {**POOL, "kind": 1, "count0": 4, "shift": 8, "lo": 0, "hi": 255}
LEGAL: dict[str, dict[str, int]] = {
    "load.act": {**BITMAP, "act_w": 4, "act_c": 64},
    "load.coef": {"size": 9},
    "load.bytes": {"size": 9},
    "load.par": {"size": 9, "kn": 4, "block": 2},
    "load.weights": {"size": 9, "count": 20},
    "conv.dense": {**ACT, **WINDOW, **PSUM, "cpg": 16, "kpg": 16, "groups": 1},
    "conv.dw": {**ACT, **WINDOW, **PSUM, "kpg": 1},
    "conv.esc": {**ACT, **WINDOW, **PSUM, "size": 9, "v": 6, "groups": 1},
    "post.requant": {**PSUM, **OUT, "lo": -128, "hi": 127, "add": 1, "res_w": 4, "res_c": 32},
    "post.add": {"act_w": 4, "act_c": 16, "res_w": 4, "res_c": 16, "oh": 4, "ow": 4, "kn": 16, **OUT},
    "post.mul": {"act_w": 4, "act_c": 16, "res_w": 4, "res_c": 16, "oh": 4, "ow": 4, "kn": 16, **OUT},
    "post.map": {**ACT, "oh": 4, "ow": 4, "kn": 16, "sy": 1, "sx": 1, "dc": -3, **OUT},
    "post.pool": AVERAGE,
    "store.act": {**BITMAP, "act_w": 4, "act_c": 64},
    "end": {},
}


def problems(mnemonic: str, **changes: int) -> list[str]:
    return check_instruction(make(mnemonic, **{**LEGAL[mnemonic], **changes}), TARGET)


@pytest.mark.parametrize("mnemonic", LEGAL)
def test_legal(mnemonic: str) -> None:
    assert problems(mnemonic) == []


@pytest.mark.parametrize("spec", OWN_INSTRUCTIONS, ids=lambda s: s.mnemonic)
def test_rules_are_broken_here_or_in_a_file_of_the_instruction(spec: InstructionSpec) -> None:
    own = Path(__file__).with_name(f"test_{spec.mnemonic.replace('.', '_')}.py")
    assert spec.mnemonic in LEGAL or re.search("check_instruction|problems_of", own.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("mnemonic", "changes", "problem"),
    [
        ("load.act", {"dram": 4097}, "dram=0x1001 is not a multiple of 64"),
        ("load.act", {"h": 0}, "h must be positive"),
        ("load.act", {"segment": 0}, "segment must be positive"),
        ("load.act", {"x": 5}, "the region exceeds the tensor"),
        ("load.act", {"c": 65}, "the region exceeds the tensor"),
        ("load.act", {"c": 8}, "c=8 is not a multiple of the chunk, 64"),
        ("load.act", {"act": 131072 - 511}, "ACT is touched up to byte 0x20001, it has 0x20000"),
        ("load.coef", {"size": 0}, "size must be positive"),
        ("load.coef", {"coef": 32768 - 7}, "COEF is touched up to byte 0x8002, it has 0x8000"),
        ("load.bytes", {"size": 0}, "size must be positive"),
        ("load.bytes", {"pad": 1, "dst": 4090}, "PAR is touched up to byte 0x1003, it has 0x1000"),
        ("load.weights", {"count": 0}, "count must be positive"),
        ("load.weights", {"dst": 32750}, "COEF is touched up to byte 0x8002, it has 0x8000"),
        ("load.par", {"kn": 0}, "kn must be positive"),
        ("load.par", {"block": 0}, "block must be positive"),
        ("load.par", {"dst": 4061}, "PAR is touched up to byte 0x1001, it has 0x1000"),
        ("conv.dense", {"groups": 0}, "groups must be positive"),
        ("conv.dense", {"groups": 33}, "groups=33 exceed the 32 blocks"),
        ("conv.dense", {"psum": 2}, "psum=0x2 is not a multiple of 4"),
        ("conv.dense", {"k": 1}, "channels 1..16 exceed kt=16"),
        ("conv.dense", {"cs": 1}, "channels 1..16 exceed ic=16"),
        ("conv.dense", {"kpg": 8}, "channels 0..31 exceed ic=16"),
        ("conv.dense", {"psum": 32768 - 1020}, "PSUM is touched up to byte 0x8004, it has 0x8000"),
        ("conv.dw", {"kpg": 0}, "kpg must be positive"),
        ("conv.dw", {"cs": 1}, "channels 1..16 exceed ic=16"),
        ("conv.esc", {"groups": 33}, "groups=33 exceed the 32 blocks"),
        ("conv.esc", {"v": 0}, "v must be positive"),
        ("conv.esc", {"size": 0}, "size must be positive"),
        ("conv.esc", {"coef": 32768 - 8}, "COEF is touched up to byte 0x8001, it has 0x8000"),
        ("conv.esc", {"ic": 3073}, "ic=3073 takes 3136 coefficient registers; a block has 3072 at level=0"),
        ("conv.esc", {"ic": 2049, "level": 1}, "ic=2049 takes 2112 coefficient registers; a block has 2048 at level=1"),
        (
            "conv.esc",
            {"level": 3},
            "level=3 stands for magnitudes up to 8; the array computes those up to 4",
        ),
        ("conv.esc", {"level": 1, "common": 2}, "common=2 exceeds level=1"),
        ("conv.esc", {"basis": 4096}, "PAR is touched up to byte 0x1036, it has 0x1000"),
        ("post.requant", {"lo": 127, "hi": -1}, "lo=127 exceeds hi=-1"),
        ("load.act", {"act_w": 3}, "rows or positions of the tile at act overlap"),
        ("conv.dense", {"act_c": 15}, "rows or positions of the tile at act overlap"),
        ("conv.dw", {"act_w": 3}, "rows or positions of the tile at act overlap"),
        ("conv.esc", {"act_w": 3}, "rows or positions of the tile at act overlap"),
        ("post.requant", {"res_c": 15}, "rows or positions of the tile at res overlap"),
        ("post.requant", {"out": 16}, "the output tile overlaps a tile that is read"),
        ("post.add", {"res": 65537}, "the output tile overlaps a tile that is read"),
        ("post.mul", {"res_c": 15}, "rows or positions of the tile at res overlap"),
        ("post.mul", {"res": 65536, "one_row": 1}, "the output tile overlaps a tile that is read"),
        ("post.map", {"out": 255}, "the output tile overlaps a tile that is read"),
        ("post.pool", {"out": 0}, "the output tile overlaps a tile that is read"),
        ("post.requant", {"out_c": 15}, "rows or positions of the tile at out overlap"),
        ("post.requant", {"out_w": 3}, "rows or positions of the tile at out overlap"),
        ("post.add", {"out_w": 3}, "rows or positions of the tile at out overlap"),
        ("post.map", {"sy": 0}, "sy must be positive"),
        ("post.map", {"out": 131072 - 255}, "ACT is touched up to byte 0x20001, it has 0x20000"),
        ("post.pool", {"cs": 1}, "channels 1..16 exceed ic=16"),
        ("post.pool", {"shift": 0}, "shift=0 is not in [1, 62]"),
        ("post.pool", {"count0": 5}, "a window counts 4 positions, fewer than 5"),
        ("post.pool", {"count0": 0, "pt": 3}, "a window counts 0 positions, fewer than 1"),
        ("post.pool", {"kind": 0, "pt": 3}, "a window holds no position of the tile"),
        ("post.pool", {"lo": 1, "hi": 0}, "lo=1 exceeds hi=0"),
        ("store.act", {"x": 2}, "the region must cover whole segments"),
        ("store.act", {"cn": 40}, "the region must cover whole chunks"),
        ("store.act", {"act_c": 63}, "rows or positions of the tile at act overlap"),
    ],
)
def test_broken_rule(mnemonic: str, changes: dict[str, int], problem: str) -> None:
    assert problem in problems(mnemonic, **changes)


def test_an_addition_may_replace_one_of_its_tiles() -> None:
    assert problems("post.add", res=65536) == []
    assert problems("post.mul", res=65536) == []
    assert problems("post.mul", act=65536) == []
    assert problems("post.mul", res_w=1, res_c=1, one_row=1, one_column=1, one_channel=1) == []
    assert problems("post.requant", res=65536, res_c=16) == []


def test_counted_padding_makes_windows_count() -> None:
    assert problems("post.pool", count0=9, bt=1, bl=1, bb=1, br=1) == []


def test_raw_tensors_may_begin_at_any_channel() -> None:
    assert problems("load.act", format=0, c=8, segment=0) == []


def test_the_small_program_is_legal() -> None:
    check_program(small_program())


def tensor(program: Program, **changes: Any) -> Program:
    port = program.inputs[0]
    return replace(program, inputs=(replace(port, tensor=replace(port.tensor, **changes)),))


def port(program: Program, **changes: Any) -> Program:
    return replace(program, inputs=(replace(program.inputs[0], **changes),))


def layer(program: Program, index: int, **changes: Any) -> Program:
    layers = list(program.layers)
    layers[index] = replace(layers[index], **changes)
    return replace(program, layers=tuple(layers))


P = small_program()


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (replace(P, instructions=P.instructions[:-1]), "'end' must be the last"),
        (replace(P, instructions=(*P.instructions, P.instructions[-1])), "'end' must be the last"),
        (replace(P, instructions=(P.instructions[-1], *P.instructions)), "'end' must be the last"),
        (replace(P, instructions=()), "'end' must be the last"),
        (with_instruction(P, 0, size=201), "not all of it in constants [0x0, 0xc8)"),
        (with_instruction(P, 5, dram=0), "writes DRAM [0x0, 0x80), not all of it in the arena"),
        (with_instruction(P, 5, dram=4096 + 1024), "not all of it in the arena"),
        (
            with_instruction(P, 2, dram=4096 + 1024),
            "reads DRAM [0x1400, 0x1440), not all of it in the arena [0x1000, 0x1400)",
        ),
        (with_instruction(P, 2, dram=0), "reads DRAM [0x0, 0x40), not all of it in the arena"),
        (with_instruction(P, 2, act=131040), "ACT is touched up to byte"),
        (with_instruction(P, 3, wait_load=7), "waits for load>=7"),
        (replace(P, arena_bytes=2 << 30), "bytes of DRAM"),
        (replace(P, arena_bytes=-1), "bytes of DRAM"),
        (layer(P, 0, start=1), "expected a range from 0"),
        (layer(P, 0, end=5), "expected a range from 5"),
        (layer(P, 1, end=3), "expected a range from 6"),
        (layer(P, 1, end=8), "layers cover 8 of 11 instructions"),
        (layer(P, 0, rodata=((190, 11),)), "lie outside .rodata"),
        (layer(P, 0, rodata=((-1, 1),)), "lie outside .rodata"),
        (layer(P, 0, macs=-1), "must not be negative"),
        (tensor(P, address=4100), "address 0x1004 is not a multiple of 64"),
        (tensor(P, address=0), "lie outside the arena"),
        (tensor(P, address=4096 + 960), "lie outside the arena"),
        (tensor(P, h=0), "extents must be positive"),
        (tensor(P, scale=0.0), "scale must be in 1e-45..1e+36, found 0.0"),
        (tensor(P, scale=float("nan")), "scale must be in"),
        (tensor(P, scale=1e-46), "scale must be in"),
        (tensor(P, scale=1e37), "scale must be in"),
        (tensor(P, format=TensorFormat.BITMAP), "segment 0"),
        (tensor(P, format=TensorFormat.BITMAP, segment=4), "must be a RAW tensor"),
        (port(P, shape=(1, 8, 4, 5)), "shape [1, 8, 4, 5] does not fit"),
        (port(P, shape=()), "shape [] does not fit the tensor 4x4x8 of one image"),
        (port(P, shape=(-1, 8, -4, 4)), "shape must be at most 16 positive extents, found [-1, 8, -4, 4]"),
        (port(P, shape=(1,) * 14 + (8, 4, 4)), "shape must be at most 16 positive extents"),
        (port(P, shape=(2, 64)), "requires a shape [1, ...], without Softmax and ArgMax"),
        (port(P, shape=(2, 32)), "shape [2, 32] does not fit the tensor 4x4x8 of one image"),
        (port(P, view=(8, 8), perm=(0, 1)), "view [8, 8] does not fit the tensor 4x4x8 of one image"),
        (port(P, view=(8, 16), perm=(1, 1)), "perm [1, 1] is no permutation of the axes of view [8, 16]"),
        (port(P, view=(8, 16), perm=(1, 0)), "mean, std and channel order need the shape of an image, [1, 8, 4, 4]"),
        (port(P, view=(8, 4, 4), perm=(1, 2, 0)), "need the shape of an image, [1, 4, 4, 8]"),
        (port(P, logarithm=True), "logarithm is set, but the output has no Softmax"),
        (port(P, softmax_axis=4), "softmax axis 4 is outside rank 4"),
        (port(P, softmax_axis=0), "a Softmax over axis 0 would mix images; requires another axis"),
        (port(P, softmax_axis=-1), "softmax axis -1 is outside rank 4"),
        (port(P, mean=(1.0,)), "mean and std must have 8 values"),
        (port(P, std=(0.0,) * 8), "the size of std must be in 1e-30..1e+30"),
        (port(P, std=(1e-31,) * 8), "the size of std must be in"),
        (port(P, mean=(float("inf"),) * 8), "mean must be in -1e+30..1e+30"),
        (port(P, mean=(float("nan"),) * 8), "mean must be in"),
        (port(P, shape=(1, 4, 4, 8), std=(1.0,) * 8), "need the shape of an image, [1, 8, 4, 4]"),
        (port(P, shape=(1, 4, 4, 8), channel_order="rgb"), "need the shape of an image"),
        (port(P, channel_order="hsv"), "neither 'rgb' nor 'bgr'"),
        (replace(P, outputs=P.outputs * 2), "two outputs are named 'scores é'"),
        (replace(P, sample=bytes(127)), "the sample has 127 bytes; the inputs take 128"),
    ],
)
def test_broken_program(program: Program, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        check_program(program)
    assert any(problem in cause for cause in caught.value.causes), caught.value.causes


def test_all_faults_are_listed_with_the_instruction() -> None:
    program = with_instruction(with_instruction(P, 2, act=131040), 4, lo=5, hi=4)
    with pytest.raises(UserError) as caught:
        check_program(program)
    assert [cause.split(":")[0] for cause in caught.value.causes] == [
        "instruction 2 'load.act dram=0x1000, format=raw, tensor_w=4, tensor_c=8, h=2, w=4, cn=8, act=0x1ffe0, "
        "act_w=4, act_c=8 ; signal'",
        "instruction 4 'post.requant oh=2, ow=4, kt=8, kn=8, out=0x1000, out_w=4, out_c=8, lo=5, hi=4 "
        "; wait load>=1, compute>=1, signal'",
    ]


def test_end_may_stand_outside_the_layers() -> None:
    check_program(layer(P, 1, end=len(P.instructions) - 1))
    check_program(replace(P, layers=(), sample=b""))


def touched(base: int, rows: int, width: int, columns: int, position: int, channels: int) -> set[int]:
    """The addresses of a tile, one by one."""
    places = product(range(rows), range(columns), range(channels))
    return {base + (y * width + x) * position + c for y, x, c in places}


SIZE = st.integers(1, 3)


@given(
    first=st.integers(0, 24),
    second=st.integers(0, 24),
    one=st.tuples(*[SIZE] * 3),
    other=st.tuples(*[SIZE] * 3),
    data=st.data(),
)
def test_only_tiles_without_a_common_byte_are_clear(
    first: int, second: int, one: tuple[int, ...], other: tuple[int, ...], data: st.DataObject
) -> None:
    (h, w, c), (oh, ow, k) = one, other
    act_c, act_w = data.draw(st.integers(c, 8)), data.draw(st.integers(w, 8))
    out_c, out_w = data.draw(st.sampled_from([act_c, k])), data.draw(st.sampled_from([act_w, ow]))
    assume(out_c >= k and out_w >= ow)
    tiles = {"act": first, "act_w": act_w, "act_c": act_c, "out": second, "out_w": out_w, "out_c": out_c}
    found = problems("post.map", **tiles, ih=h, iw=w, ic=c, oh=oh, ow=ow, kn=k, dc=0)
    common = touched(first, h, act_w, w, act_c, c) & touched(second, oh, out_w, ow, out_c, k)
    event(f"{len(found)} faults, {'some' if common else 'no'} bytes in common")
    assert found or not common


@pytest.mark.parametrize("name", ["channels", "positions"])
def test_a_tile_may_be_computed_from_another_part_of_its_tensor(name: str) -> None:
    """Of two rows of two positions of 14 channels, the last seven go to the first seven, or so with single channels."""
    shape = {"channels": (2, 2, 14, 7), "positions": (2, 14, 1, 1)}[name]
    h, width, position, channels = shape
    w = 2 if name == "channels" else 7
    tiles = {"act": 7, "act_w": width, "act_c": position, "out": 0, "out_w": width, "out_c": position}
    tile = {"ih": h, "iw": w, "ic": channels, "oh": h, "ow": w, "kn": channels, "dc": 0}
    assert problems("post.map", **tiles, **tile) == []
    assert problems("post.map", **{**tiles, "act": 6}, **tile) == ["the output tile overlaps a tile that is read"]
