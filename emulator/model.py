"""A binary as a Python object: run it, measure it, evaluate it. Needs neither compiler nor xDSL nor ONNX."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from functools import cached_property
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emulator.display import Stats
from emulator.evaluate import BLOCKS_IN_MEMORY, Accuracy, batch_size, classes, evaluate, mean_of, measure
from emulator.hosted import HostedMachine, machine_of
from emulator.inputs import wanted
from emulator.kernels import Bytes
from emulator.machine import Machine
from isa.arrays import checked_labels
from isa.container import read_elf, write_elf
from isa.errors import UserError
from isa.files import read_file, write_atomic
from isa.hosted import HostPort
from isa.program import Port, Program
from isa.scalars import plain_number
from isa.text import shown

Inputs: TypeAlias = "ArrayLike | Mapping[str, ArrayLike]"
"""Floats [N, C, H, W] for the only input of a model, or an array for each of its inputs by name."""


def load(source: str | os.PathLike[str] | bytes, name: str = "") -> Model:
    """The model of a binary: the path of a file, or its bytes. `name` is how errors call it (default: the path).

    Raises `UserError` on a file that cannot be read or is no intact binary of ours, and on a program that is not
    executable.
    """
    name = name or ("binary" if isinstance(source, bytes) else os.fspath(source))
    data = source if isinstance(source, bytes) else read_file(source, name)
    model = Model(read_elf(data, name), name)
    try:
        _ = model.machine
    except UserError as e:
        raise e.about(name) from e
    return model


class Model:
    """A compiled network on the emulated machine.

    Inputs are floats as the network before compilation takes them, [N, C, H, W] or whatever `inputs` says behind N;
    one sample may come without N. A model with several inputs takes a mapping from their names to arrays. Tensors of
    PyTorch are taken too. Methods raise `UserError` on inputs of another shape or name, and on NaN.
    """

    def __init__(self, program: Program, name: str = "model"):
        self.program = program
        self.name = name

    def __getstate__(self) -> dict[str, Any]:
        """What a copy or another process needs: the binary, from which all else follows."""
        return {"binary": self.binary, "name": self.name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.name = state["name"]
        self.program = read_elf(state["binary"], self.name)

    def __repr__(self) -> str:
        ports = [
            ", ".join("x".join(map(str, p.shape)) for p in side) or "nothing" for side in (self.inputs, self.outputs)
        ]
        layers = len(self.program.layers)
        return (
            f"<{type(self).__name__} {self.name}: {ports[0]} -> {ports[1]}, {layers} layer{'s' * (layers != 1)}, "
            f"{len(self.program.rodata):,} B of constants, target {self.program.target.name}>"
        )

    @cached_property
    def machine(self) -> Machine:
        """The machine that runs the program. Raises `UserError` if the program is not executable."""
        return machine_of(self.program)

    @property
    def inputs(self) -> tuple[Port | HostPort, ...]:
        """Name, shape (of one image) and preprocessing of each input."""
        return self.program.inputs if self.program.hosted is None else self.program.hosted.inputs

    @property
    def outputs(self) -> tuple[Port | HostPort, ...]:
        """Name and shape (of one image) of each output."""
        return self.program.outputs if self.program.hosted is None else self.program.hosted.outputs

    @cached_property
    def binary(self) -> bytes:
        """The ELF file, byte for byte what `escc` writes."""
        return write_elf(self.program)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the ELF file, whole or not at all. Raises `UserError` where it cannot be written."""
        write_atomic(os.fspath(path), self.binary)

    def run(self, x: Inputs | None = None) -> NDArray[Any]:
        """The only output, float32 [N, ...], for N images; without inputs, that of the sample in the binary.

        An output behind an ArgMax is int64; one that the host computes has the type that the network declares. Raises
        `UserError` if the model has several outputs: `run_all` gives them all.
        """
        if len(self.outputs) != 1:
            raise UserError(
                f"{self.name}: the model has {len(self.outputs)} outputs; run requires a model with one",
                "run_all gives all outputs by name",
            )
        return self.run_all(x)[self.outputs[0].name]

    def run_all(self, x: Inputs | None = None) -> dict[str, NDArray[Any]]:
        """Every output by name, float32 [N, ...] each; those behind an ArgMax or of the host as `run` says."""
        if isinstance(self.machine, HostedMachine):
            found = self.machine.run_sample() if x is None else self.machine.run(self._arrays(x))
            return {port.name: y for port, y in zip(self.outputs, found.outputs, strict=True)}
        stored = self._stored(x)
        step = batch_size(self.program)
        images = len(stored[0]) if stored else 1  # a program without inputs runs once
        runs = [self.machine.run_stored([s[n : n + step] for s in stored]).outputs for n in range(0, images, step)]
        parts = zip(*runs, strict=True)
        return {port.name: np.concatenate(part) for port, part in zip(self.outputs, parts, strict=True)}

    def stats(self, x: Inputs | None = None) -> Stats:
        """Cycles, energy and traffic of one image, in total and by layer: what `esc-emu --stats-json` writes.

        Of several images, means over the first four; without inputs, those of the sample in the binary.
        docs/performance.md defines every number and its unit. A notebook shows the table of `esc-emu --stats`.
        """
        return Stats(mean_of(measure(self.machine, self._stored(x))))

    def accuracy(self, x: ArrayLike, y: ArrayLike, jobs: int | None = None) -> Accuracy:
        """Top-1, top-5 and confusion over N images x [N, ...] and their integer labels y [N].

        `jobs`: threads (default: one for each processor). Raises `UserError` if the model is no classifier or a label
        is no class of it. Warns where the answers are those of guessing and the inputs are not scaled as calibrated.
        """
        count = classes(self.machine)
        port = wanted(self.inputs[0])
        images = as_array(x, f"input '{port.name}'")
        images = images[None] if images.shape == port.shape else images
        if images.shape[1:] != port.shape or not images.ndim:
            raise UserError(f"input '{port.name}' is {shown(images)}; requires {port.wanted}", port.note(images.shape))
        labels = as_array(y, "y")
        if labels.dtype.kind not in "iu" or labels.shape not in ((len(images),), (len(images), 1)) or not len(images):
            found = f"{labels.dtype}[{','.join(map(str, labels.shape))}]"
            raise UserError(f"y is {found}; requires integers [{len(images)}], one for each of one or more images")
        labels = checked_labels(labels.reshape(-1), count)
        wanted_jobs = plain_number(jobs)
        if wanted_jobs is not None and (type(wanted_jobs) is not int or wanted_jobs < 1):
            raise UserError(f"jobs is {shown(jobs)}; requires an integer of at least 1")
        threads = min(jobs or os.cpu_count() or 1, len(images))
        step = BLOCKS_IN_MEMORY * threads * batch_size(self.program)
        blocks = ((images[n : n + step], labels[n : n + step]) for n in range(0, len(images), step))
        result = evaluate(self.machine, blocks, threads)
        if result.fault:
            warnings.warn(
                f"the accuracy is that of guessing among {count} classes, and {result.fault}: look at mean, standard "
                "deviation and channel order of the inputs",
                UserWarning,
                stacklevel=2,
            )
        return result

    def _stored(self, x: Inputs | None) -> list[Bytes]:
        """Quantised inputs [N, h*w*c], one for each port; those of the sample without inputs."""
        if x is None:
            return self.machine.stored_sample()
        stored = self.machine.stored(self._arrays(x))
        if len({len(s) for s in stored}) > 1:
            found = ", ".join(f"'{p.name}' {len(s)}" for p, s in zip(self.inputs, stored, strict=True))
            raise UserError(f"inputs have different numbers of images: {found}; requires equal numbers")
        return stored

    def _arrays(self, x: Inputs) -> list[NDArray[Any]]:
        names = [port.name for port in self.inputs]
        wanted = ", ".join(f"'{name}'" for name in names) or "none"
        if isinstance(x, Mapping):
            if set(x) != set(names):
                found = ", ".join(f"'{name}'" for name in x) or "none"
                raise UserError(f"inputs given: {found}; requires {wanted}")
            return [as_array(x[name], f"input '{name}'") for name in names]
        if len(names) != 1:
            raise UserError(f"one array given; requires a mapping with an array for each input: {wanted}")
        return [as_array(x, f"input '{names[0]}'")]


def as_array(x: object, title: str) -> NDArray[Any]:
    """An array of numbers, a nested list of them or a tensor of PyTorch as an array. Raises `UserError`."""
    detach = getattr(x, "detach", None)
    if callable(detach):  # NumPy refuses tensors of another device, and those that gradients flow through
        x = cast(Any, detach()).cpu()
    try:
        found = np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as e:
        raise UserError(f"{title}: not an array of numbers: {e}") from e
    if found.dtype.kind not in "fiub":
        raise UserError(f"{title}: elements of type {found.dtype}; requires numbers")
    return found
