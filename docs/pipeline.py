"""The picture of the pipeline, `docs/pipeline.svg`, drawn from the compiler's own table of passes.

`python -m docs.pipeline` writes it, as `make docs` does. A test compares the file with what this module draws.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from passes.pipelines import LEVELS, STAGES

PATH = Path(__file__).parent / "pipeline.svg"
_LEVELS = {
    "onnx": "float network, canonical",
    "esc": "integers; layers decomposed",
    "bfs": "tiles, memories, loops",
    "eisa": "instructions and their order",
}
"""What each level holds."""
_OUT = {"onnx": "", "esc": "--emit qdq: ONNX again", "bfs": "", "eisa": "--emit asm"}
_WIDTH, _GAP, _TOP, _ROW, _HEAD = 196, 34, 64, 21, 56
_SIDE = 118
_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2937 }
.pass { font: 12px ui-monospace, monospace; fill: #374151 }
.name { font-weight: 600; font-size: 15px }
.note { font-size: 11.5px; fill: #6b7280 }
.page { fill: #ffffff }
.level { fill: #eef2ff; stroke: #6366f1 }
.file { fill: #f8fafc; stroke: #94a3b8 }
.arrow { stroke: #6b7280; stroke-width: 1.5; fill: none; marker-end: url(#tip) }
.tip { fill: #6b7280 }
@media (prefers-color-scheme: dark) {
  text { fill: #e5e7eb } .pass { fill: #cbd5e1 } .note { fill: #9ca3af } .page { fill: #0d1117 }
  .level { fill: #1e1b4b } .file { fill: #1f2937 }
}"""


def svg() -> str:
    """The picture: files and levels from left to right, with the passes that lead into and finish each level."""
    most = max(len(passes) for passes in STAGES.values())
    height = _TOP + _HEAD + most * _ROW + 60
    parts: list[str] = []
    x = 16 + _SIDE + _GAP
    middle = _TOP + 30
    parts += _file(16, middle, "model.onnx", "or PyTorch")
    for level in LEVELS:
        parts.append(_arrow(x - _GAP + 3, x - 3, middle))
        parts += _level(x, level, _HEAD + most * _ROW)
        x += _WIDTH + _GAP
    parts.append(_arrow(x - _GAP + 3, x - 3, middle))
    parts += _file(x, middle, "model.bin", "ELF, for esc-emu")
    width = x + _SIDE + 16
    below = _TOP + _HEAD + most * _ROW + 30
    text = (
        "Every level prints, parses, verifies and executes. From esc on, all of them and the emulator give the same "
        "integers: escc --verify-numerics compares them."
    )
    parts.append(_text(width / 2, below + 12, text, "note", "middle"))
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        "<title>The pipeline of escc: from a model through four levels of IR to a binary</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>',
        f'<rect class="page" width="{width}" height="{height}"/>',
        _text(16, 30, "escc", "name"),
        _text(60, 30, "a chain of passes over four levels of IR", ""),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _level(x: float, level: str, height: float) -> list[str]:
    parts = [
        f'<rect class="level" x="{x}" y="{_TOP}" width="{_WIDTH}" height="{height}" rx="8"/>',
        _text(x + 12, _TOP + 22, level, "name"),
        _text(x + 12, _TOP + 40, _LEVELS[level], "note"),
    ]
    for number, name in enumerate(STAGES[level]):
        parts.append(_text(x + 12, _TOP + _HEAD + 14 + number * _ROW, name, "pass"))
    if _OUT[level]:
        parts.append(_text(x + _WIDTH / 2, _TOP + height + 18, _OUT[level], "note", "middle"))
    return parts


def _file(x: float, y: float, name: str, note: str) -> list[str]:
    return [
        f'<rect class="file" x="{x}" y="{y - 26}" width="{_SIDE}" height="52" rx="8"/>',
        _text(x + _SIDE / 2, y - 3, name, "pass", "middle"),
        _text(x + _SIDE / 2, y + 15, note, "note", "middle"),
    ]


def _arrow(start: float, end: float, y: float) -> str:
    return f'<path class="arrow" d="M{start} {y}H{end}"/>'


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def main() -> None:
    """Write the picture."""
    PATH.write_text(svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
