"""From a model file to a finished module and on to what is emitted: load, run passes one by one, emit."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, FloatAttr, ModuleOp, StringAttr, TensorType, f64
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import DiagnosticException, VerifyException

from escc.errors import InternalError
from escc.irtext import invalid, parse_module, print_module
from escc.version import version
from isa.errors import UserError
from isa.files import read_file
from isa.found import AnswerError
from passes.analysis.progress import listening
from passes.pipelines import LEVELS

if TYPE_CHECKING:
    from isa.program import Program

PROVENANCE = "escc.passes"
"""Module attribute in emitted IR text: names of the passes behind it, so that `escc` goes on where it stopped."""

ONNX_KIND = "qdq"
"""What `--emit` calls an ONNX model with QuantizeLinear and DequantizeLinear nodes."""

Observer = Callable[[ModulePass, ModuleOp], None]
"""Called after each pass with the module that it leaves."""


@dataclass(frozen=True)
class ImageOptions:
    """How an image becomes an input: x = (pixel - mean) / std for each channel, pixels 0..255 in `channel_order`."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channel_order: str = ""


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds that a pass, and verifying what it leaves, took."""

    name: str
    run: float
    verify: float


def load(
    context: Context,
    source: str | bytes,
    name: str = "",
    shapes: Mapping[str, Sequence[int]] | None = None,
    host_fallback: bool = False,
) -> ModuleOp:
    """Module of an ONNX file or its bytes, or of IR text of any level: a `.mlir` file, or "-" for standard input.

    `name` is how errors call bytes; `shapes` are those of inputs of an ONNX model by name. With `host_fallback`, what
    is unsupported at the ends of an ONNX model is left to the host (`escc.host_fallback`). Raises UserError, or xDSL's
    ParseError for IR text that does not parse.
    """
    if isinstance(source, str) and (source == "-" or Path(source).suffix == ".mlir"):
        if shapes:
            raise UserError(f"{source}: IR text has static shapes; --input-shape belongs to ONNX models")
        if host_fallback:
            raise UserError(f"{source}: IR text is what the machine computes; --host-fallback belongs to ONNX models")
        data = read_file(source)
        if source == "-" and b"\0" in data:
            raise UserError(
                "stdin: is no IR text, the one thing that is read from standard input",
                "give an ONNX model by the name of its file",
            )
        return parse_module(context, data, "stdin" if source == "-" else source)
    model, title = (source, name) if isinstance(source, bytes) else (Path(source), source)
    if host_fallback:
        from escc import host_fallback as hosted

        return hosted.load(model, title, shapes or {})
    from escc.onnx_import import import_model

    return import_model(model, title, shapes)


def level_of(module: ModuleOp) -> str:
    """Lowest level that has operations in the module. Raises UserError if none has.

    Operations of other packages belong to the level whose operations they extend (their `LEVEL`).
    """
    found = {level for op in module.walk() for level in (op.dialect_name(), getattr(op, "LEVEL", ""))}
    for level in reversed(LEVELS):
        if level in found:
            return level
    raise UserError(f"the module has no operation of any level ({', '.join(LEVELS)})", "is this IR text of escc?")


def provenance(module: ModuleOp) -> tuple[str, ...]:
    """Names of the passes that are recorded as behind the module."""
    attribute = module.attributes.get(PROVENANCE)
    if not isinstance(attribute, ArrayAttr):
        return ()
    items = cast(ArrayAttr[Attribute], attribute)
    return tuple(item.data for item in items if isinstance(item, StringAttr))


def record(module: ModuleOp, names: Iterable[str]) -> None:
    """Add pass names to the provenance of a module."""
    known = dict.fromkeys((*provenance(module), *names))
    module.attributes[PROVENANCE] = ArrayAttr([StringAttr(name) for name in known])


def _main_or_none(module: ModuleOp) -> FuncOp | None:
    """The function @main, None where the level has none."""
    return next((op for op in module.ops if isinstance(op, FuncOp) and op.sym_name.data == "main"), None)


def set_image_options(module: ModuleOp, options: ImageOptions) -> None:
    """Write the preprocessing of images onto @main. Raises UserError if there is no @main or the lengths do not fit."""
    given = {"image_mean": options.mean, "image_std": options.std}
    if not any(given.values()) and not options.channel_order:
        return
    from dialects.eisa import host_of  # with NumPy, too heavy for a command's --help

    if host_of(module):
        from escc.host_fallback import set_images

        set_images(module, options.mean, options.std, options.channel_order)
        return
    main = _main_or_none(module)
    if main is None:
        raise UserError("image options need a module of level onnx or esc", "give them where the model is imported")
    shapes = [t.get_shape() for t in main.function_type.inputs if isinstance(t, TensorType)]
    channels = {shape[1] for shape in shapes if len(shape) == 4}
    for name, values in given.items():
        if values and {len(values)} != channels:
            flag = "--" + name.replace("_", "-")
            raise UserError(f"{flag}: {len(values)} values for an input of {sorted(channels)} channels")
        if values:
            main.attributes[name] = ArrayAttr([FloatAttr(v, f64) for v in values])
    if options.channel_order:
        main.attributes["channel_order"] = StringAttr(options.channel_order)


def run_passes(
    context: Context,
    module: ModuleOp,
    passes: Sequence[ModulePass],
    observers: Sequence[Observer] = (),
    announce: Callable[[str], None] = lambda text: None,
) -> list[Timing]:
    """Run passes in place, verify after each; `announce` is told what runs. Returns the time that each took.

    Raises UserError where a pass refuses the input, `PassError` where one fails or leaves an invalid module.
    """
    timings: list[Timing] = []
    for number, step in enumerate(passes):
        title = f"[{number + 1}/{len(passes)}] {step.name}"
        announce(title)
        start = time.perf_counter()
        try:
            with listening(lambda text, title=title: announce(f"{title}: {text}")):
                step.apply(context, module)
        except (UserError, DiagnosticException, MemoryError) as e:
            if isinstance(e, VerifyException):
                raise PassError(step, number, f"{type(e).__name__}: {e}") from e
            raise
        except Exception as e:
            raise PassError(step, number, str(e) if isinstance(e, AnswerError) else f"{type(e).__name__}: {e}") from e
        middle = time.perf_counter()
        try:
            module.verify()
        except VerifyException as e:
            raise PassError(step, number, f"leaves an invalid module: {invalid(module, e)}") from e
        record(module, [step.name])
        timings.append(Timing(step.name, middle - start, time.perf_counter() - middle))
        for observer in observers:
            observer(step, module)
    announce("")
    return timings


class PassError(InternalError):
    """A pass that fails; `number` is its position in the pipeline, `giver` the pass (see `isa.found.at_fault`)."""

    def __init__(self, step: ModulePass, number: int, reason: str):
        super().__init__(f"pass '{step.name}': {reason}")
        self.number = number
        self.giver = step


def attach_input(error: PassError, context: Context, source: str | bytes, passes: Sequence[ModulePass]) -> None:
    """Put the IR before the failing pass into an error, by running the passes before it once more.

    Repeating the work on failure costs nothing where all goes well; a copy of every module would.
    """
    if source == "-":
        return  # standard input is gone
    try:
        module = load(context, source)
        run_passes(context, module, passes[: error.number])
        error.ir = print_module(module)
    except Exception as again:
        error.add_note(f"the IR before the pass cannot be shown: {again}")


def to_program(module: ModuleOp) -> Program:
    """Program of a module of level eisa, with our version as its producer unless it names one."""
    from dialects.eisa import to_program as convert

    program = convert(module)
    return program if program.producer else dataclasses.replace(program, producer=f"escc {version('escc')}")


def level_for(kind: str) -> str:
    """Level that a module must have reached for `--emit kind`."""
    return "esc" if kind == ONNX_KIND else kind if kind in LEVELS else LEVELS[-1]


def require_level(module: ModuleOp, kind: str) -> None:
    """Raise UserError if a module stands at another level than `--emit kind` needs."""
    level = level_of(module)
    wanted = level_for(kind)
    if level != wanted:
        raise UserError(f"the pipeline ends at level '{level}', --emit {kind} needs '{wanted}'", f"use --emit {level}")


def result_of(module: ModuleOp, program: Program | None, kind: str) -> bytes | str:
    """What `--emit kind` writes of a module that stands at the level for it, and its program at the last level."""
    if kind == ONNX_KIND:
        from dialects.eisa import host_of

        if host_of(module):
            raise UserError(
                "--emit qdq writes whole networks, and the host computes a part of this one",
                "leave --host-fallback out",
            )
        from escc.onnx_export import export_model

        return export_model(module).SerializeToString(deterministic=True)
    return print_module(module) if program is None or kind == LEVELS[-1] else encode(program, kind)


def encode(program: Program, kind: str) -> bytes | str:
    """Assembly text (kind "asm") or the ELF file ("bin") of a program."""
    if kind == "asm":
        from isa.assembly import print_assembly

        return print_assembly(program)
    from isa.container import write_elf

    return write_elf(program)
