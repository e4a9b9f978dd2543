"""Tilings by emulation: of each layer the best ones by the estimate are tried in the whole network, and the fastest one
is kept (`escc --tune`).

The tile search costs a layer by closed forms, as if it were alone. What its neighbours hide of its loads and stores,
the emulator knows. One tiling is changed at a time, the longest layers first; what is better stays. Results do not
depend on tilings, which is checked for each that is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from dialects.eisa import to_program
from emulator.machine import Machine
from escc.errors import InternalError
from isa.errors import UserError
from passes.analysis.progress import Progress
from passes.tile_basis_first import PlannedFunction, TileBasisFirstPass, Tiled
from passes.tiling.search import ranked

if TYPE_CHECKING:
    from xdsl.passes import ModulePass
    from xdsl.utils.arg_spec import ArgSpec

Places = Mapping[str, int]
"""Places of tilings in the order of estimated cycles, by the tensors that the layers compute."""


class Emulated(NamedTuple):
    """What the emulator says of a network on the sample in its IR: cycles, those of each layer's window by the tensor
    that it computes, and the outputs.
    """

    cycles: int
    windows: Mapping[str, int]
    outputs: Sequence[np.ndarray[Any, Any]]


@dataclass
class TilingTrials:
    """Emulates a planned network with other tilings; `after` are the passes that follow the tiling."""

    planned: PlannedFunction
    after: Sequence[ModulePass]

    @cached_property
    def cheapest(self) -> Tiled:
        """The program with the cheapest tilings by the estimate."""
        return self.planned.tiled()

    def emulated(self, places: Places = MappingProxyType({})) -> Emulated:
        """The network with these tilings. Raises UserError if they do not fit beside one another."""
        program = self.planned.tiled(places).program
        tensors = {layer.layer_name.data: layer.output.string_value() for layer in program.layers}
        module = ModuleOp([program])
        for step in self.after:
            step.apply(Context(), module)
        found = Machine(to_program(module)).run_sample(stats=True)
        assert found.statistics is not None
        data = found.statistics.data
        windows = {tensors[layer["name"]]: layer["cycles"] for layer in data["layers"] if layer["name"] in tensors}
        return Emulated(data["totals"]["cycles"], windows, found.outputs)

    def candidates(self, tensor: str) -> int:
        """How many tilings the layer that computes a tensor may take: one, where its window is taken in parts."""
        return len(ranked(*self.cheapest.posed[tensor]))

    def fastest(self, most: int) -> tuple[dict[str, int], int, int]:
        """The places of those of the `most` best tilings of each layer that make the network faster; its cycles before
        and with them. Progress is told a layer at a time. Raises UserError if the IR carries no sample.
        """
        if self.cheapest.program.sample is None:
            raise UserError(
                "--tune needs a sample of the inputs in the IR", "start from the ONNX model, or from its IR"
            )
        first = self.emulated()
        places: dict[str, int] = {}
        cycles = first.cycles
        tensors = sorted(self.cheapest.posed, key=lambda tensor: -first.windows.get(tensor, 0))
        counts = [min(self.candidates(tensor), most) - 1 for tensor in tensors]
        progress = Progress([float(count) for count in counts])
        for tensor, count in zip(tensors, counts, strict=True):
            progress.next(f"emulating {count} more tilings of a layer, {cycles:,} cycles")
            for place in range(1, count + 1):
                trial = {**places, tensor: place}
                try:
                    found = self.emulated(trial)
                except UserError:
                    continue  # has no room beside its neighbours
                if any(not np.array_equal(a, b) for a, b in zip(first.outputs, found.outputs, strict=True)):
                    raise InternalError(f"tiling {tensor}={place} changes the results of the network")
                if found.cycles < cycles:
                    places, cycles = trial, found.cycles
        return places, first.cycles, cycles


@dataclass(frozen=True)
class TunedTiling(TileBasisFirstPass):
    """The pass with the tilings that emulation finds fastest, of the `most` best of each layer by the estimate. As text
    it is that pass. `report` is told what was found.
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

    def places(self, planned: PlannedFunction) -> dict[str, int]:
        """See `TileBasisFirstPass.places`."""
        found, before, cycles = TilingTrials(planned, self.after).fastest(self.most)
        tilings = ",".join(f'"{tensor}={place}"' for tensor, place in sorted(found.items()))
        changed = f"{len(found)} {'layer' if len(found) == 1 else 'layers'} changed"
        kept = f"; as an option: {self.name}{{tilings={tilings}}}" if found else ""
        self.report(f"tuned tilings: {cycles:,} cycles, {before:,} before, {changed}{kept}")
        return found

    def spec(self, *, include_default: bool = False) -> ArgSpec:
        plain = {option.name: getattr(self, option.name) for option in fields(TileBasisFirstPass)}
        return TileBasisFirstPass(**plain).spec(include_default=include_default)
