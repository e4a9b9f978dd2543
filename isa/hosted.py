"""What the host computes around a program: the ends of a network that the machine has no operators for.

A program may carry two ONNX models, a head and a tail. The head turns the inputs of the network into what the program
reads; the tail makes the outputs of the network of what the program, the head and the inputs give. Values are found by
name: those of the program are its ports. A part without operators is empty.

In a binary this is one section of bytes: four sizes (uint64, little-endian), and as many bytes of each of a canonical
JSON object (`_Facts`), the head, the tail, and a sample of every input, in order.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from isa.errors import UserError
from isa.jsonform import canonical, from_plain, loads

_SIZES = struct.Struct("<4Q")
ELEMENTS = {
    "float32": 4,
    "float64": 8,
    "float16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
    "uint8": 1,
    "bool": 1,
}
"""Element types of inputs and outputs of a network by their names in NumPy, with their bytes."""


@dataclass(frozen=True)
class HostPort:
    """An input or output of the whole network for one image; an extent of 0 depends on the values.

    `element` is the type of its elements by its name in NumPy. `mean`, `std` and `channel_order` are as in a `Port`.
    """

    name: str
    shape: tuple[int, ...]
    element: str
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channel_order: str = ""

    @property
    def nbytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.shape) * ELEMENTS[self.element]


@dataclass(frozen=True)
class HostWork:
    """Nodes of the network and multiply-accumulates of an image that head, machine and tail compute.

    `operators` are the kinds of nodes that the host computes, in alphabetical order.
    """

    head_nodes: int
    head_macs: int
    machine_nodes: int
    machine_macs: int
    tail_nodes: int
    tail_macs: int
    operators: tuple[str, ...]

    @property
    def nodes(self) -> int:
        """Nodes that the host computes."""
        return self.head_nodes + self.tail_nodes

    @property
    def macs(self) -> int:
        """Multiply-accumulates that the host computes."""
        return self.head_macs + self.tail_macs

    @property
    def share(self) -> float:
        """The host's share of all multiply-accumulates, from 0 to 1."""
        return self.macs / (self.macs + self.machine_macs) if self.macs else 0.0

    def figures(self) -> dict[str, Any]:
        """The numbers as reports have them."""
        return {
            "nodes": self.nodes,
            "network_nodes": self.nodes + self.machine_nodes,
            "macs": self.macs,
            "network_macs": self.macs + self.machine_macs,
            "mac_share": self.share,
            "operators": list(self.operators),
        }


@dataclass(frozen=True)
class HostParts:
    """Head and tail of a network as ONNX models (b"": none), and the ports of the network as its user sees them.

    `sample` is one value of every input, in order, as the bytes of its element type; b"" where that of the program
    serves.
    """

    inputs: tuple[HostPort, ...]
    outputs: tuple[HostPort, ...]
    work: HostWork
    head: bytes
    tail: bytes
    sample: bytes = b""

    def pack(self) -> bytes:
        """The bytes of the section."""
        facts = canonical(_Facts(self.inputs, self.outputs, self.work)).encode()
        parts = (facts, self.head, self.tail, self.sample)
        return _SIZES.pack(*map(len, parts)) + b"".join(parts)


@dataclass(frozen=True)
class _Facts:
    """The JSON object of the section."""

    inputs: tuple[HostPort, ...]
    outputs: tuple[HostPort, ...]
    work: HostWork


def described(figures: Mapping[str, Any]) -> str:
    """`HostWork.figures` as a sentence for people, whose subject is the host."""
    return (
        f"computes {figures['nodes']:,} of {figures['network_nodes']:,} nodes around the machine, "
        f"{figures['macs'] * 1e-6:,.2f} of {figures['network_macs'] * 1e-6:,.2f} million multiply-accumulates "
        f"({100 * figures['mac_share']:.1f} %), which no other number here counts: {', '.join(figures['operators'])}"
    )


def unpack(data: bytes) -> HostParts:
    """The parts that a section holds. Raises `UserError` on bytes that are none."""
    sizes = _SIZES.unpack_from(data) if len(data) >= _SIZES.size else ()
    if _SIZES.size + sum(sizes) != len(data):
        raise UserError(f"parts of the host: {len(data)} bytes are not as long as they say")
    parts: list[bytes] = []
    at = _SIZES.size
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    try:
        text = parts[0].decode("ascii")
    except UnicodeDecodeError as e:
        raise UserError(f"parts of the host: no JSON: {e}") from e
    facts = from_plain(_Facts, loads(text, "parts of the host"), "parts of the host")
    found = HostParts(facts.inputs, facts.outputs, facts.work, *parts[1:])
    _check(found)
    return found


def _check(parts: HostParts) -> None:
    for port in (*parts.inputs, *parts.outputs):
        if port.element not in ELEMENTS:
            raise UserError(f"parts of the host: '{port.name}' has elements of type {port.element[:40]!r}")
        if any(extent < 0 for extent in port.shape):
            raise UserError(f"parts of the host: '{port.name}' has the shape {list(port.shape)}")
    wanted = sum(port.nbytes for port in parts.inputs)
    if any(0 in port.shape for port in parts.inputs) or len(parts.sample) not in (0, wanted):
        raise UserError(f"parts of the host: a sample of {len(parts.sample)} bytes; requires {wanted} or none")
