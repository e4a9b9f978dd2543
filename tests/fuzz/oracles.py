"""What must hold of a program that every check accepted, whatever it computes."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np

from emulator.machine import Machine
from fuzz.findings import Finding
from isa.container import read_elf, write_elf
from isa.errors import UserError
from isa.formats import Queue
from isa.program import Program

_WAITS = tuple((queue, f"wait_{queue.name.lower()}") for queue in Queue)


def check_binary(data: bytes, where: str) -> None:
    """A binary that a command of ours wrote is read again, and obeys `check_program`.

    The machine alone knows whether a program reads bytes that nothing has written.
    """
    try:
        program = read_elf(data, where)
        Machine(program)
    except UserError as e:
        if "which nothing has written" not in e.causes[0]:
            raise Finding("wrong", f"{where} was written and is refused: {e.causes[0]}") from e
        return
    check_program(program, random.Random(len(data)))


def check_program(program: Program, rng: random.Random) -> None:
    """What an executable program computes depends neither on how its queues interleave nor on the other images."""
    if write_elf(read_elf(write_elf(program))) != write_elf(program):
        raise Finding("wrong", "a binary that is read and written again differs")
    inputs = [_any_input(port.shape, rng) for port in program.inputs]
    if not inputs:
        return
    try:
        wanted = Machine(program).run([x[:1] for x in inputs]).outputs
    except UserError:
        return  # constants are unpacked when they are loaded
    both = Machine(program).run(inputs).outputs
    if any(not np.array_equal(a, b[:1], equal_nan=True) for a, b in zip(wanted, both, strict=True)):
        raise Finding("wrong", "an image gives another output beside a second one")
    try:
        found = Machine(interleaved(program, rng)).run([x[:1] for x in inputs]).outputs
    except UserError as e:
        raise Finding("wrong", f"another interleaving of the queues is refused: {e.causes[0]}") from e
    if any(not np.array_equal(a, b, equal_nan=True) for a, b in zip(wanted, found, strict=True)):
        raise Finding("wrong", "another interleaving of the queues gives another output")


def _any_input(shape: tuple[int, ...], rng: random.Random) -> np.ndarray:
    images = np.random.default_rng(rng.randrange(1 << 30)).standard_normal((2, *shape[1:]))
    return images.astype(np.float32)


def interleaved(program: Program, rng: random.Random) -> Program:
    """The program with its instructions in another order that the semaphores allow; its layers are left out."""
    *body, last = program.instructions
    queues = {q: [i for i in body if i.spec.queue == q] for q in Queue}
    reached = dict.fromkeys(Queue, 0)
    order = []
    while any(queues.values()):
        ready = [q for q, rest in queues.items() if rest and all(reached[w] >= rest[0][name] for w, name in _WAITS)]
        if not ready:
            raise Finding("wrong", "the waits of an accepted program are never satisfied")
        queue = rng.choice(ready)
        instruction = queues[queue].pop(0)
        reached[queue] += instruction["signal"]
        order.append(instruction)
    return replace(program, instructions=(*order, last), layers=())
