"""Accesses, dependencies, clocks and the race check, against plain models."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from isa_programs import small_program, with_instruction

from isa.declaration import Instruction
from isa.errors import UserError
from isa.formats import PoolKind, Queue
from isa.hazards import Access, accesses, check_races, check_semaphores, clocks, dependencies
from isa.instructions.post_pool import window_counts
from isa.program import Program
from isa.table import INSTRUCTIONS, make
from isa.target import load_target

TARGET = load_target()


def found(mnemonic: str, **values: int) -> set[Access]:
    return set(accesses(make(mnemonic, **values), TARGET))


def test_load_act_raw() -> None:
    region = {"tensor_w": 10, "tensor_c": 70, "y": 2, "x": 3, "c": 64, "h": 2, "w": 4, "cn": 6}
    assert found("load.act", dram=4096, act=100, act_w=9, act_c=20, **region) == {
        Access("dram", 4096 + (2 * 10 + 3) * 70 + 64, 4096 + (3 * 10 + 6) * 70 + 70, False),
        Access("act", 100, 100 + (1 * 9 + 3) * 20 + 6, True),
    }


def test_load_act_bitmap_covers_the_touched_lines() -> None:
    region = {"tensor_w": 10, "tensor_c": 130, "segment": 4, "y": 2, "x": 3, "c": 64, "h": 2, "w": 2, "cn": 66}
    line = 4 * (8 + 64)
    line += -line % 64
    lines = [((y * 3 + k) * 3 + s) * line for y in (2, 3) for k in (1, 2) for s in (0, 1)]
    assert Access("dram", min(lines), max(lines) + line, False) in found(
        "load.act", format=1, act_w=2, act_c=66, **region
    )


def test_load_coef_and_bytes() -> None:
    assert found("load.coef", dram=64, size=99, coef=8) == {
        Access("dram", 64, 163, False),
        Access("coef", 8, 8 + 99, True),
    }
    assert found("load.bytes", dram=1, size=9, pad=1, dst=7) == {
        Access("dram", 1, 10, False),
        Access("par", 7, 16, True),
    }


CONV = {
    "act": 0,
    "act_w": 6,
    "act_c": 30,
    "ih": 4,
    "iw": 5,
    "ic": 20,
    "r": 3,
    "s": 2,
    "sy": 1,
    "sx": 1,
    "oh": 2,
    "ow": 3,
    "kt": 10,
    "k": 4,
}
ACT_TILE = Access("act", 0, (3 * 6 + 4) * 30 + 20, False)
PSUM = Access("psum", 4 * 4, 4 * (5 * 10 + 4 + 6), True)


def test_convolutions() -> None:
    dense = {**CONV, "kn": 6, "coef": 50, "cpg": 20, "kpg": 6, "groups": 1}
    weights = Access("coef", 50, 50 + 6 * 3 * 2 * 20, False)
    assert found("conv.dense", **dense) == {ACT_TILE, PSUM, weights}
    assert found("conv.dense", accumulate=1, **dense) == {ACT_TILE, PSUM, PSUM._replace(write=False), weights}
    dw = found("conv.dw", **CONV, kn=6, coef=50, kpg=1)
    assert dw == {ACT_TILE, PSUM, Access("coef", 50, 50 + 36, False)}
    assert found("conv.dw", **CONV, kn=6, coef=50, kpg=1, accumulate=1) == {*dw, PSUM._replace(write=False)}
    esc = found("conv.esc", **CONV, kn=6, coef=50, size=77, v=9, basis=3, groups=1)
    bases = Access("par", 3, 3 + 9 * 3 * 2, False)
    assert esc == {ACT_TILE, PSUM, bases, Access("coef", 50, 50 + 77, False)}


OUT = {"out": 4000, "out_w": 7, "out_c": 16}
OUT_TILE = Access("act", 4000, 4000 + (1 * 7 + 2) * 16 + 6, True)


def test_post_instructions() -> None:
    requant = {"oh": 2, "ow": 3, "kt": 10, "k": 4, "kn": 6, **OUT, "par": 100}
    plain = {PSUM._replace(write=False), OUT_TILE, Access("par", 100, 154, False)}
    assert found("post.requant", **requant) == plain
    table, addition = Access("par", 200, 456, False), Access("par", 500, 513, False)
    residual = Access("act", 40, 40 + (1 * 4 + 2) * 100 + 6, False)
    full = found("post.requant", **requant, lut=1, table=200, add=1, res=40, res_w=4, res_c=100, addpar=500)
    assert full == plain | {table, addition, residual}
    strides = {"act_w": 3, "act_c": 6, "res_w": 3, "res_c": 6}
    add = found("post.add", act=40, res=2000, **strides, oh=2, ow=3, kn=6, addpar=500, **OUT)
    tile = 6 * 6
    assert add == {Access("act", 40, 40 + tile, False), Access("act", 2000, 2000 + tile, False), addition, OUT_TILE}
    moved = {"act_w": 6, "act_c": 30, "ih": 4, "iw": 5, "ic": 20, "oh": 2, "ow": 3, "kn": 6, "sy": 1, "sx": 1, **OUT}
    assert found("post.map", **moved) == {ACT_TILE, OUT_TILE}
    assert found("post.map", lut=1, table=200, **moved) == {ACT_TILE, OUT_TILE, table}
    pool = {**moved, "r": 3, "s": 3, "pt": 1, "pl": 1, "par": 8}
    assert found("post.pool", **pool) == {ACT_TILE, OUT_TILE}
    averages = found("post.pool", **pool, kind=1, count0=4)
    assert averages == {ACT_TILE, OUT_TILE, Access("par", 8, 8 + 4 * (9 - 4 + 1), False)}


def test_store_and_end() -> None:
    region = {"tensor_w": 10, "tensor_c": 6, "y": 1, "x": 0, "h": 2, "w": 3, "cn": 6}
    assert found("store.act", dram=0, **region, act=4000, act_w=7, act_c=16) == {
        OUT_TILE._replace(write=False),
        Access("dram", 60, 20 * 6 + 18, True),
    }
    assert found("end") == set()


@given(
    *[st.integers(1, 9)] * 4, *[st.integers(-3, 5)] * 2, *[st.integers(0, 3)] * 4, st.integers(1, 4), st.integers(1, 3)
)
@settings(max_examples=200, deadline=None)
def test_window_counts(
    ih: int, iw: int, oh: int, ow: int, pt: int, pl: int, bt: int, bl: int, bb: int, br: int, kernel: int, stride: int
) -> None:
    values = {"ih": ih, "iw": iw, "oh": oh, "ow": ow, "pt": pt, "pl": pl, "bt": bt, "bl": bl, "bb": bb, "br": br}
    values |= {"r": kernel, "s": kernel + 1, "sy": stride, "sx": stride}
    counts = [
        sum(
            -bt <= y * stride - pt + i < ih + bb and -bl <= x * stride - pl + j < iw + br
            for i in range(kernel)
            for j in range(kernel + 1)
        )
        for y in range(oh)
        for x in range(ow)
    ]
    assert window_counts(values) == (min(counts), max(counts))


# Random programs over a few small ranges: every queue reads and writes through these instructions.


@st.composite
def random_code(draw: st.DrawFn) -> list[Instruction]:
    code: list[Instruction] = []
    signals = dict.fromkeys(Queue, 0)
    for _ in range(draw(st.integers(1, 25))):
        at, size = draw(st.integers(0, 40)), draw(st.integers(1, 12))
        tile = {"oh": 1, "ow": 1, "out": at, "out_w": 1, "out_c": size}
        choice = draw(st.integers(0, 4))
        if choice == 0:
            mnemonic, values = "load.bytes", {"size": size, "pad": draw(st.integers(0, 1)), "dst": at, "dram": 200}
        elif choice == 1:
            mnemonic, values = "conv.dw", {"r": 1, "s": 1, "kn": size, "coef": at, "kt": size, "oh": 1, "ow": 1}
            values |= {"psum": 4 * draw(st.integers(0, 20)), "kpg": 1, "ic": size, "ih": 1, "iw": 1}
            values |= {"act": at, "act_w": 1, "act_c": size}
        elif choice == 2:
            mnemonic, values = "post.requant", {"kn": size, "kt": size, "psum": 4 * at, "par": at, **tile}
        elif choice == 3:
            mnemonic, values = "load.act", {"tensor_w": 1, "tensor_c": size, "h": 1, "w": 1, "cn": size}
            values |= {"act": at, "act_w": 1, "act_c": size, "dram": 64 * draw(st.integers(0, 2))}
        else:
            mnemonic, values = "store.act", {"tensor_w": 1, "tensor_c": size, "h": 1, "w": 1, "cn": size}
            values |= {"act": at, "act_w": 1, "act_c": size, "dram": 64 * draw(st.integers(0, 2))}
        for queue in Queue:
            if signals[queue] and draw(st.booleans()):
                values[f"wait_{queue.name.lower()}"] = draw(st.integers(1, signals[queue]))
        values["signal"] = draw(st.integers(0, 1))
        instruction = make(mnemonic, **values)
        signals[instruction.spec.queue] += values["signal"]
        code.append(instruction)
    return code


def conflict(a: Instruction, b: Instruction) -> bool:
    return any(
        x.space == y.space and x.low < y.high and y.low < x.high and (x.write or y.write)
        for x in accesses(a, TARGET)
        for y in accesses(b, TARGET)
    )


@given(random_code())
@settings(max_examples=150, deadline=None)
def test_dependencies_are_the_latest_conflicts(code: list[Instruction]) -> None:
    for i, depends in enumerate(dependencies(code, TARGET)):
        for queue in Queue:
            earlier = [
                j
                for j in range(i)
                if code[j].spec.queue is queue and queue is not code[i].spec.queue and conflict(code[j], code[i])
            ]
            assert depends[queue] == max(earlier, default=-1)


def happens_before(code: list[Instruction]) -> np.ndarray:
    """[j, i]: j has completed when i starts, by transitive closure."""
    n = len(code)
    before = np.zeros((n, n), bool)
    for i in range(n):
        mine = [j for j in range(i) if code[j].spec.queue is code[i].spec.queue]
        direct = mine[-1:]
        for queue in Queue:
            count = code[i][f"wait_{queue.name.lower()}"]
            if count:
                direct.append([j for j in range(n) if code[j].spec.queue is queue and code[j]["signal"]][count - 1])
        for j in direct:
            before[j, i] = True
            before[:, i] |= before[:, j]
    return before


@given(random_code())
@settings(max_examples=150, deadline=None)
def test_clocks_and_races(code: list[Instruction]) -> None:
    before = happens_before(code)
    for i, clock in enumerate(clocks(code)):
        for queue in Queue:
            assert clock[queue] == sum(before[j, i] for j in range(len(code)) if code[j].spec.queue is queue)
    racing = {
        i
        for i in range(len(code))
        for j in range(i)
        if code[j].spec.queue is not code[i].spec.queue and conflict(code[j], code[i]) and not before[j, i]
    }
    program = Program(TARGET, tuple(code), b"", 0, (), (), ())
    if not racing:
        check_races(program)
        return
    with pytest.raises(UserError) as caught:
        check_races(program)
    named = {int(cause.split()[2]) for cause in caught.value.causes}
    assert named == racing


def test_the_small_program_has_no_race() -> None:
    check_races(small_program())


SYNCHRONISED = [
    (i, f"wait_{queue.name.lower()}")
    for i, instruction in enumerate(small_program().instructions)
    for queue in Queue
    if instruction[f"wait_{queue.name.lower()}"]
]


@pytest.mark.parametrize(
    ("index", "wait"), [x for x in SYNCHRONISED if x != (4, "wait_load") and x != (8, "wait_load")]
)
def test_a_missing_wait_is_a_race(index: int, wait: str) -> None:
    program = small_program()
    with pytest.raises(UserError) as caught:
        check_races(with_instruction(program, index, **{wait: 0}))
    cause = caught.value.causes[0]
    assert cause.startswith(f"race: instruction {index} '{program.instructions[index].spec.mnemonic} ")
    assert "while instruction" in cause and "may still be" in cause


def test_a_race_names_both_instructions_and_the_bytes() -> None:
    with pytest.raises(UserError) as caught:
        check_races(with_instruction(small_program(), 5, wait_post=0))
    (cause,) = caught.value.causes
    assert "instruction 5 'store.act " in cause
    assert "reads act[0x1000, 0x1040)" in cause
    assert "instruction 4 'post.requant " in cause
    assert cause.endswith("may still be writing it")


def test_waits_that_no_earlier_signal_satisfies() -> None:
    program = with_instruction(with_instruction(small_program(), 3, wait_load=9), 5, wait_post=2)
    with pytest.raises(UserError) as caught:
        check_semaphores(program.instructions)
    assert [cause.split("'")[0] for cause in caught.value.causes] == ["instruction 3 ", "instruction 5 "]
    assert "waits for load>=9, but only 2 signals" in caught.value.causes[0]
    with pytest.raises(UserError, match="waits for load>=9"):
        check_races(program)


def test_a_missing_signal_is_reported_once() -> None:
    waiter = make("conv.dense", wait_load=3)
    more = make("conv.dense", wait_load=5)
    signal = make("load.bytes", size=1, signal=1)
    with pytest.raises(UserError) as caught:
        check_semaphores((signal, waiter, signal, make("conv.dense", wait_load=4), more))
    assert [cause.split("'")[0] for cause in caught.value.causes] == ["instruction 1 ", "instruction 4 "]


def test_every_instruction_has_accesses() -> None:
    for spec in INSTRUCTIONS:
        ones = {f.name: 1 for f in spec.own_fields}
        for access in accesses(make(spec.mnemonic, **ones), TARGET):
            assert access.low < access.high


def test_pool_kind_decides_on_parameters() -> None:
    values = {
        "ih": 1,
        "iw": 1,
        "ic": 1,
        "r": 1,
        "s": 1,
        "sy": 1,
        "sx": 1,
        "oh": 1,
        "ow": 1,
        "kn": 1,
        "act_w": 1,
        "act_c": 1,
        "out": 64,
        "out_w": 1,
        "out_c": 1,
        "count0": 1,
    }
    spaces = {kind: {a.space for a in found("post.pool", kind=kind, **values)} for kind in PoolKind}
    assert spaces[PoolKind.AVERAGE] - spaces[PoolKind.MAX] == {"par"}


def test_speed_of_a_long_program() -> None:
    # Not a benchmark: an algorithm that is quadratic in the length of the program would not end here.
    program = small_program()
    body = [replace(i, values={**i.values, "signal": 0, **dict.fromkeys(_WAITS, 0)}) for i in program.instructions[:-1]]
    assert len(dependencies(body * 1000, TARGET)) == len(clocks(body * 1000)) == 10000


_WAITS = [f"wait_{queue.name.lower()}" for queue in Queue]
