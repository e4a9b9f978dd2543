"""Programs of one layer, assembled by hand for the emulator's tests, and slow plain models of what they compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from isa.coefficients import pack_streams, stream_bits, stream_code
from isa.formats import PoolKind, Queue, Scratchpad, TensorFormat
from isa.hazards import dependencies
from isa.layout import align
from isa.program import Layer, Port, Program, TensorRef
from isa.table import BY_MNEMONIC, make
from isa.target import Target, load_target


@dataclass
class Builder:
    """Collects instructions and constants; `finish` places the waits that hazards require."""

    target: Target = field(default_factory=load_target)
    rodata: bytearray = field(default_factory=bytearray)
    arena: int = 0
    code: list[tuple[str, dict[str, int]]] = field(default_factory=list)
    layers: list[tuple[str, TensorRef, int, int, str, int, int]] = field(default_factory=list)
    tensors: dict[str, tuple] = field(default_factory=dict)

    def constant(self, data: bytes) -> int:
        at = align(len(self.rodata))
        self.rodata += b"\0" * (at - len(self.rodata)) + data
        return at

    def tensor(self, name, h, w, c, fmt=TensorFormat.RAW, segment=4, signed=False, scale=1.0):
        """Reserve a tensor in the arena; its address is relative to the arena until `finish`."""
        ref = TensorRef(name, self.arena, h, w, c, fmt, segment, signed, scale)
        self.arena += ref.layout(self.target.array.chunk).nbytes
        return ref

    def emit(self, mnemonic: str, tensor: TensorRef | None = None, /, **values: int) -> None:
        """Append an instruction. Tiles of ACT have no gaps unless strides are given; outputs lie at `OUT`."""
        if tensor is not None:
            region = {
                "dram": tensor.address, "format": tensor.format, "tensor_w": tensor.w, "tensor_c": tensor.c,
                "segment": tensor.segment, "h": tensor.h, "w": tensor.w, "cn": tensor.c, "_arena": 1,
            }  # fmt: skip
            values = {**region, **values}
        values = {**_dense_tiles(mnemonic, values), **values}
        self.code.append((mnemonic, values))

    def layer(self, name: str, output: TensorRef, kind: str = "dense", macs: int = 0, weights: int = 0) -> None:
        """Close a layer: all instructions since the last one."""
        start = self.layers[-1][3] if self.layers else 0
        self.layers.append((name, output, start, len(self.code), kind, macs, weights))

    def finish(self, inputs, outputs, sample=b"", synchronise=True) -> Program:
        base = align(len(self.rodata), 4096)
        code = []
        for mnemonic, values in [*self.code, ("end", {})]:
            values = dict(values)
            if values.pop("_arena", 0):
                values["dram"] += base
            code.append(make(mnemonic, signal=1, **values))
        if synchronise:
            wait(code, self.target)

        def place(ref):
            return replace(ref, address=ref.address + base)

        def port(ref):
            return Port(ref.name, (1, ref.c, ref.h, ref.w), place(ref))

        layers = tuple(
            Layer(name, kind, start, end, (name,), place(out), macs, weights)
            for name, out, start, end, kind, macs, weights in self.layers
        )
        return Program(
            self.target, tuple(code), bytes(self.rodata), self.arena, tuple(map(port, inputs)),
            tuple(map(port, outputs)), layers, sample,
        )  # fmt: skip


OUT = 65536
"""Where output tiles lie in ACT unless a test says otherwise."""


def _dense_tiles(mnemonic: str, values: dict) -> dict[str, int]:
    """Strides of tiles without gaps, and the place of the output tile."""
    found: dict[str, int] = {}
    if mnemonic.startswith("post."):
        found |= {"out": OUT, "out_w": values["ow"], "out_c": values["kn"]}
    elif mnemonic == "store.act":
        found["act"] = OUT
    names = [name for name in ("act", "res") if f"{name}_w" in BY_MNEMONIC[mnemonic].offsets]
    columns = next((values[name] for name in ("iw", "w", "ow") if name in values), 0)
    channels = next((values[name] for name in ("ic", "cn", "kn") if name in values), 0)
    for name in names:
        found |= {f"{name}_w": columns, f"{name}_c": channels}
    return found


def wait(code, target) -> None:
    """Make every instruction wait for the latest conflicting one of every other queue."""
    counts, reached = [0] * 4, []
    for instruction in code:
        counts[instruction.spec.queue] += 1
        reached.append(counts[instruction.spec.queue])
    for instruction, depends in zip(code, dependencies(code, target), strict=True):
        for queue, earlier in zip(Queue, depends, strict=True):
            instruction.values[f"wait_{queue.name.lower()}"] = reached[earlier] if earlier >= 0 else 0


def identity_requant(kn: int, shift: int = 1) -> bytes:
    """PAR block that divides by 2^(shift - 1): (acc * 2 + half) >> shift with shift >= 1."""
    return np.zeros(kn, "<i4").tobytes() + np.full(kn, 2, "<i4").tobytes() + np.full(kn, shift, np.uint8).tobytes()


def requant_block(bias, mult, shift) -> bytes:
    return np.asarray(bias, "<i4").tobytes() + np.asarray(mult, "<i4").tobytes() + np.asarray(shift, np.uint8).tobytes()


def add_block(ma, mb, lo, hi, shift) -> bytes:
    return np.array([ma, mb], "<i4").tobytes() + np.array([lo, hi], "<i2").tobytes() + bytes([shift])


@dataclass(frozen=True)
class Geometry:
    """A convolution: input h x w x c, window, output channels."""

    h: int
    w: int
    c: int
    r: int
    s: int
    sy: int
    sx: int
    pads: tuple[int, int, int, int]
    kn: int

    @property
    def oh(self) -> int:
        return (self.h + self.pads[0] + self.pads[2] - self.r) // self.sy + 1

    @property
    def ow(self) -> int:
        return (self.w + self.pads[1] + self.pads[3] - self.s) // self.sx + 1

    @property
    def window(self) -> dict:
        return {
            "r": self.r, "s": self.s, "sy": self.sy, "sx": self.sx, "pt": self.pads[0], "pl": self.pads[1],
            "oh": self.oh, "ow": self.ow,
        }  # fmt: skip

    @property
    def tile(self) -> dict:
        return {"ih": self.h, "iw": self.w, "ic": self.c}


def slow_conv(x, w, g: Geometry, cpg: int, kpg: int, cs: int = 0):
    """int64 [oh, ow, kn] of x [h, w, c] and w [kn, r, s, cpg], tap by tap."""
    out = np.zeros((g.oh, g.ow, g.kn), np.int64)
    for y in range(g.oh):
        for z in range(g.ow):
            for i in range(g.r):
                for j in range(g.s):
                    a, b = y * g.sy - g.pads[0] + i, z * g.sx - g.pads[1] + j
                    if 0 <= a < g.h and 0 <= b < g.w:
                        for k in range(g.kn):
                            first = cs + (k // kpg) * cpg
                            out[y, z, k] += int(
                                np.dot(w[k, i, j].astype(np.int64), x[a, b, first : first + cpg].astype(np.int64))
                            )
    return out


def slow_esc(x, t, basis, g: Geometry, ic_shift: int, ic_bits: int):
    """int64 [oh, ow, kn] of x [h, w, c], t [kn, v, c], basis [v, r, s]: both stages one by one."""
    s = np.einsum("hwc,kvc->hwkv", x.astype(np.int64), t.astype(np.int64))
    ic = (s + (1 << ic_shift >> 1)) >> ic_shift
    ic = np.clip(ic, -(1 << (ic_bits - 1)), (1 << (ic_bits - 1)) - 1)
    out = np.zeros((g.oh, g.ow, g.kn), np.int64)
    for y in range(g.oh):
        for z in range(g.ow):
            for i in range(g.r):
                for j in range(g.s):
                    a, b = y * g.sy - g.pads[0] + i, z * g.sx - g.pads[1] + j
                    if 0 <= a < g.h and 0 <= b < g.w:
                        out[y, z] += ic[a, b] @ basis[:, i, j].astype(np.int64)
    return out


def slow_requant(acc, bias, mult, shift, lo, hi):
    acc = acc.astype(object)
    out = np.zeros(acc.shape, np.int64)
    for index in np.ndindex(*acc.shape):
        k = index[-1]
        q = ((int(acc[index]) + int(bias[k])) * int(mult[k]) + (1 << (int(shift[k]) - 1))) >> int(shift[k])
        out[index] = min(max(q, lo), hi)
    return out


def sparse(rng, shape, density, signed=False):
    """Stored activations with the given share of non-zeros."""
    values = rng.integers(-128, 128, shape) if signed else rng.integers(1, 256, shape)
    return np.where(rng.random(shape) < density, values, 0).astype(np.int8 if signed else np.uint8)


def nchw(x):
    """Float network input of stored NHWC integers (scale 1)."""
    return x.astype(np.float64).transpose(2, 0, 1)[None]


def load_ring(b: Builder, source: TensorRef, turn: int, ring: int) -> dict[str, int]:
    """Load a tensor into a ring of `ring` rows whose last ones are its first `turn`; where it lies. Without a ring,
    load it whole to address 0.
    """
    if not ring:
        b.emit("load.act", source, act=0)
        return {"act": 0}
    row = source.w * source.c
    b.emit("load.act", source, h=turn, act=(ring - turn) * row)
    b.emit("load.act", source, y=turn, h=source.h - turn, act=0)
    return {"act": (ring - turn) * row, "act_turn": turn, "act_ring": ring}


def conv_program(
    g: Geometry, kind: str, constants: dict[str, NDArray[np.int8]], *, fmt=TensorFormat.RAW, out_fmt=TensorFormat.RAW,
    segment=3, signed=False, groups=1, ic_shift=0, v=1, cpg: int = 0, kpg: int = 0, requant: bytes = b"", lo=0, hi=255,
    target: Target | None = None, two_step=False, before=0, macs=0, turn=0, ring=0,
) -> Program:  # fmt: skip
    """load, convolve, requantise, store; with `two_step` the input first goes through DRAM in format `fmt`. With `ring`
    the convolution reads it from a ring of so many rows, which ends after `turn` of them.

    `before`: output channels whose streams are loaded before those of the convolution.
    """
    b = Builder(target or load_target())
    x = b.tensor("x", g.h, g.w, g.c, signed=signed)
    source = x
    if two_step:
        source = b.tensor("mid", g.h, g.w, g.c, fmt, segment, signed)
        b.emit("load.act", x)
        b.emit("post.map", **g.tile, oh=g.h, ow=g.w, kn=g.c, sy=1, sx=1, signed=signed)
        b.emit("store.act", source)
        b.layer("copy", source, "map")
    y = b.tensor("y", g.oh, g.ow, g.kn, out_fmt, segment, signed=lo < 0)
    par = b.constant(requant or identity_requant(g.kn))
    b.emit("load.bytes", dram=par, size=9 * g.kn, pad=Scratchpad.PAR, dst=0)
    psum = {"kt": g.kn, "kn": g.kn}
    if kind == "esc":
        t, basis = constants["t"], constants["basis"]
        every = np.concatenate([np.roll(t, 1, axis=2)[:before], t])
        code, bits = stream_code(every), int(stream_bits(every)[: len(every) - len(t)].sum())
        blob = pack_streams(every, code)
        b.emit("load.coef", dram=b.constant(blob), size=len(blob))
        b.emit("load.bytes", dram=b.constant(basis.tobytes()), size=basis.size, pad=Scratchpad.PAR, dst=9 * g.kn)
        extra = {"v": v, "basis": 9 * g.kn, "ic_shift": ic_shift, "groups": groups, **code._asdict()}
        extra |= {"coef": bits // 8, "bit": bits % 8, "size": len(blob) - bits // 8}
    else:
        w = constants["w"]
        b.emit("load.bytes", dram=b.constant(w.tobytes()), size=w.size, pad=Scratchpad.COEF, dst=0)
        extra = {"cpg": cpg, "kpg": kpg, "groups": groups} if kind == "dense" else {"kpg": kpg}
    b.emit(f"conv.{kind}", **load_ring(b, source, turn, ring), **g.tile, **g.window, **psum, **extra, signed=signed)
    b.emit("post.requant", oh=g.oh, ow=g.ow, **psum, par=0, lo=lo, hi=hi)
    b.emit("store.act", y)
    b.layer("conv", y, kind, macs=macs)
    return b.finish([x], [y])


def channels_program(
    g: Geometry, kind: str, weights: Callable[[int, int], tuple[bytes, dict[str, int]]], *, signed=False, parts=(0,),
    turn=0, ring=0,
) -> Program:  # fmt: skip
    """load, convolve the input channels from each of `parts` on one after the other, requantise, store.

    `weights` gives, for the first channel of a part and the channel after its last one, what `conv.KIND` finds in COEF,
    and fields that only this instruction has.
    """
    b = Builder()
    x, y = b.tensor("x", g.h, g.w, g.c, signed=signed), b.tensor("y", g.oh, g.ow, g.kn, signed=True)
    b.emit("load.bytes", dram=b.constant(identity_requant(g.kn, 12)), size=9 * g.kn, pad=Scratchpad.PAR, dst=0)
    place = load_ring(b, x, turn, ring)
    at = 0
    for first, end in zip(parts, [*parts[1:], g.c], strict=True):
        blob, own = weights(first, end)
        b.emit("load.bytes", dram=b.constant(blob), size=len(blob), pad=Scratchpad.COEF, dst=at)
        b.emit(
            f"conv.{kind}", **place, **g.tile, **g.window, kt=g.kn, kn=g.kn, signed=signed, coef=at, cs=first,
            c=end - first, accumulate=int(first > 0), **own,
        )  # fmt: skip
        at += len(blob)
    b.emit("post.requant", oh=g.oh, ow=g.ow, kt=g.kn, kn=g.kn, par=0, lo=-128, hi=127)
    b.emit("store.act", y)
    b.layer("conv", y)
    return b.finish([x], [y])


def slow_channels(x, w, g: Geometry):
    """What a `channels_program` computes of x [h, w, c] with weights w [kn, r, s, c]."""
    zero, two = np.zeros(g.kn, int), np.full(g.kn, 2)
    return slow_requant(slow_conv(x, w, g, g.c, g.kn), zero, two, zero + 12, -128, 127)


__all__ = [
    "Builder", "Geometry", "PoolKind", "add_block", "channels_program", "conv_program", "identity_requant", "load_ring",
    "nchw", "requant_block", "slow_channels", "slow_conv", "slow_esc", "slow_requant", "sparse", "wait",
]  # fmt: skip
