"""`decompose-conv`: the weights of convolutions in the form that a compression scheme gives them, layer after layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects import builtin, func
from xdsl.ir import Operation
from xdsl.passes import ModulePass

from dialects import esc
from dialects.esc_convolutions import holds_other_weights
from dialects.interpreters.run import main_function
from dialects.locations import describe, node_names
from dialects.signature import inputs_of
from isa.arrays import Arrays
from isa.errors import NodeFault, UserError, summed_up
from isa.formats import TensorFormat
from isa.target import Target, load_target
from passes.analysis.before_after_values import BeforeAfterValues, is_accumulator
from passes.analysis.conv_moments import observe, observe_channels, step_weights, ungrouped
from passes.analysis.preserved import Preserved
from passes.analysis.progress import Progress
from passes.analysis.sensitivity import image_count, sensitivities
from passes.decomposition.added import BrokenSchemeError, RefusedLayerError
from passes.decomposition.rewrite import replace_weights
from passes.decomposition.scheme import ConvLayer, Scheme, SchemeOptions, check, load_scheme, own_options
from passes.decomposition.setting import InTurn
from passes.decomposition.weight_form import WeightForm
from passes.drop_dead_channels import DropDeadChannelsPass
from passes.math.calibration import load_inputs
from passes.quantization.plan import PRESCRIBED
from passes.tiling.declarations import tensor_format

Array: TypeAlias = NDArray[Any]

MOST_WINDOW = 8192
"""Largest window (R*S*C values) that is decomposed: its matrix of second moments takes half a gigabyte."""
_VALUE_BUDGET = 1 << 28
"""Bytes of the largest 8-bit value over all samples."""
_WORK_OF_A_LAYER = 7e6
"""What the fit of any layer costs besides its products, in multiply-adds as `_work` counts them."""


class _Rewriter:
    """Walks a function, keeps both networks' values and rewrites the convolutions that the scheme decomposes."""

    def __init__(
        self,
        values: BeforeAfterValues,
        scheme: Scheme,
        options: SchemeOptions,
        target: Target,
        calibrated: bool,
        sensitivity: Sensitivity,
        most_joint: int,
    ):
        self._most_joint = most_joint
        self._sensitivity = sensitivity
        self._values = values
        self._scheme = scheme
        self._options = options
        self._target = target
        self._calibrated = calibrated
        self.count = 0
        self.too_wide: list[str] = []
        self.causes: list[NodeFault | str] = []
        self.notes: list[str] = []

    def run(self, ops: Sequence[Operation]) -> None:
        """Process operations in order up to the last candidate."""
        candidates = [pair is not None for pair in map(ungrouped, ops)]
        last = max((i for i, yes in enumerate(candidates) if yes), default=-1)
        progress = Progress([_work(pair[0].weight.array) for op in ops if (pair := ungrouped(op)) is not None])
        for index, op in enumerate(ops[: last + 1]):
            pair = ungrouped(op)
            if pair is None:
                self._values.step(op)
            else:
                progress.next(describe(pair[0]))
                self._layer(*pair, index)

    def _layer(self, conv: esc.Conv2dOp, requant: esc.RequantizeOp, index: int) -> None:
        if not _fits(conv):
            self.too_wide.append(describe(conv))
            self._values.step(requant)
            return
        layer = self._describe(conv, requant, index)
        try:
            answer = self._scheme(layer, self._options)
        except BrokenSchemeError:  # it would fail at the other layers too
            raise
        except UserError as error:
            self.causes += error.faults if isinstance(error, RefusedLayerError) else error.causes
            self.notes.append(error.note)
            answer = None
        if answer is None:
            self._values.step(requant)
            return
        check(layer, answer)
        self._replace(conv, requant, layer, answer)
        self.count += 1

    def _describe(self, conv: esc.Conv2dOp, requant: esc.RequantizeOp, index: int) -> ConvLayer:
        _, h, w, c = esc.shape_of(conv.input)
        _, oh, ow, k = esc.shape_of(conv.output)
        look = observe if conv.weight.array[0].size <= self._most_joint else observe_channels
        moments = look(self._values, conv, requant, (self._options.seed, index))
        x = self._values.current(conv.input)
        sy, sx = esc.ints(conv.strides)
        pt, pl = esc.ints(conv.pads)[:2]
        first = isinstance(conv.input.owner, esc.QuantizeOp)
        names = node_names(conv)
        return ConvLayer(
            names[0] if names else conv.name,
            step_weights(conv, requant),
            (sy, sx),
            (h, w, c),
            (oh, ow, k),
            float(np.count_nonzero(x)) / x.size,
            moments,
            self._calibrated,
            self._target,
            lambda: self._sensitivity.of(index),
            (int(pt), int(pl)),
            TensorFormat.RAW if first else tensor_format(esc.q_of(conv.input).signed, averaged=False),
            tensor_format(esc.q_of(requant.output).signed, averaged=False),
        )

    def _replace(self, conv: esc.Conv2dOp, requant: esc.RequantizeOp, layer: ConvLayer, answer: WeightForm) -> None:
        """Rewrite a layer and evaluate it in both networks."""
        moments, values = layer.moments, self._values
        assert moments is not None

        def bias(form: WeightForm) -> NDArray[np.float64]:
            return moments.bias(form.weights.reshape(len(form.scale), -1))

        before = values.before(requant)
        replace_weights([conv], requant, answer, bias, self._target.array.ic_bits, "use fewer bases or --scheme dense")
        values.store(requant, before, values.evaluate(requant, values.current))


