"""The machine description: a TOML file merged over its base, as frozen dataclasses."""

from __future__ import annotations

import json
import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from difflib import get_close_matches
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from isa import found as installed
from isa.levels import LEVELS
from isa.scalars import plain_number
from isa.target_files import MAX_TEXT, TargetError, installed_places, locate, merge, merged
from isa.text import printable, shown

ISA_VERSION = 5


@dataclass(frozen=True)
class Parameter:
    """Declaration of a number in a target: its smallest and largest value, its unit and its meaning.

    The ranges hold every machine that is worth a thought; they also bound the memory and the time that a target from
    a stranger can cost.
    """

    low: float
    high: float
    unit: str
    doc: str

    @property
    def comment(self) -> str:
        """Range, unit and meaning in one line."""
        return f"{self.low:.12g}..{self.high:.12g}{f' {self.unit}' if self.unit else ''}: {self.doc}"


_ISSUE = Parameter(0, 65535, "cycles", "start-up of an instruction")


@dataclass(frozen=True)
class Clock:
    """Clock domain of the accelerator."""

    frequency_mhz: Annotated[float, Parameter(1, 1e5, "MHz", "clock of everything but the DRAM")]


@dataclass(frozen=True)
class Array:
    """The PE array; see the comments of `targets/esc1.toml`."""

    blocks: Annotated[int, Parameter(1, 1024, "", "PE blocks; each owns an adder tree")]
    slices: Annotated[int, Parameter(1, 256, "", "PE slices of a block: a coefficient accumulator and a MAC row each")]
    coefficient_level: Annotated[
        int, Parameter(1, 4, "", "greatest magnitude of a coefficient: 1, or 2 or 4 with a shifter before accumulators")
    ]
    macs: Annotated[int, Parameter(1, 1024, "", "8-bit multipliers of a MAC row")]
    chunk: Annotated[int, Parameter(8, 64, "channels", "channels that share a bitmap; a multiple of 8")]
    ca_lanes: Annotated[int, Parameter(1, 1024, "", "matches that a coefficient accumulator adds in a cycle")]
    ic_bits: Annotated[int, Parameter(8, 24, "bits", "width of an intermediate value, saturating")]
    coefficient_registers: Annotated[
        int, Parameter(8, 1 << 20, "", "coefficients, of 2 bits, of a register set of a block, which has two sets")
    ]
    expand_rate: Annotated[int, Parameter(1, 64, "", "non-zero coefficients that a block expands in a cycle")]
    expand_bytes: Annotated[int, Parameter(1, 4096, "bytes", "coded bytes a cycle from COEF to the blocks")]
    fifo_chunks: Annotated[int, Parameter(1, 65536, "chunks", "capacity of a broadcast FIFO; at least one position")]
    fifo_blocks: Annotated[int, Parameter(1, 1024, "", "neighbouring blocks that share a broadcast FIFO")]
    ic_fifo_depth: Annotated[
        int, Parameter(1, 4096, "values", "depth of the FIFO between a coefficient accumulator and its MAC row")
    ]
    broadcast_chunks: Annotated[int, Parameter(1, 1024, "", "chunks that the broadcast moves in a cycle")]
    issue_cycles: Annotated[int, _ISSUE]


@dataclass(frozen=True)
class Post:
    """The post unit."""

    lanes: Annotated[int, Parameter(1, 4096, "", "values that the unit takes in a cycle")]
    pool_places: Annotated[int, Parameter(1, 256, "", "places of a pooling window that a lane takes in a cycle")]
    issue_cycles: Annotated[int, _ISSUE]


_CAPACITY = Parameter(1, 1 << 24, "bytes", "capacity of the scratchpad, which has addresses of 24 bits")


@dataclass(frozen=True)
class Scratchpads:
    """Capacities."""

    act: Annotated[int, _CAPACITY]
    coef: Annotated[int, _CAPACITY]
    par: Annotated[int, _CAPACITY]
    psum: Annotated[int, _CAPACITY]


_FIFO = Parameter(1, 1 << 20, "bytes", "data that an engine holds between DRAM and scratchpad; at least a burst")


@dataclass(frozen=True)
class Dma:
    """One engine a direction."""

    instructions_in_flight: Annotated[
        int, Parameter(1, 256, "", "instructions that an engine has accepted and not completed, at most")
    ]
    load_fifo: Annotated[int, _FIFO]
    store_fifo: Annotated[int, _FIFO]
    bytes_per_cycle: Annotated[int, Parameter(1, 65536, "bytes", "scratchpad side of an engine, in a cycle")]
    decode_weights: Annotated[int, Parameter(1, 65536, "", "signs of weights that load.weights decodes in a cycle")]
    decode_magnitudes: Annotated[
        int, Parameter(1, 65536, "", "magnitudes of weights that load.weights decodes in a cycle, of all lanes")
    ]
    issue_cycles: Annotated[int, _ISSUE]


