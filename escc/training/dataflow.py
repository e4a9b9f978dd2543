"""A straight-line program of torch modules: what both networks of the training are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

Visitor = Callable[["Step", Sequence[Tensor], Tensor], Tensor]
"""Given a step, its operands and its result, returns the result to go on with."""


@dataclass(frozen=True)
class Step:
    """One operation: `name` of the module that computes it, numbers of the values that it reads and of its result."""

    name: str
    operands: tuple[int, ...]
    result: int


class Dataflow(nn.Module):
    """Modules run in order; the values are numbered, the inputs first. A value is dropped after its last use."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.inputs = inputs
        self.values = inputs
        self.steps: list[Step] = []
        self.output = 0

    def append(self, name: str, module: nn.Module, *operands: int) -> int:
        """Add a step; returns the number of its result. Dots in the name become underscores, repeated ones are
        numbered.
        """
        base = name.replace(".", "_") or type(module).__name__
        unique, number = base, 1
        while hasattr(self, unique):
            number += 1
            unique = f"{base}_{number}"
        self.add_module(unique, module)
        self.steps.append(Step(unique, operands, self.values))
        self.values += 1
        return self.values - 1

    def module(self, step: Step) -> nn.Module:
        """The module of a step."""
        return self.get_submodule(step.name)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Output for input tensors with the batch in front."""
        return self.run(inputs)

    def run(self, inputs: Sequence[Tensor], visit: Visitor | None = None) -> Tensor:
        """`forward`, with a look at every step."""
        remaining = Counter(operand for step in self.steps for operand in step.operands)
        remaining[self.output] += 1
        values: dict[int, Tensor] = dict(enumerate(inputs))
        for step in self.steps:
            operands = [values[i] for i in step.operands]
            result = self.module(step)(*operands)
            if visit is not None:
                result = visit(step, operands, result)
            values[step.result] = result
            for i in step.operands:
                remaining[i] -= 1
                if not remaining[i]:
                    values.pop(i, None)
        return values[self.output]