@dataclass(frozen=True)
class Visit:
    """What became of the convolutions of a network."""

    layers: int
    """Convolutions that the scheme was asked about."""
    count: int
    """Those that have another form now."""
    too_wide: list[str]
    """Names of those that stay as they are because their window exceeds `MOST_WINDOW`."""
    causes: list[NodeFault | str]
    """Why the scheme cannot do what its options ask for."""
    notes: list[str]
    """What a user may do about the causes."""


def _fits(conv: esc.Conv2dOp) -> bool:
    return conv.weight.array[0].size <= MOST_WINDOW


def _kernels(op: builtin.ModuleOp) -> list[tuple[int, int]]:
    """Rows and columns of the kernels of the convolutions that a scheme is asked about."""
    pairs = map(ungrouped, main_function(op).body.block.ops)
    shapes = [pair[0].weight.array.shape for pair in pairs if pair is not None and _fits(pair[0])]
    return [(r, s) for _, r, s, _ in shapes]


def _work(weight: Array) -> float:
    """About what it takes to fit weights [K, ...], in any unit: products with the moments of their windows, and what
    every layer costs, as measured on those of ResNet-20.
    """
    return float(weight.size) * weight[0].size + _WORK_OF_A_LAYER


class Sensitivity:
    """Sensitivities of the convolutions of a function as it is now, measured when first asked for."""

    def __init__(self, function: func.FuncOp, inputs: Sequence[Array], seed: int):
        self._function = function.clone()  # the original is about to change
        self._inputs = inputs
        self._seed = seed

    def of(self, index: int) -> float:
        """Sensitivity of the convolution whose requantisation is the operation of that index."""
        return self._all.get(index, 1.0)

    @cached_property
    def _all(self) -> dict[int, float]:
        block = self._function.body.block
        ops = list(block.ops)
        found = sensitivities(block, [x[spread(len(x), image_count(ops))] for x in self._inputs], self._seed)
        pairs = [(i, pair[0]) for i, op in enumerate(ops) if (pair := ungrouped(op)) is not None]
        return {i: found[conv] for i, conv in pairs}


def spread(total: int, count: int) -> NDArray[np.int64]:
    """Rows at equal distances, at most `count` of `total`: data may lie class by class."""
    count = min(count, total)
    return np.arange(count) * total // max(1, count)


