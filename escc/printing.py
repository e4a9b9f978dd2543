"""What `escc` shows of a compilation: IR after passes, times, a closing summary."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from io import StringIO
from pathlib import Path
from typing import TextIO

from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Attribute
from xdsl.passes import ModulePass
from xdsl.printer import Printer

from dialects.blob import DenseAttr
from escc.driver import Observer, Timing
from escc.files import write_output
from escc.irtext import has_locations, print_module
from isa.errors import UserError
from isa.program import Program
from isa.text import printable

_SHOWN_VALUES = 16


class _BriefPrinter(Printer):
    """Prints large constants without their values: for people, not for parsers."""

    def print_attribute(self, attribute: Attribute) -> None:
        if isinstance(attribute, DenseAttr) and attribute.array.size > _SHOWN_VALUES:
            shape = "".join(f"{d}x" for d in attribute.type.get_shape())
            self.print_string(f"#blob.dense<{shape}{attribute.type.element_type}, ...>")
            return
        super().print_attribute(attribute)


def brief_text(module: ModuleOp) -> str:
    """Text of a module with its locations, large constants left out."""
    out = StringIO()
    _BriefPrinter(stream=out, print_debuginfo=has_locations(module)).print_op(module)
    return out.getvalue()


def print_after(stream: TextIO, names: Collection[str] | None) -> Observer:
    """Observer that prints the IR after the passes of these names (None: all)."""

    def observe(step: ModulePass, module: ModuleOp) -> None:
        if names is None or step.name in names:
            print(f"// ----- IR after {printable(step.name)} -----\n{brief_text(module)}", file=stream, flush=True)

    return observe


def write_after(folder: Path) -> Observer:
    """Observer that writes the whole IR after each pass to `folder`/NN-PASS.mlir, which `escc` and `esc-opt` read."""
    count = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"argument --print-ir-tree-dir: '{folder}' cannot be made a folder: {error.strerror}", "give another folder"
        ) from error

    def observe(step: ModulePass, module: ModuleOp) -> None:
        nonlocal count
        count += 1
        write_output(str(folder / f"{count:02}-{step.name}.mlir"), print_module(module))

    return observe


def timing_table(timings: Sequence[Timing], load: float, emit: float) -> str:
    """Seconds of every pass and of loading and emitting, with their share of the sum."""
    rows = [("load", load, 0.0), *((printable(t.name), t.run, t.verify) for t in timings), ("emit", emit, 0.0)]
    total = sum(run + verify for _, run, verify in rows)
    lines = [f"{'pass':<20} {'run s':>9} {'verify s':>9} {'share':>7}"]
    for name, run, verify in rows:
        share = (run + verify) / total if total else 0.0
        lines.append(f"{name:<20} {run:9.3f} {verify:9.3f} {share:7.1%}")
    lines.append(f"{'total':<20} {sum(r for _, r, _ in rows):9.3f} {sum(v for _, _, v in rows):9.3f} {1:7.1%}")
    return "\n".join(lines)


def times_smaller(before: float, now: float) -> str:
    """How many times smaller, or larger, something is now; both sizes are positive."""
    return f"{before / now:.1f}x smaller" if now <= before else f"{now / before:.1f}x larger"


def summary(output: str, size: int, program: Program | None, warnings: int) -> str:
    """One line on what was written: layers, bytes, and constants against the float32 weights of the model."""
    parts: list[str] = []
    if program is not None:
        weights = 4 * program.original_weights
        constants = len(program.rodata)
        layers = len(program.layers)
        parts += [f"{layers} layer{'s' if layers != 1 else ''}", f"{len(program.instructions):,} instructions"]
        ratio = (
            f", {times_smaller(weights, constants)} than {weights:,} of float32 weights"
            if constants and weights
            else ""
        )
        parts.append(f"{constants:,} bytes of constants{ratio}")
    if warnings:
        parts.append(f"{warnings} warning{'s' if warnings > 1 else ''}")
    what = "standard output" if output == "-" else output
    return f"{what}: {size:,} bytes" + (f"; {'; '.join(parts)}" if parts else "")
