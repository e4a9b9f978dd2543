"""Baseline machines: the protocol, their parameters, what they answer."""

from __future__ import annotations

import math
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Literal, TypeVar, cast

from escc.baselines.work import LayerWork

Weights = Literal["dense", "sparse"]


@dataclass(frozen=True)
class Memory:
    """One kind of on-chip memory that holds operands: `count` instances of `bytes` each.

    `read_pj` and `write_pj` are picojoule a byte; `leakage_mw` is that of one instance. Register files inside
    processing elements state their bytes and no energy: the targets do not charge their operand registers either.
    """

    name: str
    bytes: int
    count: int = 1
    read_pj: float = 0.0
    write_pj: float = 0.0
    leakage_mw: float = 0.0


@dataclass(frozen=True)
class BufferAccess:
    """Bytes of one image that are read from and written to one kind of memory."""

    read: float
    written: float


@dataclass(frozen=True)
class DramBytes:
    """Bytes of one image that travel between DRAM and chip; weights are shared by the images of a batch."""

    inputs: float
    weights: float
    outputs: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.inputs + self.weights + self.outputs


@dataclass(frozen=True)
class Result:
    """What one layer costs for one image, mean over the images of the work.

    `cycles` are those of computing alone, as if DRAM were infinitely fast. `multiplications` (8 bit) and `additions`
    (32 bit) are the arithmetic that takes place; `accesses` those of the memories, by their names.
    """

    cycles: float
    dram: DramBytes
    multiplications: float
    additions: float
    accesses: Mapping[str, BufferAccess] = field(default_factory=dict[str, BufferAccess])

    def __post_init__(self) -> None:
        for name in ("cycles", "multiplications", "additions"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} of a result are {getattr(self, name)}; requires a finite number not below 0")


@dataclass(frozen=True)
class Baseline:
    """What machines and cost models have in common: a name and a line about them.

    `standard` ones are part of a comparison unless others are asked for.
    """

    name: str
    description: str
    standard: bool


@dataclass(frozen=True)
class BaselineMachine(Baseline, ABC):
    """An accelerator whose cycles and events follow from a layer's geometry and zeros.

    `weights` says which network it runs: the dense one, or the pruned one because it gains from zeros. Energies of
    `memories` are those of `technology_nm`.
    """

    technology_nm: int
    memories: tuple[Memory, ...]
    weights: Weights

    @property
    @abstractmethod
    def multipliers(self) -> int:
        """8-bit multipliers."""

    @property
    def memory_bytes(self) -> int:
        """All on-chip memory that holds operands."""
        return sum(m.bytes * m.count for m in self.memories)

    @abstractmethod
    def run(self, work: LayerWork, batch: int = 1) -> Result:
        """Cost of a layer for one image when `batch` images run together.

        Machines that share weights among images only on their way from DRAM compute as many cycles in a batch as alone.
        """


@dataclass(frozen=True)
class BaselineCosts(Baseline, ABC):
    """A design that computes inside its memory: conversions and movements are counted, time is not."""

    @abstractmethod
    def count(self, work: LayerWork) -> Mapping[str, int]:
        """Events of one image by name; the names are the same for every layer and model."""


B = TypeVar("B", bound=Baseline)


def load(cls: type[B], name: str, package: str = "escc.baselines") -> B:
    """The machine `name` of class `cls` from `machines/<name>.toml` of a package.

    The keys of the file are the fields of the class; `base` names a file whose keys it takes over. Raises TypeError on
    a key that is no field and on a field without a value.
    """
    data = _read(name, package)
    if "memories" in data:
        data["memories"] = tuple(Memory(**table) for table in cast("list[dict[str, Any]]", data["memories"]))
    return cls(name=name, **data)


def _read(name: str, package: str) -> dict[str, Any]:
    text = (files(package) / "machines" / f"{name}.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    base = data.pop("base", None)
    return data if base is None else {**_read(str(base), package), **data}


def dense_bytes(work: LayerWork, batch: int) -> DramBytes:
    """Traffic of a dense machine: every value once, 8 bit."""
    g = work.geometry
    return DramBytes(g.inputs, g.weights / batch, g.outputs)


def sparse_bytes(work: LayerWork, batch: int) -> DramBytes:
    """Traffic of a sparse machine: every tensor once, one bit a value and 8 bit a value other than zero."""
    g = work.geometry
    return DramBytes(
        g.inputs / 8 + work.input_nonzeros,
        (g.weights / 8 + work.weight_nonzeros) / batch,
        g.outputs / 8 + work.mean_output_nonzeros,
    )
