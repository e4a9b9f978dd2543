"""Weights that wait in ACT for their layer: what the machine does with them, and which ones the compiler lets wait."""

from dataclasses import replace

import numpy as np
import pytest
from emulator_programs import Builder

from emulator.machine import Machine
from emulator.recording import Recorder
from emulator.timing import replay
from isa.counts import Count
from isa.declaration import WAITS, Instruction
from isa.errors import UserError
from isa.formats import Queue, Scratchpad, Space
from isa.hazards import accesses
from isa.layout import WEIGHT_TABLE_BYTES
from isa.target import load_target
from isa.weights import pack_weights, weight_table
from passes.tiling import staging
from passes.tiling.staging import Listing, estimate, staged

ESC1 = load_target()
LAYERS, TILES = 6, 8


def moved(program):
    """The recording of a run of a program whose input is one byte."""
    from emulator.execution import Execution
    from emulator.memories import Constants

    recorder = Recorder(program)
    execution = Execution(program, 1, Constants(), recorder)
    execution.write_input(program.inputs[0].tensor, np.zeros((1, 1), np.uint8))
    for index in range(len(program.instructions)):
        execution.step(index)
    return execution.memories, recorder


def copies(data, *, dram=0):
    """A program that puts constants into ACT and then into COEF."""
    b = Builder()
    x = b.tensor("x", 1, 1, 1)
    b.constant(data)
    b.emit("load.bytes", dram=0, size=1024, pad=Scratchpad.ACT, dst=512)
    b.emit("load.coef", dram=dram, size=1024, coef=64, staged=1, act=512)
    return b.finish([x], [x])


def test_a_staged_load_takes_its_bytes_from_act_and_asks_dram_for_none() -> None:
    data = np.random.default_rng(1).integers(0, 256, 2048, np.uint8)
    memories, recorder = moved(copies(data.tobytes()))
    assert (memories.coef[64 : 64 + 1024] == data[:1024]).all()
    assert (memories.act[0, 512 : 512 + 1024] == data[:1024]).all()
    assert recorder.counts[:, Count.DRAM_WEIGHTS].tolist() == [1024, 0, 0]
    assert recorder.counts[:, Count.ACT_WRITE].tolist() == [1024, 0, 0]
    assert recorder.counts[:, Count.ACT_READ].tolist() == [0, 1024, 0]
    timeline = replay(recorder)
    assert timeline.end[1] - timeline.end[0] == 1024 // ESC1.dma.bytes_per_cycle


def test_a_staged_load_of_weights_decodes_what_lies_in_act() -> None:
    weights = np.random.default_rng(2).integers(-20, 20, 640).astype(np.int8)
    table = weight_table(weights)
    packed = pack_weights(weights, table)
    b = Builder()
    x = b.tensor("x", 1, 1, 1)
    dram, codes = b.constant(packed), b.constant(table)
    b.emit("load.bytes", dram=dram, size=len(packed), pad=Scratchpad.ACT, dst=0)
    b.emit("load.weights", dram=dram, size=len(packed), table=codes, count=640, dst=0, staged=1, act=0)
    memories, recorder = moved(b.finish([x], [x]))
    assert (memories.coef[:640].view(np.int8) == weights).all()
    assert recorder.counts[1, Count.DRAM_WEIGHTS] == WEIGHT_TABLE_BYTES


def test_other_bytes_in_act_are_refused() -> None:
    program = copies(bytes(range(256)) * 8, dram=32)
    with pytest.raises(UserError, match=r"ACT \[0x200, 0x600\) does not hold the 1024 bytes at 0x20"):
        Machine(program).run_stored([np.zeros((1, 1), np.uint8)])


def test_act_that_nothing_has_written_is_refused() -> None:
    program = copies(bytes(2048))
    unwritten = [replace_field(x, act=4096) if x.spec.mnemonic == "load.coef" else x for x in program.instructions]
    with pytest.raises(UserError, match=r"reads act\[0x1000\], which nothing has written"):
        Machine(replace(program, instructions=tuple(unwritten)))


def replace_field(instruction, **values):
    return Instruction(instruction.spec, {**instruction.values, **values})


KEPT = range(16384, 16384 + 8 * 16 * 64)
"""Bytes of ACT of a tensor that the last layer reads, where the network keeps one."""


