"""What `esc-compress` does: load, decompose, train, export, measure."""

from __future__ import annotations

import copy
import hashlib
import math
import sys
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from tqdm import tqdm

from escc import driver
from escc.console import Console
from escc.irtext import make_context
from escc.onnx_export import export_model
from escc.onnx_import import fingerprint, import_model
from escc.printing import times_smaller
from escc.report import LayerReport, Report
from escc.training import checkpoint, cost
from escc.training.data import Preprocessing, TrainingSamples, load_samples, split
from escc.training.given import Given, Options
from escc.training.recalibrate import recalibrate
from escc.training.session import Prepared, Session, compile_program
from escc.training.trainer import EpochReport, Plan, Trainer
from escc.training.writeback import write_back
from escc.universe import multiverse
from isa.arrays import Input
from isa.errors import UserError
from isa.program import Program
from isa.target import load_target
from isa.text import printable
from passes.pipelines import PipelineOptions, build

CALIBRATION_SAMPLES = 1024
_JOINT = 1024
"""Windows of more values start from a decomposition of each input channel by itself; training goes on from there."""
_MEASURED = 2000
"""Held-out samples that the emulator runs at most."""


_ELSEWHERE = ("model", "data", "validation", "target", "device", "checkpoint", "resume")
"""Options that a resumed run may change, or whose content is compared instead of their text."""


@dataclass(frozen=True)
class Measure:
    """What came out. Accuracies are shares of `samples` held-out samples, None without labels."""

    layers: list[LayerReport]
    float_bytes: int
    constants: int
    samples: int
    labelled: bool
    float_accuracy: float
    accuracy: float
    training: str


