"""A network whose ends the host computes: onnxruntime before and behind the machine, image by image.

onnxruntime is no dependency of the emulator: only a binary that carries parts for the host asks for it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from emulator.host import quantise
from emulator.kernels import Bytes
from emulator.machine import Machine, Observer, RunResult
from isa.errors import UserError
from isa.hosted import HostParts, HostPort
from isa.program import Program
from isa.text import clipped

Array = NDArray[Any]
Values = Mapping[str, Array]
"""Tensors of one image by name."""


def machine_of(program: Program) -> Machine:
    """What runs a program, with the host around it where the program carries parts for the host."""
    return Machine(program) if program.hosted is None else HostedMachine(program, program.hosted)


class HostModel:
    """An ONNX model that the host computes, on one thread: results do not depend on the number of processors.

    Raises `UserError` without onnxruntime, and on a model that onnxruntime refuses.
    """

    def __init__(self, model: bytes, title: str):
        self._title = title
        try:
            import onnxruntime
        except ImportError as e:
            raise UserError(
                f"{title}: onnxruntime computes it, and is not installed", "run: pip install onnxruntime"
            ) from e
        runtime = cast(Any, onnxruntime)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as e:  # a class of its own for each kind of fault, without a common one
            raise self._refused(e) from e
        self.inputs: list[str] = [port.name for port in self._session.get_inputs()]
        self.outputs: list[str] = [port.name for port in self._session.get_outputs()]

    def run(self, known: Values) -> dict[str, Array]:
        """Outputs by name; `known` holds the inputs, and may hold more."""
        missing = next((name for name in self.inputs if name not in known), None)
        if missing is not None:
            raise UserError(f"{self._title}: reads '{missing}', which nothing computes")
        try:
            found = self._session.run(self.outputs, {name: known[name] for name in self.inputs})
        except Exception as e:  # as above
            raise self._refused(e) from e
        return dict(zip(self.outputs, found, strict=True))

    def _refused(self, error: Exception) -> UserError:
        return UserError(f"{self._title}: onnxruntime fails: {clipped(' '.join(str(error).split()), 300)}")


class HostedMachine(Machine):
    """The machine with the host around it: takes the inputs of the whole network, and gives its outputs.

    `run_stored` is the machine alone, and so are all statistics.
    """

    def __init__(self, program: Program, parts: HostParts):
        super().__init__(program)
        self._parts = parts
        self._models: dict[str, HostModel] = {}
        self._lock = threading.Lock()

    @property
    def inputs(self) -> tuple[HostPort, ...]:
        """Inputs of the whole network."""
        return self._parts.inputs

    @property
    def outputs(self) -> tuple[HostPort, ...]:
        """Outputs of the whole network."""
        return self._parts.outputs

    def stored(self, inputs: Sequence[Array]) -> list[Bytes]:
        """What the head makes of inputs [N, ...] of the network, quantised for each port of the machine."""
        found = [self._quantised(self._before(values)) for values in self._images(inputs)]
        return [np.concatenate(of_port) for of_port in zip(*found, strict=True)]

    def stored_sample(self) -> list[Bytes]:
        """What the head makes of the sample of the network, or the sample of the program where that serves."""
        sample = self.sample()
        return self.stored(sample) if sample else super().stored_sample()

    def sample(self) -> list[Array]:
        """The sample of the network [1, ...], empty where that of the program serves."""
        arrays: list[Array] = []
        at = 0
        for port in self.inputs if self._parts.sample else ():
            part = self._parts.sample[at : at + port.nbytes]
            arrays.append(np.frombuffer(part, port.element).reshape(port.shape)[None])
            at += port.nbytes
        return arrays

    def run(self, inputs: Sequence[Array], stats: bool = False, observer: Observer | None = None) -> RunResult:
        """Run inputs [N, ...] of the network, as its ports say. Statistics are those of the first image."""
        results: list[dict[str, Array]] = []
        statistics = None
        for number, values in enumerate(self._images(inputs)):
            known = self._before(values)
            result = self.run_stored(self._quantised(known), stats and number == 0, observer)
            statistics = statistics or result.statistics
            results.append(self._behind(known, result.outputs))
        return RunResult([_joined(port.name, [r[port.name] for r in results]) for port in self.outputs], statistics)

    def run_sample(self, stats: bool = False, observer: Observer | None = None) -> RunResult:
        """Run the embedded sample. Raises `UserError` if there is none."""
        if sample := self.sample():
            return self.run(sample, stats, observer)
        result = super().run_sample(stats, observer)
        found = self._behind({}, result.outputs)
        return RunResult([_joined(port.name, [found[port.name]]) for port in self.outputs], result.statistics)

    def _images(self, inputs: Sequence[Array]) -> list[dict[str, Array]]:
        """The inputs of each image by name, as the network declares them."""
        ports = self.inputs
        if len(inputs) != len(ports):
            raise UserError(f"{len(inputs)} inputs given; requires {len(ports)}: {', '.join(p.name for p in ports)}")
        rows = [_rows(port, x) for port, x in zip(ports, inputs, strict=True)]
        if len({len(x) for x in rows}) > 1:
            raise UserError(f"the inputs have different numbers of images: {sorted({len(x) for x in rows})}")
        return [{p.name: x[n] for p, x in zip(ports, rows, strict=True)} for n in range(len(rows[0]))]

    def _before(self, values: Values) -> dict[str, Array]:
        """The inputs of one image, and what the head makes of them."""
        known = dict(values)
        if self._parts.head:
            known |= self._model("head", self._parts.head).run(known)
        return known

    def _quantised(self, known: Values) -> list[Bytes]:
        missing = next((port.name for port in self.program.inputs if port.name not in known), None)
        if missing is not None:
            raise UserError(f"parts of the host: the program reads '{missing}', which nothing computes")
        return [quantise(port, known[port.name]) for port in self.program.inputs]

    def _behind(self, known: Values, outputs: Sequence[Array]) -> dict[str, Array]:
        """The outputs of one image of the network, of what is known before the machine and what the machine gives."""
        found = {**known, **{p.name: x.reshape(p.shape) for p, x in zip(self.program.outputs, outputs, strict=True)}}
        if self._parts.tail:
            found |= self._model("tail", self._parts.tail).run(found)
        missing = next((port.name for port in self.outputs if port.name not in found), None)
        if missing is not None:
            raise UserError(f"parts of the host: nothing computes the output '{missing}'")
        return {port.name: np.asarray(found[port.name]) for port in self.outputs}

    def _model(self, which: str, model: bytes) -> HostModel:
        with self._lock:
            if which not in self._models:
                self._models[which] = HostModel(model, f"the {which} of the network")
            return self._models[which]


def _rows(port: HostPort, x: Array) -> Array:
    """Inputs [N, *shape] of N images in the type of a port, of arrays [N, *shape[1:]] or [N, *shape]."""
    shape = port.shape
    inner = shape[1:] if shape[:1] == (1,) else shape
    x = x[None] if x.shape == inner else x
    if x.shape[1:] not in (inner, shape) or not len(x):
        wanted = ", ".join(map(str, inner))
        raise UserError(f"input '{port.name}': shape {list(x.shape)} does not fit; requires [N, {wanted}]")
    if x.dtype.kind not in "fiub":
        raise UserError(f"input '{port.name}': elements of type {x.dtype}; requires numbers")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UserError(f"input '{port.name}': holds NaN or infinite values")
    wanted_type = np.dtype(port.element)
    if wanted_type.kind in "iub" and x.dtype != wanted_type:
        info = (0, 1) if wanted_type.kind == "b" else (np.iinfo(wanted_type).min, np.iinfo(wanted_type).max)
        if (x.dtype.kind == "f" and (x != np.rint(x)).any()) or x.min() < info[0] or x.max() > info[1]:
            raise UserError(f"input '{port.name}': holds values that are no {port.element}; requires {port.element}")
    return np.ascontiguousarray(x, wanted_type).reshape(len(x), *shape)


def _joined(name: str, parts: Sequence[Array]) -> Array:
    """An output of several images: they take the place of a first extent of 1, else they come before it."""
    if len({x.shape for x in parts}) > 1:
        raise UserError(
            f"output '{name}' has a shape of its own for each image: {parts[0].shape} and others; requires one shape",
            "run one image at a time",
        )
    return np.concatenate(parts) if parts[0].shape[:1] == (1,) else np.stack(parts)
