"""Write the generated pages of docs/: `python -m escc.docs docs`. A test checks that they are current."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from xdsl.passes import ModulePass

from escc.universe import ESCC_UNIVERSE
from isa.docs import pages as isa_pages
from isa.files import write_atomic
from passes.pipelines import LEVELS, STAGES, PipelineOptions, build, to_text

_HEAD = """\
# Passes

Generated from the passes' docstrings by `make docs`; do not edit.

`escc` runs the passes below in this order; `esc-opt -p` runs any of them on IR text. Options are written
`pass{name=value other-name=value}`, strings in double quotes. `escc --dump-pass-pipeline` prints the pipeline that its
options give, and `escc -p` runs an edited one. Without options it is

```text
"""


def passes_page() -> str:
    """docs/passes.md: every pass of the default pipeline by level, with its options."""
    registry = ESCC_UNIVERSE.all_passes
    pipeline = to_text(build(registry, PipelineOptions())).replace(",", ",\n")
    parts = [f"{_HEAD}{pipeline}\n```\n"]
    for level in LEVELS:
        parts.append(f"## Level `{level}`\n")
        parts += [_pass_section(registry[name]()) for name in STAGES[level]]
    return "\n".join(parts)


def _pass_section(cls: type[ModulePass]) -> str:
    body = inspect.cleandoc(cls.__doc__ or "")
    lines = [f"### `{cls.name}`", "", body, ""]
    options = [f for f in dataclasses.fields(cls) if f.init and f.name != "name"]
    if options:
        texts = option_texts(cls)
        lines += ["| option | type | default | |", "|---|---|---|---|"]
        for f in options:
            default = "" if f.default is dataclasses.MISSING or f.default is None else f"`{_value(f.default)}`"
            kind = str(f.type).replace("Arrays | ", "").replace("|", "or")  # a text names arrays by their file alone
            lines.append(f"| `{f.name.replace('_', '-')}` | {kind} | {default} | {texts.get(f.name, '')} |")
        lines.append("")
    return "\n".join(lines)


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def option_texts(cls: type[ModulePass]) -> Mapping[str, str]:
    """What stands as a string below each field of a class."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            constant = below.value
            if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
                texts[field.target.id] = " ".join(constant.value.split())
    return texts


def pages() -> dict[str, str]:
    """File name below docs/ and text of every generated page."""
    return {**isa_pages(), "passes.md": passes_page()}


def main(folder: str) -> None:
    """Write the pages into a folder."""
    for name, text in pages().items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text)


if __name__ == "__main__":
    main(sys.argv[1])
