"""The Python interface: `escc.compile` and `escc.load`. docs/api.md explains it with examples."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from emulator.display import SourceText
from emulator.model import Model
from emulator.model import load as load_model
from escc.arguments import LIMITS, check_images, check_kinds, check_numbers
from escc.errors import user_errors
from isa.errors import UserError
from isa.files import write_atomic
from isa.scalars import plain_number
from isa.target import Target, load_target, parse_target
from isa.text import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from onnx import ModelProto
    from torch.nn import Module
    from xdsl.dialects.builtin import ModuleOp
    from xdsl.passes import ModulePass

    from escc.compilation import CompileRequest
    from escc.driver import ImageOptions
    from escc.report import LayerReport, Report
    from escc.samples import Calibration, GivenSamples
    from isa.arrays import Arrays
    from isa.program import Program

Network: TypeAlias = "str | os.PathLike[str] | bytes | ModelProto | Module"
"""A file (ONNX, or IR text in a .mlir file), the bytes of an ONNX file, a loaded ONNX model, or a PyTorch network."""
InputShape: TypeAlias = "Sequence[int] | Mapping[str, Sequence[int]]"
"""Shape [1, C, H, W] of the only input, or the shape of each input by name, of PyTorch in the order of `forward`."""
Kind: TypeAlias = Literal["onnx", "esc", "bfs", "eisa", "asm"]
"""What can be read of a compilation: an IR level, or assembly."""

ONLY_INPUT = ""
"""What stands for the name of an only input."""


class Compiled(Model):
    """A compiled network: a `Model` to run and to measure, with what the compiler knows of it.

    Of a binary that was loaded, there is no IR above the instructions, and `layers` leaves open what only the compiler
    knows.
    """

    def __init__(
        self,
        program: Program,
        name: str = "model",
        report: Report | None = None,
        levels: Mapping[str, ModuleOp] | None = None,
    ):
        super().__init__(program, name)
        self._report = report
        self._levels = dict(levels or {})

    def __getstate__(self) -> dict[str, Any]:
        """The binary and what is known of the layers; the IR stays behind, as with a binary that is saved."""
        return {**super().__getstate__(), "report": self._report}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._report = state["report"]
        self._levels = {}

    @property
    def layers(self) -> list[LayerReport]:
        """A record for each layer, in the order in which they run: `pandas.DataFrame(compiled.layers)` takes the list.

        Sizes are in bytes, `output` is (height, width, channels), `macs` those of the layer before compression.
        """
        return self._facts().layers(self.program)

    def _repr_html_(self) -> str:
        from emulator.display import html_of_table
        from escc.report import layer_table

        return html_of_table(layer_table(self.layers, self.report()["totals"]), repr(self)[1:-1])

    def report(self, path: str | os.PathLike[str] | None = None) -> dict[str, Any]:
        """Sizes, densities and mapping of every layer and in total, as `escc --report` writes them.

        With a path that ends in .json or .html, they are written there too. Raises UserError on another path, and on
        .html where the library that draws is missing.
        """
        facts = self._facts()
        if path is not None:
            suffix = Path(path).suffix
            if suffix not in (".json", ".html"):
                raise UserError(f"{os.fspath(path)}: requires a file name ending in .json or .html")
            if suffix == ".html":
                from escc.reports.vega import require

                require()
            write_atomic(os.fspath(path), facts.text(self.program, suffix, Path(self.name).name))
        return json.loads(facts.text(self.program, ".json", Path(self.name).name))

    def ir(self, kind: Kind = "esc") -> SourceText:
        """The network as the text of a level (onnx, esc, bfs, eisa) or as assembly (asm): what `escc --emit` writes.

        It is a `str`; a notebook shows it with large constants cut out. Raises UserError on a level that the
        compilation did not pass through.
        """
        from escc import driver

        if not isinstance(kind, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(f"kind is {shown(kind)}; requires the name of a level, or asm")
        if kind == "asm":
            return SourceText(cast(str, driver.encode(self.program, kind)))
        return SourceText(cast(str, driver.result_of(self._level(kind), None, kind)))

    def onnx(self) -> bytes:
        """The quantised and compressed network as an ONNX model with QuantizeLinear nodes: `escc --emit qdq`.

        Raises UserError if the compilation did not pass through the level esc.
        """
        from escc import driver

        return cast(bytes, driver.result_of(self._level("esc"), None, driver.ONNX_KIND))

    def _level(self, level: str) -> ModuleOp:
        from passes.pipelines import LEVELS

        if level not in LEVELS:
            raise UserError(f"there is no {level!r} to read; requires one of {', '.join((*LEVELS, 'asm'))}")
        if level not in self._levels:
            known = ", ".join((*self._levels, "asm"))
            raise UserError(f"{self.name}: holds no IR of level {level}; found {known}", "compile the original model")
        return self._levels[level]

    def _facts(self) -> Report:
        if self._report is None:
            from escc.report import Report

            self._report = Report()
        return self._report


def load(source: str | os.PathLike[str] | bytes) -> Compiled:
    """A binary of `escc`, or its bytes, ready to run. Loads neither compiler nor xDSL nor ONNX.

    Raises UserError on a file that cannot be read, is no intact binary, or holds a program that is not executable.
    """
    model = load_model(source)
    return Compiled(model.program, model.name)


def compile(
    model: Network,
    calibration: Calibration | None = None,
    scheme: str = "auto",
    target: str | os.PathLike[str] | Target = "esc1",
    *,
    max_drop: float | None = None,
    max_bytes: int | None = None,
    max_cycles: int | None = None,
    max_energy: float | None = None,
    basis: int | None = None,
    planes: int | None = None,
    rate: float | None = None,
    cycle_rate: float | None = None,
    scheme_options: Mapping[str, object] | None = None,
    samples: int | None = None,
    tune: int = 1,
    range: Literal["mse", "minmax", "percentile"] | None = None,
    percentile: float | None = None,
    seed: int | None = None,
    image_mean: Sequence[float] = (),
    image_std: Sequence[float] = (),
    channel_order: Literal["rgb", "bgr", ""] = "",
    input_shape: InputShape | None = None,
    host_fallback: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Compiled:
    """Compile a trained network; the arguments are the options of the command `escc`, and so is what is compiled.

    - `model`: a file (.onnx, or IR text in a .mlir), the bytes of an ONNX file, an `onnx.ModelProto`, or a
      `torch.nn.Module`.
    - `calibration`: sample inputs, float, as the network takes them: a file (.npz, .npy), an array [N, C, H, W], a
      mapping from names of inputs to arrays, or an iterable of batches such as a DataLoader, of which 4,096 samples
      are taken at most. Labels for `max_drop` are `y` in a mapping, or the second of a pair. None: made up, with a
      warning.
    - `scheme`: auto, dense, escalate or an installed one; `basis`, `planes`, `rate`, `cycle_rate` and
      `scheme_options` (values by name) are its options, of which a scheme may ignore some, with a warning.
    - `target`: the name of an installed machine, a .toml file, or a `Target`.
    - `max_drop`, `max_bytes`, `max_cycles`, `max_energy`: a limit, one at most: points of top-1 accuracy that may be
      lost, bytes of constants, cycles and microjoules of an image.
    - `samples`: calibration samples used at most.
    - `tune`: tilings of each layer that are emulated to find the fastest schedule; 1 takes the best by the estimate.
    - `range`, `percentile`: how ranges of activations are chosen; a percentile is above 50 and up to 100.
    - `seed`: of everything random.
    - `image_mean`, `image_std`, `channel_order`: how an image file becomes an input, (pixel - mean) / std for each
      channel, pixels 0..255.
    - `input_shape`: of an ONNX model with dynamic extents, or of a PyTorch network without calibration arrays.
    - `host_fallback`: what is unsupported at the ends of the network is left to the host; `Compiled` runs it with
      onnxruntime.
    - `progress`: a function that is told, in a line of text, what is being done.

    Raises UserError (`escc.Error`), with one cause for each thing that is wrong and a note of what to do about it.
    """
    numbers = {"max_drop": max_drop, "max_bytes": max_bytes, "max_cycles": max_cycles, "basis": basis}
    numbers |= {"planes": planes, "rate": rate, "cycle_rate": cycle_rate, "samples": samples, "seed": seed}
    numbers |= {"max_energy": max_energy, "percentile": percentile, "tune": tune}
    check_kinds(scheme, target, scheme_options, input_shape, host_fallback, progress, range)
    numbers = check_numbers(numbers)
    check_images(image_mean, image_std, channel_order)
    from escc.compilation import CompileRequest, budget_of
    from escc.driver import ImageOptions
    from passes.pipelines import PipelineOptions

    own = tuple(f"{name}={value}" for name, value in (scheme_options or {}).items()) or None
    with _warnings_of_caller(), user_errors(), _job(model, calibration, target, input_shape) as job:
        budget = budget_of(*(numbers.pop(name) for name in LIMITS))
        tilings = numbers.pop("tune") or 1
        options = PipelineOptions(method=range, scheme=scheme, options=own, target=job.target, **numbers)
        request = CompileRequest(options, budget=budget, tune=tilings)
        if conflict := request.conflict():
            raise UserError(conflict)
        request.check_scheme_options()
        if idle := request.idle_options():
            _warn(idle)
        if percentile is not None and range != "percentile":
            _warn("percentile has no effect: it belongs to range='percentile'")
        images = ImageOptions(tuple(map(float, image_mean)), tuple(map(float, image_std)), channel_order)
        return job.run(request, images, host_fallback, lambda text: progress(text) if progress and text else None)


@dataclass
class _Job:
    """One compilation: what the driver loads, and what was given as machine (by name or file) and calibration data."""

    source: str | bytes
    name: str
    target: str
    calibration: str | None
    given: GivenSamples | None
    shapes: Mapping[str, Sequence[int]]
    levels: dict[str, ModuleOp] = field(default_factory=dict[str, "ModuleOp"])

    def run(
        self, request: CompileRequest, images: ImageOptions, host_fallback: bool, progress: Callable[[str], None]
    ) -> Compiled:
        """Compile as `escc` does. Raises UserError."""
        from escc import driver
        from escc.compilation import constant_outputs_observer, run_request
        from escc.irtext import make_context
        from escc.report import Report

        context = make_context()
        module = driver.load(context, self.source, self.name, self.shapes, host_fallback)
        driver.set_image_options(module, images)
        if host_fallback and request.budget is not None and request.budget.kind == "drop":
            from escc.host_fallback import refuse_drop

            refuse_drop(module)
        request = replace(request, options=replace(request.options, calibration=self._samples(module, request)))
        passes = request.passes(module, self.name)
        passes = request.within_budget(context, module, passes, progress, progress)
        passes = request.tuned(module, passes, progress)
        report = Report()
        self.levels[driver.level_of(module)] = module.clone()
        observers = [constant_outputs_observer(_warn), report.observe, self._keep_level]
        program, _ = run_request(request, context, module, self.source, passes, observers, progress)
        assert program is not None  # or the request would have been refused
        return Compiled(program, self.name, report, self.levels)

    def _samples(self, module: ModuleOp, request: CompileRequest) -> str | Arrays | None:
        """Calibration data for what the machine computes of a network, None if there are none."""
        from dialects.eisa import host_of
        from dialects.interpreters.run import main_function
        from dialects.signature import inputs_of

        host = host_of(module)
        if self.given is None and not host:
            return self.calibration
        if host:
            from emulator.inputs import wanted
            from escc.host_fallback import machine_samples
            from isa.hosted import unpack

            ports = [wanted(port) for port in unpack(host).inputs]
            source = self.calibration if self.given is None else self.given.arrays(ports)
            return machine_samples(module, source, request.options.samples, request.options.seed)
        assert self.given is not None
        return self.given.arrays(inputs_of(main_function(module)))

    def _keep_level(self, step: ModulePass, module: ModuleOp) -> None:
        """Observer that keeps the finished module of each level; nothing changes that of the last one any more."""
        from passes.pipelines import LEVELS, STAGES

        level = next((level for level in LEVELS if STAGES[level][-1] == step.name), None)
        if level is not None:
            self.levels[level] = module if level == LEVELS[-1] else module.clone()


@contextlib.contextmanager
def _job(
    model: Network,
    calibration: Calibration | None,
    target: str | os.PathLike[str] | Target,
    input_shape: InputShape | None,
) -> Generator[_Job]:
    """What `compile` was given, as the driver and the passes take it."""
    from escc.samples import given_samples

    is_file = isinstance(calibration, str | os.PathLike)
    file = os.fspath(calibration) if is_file else None
    given = None if is_file or calibration is None else given_samples(calibration)
    with _target_file(target) as machine:
        source, title = _source_of(model, given, input_shape)
        none: Mapping[str, Sequence[int]] = {}
        shapes = none if input_shape is None or _is_torch(model) else _shapes(input_shape)
        yield _Job(source, title, machine, file, given, shapes)


@contextlib.contextmanager
def _target_file(target: str | os.PathLike[str] | Target) -> Generator[str]:
    """The name or the file of a machine, as the options of passes take it. Raises UserError if it is none."""
    if not isinstance(target, Target):
        load_target(os.fspath(target))
        yield os.fspath(target)
        return
    parse_target(target.text, "target")  # what `dataclasses.replace` makes is not checked
    with tempfile.TemporaryDirectory(prefix="escc-") as folder:
        path = Path(folder) / "target.toml"
        path.write_text(target.text, encoding="utf-8")
        yield str(path)


def _source_of(model: Any, given: GivenSamples | None, input_shape: InputShape | None) -> tuple[str | bytes, str]:
    """What the driver loads, and how errors call it."""
    onnx = sys.modules.get("onnx")  # whoever has such an object has loaded its library
    if _is_torch(model):
        from escc.torch_export import onnx_of

        return onnx_of(model, _examples(type(model).__name__, given, input_shape)), type(model).__name__
    if onnx is not None and isinstance(model, onnx.ModelProto):
        name = str(model.graph.name) or "model"
        try:
            return cast(bytes, model.SerializeToString()), name
        except Exception as e:  # protobuf's own class for messages of more than 2 GB
            raise UserError(f"{name}: cannot be passed on: {e}", "save it with external data, and give the path") from e
    if isinstance(model, bytes):
        return model, "model"
    if isinstance(model, str | os.PathLike):
        path = os.fspath(cast("str | os.PathLike[str]", model))
        return (f".{os.sep}-" if path == "-" else path), path
    raise UserError(
        f"model: found {type(model).__name__}; requires a file, bytes, an onnx.ModelProto or a torch.nn.Module"
    )


def _is_torch(model: object) -> bool:
    torch = sys.modules.get("torch")  # as above
    return torch is not None and isinstance(model, torch.nn.Module)


def _shapes(given: InputShape) -> Mapping[str, Sequence[int]]:
    """Shapes by the names of inputs, that of an only input by no name. Raises UserError on anything else."""
    by_input: Mapping[str, Sequence[int]] = given if isinstance(given, Mapping) else {ONLY_INPUT: given}
    shapes = {name: _extents(shape) for name, shape in by_input.items()}
    for shape in shapes.values():
        if not shape or not all(type(extent) is int and extent > 0 for extent in shape) or shape[0] != 1:
            raise UserError(f"input_shape is {shown(given)}; requires positive integers, the first of them 1")
    return shapes


def _extents(shape: Sequence[int] | None) -> tuple[int, ...]:
    return () if shape is None else tuple(cast(int, plain_number(extent)) for extent in shape)


def _examples(
    name: str, given: GivenSamples | None, input_shape: InputShape | None
) -> Sequence[Mapping[str, NDArray[np.generic]]]:
    """What may be one sample [1, ...] of each input of a PyTorch network, the likeliest first."""
    import numpy as np

    if input_shape is not None:
        return [{key: np.zeros(tuple(shape), np.float32) for key, shape in _shapes(input_shape).items()}]
    if given is None:
        raise UserError(
            f"{name}: a network of PyTorch does not say what shape its input has",
            "give calibration data as an array, or the shape: input_shape=(1, 3, 224, 224)",
        )
    return given.examples()


@contextlib.contextmanager
def _warnings_of_caller() -> Generator[None]:
    """Give what the compiler warns of as warnings of the line that called `compile`, also where it raises."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        for warning in caught:  # above this function lie contextlib's __exit__ and `compile`
            warnings.warn(str(warning.message), warning.category, stacklevel=4)


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=2)
