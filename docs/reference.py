"""Write the pages of docs/ that are made from the commands' parsers and from the declarations of a target:
`python -m docs.reference` in the checkout. A test checks that they are current.

`docs/cli.md` has every option of every command with its type, default, meaning and example, `docs/target.md` every
parameter of a target file.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from escc.cli import assemble, compare, disassemble, emulate
from escc.cli.common import CommandParser
from escc.cli.compile_options import make_parser as make_compile_parser
from escc.cli.compress_options import make_parser as make_compress_parser
from isa.area import area_text, event_energy_text
from isa.files import write_atomic
from isa.storage import operand_memory_text
from isa.target import load_target

PARSERS: Mapping[str, Callable[[], CommandParser]] = {
    "escc": make_compile_parser,
    "esc-emu": emulate.make_parser,
    "esc-compare": compare.make_parser,
    "esc-compress": make_compress_parser,
    "esc-as": assemble.make_parser,
    "esc-dis": disassemble.make_parser,
}
"""The commands whose options are ours; those of `esc-opt` are xDSL's."""

_HEAD = """\
# Commands

Generated from the parsers by `make docs`; do not edit. Each command prints the same under `--help`. Exit codes: 0 done,
1 the input is at fault, 2 usage, 70 a bug (a reproducer is saved).
"""
_OPT = """\
## `esc-opt`

IR text of any level through a pipeline of passes to IR text. The command is xDSL's driver with our dialects and passes;
`esc-opt --help` lists its options and all passes, ours first, and [passes.md](passes.md) explains ours.

```text
escc model.onnx --emit esc | esc-opt -p canonicalize
```
"""
_NOTES = re.compile(r" \(([^()]*(?:\([^()]*\)[^()]*)*)\)$")
"""The end of a help text: type, default and example in parentheses."""


def cli_page() -> str:
    """The page."""
    parts = [_HEAD]
    for name, make in PARSERS.items():
        parser = make()
        summary, _, examples = (parser.description or "").partition("\n\nexample")
        epilog = (parser.epilog or "").partition("exit codes")[0].strip().removeprefix("examples:")
        shown = examples.removeprefix("s").removeprefix(":").strip("\n") or epilog
        parts += [f"## `{name}`\n\n{summary.strip()}\n"]
        if shown.strip():
            lines = "\n".join(line.strip() for line in shown.strip().split("\n"))
            parts.append(f"```text\n{lines}\n```\n")
        parts += _groups(parser)
    return "\n".join([*parts, _OPT])


def _groups(parser: CommandParser) -> Iterator[str]:
    """A table for each group of options that has any."""
    for group in parser._action_groups:  # pyright: ignore[reportPrivateUsage] argparse has no other way
        actions = [a for a in group._group_actions if a.help != argparse.SUPPRESS and "--help" not in a.option_strings]  # pyright: ignore[reportPrivateUsage]
        if not actions:
            continue
        title = {"positional arguments": "arguments"}.get(group.title or "", group.title or "")
        yield f"### {parser.prog}: {title}\n"
        if group.description:
            yield f"{group.description}\n"
        yield "| | type | default | meaning | example |\n|---|---|---|---|---|"
        yield "\n".join(map(_row, actions)) + "\n"


def option(action: argparse.Action) -> tuple[str, str, str, str, str]:
    """How an option is written, its type, default, meaning and example; "" where the help does not say."""
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    metavar = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar or ())
    value = metavar or ("{" + ",".join(map(str, action.choices)) + "}" if action.choices else "")
    written = f"{names} {value}".strip() if action.option_strings else names
    text = " ".join((action.help or "").split())
    notes = _NOTES.search(text)
    kind = default = example = ""
    if notes and re.search(r"\b(default|integer|number|flag|example|required|repeatable)\b", notes[1]):
        text = text[: notes.start()]
        for note in notes[1].split("; "):
            if note.startswith("default"):
                default = note.removeprefix("default").removeprefix(":").strip()
            elif note.startswith("example: "):
                example = note.removeprefix("example: ")
            else:
                kind = f"{kind}, {note}" if kind else note
    if not kind and action.choices:
        kind = "choice"
    return written, kind or ("text" if action.option_strings and action.nargs != 0 else ""), default, text, example


def _row(action: argparse.Action) -> str:
    # A bar ends a cell, and whether a backslash keeps it depends on who reads Markdown.
    written, kind, default, text, example = (part.replace("|", " or ") for part in option(action))
    return f"| `{written}` | {kind} | {default} | {text} | {f'`{example}`' if example else ''} |"


def target_page() -> str:
    """docs/target.md: every parameter of a target file with its unit, range and value in `esc1`."""
    parts = [_TARGET]
    for line in load_target("esc1").annotated.split("\n"):
        if line.startswith("["):
            name = line.strip("[]")
            parts.append(f"\n## `[{name}]`\n\n| parameter | esc1 | range | meaning |\n|---|---|---|---|")
        elif "  # " in line and len(parts) > 1:
            setting, _, comment = line.partition("  # ")
            name, _, value = setting.partition(" = ")
            bounds, _, meaning = comment.partition(": ")
            parts.append(f"| `{name}` | {value} | {bounds} | {meaning} |")
    esc1 = load_target("esc1")
    size = (operand_memory_text(esc1) + area_text(esc1) + event_energy_text(esc1)).replace("# ", "").strip()
    return "\n".join([*parts, "", "## Memory and area", "", f"```text\n{size}\n```", ""])


_TARGET = """\
# The target file

Generated from the declarations in `isa/target.py` by `make docs`; do not edit. A target file is TOML. It names a `base`
and states what differs, and every command takes it as `--target FILE`:

```toml
base = "esc1"
name = "wide"
[dram]
bytes_per_clock = 16
```

Without a `name`, the target is called like its file. `escc --print-target --target FILE` prints all parameters with
these comments, `escc --list-targets` what is installed.
[machine.md](machine.md) says what the parameters do. Sources of the values of `esc1` stand in `isa/targets/esc1.toml`.
"""


def pages() -> dict[str, str]:
    """File name below docs/ and text of every page."""
    return {"cli.md": cli_page(), "target.md": target_page()}


if __name__ == "__main__":
    for file_name, text in pages().items():
        write_atomic(Path(__file__).parent / file_name, text)
