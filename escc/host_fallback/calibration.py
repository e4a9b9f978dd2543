"""Calibration of a network whose ends the host computes: what the head makes of the samples calibrates the machine."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp

from dialects.eisa import host_of, set_host
from dialects.interpreters.run import main_function
from dialects.signature import inputs_of
from emulator.hosted import HostModel
from emulator.inputs import wanted
from isa.arrays import Arrays, Source
from isa.errors import UserError
from isa.hosted import HostParts, unpack
from passes.math.calibration import SYNTHETIC_WARNING, load_inputs, synthetic_inputs

Array = NDArray[Any]

_MOST_VALUES = 1 << 27
"""Values of all samples together that the head is run for."""
_SAMPLES = 1024


def network_samples(parts: HostParts, source: Source | None, samples: int, seed: int) -> list[Array]:
    """Samples [N, *shape] of every input of the network, in the types of the inputs, N at most `samples`.

    Without a source they are made up: floats as the compiler makes them up, integers from 0 to 255 or to the
    greatest of their type.
    """
    ports = [wanted(port) for port in parts.inputs]
    if source is None:
        made = synthetic_inputs(ports, samples, seed)
        rng = np.random.default_rng(seed)
        arrays: list[Array] = [
            x if np.dtype(p.element).kind == "f" else rng.integers(0, _made_up_below(p.element), x.shape)
            for p, x in zip(parts.inputs, made, strict=True)
        ]
    else:
        arrays = [*load_inputs(source, ports, samples, seed)]
    return [
        np.ascontiguousarray(x.reshape(len(x), *port.shape), port.element)
        for port, x in zip(parts.inputs, arrays, strict=True)
    ]


def _made_up_below(element: str) -> int:
    """What made-up values of a type of integers or booleans stay below."""
    return 2 if element == "bool" else min(256, int(np.iinfo(element).max) + 1)


def machine_samples(
    module: ModuleOp, source: str | Arrays | None, samples: int | None, seed: int | None
) -> str | Arrays | None:
    """Calibration data for the machine's part of a network, of data for the whole, of which the module keeps a sample.

    Data for a network that needs no host, or whose head is empty, are passed on as they are.
    """
    if not (host := host_of(module)):
        return source
    parts = unpack(host)
    inputs = inputs_of(main_function(module))
    tail_reads = HostModel(parts.tail, "the tail of the network").inputs if parts.tail else []
    if not parts.head and not {port.name for port in parts.inputs} & set(tail_reads):
        return source
    if source is None:
        warnings.warn(SYNTHETIC_WARNING, UserWarning, stacklevel=2)
    largest = max(sum(int(np.prod(port.shape)) for port in ports) for ports in (parts.inputs, inputs))
    count = max(1, min(samples or _SAMPLES, _MOST_VALUES // max(1, largest)))
    arrays = network_samples(parts, source, count, seed or 0)
    sample = b"".join(x[0].tobytes() for x in arrays)
    set_host(module, dataclasses.replace(parts, sample=sample).pack())
    head = HostModel(parts.head, "the head of the network") if parts.head else None
    names = [port.name for port in parts.inputs]
    found: dict[str, list[Array]] = {i.name: [] for i in inputs}
    for number in range(len(arrays[0])):
        known: Mapping[str, Array] = {name: x[number] for name, x in zip(names, arrays, strict=True)}
        known = {**known, **(head.run(known) if head is not None else {})}
        for i in inputs:
            found[i.name].append(_row(known[i.name], i.shape, i.name))
    return Arrays({name: np.stack(rows) for name, rows in found.items()}, "what the head makes of the calibration data")


def _row(x: Array, shape: Sequence[int], name: str) -> Array:
    if x.size != int(np.prod(shape)):
        raise UserError(f"the head of the network gives '{name}' of shape {list(x.shape)}; requires [1, {list(shape)}]")
    return x.reshape(tuple(shape))
