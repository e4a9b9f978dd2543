"""What a training is given, judged before torch is loaded: the options, the model, and the headers of the data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from dialects.signature import classes_of, only_input
from escc.onnx_import import import_model
from isa.arrays import Input, open_samples
from isa.errors import UserError
from isa.target import load_target


@dataclass(frozen=True)
class Options:
    """The options of `esc-compress`, by their names."""

    model: str
    data: str
    validation: str | None
    held_out: float
    augment: tuple[str, ...]
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    bytes: float | None
    ratio: float | None
    scheme: str
    basis: int | None
    planes: int | None
    scheme_option: list[str] | None
    rate: float | None
    target: str
    method: str
    epochs: int
    batch: int
    lr: float
    temperature: float
    label_weight: float
    anneal: float
    patience: int | None
    recalibrate: bool
    seed: int
    device: str
    threads: int | None
    checkpoint: str | None
    resume: bool
    precision: str
    drop_batches: float
    early_bird: bool
    rest: float
    batch_norm: bool
    input_shape: list[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True)
class Given:
    """The imported model, its only input, and the number of its classes."""

    module: ModuleOp
    input: Input
    classes: int


def given(options: Options) -> Given:
    """What the options name. Raises UserError on whatever can be known of them without reading the samples."""
    load_target(options.target)
    if options.resume and options.checkpoint is not None and not Path(options.checkpoint).is_file():
        raise UserError(f"{options.checkpoint}: no such file to resume from", "leave --resume out to start a new run")
    module = import_model(options.model, shapes=dict(options.input_shape))
    classes, wanted = classes_of(module), only_input(module, "esc-compress")
    for flag, values in (("--image-mean", options.image_mean), ("--image-std", options.image_std)):
        if values and len(values) != wanted.inner[0]:
            raise UserError(f"{flag}: {len(values)} values for an input of {wanted.inner[0]} channels")
    if options.augment and len(wanted.shape) != 3:
        raise UserError("--augment: the model's input is no image", "leave --augment out")
    for file in filter(None, (options.data, options.validation)):
        open_samples(file, [wanted])
    return Given(module, wanted, classes)