def _sample_limit(ops: Sequence[Operation]) -> int:
    """Images whose largest 8-bit value fits the budget."""
    sizes = [
        int(np.prod(esc.shape_of(r)))
        for op in ops
        for r in op.results
        if isinstance(op, esc.EscOp) and not is_accumulator(r)
    ]
    return max(1, _VALUE_BUDGET // max(sizes, default=1))


@dataclass(frozen=True)
class DecomposeConvPass(ModulePass):
    """Holds the weights of convolutions in another form, ternary coefficients and bases, where the compression scheme
    says so.

    The layers are decided in order. Each is given the second moments of the inputs that the network compressed so far
    gives it on the calibration data, and the outputs of the uncompressed network to come near, so that it makes up
    for errors of earlier layers; its bias is corrected last. Without calibration data, seeded synthetic inputs are
    used. Depthwise and grouped convolutions, and those with windows of more than 8192 values, stay dense. The scheme
    auto leaves a model as it is that has decomposed layers already, or whose scales are all prescribed by its QDQ nodes
    if there is no calibration data.

    `scheme` names an entry point of the group `escc.schemes`; `basis` kernels times `planes` are the virtual bases of
    a layer. `rate` and `cycle-rate` say how much error a scheme should take for fewer bytes and cycles: the relative
    error of the network's outputs that is worth saving all int8 weights of the convolutions, and all their cycles.
    `layers` asks each layer for something else, as a budget does.
    """

    name = "decompose-conv"
    PRESERVES: ClassVar[Preserved] = Preserved.NOTHING
    scheme: str = "auto"
    """Compression scheme: dense, escalate, auto or an installed one."""

    basis: int | None = None
    """Basis kernels a layer; chosen by the scheme without."""

    planes: int | None = None
    """Ternary planes over the bases; chosen by the scheme without."""

    rate: float | None = None
    """Error of the network's outputs that is worth saving all bytes; chosen by the scheme without."""

    cycle_rate: float | None = None
    """Error of the network's outputs that is worth saving all cycles; chosen by the scheme without."""

    calibration: str | Arrays | None = None
    """.npz of inputs, as for quantize; seeded synthetic input without."""

    samples: int = 1024
    """Calibration inputs used at most."""

    seed: int = 0
    """Seed of the starts of the decomposition and of synthetic input."""

    target: str = "esc1"
    """Installed target or target file."""

    joint: int = MOST_WINDOW
    """Largest window (values) whose channels are fitted together, so that they make up for each other's errors; larger
    ones are fitted channel by channel, which takes seconds where the other takes minutes. A start of training asks for
    little.
    """

    options: tuple[str, ...] = ()
    """Options of the scheme's own, each name=value."""

    layers: tuple[str, ...] = ()
    """Scheme and options of each convolution that can be decomposed, in order, such as auto:rate=0.4 or dense, in place
    of `scheme` and its options.
    """

    keeps_dense: ClassVar[str] = "dense"
    chooses: ClassVar[str] = "auto"

    def has_nothing_to_do(self, op: builtin.ModuleOp) -> bool:
        """Whether a quantised module stays as it is, whatever the rates.

        So does one without a convolution that can be decomposed. The scheme auto also leaves alone what somebody
        compressed already, and what was quantised for exactly these weights if there is no data to see what others do.
        """
        function = main_function(op)
        ops = list(function.body.block.ops)
        if self.scheme == self.keeps_dense or not any(ungrouped(o) for o in ops):
            return True
        given = PRESCRIBED in function.attributes and self.calibration is None
        return self.scheme == self.chooses and (given or any(map(holds_other_weights, ops)))

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        wrong = [
            f"decompose-conv: {name} must be at least 1, found {value}"
            for name, value in (("basis", self.basis), ("planes", self.planes), ("samples", self.samples))
            if value is not None and value < 1
        ] + [
            f"decompose-conv: {name} must be a number not below 0, found {value}"
            for name, value in (("rate", self.rate), ("cycle-rate", self.cycle_rate))
            if value is not None and not 0 <= value < math.inf
        ]
        if wrong:
            raise UserError(wrong)
        target = load_target(self.target)
        scheme = self.in_turn(target) if self.layers else load_scheme(self.scheme)
        own = own_options(self.scheme, load_scheme(self.scheme), self.options, target)
        if self.has_nothing_to_do(op):
            return
        held = sum(holds_other_weights(o) for o in main_function(op).body.block.ops)
        if held and self.scheme != type(self).scheme and not self.layers:
            text = f"scheme '{self.scheme}': layers that are compressed already stay as they are ({held} of them)"
            warnings.warn(text, UserWarning, stacklevel=2)
        unmet: Callable[[SchemeOptions, Sequence[tuple[int, int]], Target], str] | None = getattr(scheme, "unmet", None)
        if unmet is not None:
            asked = SchemeOptions(self.basis, self.planes, self.seed, self.rate, self.cycle_rate, own=own)
            if text := unmet(asked, _kernels(op), target):
                warnings.warn(text, UserWarning, stacklevel=2)
        walk = self.visit(ctx, op, scheme)
        if walk.too_wide:
            warnings.warn(
                f"windows of more than {MOST_WINDOW} values stay dense: {', '.join(walk.too_wide)}",
                UserWarning,
                stacklevel=2,
            )
        if not walk.count and not walk.causes and not self.layers:
            warnings.warn(
                f"scheme '{self.scheme}' decomposed none of {walk.layers} convolutions: by its estimate none pays",
                UserWarning,
                stacklevel=2,
            )
        if walk.causes:
            raise summed_up(walk.causes, next((n for n in walk.notes if n), ""))

    def in_turn(self, target: Target) -> Scheme:
        """The scheme that asks each layer for what `layers` says. Raises UserError if a setting is wrong."""
        return InTurn(self.layers, target)

    def visit(self, ctx: Context, op: builtin.ModuleOp, scheme: Scheme) -> Visit:
        """Ask a scheme for each layer of a quantised module in order, and give the layers the forms that it answers.

        Raises UserError if there are settings for another number of layers.
        """
        if getattr(scheme, "on_live_channels", False):
            DropDeadChannelsPass().apply(ctx, op)
        function = main_function(op)
        block = function.body.block
        ops = list(block.ops)
        samples = min(self.samples, _sample_limit(ops))
        inputs = load_inputs(self.calibration, inputs_of(function), samples, self.seed)
        convs = [pair[0] for o in ops if (pair := ungrouped(o)) is not None]
        asked = sum(_fits(conv) for conv in convs)
        if self.layers and len(self.layers) != asked:
            raise UserError(
                f"decompose-conv: layers has {len(self.layers)} settings; requires {asked}, one for each convolution "
                "that can be decomposed"
            )
        target = load_target(self.target)
        options = SchemeOptions(
            self.basis,
            self.planes,
            self.seed,
            self.rate,
            self.cycle_rate,
            sum(c.weight.array.size for c in convs),
            sum(c.weight.array[0].size * math.prod(esc.shape_of(c.output)) for c in convs),
            own_options(self.scheme, load_scheme(self.scheme), self.options, target),
        )
        calibrated = self.calibration is not None
        sensitivity = Sensitivity(function, inputs, self.seed)
        walk = _Rewriter(BeforeAfterValues(block, inputs), scheme, options, target, calibrated, sensitivity, self.joint)
        walk.run(ops)
        return Visit(len(convs), walk.count, walk.too_wide, walk.causes, walk.notes)