def network(*, keeps=False) -> Listing:
    """Layers that only compute, then layers whose weights take DRAM longer than their convolutions the blocks.

    If the network `keeps` a tensor, the first layer loads it and the last one reads it.
    """
    b = Builder()
    dram, layers = 0, []
    if keeps:
        b.emit("load.act", b.tensor("kept", 8, 16, 64), act=KEPT.start)
        layers.append(0)
    for layer in range(LAYERS):
        heavy = layer >= LAYERS // 2
        size, side = (4000, 4) if heavy else (200, 16)
        for tile in range(TILES):
            slot = (layer * TILES + tile) % 8 * 4096
            b.emit("load.coef", dram=dram, size=size, coef=slot)
            b.emit(
                "conv.esc", act=0, ih=side, iw=side, ic=64, act_w=side, act_c=64, r=3, s=3, sy=1, sx=1, pt=1, pl=1,
                psum=0, oh=side, ow=side, kt=32, kn=32, coef=slot, size=size, v=6, basis=0, groups=1, count_bits=4,
            )  # fmt: skip
            dram += size
            layers += [layer, layer]
    if keeps:
        b.emit(
            "post.map", act=KEPT.start, ih=8, iw=16, ic=64, act_w=16, act_c=64, oh=8, ow=16, kn=64, sy=1, sx=1, out=0
        )
        layers.append(LAYERS - 1)
    code = b.finish([], []).instructions[:-1]
    bare = {"signal": 0, **{name: 0 for _, name in WAITS}}
    return Listing([replace_field(x, **bare) for x in code], layers)


def test_weights_of_layers_that_wait_for_dram_are_fetched_while_others_compute() -> None:
    before = network()
    after = staged(before, ESC1)
    fills = [i for i, x in enumerate(after.instructions) if x.spec.mnemonic == "load.bytes"]
    loads = [i for i, x in enumerate(after.instructions) if x.values.get("staged")]
    assert fills and len(fills) == len(loads)
    assert estimate(after.instructions, ESC1).total < 0.9 * estimate(before.instructions, ESC1).total
    assert {after.layers[i] for i in loads} <= set(range(LAYERS // 2, LAYERS))
    assert list(after.layers) == sorted(after.layers)
    for load in loads:
        x = after.instructions[load]
        fill = max(i for i in fills if i < load and after.instructions[i]["dst"] == x["act"])
        y = after.instructions[fill]
        assert (y["dram"], y["size"]) == (x["dram"], x["size"]) and after.layers[fill] < after.layers[load]
        assert not writes_between(after, fill, load, x["act"], x["act"] + x["size"])


def test_a_tensor_that_a_later_layer_reads_stays_where_layers_between_do_not_touch_it() -> None:
    after = staged(network(keeps=True), ESC1)
    fills = [x for x in after.instructions if x.spec.mnemonic == "load.bytes"]
    assert fills
    assert all(x["dst"] + x["size"] <= KEPT.start or x["dst"] >= KEPT.stop for x in fills)


def test_a_program_that_leaves_act_stays_as_it_is() -> None:
    program = network()
    at = next(n for n, i in enumerate(program.instructions) if i.spec.mnemonic.startswith("conv."))
    wide = replace_field(program.instructions[at], act_w=65535, act_c=4096, ih=65535, iw=65535, ic=4096)
    beyond = replace(program, instructions=[*program.instructions[:at], wide, *program.instructions[at + 1 :]])
    assert staged(beyond, ESC1) is beyond


def writes_between(program, first, last, low, high):
    """Whether an instruction between two others touches bytes of ACT."""
    between = program.instructions[first + 1 : last]
    ranges = [a for x in between for a in accesses(x, ESC1) if a.space == Space.ACT.address_space]
    return any(a.low < high and low < a.high for a in ranges)


def test_all_else_of_a_program_stays() -> None:
    before, after = network(), staged(network(), ESC1)
    kept = [replace_field(x, staged=0, act=0) if x.values.get("staged") else x for x in after.instructions]
    kept = [x for x in kept if x.spec.mnemonic != "load.bytes"]
    for queue in Queue:
        old = [x for x in before.instructions if x.spec.queue == queue]
        new = [x for x in kept if x.spec.queue == queue]
        assert sorted(map(str, new)) == sorted(map(str, old))
        assert queue == Queue.LOAD or new == old


def test_a_program_that_never_waits_for_dram_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    program = network()
    monkeypatch.setattr(staging, "_BANDWIDTH", 1000.0)
    assert staged(program, ESC1) is program


def test_a_program_that_gains_less_than_the_estimate_may_err_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    program = network()
    gain = 1 - estimate(staged(program, ESC1).instructions, ESC1).total / estimate(program.instructions, ESC1).total
    monkeypatch.setattr(staging, "_LEAST_GAIN", 1.01 * gain)
    assert staged(program, ESC1) is program
    monkeypatch.setattr(staging, "_LEAST_GAIN", 0.99 * gain)
    assert staged(program, ESC1) is not program


def test_full_act_leaves_weights_in_dram() -> None:
    small = replace(ESC1, scratchpad=replace(ESC1.scratchpad, act=16384))
    assert all(x.spec.mnemonic != "load.bytes" for x in staged(network(), small).instructions)