class Job:
    """One run of the command."""

    def __init__(self, options: Options, given: Given, console: Console):
        self._options, self._given, self._console = options, given, console
        self._context = make_context()
        self._pipeline = PipelineOptions(
            seed=options.seed,
            samples=CALIBRATION_SAMPLES,
            scheme=options.scheme,
            basis=options.basis,
            planes=options.planes,
            joint=_JOINT,
            options=None if options.scheme_option is None else tuple(options.scheme_option),
            target=options.target,
        )

    def run(self) -> tuple[bytes, Measure]:
        """The compressed model as an ONNX file, and what it measures."""
        o = self._options
        device = _device(o.device)
        if o.threads is not None:
            torch.set_num_threads(o.threads)
        module, classes = self._given.module, self._given.classes
        train, held = self._samples(self._given.input, classes)
        if not train.labelled:
            self._console.warn(f"{o.data} has no labels: accuracy is agreement with the original network")
        self._console.detail(f"{len(train):,} samples to train on, {len(held):,} held out")
        self._console.step("quantising the network")
        session = Session(self._context, module, self._pipeline, self._calibration(train), self._console.progress)
        weights = 4 * session.weights
        most = o.bytes if o.ratio is None else weights / o.ratio
        rate = o.rate
        if rate is None and most is not None:
            rate = session.nearest_rate(
                most, lambda text: self._console.info(f"decomposition at {text}"), self._console.step
            )
        self._console.step("decomposing the network")
        prepared = session.decompose(rate)
        trainer = self._trainer(prepared, train, held, most, device)
        self._start(trainer, most, weights, classes)
        if o.batch_norm:
            sample = self._calibration(train)
            prepared.network.normalise(sample.inputs(sample.x.to(device)))
        self._train(prepared, trainer, self._identity(train, held))
        self._finish(prepared, trainer, train, held, most, device)
        model = export_model(prepared.module).SerializeToString(deterministic=True)
        return model, self._measure(model, held, trainer, weights)

    # Preparation --------------------------------------------------------------------------------------------------

    def _samples(self, wanted: Input, classes: int) -> tuple[TrainingSamples, TrainingSamples]:
        o = self._options
        preprocessing = Preprocessing(o.image_mean, o.image_std)
        data = load_samples(o.data, wanted, classes, preprocessing, False)
        if o.validation is None:
            return split(data, o.held_out, o.seed)
        return data, load_samples(o.validation, wanted, classes, preprocessing, data.labelled)

    def _calibration(self, train: TrainingSamples) -> TrainingSamples:
        return train.some(CALIBRATION_SAMPLES, self._options.seed)

    def _trainer(
        self,
        prepared: Prepared,
        train: TrainingSamples,
        held: TrainingSamples,
        most: float | None,
        device: torch.device,
    ) -> Trainer:
        o = self._options
        plan = Plan(
            method=o.method,
            epochs=o.epochs,
            batch=o.batch,
            lr=o.lr,
            temperature=o.temperature,
            labels=o.label_weight,
            most_bytes=most,
            anneal=o.anneal,
            patience=o.patience,
            augment=o.augment,
            seed=o.seed,
            bf16=o.precision == "bfloat16",
            drop_batches=o.drop_batches,
            early_bird=o.early_bird,
            rest=o.rest,
        )
        torch.backends.cudnn.benchmark = True  # shapes repeat
        for network in (prepared.network, prepared.teacher):
            network.to(device)
            cast(Any, network).to(memory_format=torch.channels_last)
        return Trainer(
            prepared.network, prepared.teacher, train, held, plan, device, lambda: self._real_bytes(prepared)
        )

    def _identity(self, train: TrainingSamples, held: TrainingSamples) -> dict[str, Any]:
        """What a checkpoint belongs to."""
        options: dict[str, Any] = {
            f"--{k.replace('_', '-')}": v for k, v in asdict(self._options).items() if k not in _ELSEWHERE
        }
        options["--input-shape"] = [[name, *shape] for name, shape in self._options.input_shape]
        options["--threads"] = torch.get_num_threads()
        return {
            "the model": fingerprint(self._options.model)[:12],
            "the training data": train.digest()[:12],
            "the held-out data": held.digest()[:12],
            "the target": hashlib.sha256(load_target(self._options.target).text.encode()).hexdigest()[:12],
            **{k: list(v) if k == "--augment" or k.startswith("--image") else v for k, v in options.items()},
        }

    def _start(self, trainer: Trainer, most: float | None, weights: int, classes: int) -> None:
        """Compare estimate and reality, say where the training starts, and whether the budget can be reached."""
        from emulator.evaluate import at_chance

        real = trainer.weigh()
        accuracy, reference = trainer.accuracy(trainer.held), trainer.accuracy(trainer.held, teacher=True)
        self._console.info(
            f"decomposed: {real:,} bytes ({weights / real:.1f}x), accuracy {accuracy:.2%} on held-out data "
            f"(original: {reference:.2%})"
        )
        held = trainer.held
        if held.labelled and at_chance(round(reference * len(held)), len(held), classes):
            self._console.warn(
                "the original network answers no more than guessing gives: look at the labels, and at how the inputs "
                "are scaled (--image-mean, --image-std)"
            )
        if most is None:
            return
        if real <= most:
            self._console.info(f"the budget of {most:,.0f} bytes is met from the start: training only mends accuracy")
        elif most < (least := trainer.least()):
            raise UserError(
                f"a budget of {most:,.0f} bytes cannot be reached: without any coefficient the constants still take "
                f"{least:,}",
                "give a larger --bytes or a smaller --ratio, or --scheme escalate if layers stayed dense",
            )

    def _real_bytes(self, prepared: Prepared) -> int:
        write_back(prepared.network)
        return len(compile_program(self._context, prepared.module, self._pipeline).rodata)

    # Training -----------------------------------------------------------------------------------------------------

    def _train(self, prepared: Prepared, trainer: Trainer, identity: dict[str, Any]) -> None:
        o, written = self._options, 0
        if o.resume and o.checkpoint is not None:
            trainer.restore(checkpoint.load(o.checkpoint, identity))
            written = trainer.state.epoch
            self._console.info(f"resuming after epoch {trainer.state.epoch} of {o.epochs}")

        def save() -> None:
            nonlocal written
            if o.checkpoint is not None:
                checkpoint.save(o.checkpoint, identity, trainer.checkpoint())
                written = trainer.state.epoch

        def tick(images: int) -> None:
            bar.update(images)

        with tqdm(
            total=(o.epochs - trainer.state.epoch) * trainer.images,
            unit="image",
            disable=self._console.quiet or not sys.stderr.isatty(),
        ) as bar:
            try:
                trainer.run(lambda p: self._report(p, bar), save, tick)
            except KeyboardInterrupt:
                bar.close()
                if written:
                    self._console.info(
                        f"stopped; '{o.checkpoint}' holds epoch {written}: the same command with --resume goes on from "
                        f"there"
                    )
                raise

    def _report(self, p: EpochReport, bar: Any) -> None:
        aim = "" if p.target is None else f" of {p.target:,.0f}"
        text = (
            f"epoch {p.epoch}/{p.epochs}: loss {p.loss:.4f}, held-out {p.accuracy:.2%}, {p.bytes:,.0f}{aim} bytes, "
            f"{p.images_per_second:,.0f} images/s, {_duration(p.seconds_left)} left"
        )
        if not self._console.quiet:
            bar.write(text, file=sys.stderr)

    def _finish(
        self,
        prepared: Prepared,
        trainer: Trainer,
        train: TrainingSamples,
        held: TrainingSamples,
        most: float | None,
        device: torch.device,
    ) -> None:
        """Meet the budget by the real bytes, recalibrate, write back."""
        limit = math.inf if most is None else most
        self._console.step("meeting the budget by the bytes of the compiled model")
        trainer.fit(limit)
        if self._options.recalibrate:
            self._console.step("recalibrating")
            self._recalibrate(prepared, trainer, train, held, device)
        real = trainer.fit(limit)  # other parameters may pack into more bytes
        if real > limit:
            raise UserError(
                f"the constants take {real:,} bytes, the budget is {limit:,.0f}", "give a larger budget or more epochs"
            )
        prepared.network.cpu()
        write_back(prepared.network)

    def _recalibrate(
        self, prepared: Prepared, trainer: Trainer, train: TrainingSamples, held: TrainingSamples, device: torch.device
    ) -> None:
        """Recalibrate where that lowers the loss on held-out data and costs no right answer there."""
        sample = self._calibration(train)
        before, right, kept = trainer.loss(held), trainer.accuracy(held), copy.deepcopy(prepared.network.state_dict())
        recalibrate(prepared.network, prepared.teacher, sample.inputs(sample.x.to(device)))
        after, still_right = trainer.loss(held), trainer.accuracy(held)
        helps = after < before and still_right >= right
        if not helps:
            prepared.network.load_state_dict(kept)
        self._console.detail(
            f"recalibration: held-out loss {before:.4f} -> {after:.4f}, accuracy {right:.2%} -> {still_right:.2%}, "
            f"{'kept' if helps else 'undone'}"
        )

    # Measure ------------------------------------------------------------------------------------------------------

    def _measure(self, model: bytes, held: TrainingSamples, trainer: Trainer, weights: int) -> Measure:
        """Compile what was written and run it on the emulator."""
        from emulator.evaluate import predict
        from emulator.machine import Machine

        self._console.step("measuring the compiled model on the emulator")
        module = import_model(model, self._options.model)
        report = Report()
        passes = build(multiverse().all_passes, PipelineOptions(target=self._options.target), "eisa")
        driver.run_passes(self._context, module, passes, [report.observe], self._console.progress)
        program: Program = driver.to_program(module)
        some = held.subset(torch.arange(min(_MEASURED, len(held))))
        images = self._given.input.given(some.inputs(some.x).numpy())
        found = torch.as_tensor(predict(Machine(program), images, torch.get_num_threads()))
        wanted = some.y if some.y is not None else trainer.predictions(some)
        return Measure(
            report.layers(program),
            weights,
            len(program.rodata),
            len(some),
            some.y is not None,
            trainer.accuracy(some, teacher=True),
            float((found == wanted.cpu()).double().mean()),
            self._cost(trainer, some),
        )

    def _cost(self, trainer: Trainer, samples: TrainingSamples) -> str:
        """What the training took."""
        image = samples.inputs(samples.x[:1])
        network, teacher = (cost.measured(x.cpu(), image) for x in (trainer.network, trainer.teacher))
        target = load_target(self._options.target)
        bf16 = self._options.precision == "bfloat16"
        return cost.text(cost.total(network, teacher, trainer.counts, bf16, target.energy), target.name)


