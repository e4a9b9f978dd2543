"""The tables of docs/schemes/README.md: `python -m docs.scheme_tables` writes them, as `make docs` does.

The table of forms is made of what the files of `escc/schemes` say of themselves (`ABOUT`). Those of results are made of
docs/data/schemes: a folder a network, with `network.json` and a file for each row, which comes from
`benchmarks/schemes.py --write`. A scheme or a network more is a file more. A test checks that the page is current.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from escc.compress.about import About, about_schemes
from isa.files import write_atomic

DOCS = Path(__file__).parent
PAGE, RESULTS, NETWORK = DOCS / "schemes/README.md", DOCS / "data/schemes", "network.json"
_FORMS = "| scheme | form of the weights | read by | page |\n|---|---|---|---|"
_HEAD = f"| options of escc | .rodata | smaller | top-1, % | cycles | uJ | CPU s | version |\n|{'---|' * 8}"


def forms() -> str:
    """The table of all schemes of the tree."""
    return "\n".join([_FORMS, *(_form(name, about) for name, about in about_schemes().items())])


def _form(name: str, about: About) -> str:
    readers = " or ".join(f"[`{name}`](../isa/{name.replace('.', '_')}.md)" for name in about.read_by)
    title = about.page.rpartition("/")[2].partition("#")[0]
    return f"| `{name}` | {about.form} | {readers} | [{title}]({about.page}) |"


def results() -> str:
    """A section for each network that has rows, in the order of their names; rows from the most bytes to the least."""
    sections: list[str] = []
    for network in sorted(RESULTS.glob(f"*/{NETWORK}")):
        files = [path for path in sorted(network.parent.glob("*.json")) if path != network]
        if files:
            rows = sorted((_read(path) for path in files), key=lambda row: -row.get("constant_bytes", 0))
            sections.append(_section(_read(network), [_row(row) for row in rows]))
    return "\n\n".join(sections)


def _section(network: Mapping[str, Any], rows: list[str]) -> str:
    figures = f"Top-1 of {network['images']:,} test images; float gets {network['float_top1']:.2f} %."
    text = f"### {network['title']}\n\n{figures}\n\n" + "\n".join([_HEAD, *rows])
    return f"{text}\n\n{network['note']}" if network["note"] else text


def _row(row: Mapping[str, Any]) -> str:
    if "more_than_s" in row:
        given_up = f"not measured: a command took more than {row['more_than_s']:,} s"
        return f"| `{row['options']}` | | | | | | {given_up} | {row['version']} |"
    return (
        f"| `{row['options']}` | {row['constant_bytes']:,} | {row['compression']:.1f}x | {row['top1']:.2f} | "
        f"{row['cycles']:,} | {row['energy_uj']:.1f} | {row['compile_cpu_s']} | {row['version']} |"
    )


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def filled(text: str) -> str:
    """A page in which what lies between `<!-- NAME: ... -->` and `<!-- end -->` is written anew.

    Raises ValueError if one of the tables has no place in the page, or has several.
    """
    for name, table in {"forms": forms(), "results": results()}.items():
        pattern = re.compile(rf"(<!-- {name}: [^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
        places = len(pattern.findall(text))
        if places != 1:
            raise ValueError(f"the page has {places} places for the table '{name}'; one is required")
        text = pattern.sub(lambda match, table=table: f"{match[1]}\n{table}\n\n{match[2]}", text)
    return text


def main() -> None:
    """Write the page."""
    write_atomic(PAGE, filled(PAGE.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
