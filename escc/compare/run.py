"""A whole comparison: networks, our schemes and binaries, baseline machines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from dialects.signature import classes_of
from emulator.evaluate import classes
from emulator.inputs import wanted
from escc.accuracy import guesses
from escc.baselines.cost import check_technology
from escc.baselines.machine import Baseline, BaselineCosts, BaselineMachine
from escc.baselines.registry import installed, load_baseline
from escc.compare import baselines, ours, sparse
from escc.compare.figures import SCHEMA_VERSION, Compared, Comparison, System
from escc.compare.network import ComparedNetwork, CompareSettings, Data, answers_of, read_data
from escc.compare.works import check_original, layer_works
from escc.irtext import make_context
from isa.container import read_elf
from isa.errors import UserError
from isa.files import read_file
from isa.program import Program
from isa.target import Target, load_target

_MAGIC = b"\x7fELF"

Announce = Callable[[str], None]


@dataclass(frozen=True)
class ComparedScheme:
    """A compression scheme with options: the text of the user, its name, and fields of `PipelineOptions`."""

    text: str
    name: str
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Request:
    """What is compared. `data` and `calibration` name one file for all models or one for each; without calibration,
    the data calibrates. `machines` are names of installed baselines, None for those that are standard.
    """

    models: tuple[str, ...]
    data: tuple[str, ...]
    calibration: tuple[str, ...]
    schemes: tuple[ComparedScheme, ...]
    machines: tuple[str, ...] | None
    sparse_model: str | None
    max_drop: float
    price: float | None
    settings: CompareSettings


def compare(request: Request, announce: Announce) -> Comparison:
    """Run everything; `announce` is told what begins. Raises UserError."""
    machines = standard() if request.machines is None else [load_baseline(name) for name in request.machines]
    networks = networks_of(request.models)
    binaries = {path: read_elf(read_file(path), path) for path in request.models if path not in networks}
    target = load_target(request.settings.target) if networks else next(iter(binaries.values())).target
    for machine in machines:
        if isinstance(machine, BaselineMachine) and networks:
            check_technology(machine, target)
    for path, program in binaries.items():
        if program.host:
            raise UserError(
                f"{path}: the host computes a part of this network; esc-compare runs the machine alone",
                "esc-emu --eval and esc-emu --stats run both",
            )
        _check_machine(path, program.target, target)
    _check(request, networks, list(binaries))
    found = [_network(request, i, path, machines, binaries, announce) for i, path in enumerate(networks)]
    if not networks:
        found = [_binaries_alone(request, binaries, announce)]
    return Comparison(
        SCHEMA_VERSION, target.name, target.clock.frequency_mhz, target.dram_bytes_per_cycle, tuple(found)
    )


def _check_machine(path: str, own: Target, common: Target) -> None:
    """Raise UserError if a binary runs at another clock, or beside another DRAM, than all that it is compared with."""
    if (own.clock, own.dram) != (common.clock, common.dram):
        raise UserError(
            f"{path}: made for {_rates(own)}; compared at {_rates(common)}",
            "compare binaries of one clock and one DRAM; beside a model, give --target as they were compiled",
        )


def _rates(target: Target) -> str:
    frequency, bandwidth = target.clock.frequency_mhz, target.dram_bytes_per_cycle
    return f"{frequency:g} MHz and {bandwidth:g} bytes a cycle from DRAM (target '{target.name}')"


def standard() -> list[Baseline]:
    """The installed baselines that a comparison shows when nobody says which, machines of dense networks first."""
    found = [b for b in map(load_baseline, installed()) if b.standard]
    return sorted(
        found,
        key=lambda b: (not isinstance(b, BaselineMachine), isinstance(b, BaselineMachine) and b.weights == "sparse"),
    )


def networks_of(models: Sequence[str]) -> list[str]:
    """The files that are no binaries of escc."""
    return [path for path in models if not _is_binary(path)]


def _is_binary(path: str) -> bool:
    if path == "-" or not Path(path).is_file():
        return False
    with Path(path).open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def _check(request: Request, networks: Sequence[str], binaries: Sequence[str]) -> None:
    """Raise UserError if files do not go together, or if a model stands beside nothing."""
    if networks and not (binaries or request.schemes or request.machines is None or request.machines):
        raise UserError("--schemes none and --machines none leave nothing to compare", "name a scheme, or add a binary")
    if binaries and len(networks) > 1:
        raise UserError(
            f"{binaries[0]}: a binary beside {len(networks)} models; requires at most one model",
            "compare each model with its own binaries",
        )
    if request.sparse_model is not None and len(networks) != 1:
        raise UserError(f"{request.sparse_model}: pruned weights for {len(networks)} models; requires one model")
    for what, files in (("--data", request.data), ("--calibration", request.calibration)):
        if len(files) not in ((0, 1) if what == "--calibration" else (1,)) and len(files) != len(networks):
            raise UserError(
                f"{what} given {len(files)} times for {len(networks)} models; requires one file, or one for each model"
            )


def _nth(files: Sequence[str], index: int) -> str:
    return files[index] if len(files) > 1 else files[0]


def _network(
    request: Request,
    index: int,
    path: str,
    machines: Sequence[Baseline],
    binaries: dict[str, Program],
    announce: Announce,
) -> Compared:
    file = _nth(request.data, index)
    settings = replace(request.settings, calibration=_nth(request.calibration or request.data, index))
    context = make_context()
    announce(f"{path}: quantising")
    network = ComparedNetwork(context, path, settings)
    if machines:
        check_original(network.module)
    data = network.data(file)
    sparser: ComparedNetwork | None = None
    if request.sparse_model is not None:
        announce(f"{request.sparse_model}: quantising")
        sparser = ComparedNetwork(context, request.sparse_model, settings)
    systems = [_scheme(network, scheme, data, announce) for scheme in request.schemes]
    systems += [_of_binary(name, program, data, announce) for name, program in binaries.items()]
    top1, guessing = None, False
    if data.labels is not None:
        answers = answers_of(network.module, data.classified)
        right = int((answers == data.labels).sum())
        top1, guessing = data.top1(answers), guesses(data.path, right, len(answers), classes_of(network.module))

    @cache
    def dense() -> baselines.Weighted:
        return baselines.weighted(layer_works(network.dense(), [data.timed]), "dense", top1)

    @cache
    def pruned() -> baselines.Weighted:
        if sparser is not None:
            return sparse.as_given(sparser, data)
        announce(f"{path}: pruning for the sparse machines")
        by_labels = data.labels is not None and not guessing
        return sparse.pruned(network, data, request.max_drop, request.price, by_labels, announce)

    target = load_target(settings.target)
    for machine in machines:
        if isinstance(machine, BaselineMachine):
            suits = pruned() if machine.weights == "sparse" else dense()
            announce(f"{path}: {machine.name}")
            systems.append(baselines.system_of(machine, suits, target))
    counted = tuple(baselines.counted(m, dense()) for m in machines if isinstance(m, BaselineCosts))
    return Compared(network.name, len(data.timed), _evaluated(data), tuple(systems), counted)


def _evaluated(data: Data) -> int:
    return 0 if data.labels is None else len(data.classified)


def _scheme(network: ComparedNetwork, scheme: ComparedScheme, data: Data, announce: Announce) -> System:
    announce(f"{network.name}: compiling with scheme {scheme.text}")
    program = network.compiled(scheme.name, **dict(scheme.options))
    announce(f"{network.name}: running scheme {scheme.text}")
    return ours.system_of(scheme.text, "scheme", scheme.name, program, data)


def _of_binary(path: str, program: Program, data: Data, announce: Announce) -> System:
    announce(f"{path}: running")
    return ours.system_of(Path(path).name, "binary", "as compiled", program, data)


def _binaries_alone(request: Request, binaries: dict[str, Program], announce: Announce) -> Compared:
    """Binaries beside one another, without any baseline: these need the original network."""
    first = next(iter(binaries.values()))
    file = request.data[0]
    data = read_data(file, wanted(first.inputs[0]), classes(first), request.settings)
    systems = tuple(_of_binary(path, program, data, announce) for path, program in binaries.items())
    return Compared("binaries", len(data.timed), _evaluated(data), systems, ())
