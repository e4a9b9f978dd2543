"""From a model to the two networks of a training, and from a trained module to a program."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from dialects import onnx, onnx_base
from dialects.interpreters.run import main_function
from dialects.locations import node_names
from dialects.signature import given_inputs
from escc import driver
from escc.budget import BudgetSearch
from escc.training.data import TrainingSamples
from escc.training.network import Network
from escc.training.straight_through import DenseConv, Projected
from escc.training.teacher import Teacher
from escc.universe import multiverse
from isa.arrays import Arrays
from isa.errors import UserError
from isa.program import Program
from passes.analysis.conv_moments import requantised, step_weights
from passes.analysis.original_weight_count import float_weights
from passes.decompose_conv import DecomposeConvPass
from passes.pipelines import PipelineOptions, before, build

Array = NDArray[Any]

_CALIBRATION_MACS = 2e10
"""Multiply-accumulates that one network may take for the samples to calibrate on; training mends what few leave."""
_LEAST_SAMPLES = 32

TRAINED_AFTER = ("quantize", "fuse-epilogues", "decompose-conv")
"""Passes of level esc that lead to the module that is trained, the decomposition last; the others depend on the
constants.
"""


@dataclass
class Prepared:
    """The two networks of a model: `module` of level esc is what `network` was made from and is written back to."""

    module: ModuleOp
    network: Network
    teacher: Teacher


class Session:
    """A model on its way to training: quantised on samples, then decomposed.

    The module is changed in place. Raises UserError if it cannot be compiled.
    """

    def __init__(
        self,
        context: Context,
        module: ModuleOp,
        options: PipelineOptions,
        calibration: TrainingSamples,
        announce: Callable[[str], None],
    ):
        self._context, self._module, self._announce = context, module, announce
        self._registry = multiverse().all_passes
        driver.run_passes(context, module, build(self._registry, options, "onnx"), announce=announce)
        self._teacher = Teacher(module)
        self._options, self._calibration = options, _affordable(module, calibration)
        self._run(*TRAINED_AFTER[:-1])
        self._dense = _dense_weights(module)

    @property
    def weights(self) -> int:
        """Weights of the float network."""
        return float_weights(main_function(self._module))

    def _run(self, *names: str, rate: float | None = None) -> None:
        driver.run_passes(self._context, self._module, self._passes(names, rate), (), self._announce)

    def _passes(self, names: Sequence[str], rate: float | None = None) -> list[ModulePass]:
        """Passes of level esc, on the calibration samples."""
        samples = self._calibration.inputs(self._calibration.x).contiguous().numpy()
        (x,) = given_inputs(self._module, [samples])
        options = replace(self._options, calibration=Arrays({"x": x}, "the samples to train on"), rate=rate)
        return [step for step in build(self._registry, options, "esc") if step.name in names]

    def nearest_rate(self, nbytes: float, tell: Callable[[str], None], begin: Callable[[str], None]) -> float:
        """Rate at which the decomposition alone comes near to a number of bytes.

        `tell` hears what is expected, `begin` what is begun.
        """
        (step,) = self._passes(TRAINED_AFTER[-1:])
        assert isinstance(step, DecomposeConvPass)
        after = build(self._registry, self._options, "eisa", (*before("esc"), *TRAINED_AFTER))
        search = BudgetSearch(self._context, (), step, after, tell, begin)
        return search.nearest_rate(self._module, nbytes)

    def decompose(self, rate: float | None) -> Prepared:
        """Decompose the module, and build both networks. Raises UserError if nothing in it can be decomposed."""
        self._run(TRAINED_AFTER[-1], rate=rate)
        network = Network(self._module)
        if all(isinstance(layer.module, DenseConv) for layer in network.layers):
            raise UserError(
                "no convolution of the model was decomposed: there is nothing to train",
                "--scheme escalate decomposes every convolution without groups, but those that would become slower "
                "without becoming smaller",
            )
        for layer in network.layers:
            if isinstance(layer.module, Projected) and layer.name in self._dense:
                layer.module.approach(self._dense[layer.name])
        return Prepared(self._module, network, self._teacher)


def _affordable(module: ModuleOp, calibration: TrainingSamples) -> TrainingSamples:
    """As many of the samples as a network of level onnx is not too large for."""
    macs = sum(
        math.prod(onnx_base.shape_of(op.weight)[1:]) * math.prod(onnx_base.shape_of(op.output)[1:])
        for op in module.walk()
        if isinstance(op, onnx.ConvOp)
    )
    most = max(_LEAST_SAMPLES, int(_CALIBRATION_MACS // max(1, macs)))
    return calibration if len(calibration) <= most else calibration.subset(torch.arange(most))


def _dense_weights(module: ModuleOp) -> dict[str, Array]:
    """Weights [K, C, R, S] of the dense convolutions in output steps, by node name."""
    found: dict[str, Array] = {}
    for op in module.walk():
        if (pair := requantised(op)) is not None and (names := node_names(pair[0])):
            found[names[0]] = step_weights(*pair).transpose(0, 3, 1, 2)
    return found


def compile_program(
    context: Context, module: ModuleOp, options: PipelineOptions, observers: Sequence[driver.Observer] = ()
) -> Program:
    """Program of a module of level esc, which stays as it is."""
    copy = module.clone()
    done = (*before("esc"), *TRAINED_AFTER)
    passes = build(multiverse().all_passes, options, "eisa", done)
    driver.run_passes(context, copy, passes, observers)
    return driver.to_program(copy)
