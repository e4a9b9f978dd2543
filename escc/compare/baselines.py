"""The other side of a comparison: baseline machines on the dense or the pruned network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import cast

from escc.baselines.cost import LayerCost, layer_cost
from escc.baselines.machine import BaselineCosts, BaselineMachine, DramBytes, Result
from escc.baselines.work import LayerWork
from escc.compare.figures import BATCH, Counted, Figures, LayerFigures, System, parts_of, total_of
from isa.found import AnswerError
from isa.target import Target
from isa.weights import packed_size


@dataclass(frozen=True)
class Weighted:
    """A network as layers, what its weights are in words, the bytes of each layer's weights entropy-coded, and its
    top-1 in percent.
    """

    works: Sequence[LayerWork]
    text: str
    coded: Sequence[int]
    top1: float | None


def weighted(works: Sequence[LayerWork], text: str, top1: float | None) -> Weighted:
    """With weights int8 coded as our own binaries hold dense ones."""
    return Weighted(works, text, [packed_size(work.weights) for work in works], top1)


def system_of(machine: BaselineMachine, network: Weighted, target: Target) -> System:
    """A machine on a network, layer by layer."""
    singles = [_run(machine, work, 1) for work in network.works]
    batched = [_run(machine, work, BATCH) for work in network.works]
    recoded = [_with_weights(r, coded) for r, coded in zip(singles, network.coded, strict=True)]

    def figures(results: Sequence[Result]) -> list[Figures]:
        return [_figures(result.dram, layer_cost(machine, result, target)) for result in results]

    rows = figures(singles)
    return System(
        machine.name,
        "machine",
        machine.description,
        network.text,
        machine.multipliers,
        machine.memory_bytes,
        sum(r.dram.weights for r in singles),
        float(sum(network.coded)),
        network.top1,
        total_of(rows),
        total_of(figures(batched)),
        total_of(figures(recoded)),
        tuple(LayerFigures(w.name, w.nodes, f) for w, f in zip(network.works, rows, strict=True)),
    )


def _run(machine: BaselineMachine, work: LayerWork, batch: int) -> Result:
    """What a machine answers of a layer. Raises `AnswerError` if that is no result."""
    answer = cast(object, machine.run(work, batch))
    if not isinstance(answer, Result):
        raise AnswerError(
            machine, f"the baseline '{machine.name}' answers a {type(answer).__name__}; requires a Result"
        )
    return answer


def counted(model: BaselineCosts, network: Weighted) -> Counted:
    """Conversions and movements of all layers."""
    total: dict[str, float] = {}
    for work in network.works:
        for name, value in model.count(work).items():
            total[name] = total.get(name, 0) + value
    return Counted(model.name, model.description, parts_of(total))


def _with_weights(result: Result, nbytes: int) -> Result:
    """The same with other bytes of weights, where these are fewer."""
    return replace(result, dram=replace(result.dram, weights=min(result.dram.weights, float(nbytes))))


def _figures(dram: DramBytes, cost: LayerCost) -> Figures:
    waiting = cost.cycles - cost.compute_cycles
    return Figures(
        cost.cycles,
        cost.compute_cycles,
        parts_of({"compute": cost.compute_cycles, "dram": waiting}),
        parts_of(cost.energy_uj),
        parts_of(asdict(dram)),
    )