@dataclass(frozen=True)
class Fetch:
    """Instruction fetch, in program order, from the DRAM."""

    instructions: Annotated[
        int, Parameter(1, 1 << 20, "", "instructions fetched and not started, at most; at least those of a burst")
    ]
    bursts_in_flight: Annotated[int, Parameter(1, 1024, "", "bursts asked for and not arrived, at most")]


def _timing(low: int, doc: str, high: int = 1 << 20) -> Parameter:
    return Parameter(low, high, "cycles of dram.clock_mhz", doc)


@dataclass(frozen=True)
class Dram:
    """DRAM channel; timing parameters with their JEDEC names."""

    clock_mhz: Annotated[float, Parameter(1, 1e5, "MHz", "clock of the DRAM")]
    bytes_per_clock: Annotated[int, Parameter(1, 4096, "bytes", "bytes on the bus in a cycle of clock_mhz")]
    burst_bytes: Annotated[int, Parameter(1, 4096, "bytes", "a burst")]
    banks: Annotated[int, Parameter(1, 1024, "", "banks, each with a row buffer")]
    page_bytes: Annotated[
        int,
        Parameter(
            1, 1 << 20, "bytes", "a row of a bank, a multiple of burst_bytes; consecutive pages go round the banks"
        ),
    ]
    queue: Annotated[int, Parameter(1, 1024, "bursts", "reads that the controller chooses from")]
    write_queue: Annotated[int, Parameter(1, 1024, "bursts", "writes that the controller chooses from")]
    write_high: Annotated[int, Parameter(1, 1024, "bursts", "waiting writes that go before reads, up to write_queue")]
    write_low: Annotated[
        int, Parameter(0, 1024, "bursts", "waiting writes at which reads go first again, below write_high")
    ]
    age: Annotated[int, _timing(0, "wait after which a burst is served before all others", 1 << 30)]
    RL: Annotated[int, _timing(1, "read command to data, without tDQSCK")]
    tDQSCK: Annotated[int, _timing(0, "further delay of the data of a read")]
    WL: Annotated[int, _timing(1, "write command to data")]
    tRCD: Annotated[int, _timing(1, "activate to read or write")]
    tRPpb: Annotated[int, _timing(1, "precharge of a bank")]
    tRPab: Annotated[int, _timing(1, "precharge of all banks")]
    tRAS: Annotated[int, _timing(1, "activate to precharge")]
    tRRD: Annotated[int, _timing(0, "activate to activate of another bank")]
    tFAW: Annotated[int, _timing(0, "window of at most four activates")]
    tCCD: Annotated[int, _timing(1, "column command to column command")]
    tWR: Annotated[int, _timing(1, "end of the data of a write to precharge")]
    tRTP: Annotated[int, _timing(1, "read to precharge")]
    tWTR: Annotated[int, _timing(0, "end of the data of a write to read")]
    tREFI: Annotated[int, _timing(1, "refresh to refresh; more than tRFCab", 1 << 30)]
    tRFCab: Annotated[int, _timing(0, "duration of a refresh of all banks")]
    capacity_mib: Annotated[int, Parameter(1, 1 << 20, "MiB", "capacity, up to the 40 bits of addresses")]

    @property
    def burst_clocks(self) -> int:
        """Clocks that the data of a burst occupies the bus."""
        return -(-self.burst_bytes // self.bytes_per_clock)

    @property
    def column_clocks(self) -> int:
        """Clocks from one column command to the next: neither the bus nor the banks allow more."""
        return max(self.tCCD, self.burst_clocks)

    @property
    def peak_gb_per_s(self) -> float:
        """Bandwidth of an endless sequence of bursts in open rows."""
        return self.burst_bytes / self.column_clocks * self.clock_mhz * 1e-3


@dataclass(frozen=True)
class PerMemory:
    """One figure for each scratchpad, the coefficient registers and the broadcast FIFOs; who holds the table declares
    it.
    """

    act: float
    coef: float
    par: float
    psum: float
    registers: float
    fifo: float


def _event(doc: str) -> Parameter:
    return Parameter(0, 1e6, "pJ", doc)


@dataclass(frozen=True)
class Energy:
    """Energies of events, and leakage."""

    technology_nm: Annotated[int, Parameter(1, 1000, "nm", "technology node that the energies are of")]
    add_int8: Annotated[float, _event("an 8-bit addition")]
    add_int32: Annotated[float, _event("a 32-bit addition")]
    mul_int8: Annotated[float, _event("an 8-bit multiplication")]
    mul_int32: Annotated[float, _event("a 32-bit multiplication")]
    dram_byte: Annotated[float, _event("a byte to or from the DRAM")]
    sram_read_byte: Annotated[PerMemory, _event("a byte read")]
    sram_write_byte: Annotated[PerMemory, _event("a byte written")]
    leakage_mw: Annotated[PerMemory, Parameter(0, 1e6, "mW", "power of all its banks while they stand still")]


@dataclass(frozen=True, init=False)
class Target:
    """A machine. `text` is the canonical TOML that a binary carries; equal machines have equal text.

    `Target("esc1", array={"blocks": 16}, name="wide")` is the installed target `esc1` (or that of a .toml file, or
    another `Target`) with changed parameters; those of a table come in a mapping, and `annotated` names their units and
    ranges. Without a `name`, the changed machine is called like its base. Raises `TargetError` on a parameter that does
    not exist or is out of its range.
    """

    name: str
    description: str
    isa_version: Annotated[int, Parameter(0, 65535, "", "version of the instruction set")]
    clock: Clock
    array: Array
    post: Post
    scratchpad: Scratchpads
    dma: Dma
    fetch: Fetch
    dram: Dram
    energy: Energy

    def __init__(self, base: str | Path | Target = "esc1", /, **changes: object):
        given = changes
        if not isinstance(base, str | PathLike | Target):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TargetError(f"base is {shown(base)}; requires a name, a file or a Target")
        if set(given) != set(_declared(Target)) or any(isinstance(value, Mapping) for value in given.values()):
            origin = base if isinstance(base, Target) else load_target(str(base))
            plain = {name: _plain(value) for name, value in changes.items()}
            given = vars(_check(_build(Target, merge(asdict(origin), plain), "target"), "target"))
        for key, value in given.items():
            object.__setattr__(self, key, value)

    @property
    def dram_bytes_per_cycle(self) -> float:
        """DRAM bytes in a core cycle, at most."""
        return self.dram.peak_gb_per_s * 1e3 / self.clock.frequency_mhz

    @property
    def text(self) -> str:
        """Canonical TOML of every parameter, without comments."""
        return _to_toml(self)

    @property
    def annotated(self) -> str:
        """The same with a comment behind every number: range, unit and meaning."""
        return _to_toml(self, comments=True)


_T = TypeVar("_T")
_MAX_NAME = 1000
"""Characters of the longest name or description."""
_PARAMETERS = (
    'escc --print-target lists all parameters, docs/target.md says more; a file that begins with base = "esc1" '
    "states only what differs from that target"
)


@cache
def _declared(cls: type[Any]) -> dict[str, tuple[Any, Parameter | None]]:
    """Type of every parameter of a table, and its declaration; that of a table holds for all numbers in it."""
    hints = get_type_hints(cls, include_extras=True)
    return {name: (get_args(hint) if get_origin(hint) is Annotated else (hint, None)) for name, hint in hints.items()}


def _build(
    cls: type[_T], data: Mapping[str, Any], where: str, path: str = "", inherited: Parameter | None = None
) -> _T:
    declared = _declared(cls)
    unknown = sorted(set(data) - set(declared))
    missing = sorted(set(declared) - set(data))
    if unknown:
        known = {n: f"{table}.{n}" for table, (k, _) in declared.items() if is_dataclass(k) for n in _declared(k)}
        known |= {n: n for n in declared}
        hint = "".join(f"; did you mean '{path}{known[n]}'?" for n in get_close_matches(unknown[0], known, 1))
        raise TargetError(f"{where}: unknown parameter '{path}{unknown[0]}'{hint}", _PARAMETERS)
    if missing:
        raise TargetError(f"{where}: missing parameter '{path}{missing[0]}'", _PARAMETERS)
    values: dict[str, Any] = {}
    for name, (kind, parameter) in declared.items():
        what = f"{where}: '{path}{name}'"
        if not is_dataclass(kind):
            values[name] = _scalar(kind, parameter or inherited, data[name], what)
        elif isinstance(data[name], Mapping):
            values[name] = _build(cast(type[Any], kind), data[name], where, f"{path}{name}.", parameter)
        else:
            raise TargetError(f"{what} must be a table")
    return cls(**values)


def _scalar(kind: type[Any], parameter: Parameter | None, value: Any, what: str) -> Any:
    """A number or text as it is declared. Raises `TargetError`; `what` begins the message."""
    value = plain_number(value)
    found = shown(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "an integer of more than 64 bits"
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64:
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TargetError(f"{what} must be of type {kind.__name__}, found {found}")
    if isinstance(value, str) and len(value) > _MAX_NAME:
        raise TargetError(f"{what} must have at most {_MAX_NAME} characters, found {len(value)}")
    if (
        parameter is not None and not isinstance(value, str) and not parameter.low <= value <= parameter.high
    ):  # not a number lies in no range
        raise TargetError(f"{what} must be in {parameter.low:.12g}..{parameter.high:.12g}, found {found}")
    return value


def _check(target: Target, where: str) -> Target:
    if target.isa_version != ISA_VERSION:
        raise TargetError(
            f"{where}: isa_version {target.isa_version} is not {ISA_VERSION}, the only one this release knows"
        )
    if target.array.chunk % 8:
        raise TargetError(f"{where}: 'array.chunk' must be a multiple of 8, found {target.array.chunk}")
    if (level := target.array.coefficient_level) not in LEVELS:
        raise TargetError(f"{where}: 'array.coefficient_level' must be 1, 2 or 4, found {level}")
    d = target.dram
    if d.page_bytes % d.burst_bytes:
        raise TargetError(f"{where}: 'dram.page_bytes' must be a multiple of dram.burst_bytes")
    if d.tREFI <= d.tRFCab:
        raise TargetError(f"{where}: 'dram.tREFI' must exceed dram.tRFCab, or the DRAM does nothing but refresh")
    return target


def _to_toml(value: Any, prefix: str = "", comments: bool = False, inherited: Parameter | None = None) -> str:
    scalars: list[str] = []
    tables: list[str] = []
    for name, (_, parameter) in _declared(cast(type[Any], type(value))).items():
        item = getattr(value, name)
        if is_dataclass(item):
            tables.append(_to_toml(item, f"{prefix}{name}.", comments, parameter))
        elif isinstance(item, str):
            text = printable(json.dumps(item, ensure_ascii=False))  # a string of JSON is one of TOML
            scalars.append(f"{name} = {text}")
        else:
            told = parameter or inherited
            comment = f"  # {told.comment}" if comments and told is not None else ""
            scalars.append(f"{name} = {item!r}{comment}")
    head = f"[{prefix[:-1]}]\n" if prefix and scalars else ""
    return head + "".join(line + "\n" for line in scalars) + "".join(tables)


def _plain(value: Any) -> Any:
    """Tables as dictionaries, whatever they are given as."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    return value


def list_targets() -> dict[str, str]:
    """Names and descriptions of the installed targets: ours and those of the entry points `isa.targets` (paths).

    One of another package that cannot be read is left out, with a warning that names its package.
    """
    found: dict[str, str] = {}
    for name, place in sorted(installed_places().items()):
        try:
            found[name] = load_target(name).description
        except TargetError as error:
            if isinstance(place, Path):
                raise
            about, point = f"the target '{name}' (entry point group '{place.group}')", installed.package(place)
            cause = error.causes[0] if error.causes[0].startswith(about) else f"{about}: {error.causes[0]}"
            warnings.warn(f"{cause}; it comes from {point}", UserWarning, stacklevel=2)
    return found


def load_target(name_or_file: str = "esc1") -> Target:
    """Load a target by installed name or by file, merged over its `base`, as the files are now.

    One without a `name` is called like its file.

    Raises `TargetError` with one cause.
    """
    path = locate(name_or_file)
    return _check(_build(Target, merged(path), str(path)), str(path))


def installed_target(name: str) -> Target:
    """Load a target by its installed name alone: what a text from a stranger may name. Raises `TargetError`."""
    if name not in installed_places():
        raise TargetError(f"unknown target '{name}'; installed: {', '.join(sorted(installed_places()))}")
    return load_target(name)


def parse_target(text: str, where: str = ".esc.target") -> Target:
    """Parse the canonical text that a binary carries. Raises `TargetError`."""
    if len(text) > MAX_TEXT:
        raise TargetError(f"{where}: the text of a target has at most {MAX_TEXT} characters")
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as e:  # tomllib lets numbers of thousands of digits and deep nesting through
        raise TargetError(f"{where}: not TOML: {e}") from e
    return _check(_build(Target, data, where), where)
