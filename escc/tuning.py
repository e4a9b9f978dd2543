"""A schedule by emulation: of each layer the best tilings by the estimate are tried in the whole network, and of the
tensors that stay in ACT whether one better does not; what is fastest is kept (`escc --tune`).

The tile search costs a layer by closed forms, as if it were alone. What its neighbours hide of its loads and stores,
the emulator knows. One decision is changed at a time, first tensors, then tilings, those of the longest layers before
others; what is better stays. Results do not depend on the schedule, which is checked for each that is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from dialects import bfs
from dialects.eisa import to_program
from emulator.machine import Machine
from escc.errors import InternalError
from isa.errors import UserError
from isa.target import Target
from passes.analysis.progress import Progress
from passes.pipelines import to_text
from passes.tile_basis_first import PlannedFunction, TileBasisFirstPass
from passes.tiling.search import ranked

if TYPE_CHECKING:
    from xdsl.passes import ModulePass
    from xdsl.utils.arg_spec import ArgSpec

Places = Mapping[str, int]
"""Places of tilings in the order of estimated cycles, by the tensors that the layers compute."""


class Emulated(NamedTuple):
    """Cycles of a network on the sample in its IR, and those of each layer's window by the tensor that it computes."""

    cycles: int
    windows: Mapping[str, int]


class Tuned(NamedTuple):
    """A schedule: tensors that do not stay in ACT, and places of tilings; cycles of the network before and with it."""

    outside: frozenset[str]
    places: Places
    before: int
    cycles: int


@dataclass
class ScheduleTrials:
    """Emulates a function of level `esc` with other schedules; `after` are the passes that follow the tiling."""

    function: FuncOp
    target: Target
    after: Sequence[ModulePass]
    bands: bool = True
    outputs: Sequence[np.ndarray[Any, Any]] | None = None
    """What the network computes; unknown before the first trial."""

    def planned(self, outside: Set[str] = frozenset()) -> PlannedFunction:
        """The function with what is decided about its tensors, of which some are not to stay in ACT."""
        return PlannedFunction(self.function, self.target, self.bands, outside)

    def emulated(self, planned: PlannedFunction, places: Places = MappingProxyType({})) -> Emulated:
        """A planned network with other tilings. Raises UserError if they do not fit beside one another, and
        `InternalError` if its outputs are others than those of the first trial.
        """
        program = planned.tiled(places).program
        tensors = {layer.layer_name.data: layer.output.string_value() for layer in program.layers}
        module = ModuleOp([program])
        for step in self.after:
            step.apply(Context(), module)
        found = Machine(to_program(module)).run_sample(stats=True)
        assert found.statistics is not None
        self.outputs = found.outputs if self.outputs is None else self.outputs
        if any(not np.array_equal(a, b) for a, b in zip(self.outputs, found.outputs, strict=True)):
            raise InternalError(f"the results of the network change with its schedule: {dict(places)}")
        data = found.statistics.data
        windows = {tensors[layer["name"]]: layer["cycles"] for layer in data["layers"] if layer["name"] in tensors}
        return Emulated(data["totals"]["cycles"], windows)

    def fastest(self, most: int) -> Tuned:
        """The fastest schedule that is found, with the `most` best tilings of each layer. Progress is told. Raises
        UserError if the IR carries no sample.
        """
        planned = self.planned()
        program, posed = planned.tiled()
        if program.sample is None:
            raise UserError(
                "--tune needs a sample of the inputs in the IR", "start from the ONNX model, or from its IR"
            )
        before = self.emulated(planned).cycles
        outside = self._outside(sorted(planned.resident & posed.keys()), before)
        places, cycles = self._places(self.planned(outside), most)
        return Tuned(outside, places, before, cycles)

    def _outside(self, resident: Sequence[str], cycles: int) -> frozenset[str]:
        """Those of the resident tensors that better do not stay in ACT; with all of them there, the network takes so
        many cycles.
        """
        outside: frozenset[str] = frozenset()
        progress = Progress([1.0] * len(resident))
        for tensor in resident:
            progress.next(f"emulating the network with a tensor outside of ACT, {cycles:,} cycles")
            trial = outside | {tensor}
            try:
                found = self.emulated(self.planned(trial)).cycles
            except UserError:
                continue  # a layer has no room without it
            if found < cycles:
                outside, cycles = trial, found
        return outside

    def _places(self, planned: PlannedFunction, most: int) -> tuple[Places, int]:
        """The places of those of the `most` best tilings of each layer that make the network faster, and its cycles."""
        first = self.emulated(planned)
        places: dict[str, int] = {}
        cycles = first.cycles
        posed = planned.tiled().posed
        tensors = sorted(posed, key=lambda tensor: -first.windows.get(tensor, 0))
        counts = [min(len(ranked(*posed[tensor])), most) - 1 for tensor in tensors]
        progress = Progress([float(count) for count in counts])
        for tensor, count in zip(tensors, counts, strict=True):
            progress.next(f"emulating {count} more tilings of a layer, {cycles:,} cycles")
            for place in range(1, count + 1):
                trial = {**places, tensor: place}
                try:
                    found = self.emulated(planned, trial).cycles
                except UserError:
                    continue  # has no room beside its neighbours
                if found < cycles:
                    places, cycles = trial, found
        return places, cycles


@dataclass(frozen=True)
class TunedTiling(TileBasisFirstPass):
    """The pass with the schedule that emulation finds fastest, with the `most` best tilings of each layer by the
    estimate. As text it is that pass. `report` is told what was found.
    """

    most: int = 1
    after: Sequence[ModulePass] = ()
    report: Callable[[str], None] = field(default=lambda text: None)

    @classmethod
    def of(
        cls, step: TileBasisFirstPass, most: int, after: Sequence[ModulePass], report: Callable[[str], None]
    ) -> TunedTiling:
        """The same pass, to be tuned; `after` are the passes that lead from it to the last level."""
        given = {option.name: getattr(step, option.name) for option in fields(TileBasisFirstPass)}
        return cls(**given, most=most, after=tuple(after), report=report)

    def tiled(self, function: FuncOp, target: Target) -> bfs.ProgramOp:
        """See `TileBasisFirstPass.tiled`."""
        trials = ScheduleTrials(function, target, self.after, self.bands)
        found = trials.fastest(self.most)
        tilings = tuple(f"{tensor}={place}" for tensor, place in sorted(found.places.items()))
        outside = tuple(sorted(found.outside))
        step = TileBasisFirstPass(self.target, self.bands, tilings, outside)
        changed = f"{_counted(len(tilings), 'tiling')} and {_counted(len(outside), 'tensor')} changed"
        kept = f"; as a pass: {to_text([step])}" if tilings or outside else ""
        self.report(f"tuned schedule: {found.cycles:,} cycles, {found.before:,} before, {changed}{kept}")
        return trials.planned(found.outside).tiled(found.places).program

    def spec(self, *, include_default: bool = False) -> ArgSpec:
        plain = {option.name: getattr(self, option.name) for option in fields(TileBasisFirstPass)}
        return TileBasisFirstPass(**plain).spec(include_default=include_default)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