def summary(measure: Measure) -> str:
    """The measure as text: totals, then a table of the layers."""
    m = measure
    what = "top-1" if m.labelled else "agreement with the original"
    weighted = [layer for layer in m.layers if layer.weights]
    names = [printable(layer.name) for layer in weighted]
    width = max(map(len, names), default=5)
    lines = [
        f"float32 {what} {m.float_accuracy:.2%}, compressed {m.accuracy:.2%} (emulator, {m.samples:,} held-out "
        f"samples)",
        f"{m.constants:,} bytes of constants, {times_smaller(m.float_bytes, m.constants)} than {m.float_bytes:,} bytes "
        f"of float32 weights",
        _weights_alone(m),
        m.training,
        "",
        f"{'layer':<{width}} {'kind':<10} {'weights':>9} {'density':>8} {'bits/weight':>11} {'bytes':>9} {'coef.':>9} "
        f"{'bound':>9}",
    ]
    for name, layer in zip(names, weighted, strict=True):
        density = "" if layer.density is None else f"{layer.density:.1%}"
        bits = "" if layer.bits_per_weight is None else f"{layer.bits_per_weight:.2f}"
        bound = "" if layer.coefficient_entropy_bytes is None else f"{layer.coefficient_entropy_bytes:,.0f}"
        lines.append(
            f"{name:<{width}} {printable(layer.kind):<10} {layer.weights:>9,} {density:>8} {bits:>11} "
            f"{layer.packed_bytes:>9,} {layer.coefficient_bytes:>9,} {bound:>9}"
        )
    return "\n".join(lines)


def _weights_alone(m: Measure) -> str:
    """Two ratios that are often published in place of that of everything, as by ADMM-NN: of the number of weights, and
    of the bits of those that are not 0, both without their positions.
    """
    bits = kept = 0.0
    for layer in m.layers:
        if layer.coefficients is not None and layer.density is not None:
            each = 8 if layer.coefficient_level is None else layer.coefficient_level.bit_length()
            kept += layer.coefficients * layer.density
            bits += each * layer.coefficients * layer.density
    weights = m.float_bytes / 4
    return (
        f"{kept:,.0f} of {weights:,.0f} weights alone are not 0: {weights / max(kept, 1):,.1f}x fewer\n"
        f"{bits / 8:,.0f} bytes of weights alone, without positions, bases and parameters: "
        f"{8 * m.float_bytes / max(bits, 1):,.1f}x smaller"
    )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as e:
        raise UserError(
            f"--device {name}: {str(e).splitlines()[0]}", "use --device cpu, or install a torch with this device"
        ) from e
    return device


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
