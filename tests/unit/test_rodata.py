"""`.rodata`: every byte belongs to a transfer, and the machine counts the bursts that unaligned transfers touch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tile_models import Graph, lower

from dialects import esc
from dialects.blob import DenseAttr
from dialects.eisa import to_program
from dialects.interpreters.run import run_module
from emulator.execution import Execution
from emulator.machine import Machine
from emulator.memories import Constants
from emulator.recording import Recorder
from isa.counts import Count
from isa.errors import UserError
from isa.hazards import accesses
from isa.layout import WEIGHT_TABLE_BYTES
from isa.parameters import plain_blocks, unpack_parameters
from isa.program import Program
from isa.weights import unpack_weights


def network() -> Program:
    """Layers of every kind that has constants; coefficients in several transfers."""
    g = Graph(9, 9, 20)
    x = g.decomposed(g.x, 40, 5)
    y = g.conv(x, 40, groups=40, table=True)
    z = g.conv(x, 40, (1, 1), pads=(0, 0, 0, 0), residual=y)
    return to_program(lower(g.module(g.pool(z, True, (2, 2), (1, 1)))))


def test_every_byte_is_fetched() -> None:
    program = network()
    fetched = np.zeros(len(program.rodata), int)
    for instruction in program.instructions:
        for space, low, high, _ in accesses(instruction, program.target):
            if space == "dram" and high <= len(program.rodata):
                fetched[low:high] += 1
    assert fetched.min() >= 1


def test_unaligned_transfers_cost_every_burst_that_they_touch() -> None:
    program = network()
    recorder = Recorder(program)
    execution = Execution(program, 1, Constants(), recorder)
    execution.write_input(program.inputs[0].tensor, np.zeros((1, 9 * 9 * 20), np.uint8))
    burst = program.target.dram.burst_bytes
    straddling = 0
    for index, instruction in enumerate(program.instructions):
        execution.step(index)
        if instruction.spec.mnemonic in ("load.coef", "load.bytes", "load.par"):
            first, last = instruction["dram"] // burst, (instruction["dram"] + instruction["size"] - 1) // burst
            moved = recorder.counts[index, Count.DRAM_WEIGHTS] + recorder.counts[index, Count.DRAM_PARAMETERS]
            assert moved == (last - first + 1) * burst
            straddling += last - first + 1 > -(-instruction["size"] // burst)
    assert straddling


def test_packed_parameters_are_expanded_to_blocks() -> None:
    program = network()
    recorder = Recorder(program)
    execution = Execution(program, 1, Constants(), recorder)
    execution.write_input(program.inputs[0].tensor, np.zeros((1, 9 * 9 * 20), np.uint8))
    found = 0
    for index, i in enumerate(program.instructions):
        execution.step(index)
        if i.spec.mnemonic == "load.par":
            blob = program.rodata[i["dram"] : i["dram"] + i["size"]]
            want = plain_blocks(*unpack_parameters(blob, i["kn"]), i["block"])
            assert execution.memories.par[i["dst"] : i["dst"] + 9 * i["kn"]].tobytes() == want
            assert recorder.counts[index, Count.PAR_WRITE] == 9 * i["kn"]
            assert recorder.cycles[index] == -(-9 * i["kn"] // program.target.dma.bytes_per_cycle)
            found += 1
    assert found >= 3


def test_damaged_parameters_are_an_error() -> None:
    program = network()
    at = next(i["dram"] for i in program.instructions if i.spec.mnemonic == "load.par")
    rodata = program.rodata[:at] + b"\xff\xff\xff\xff" + program.rodata[at + 4 :]
    with pytest.raises(UserError, match="packed parameters: "):
        Machine(replace(program, rodata=rodata)).run([np.zeros((1, 20, 9, 9), np.float32)])


def test_dense_weights_are_packed_where_that_is_smaller() -> None:
    g = Graph(9, 9, 32)
    x = g.conv(g.x, 32)
    for op in g.ops:
        if isinstance(op, esc.Conv2dOp):
            op.weight = DenseAttr.of(op.weight.array.astype(np.int8) // 16)
    module = g.module(g.conv(x, 8))
    program = to_program(lower(module))
    loads = [i for i in program.instructions if i.spec.mnemonic == "load.weights"]
    recorder = Recorder(program)
    execution = Execution(program, 1, Constants(), recorder)
    execution.write_input(program.inputs[0].tensor, np.zeros((1, 9 * 9 * 32), np.uint8))
    for index, i in enumerate(program.instructions):
        execution.step(index)
        if i in loads:
            table = program.rodata[i["table"] : i["table"] + WEIGHT_TABLE_BYTES]
            want = unpack_weights(program.rodata[i["dram"] : i["dram"] + i["size"]], table, i["count"])
            assert execution.memories.coef[i["dst"] : i["dst"] + i["count"]].tobytes() == want.tobytes()
            assert recorder.counts[index, Count.WEIGHT_NONZEROS] == np.count_nonzero(want)
            assert recorder.counts[index, Count.DRAM_WEIGHTS] >= i["size"] + WEIGHT_TABLE_BYTES
            assert recorder.cycles[index] >= i["count"] // program.target.dma.bytes_per_cycle
    assert loads and sum(i["count"] for i in loads) > 1.4 * sum(i["size"] for i in loads)
    assert any(i.spec.mnemonic == "load.bytes" and not i["pad"] for i in program.instructions)  # 8-bit noise
    x = np.random.default_rng(0).integers(-128, 128, (1, 32, 9, 9)).astype(np.float32)
    np.testing.assert_array_equal(Machine(program).run([x]).outputs[0], run_module(module, [x])[0])
