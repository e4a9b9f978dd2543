"""Hooks of the documentation site (`make site`): what plain Markdown leaves to its reader.

- Instructions and schemes have pages of their own, which the navigation need not name.
- Links that lead out of docs/ become plain text, since the site does not hold what they lead to. The README stands for
  the first page there.
- Brackets after brackets, as in the shape [k][c], are text.
- What stands behind the language of a block, such as ~5%, is for docs/blocks.py alone.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\(([^()\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_BEHIND_LANGUAGE = re.compile(r"^( *```\w+)[ \t]+\S.*$", re.MULTILINE)
_HOME, _FRONT = "../README.md", "index.md"
_PAGES = {"Instruction set": "isa/*.md", "Compression schemes": "schemes/[!R]*.md"}
"""Pages of the sections that list what stands in a folder; the README of one comes first."""


def on_config(config: Any) -> Any:
    """The configuration with the pages of all instructions and schemes in its navigation."""
    folder = Path(config["docs_dir"])
    for entry in _sections(config["nav"]):
        for section in _PAGES.keys() & entry.keys():
            entry[section] += [path.relative_to(folder).as_posix() for path in sorted(folder.glob(_PAGES[section]))]
    return config


def _sections(nav: list[Any]) -> list[dict[str, Any]]:
    """All entries of a navigation that have a title."""
    titled: list[dict[str, Any]] = [entry for entry in nav if isinstance(entry, dict)]
    below = [value for entry in titled for value in entry.values() if isinstance(value, list)]
    return titled + [entry for value in below for entry in _sections(value)]


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """The text of a page with only those links that lead somewhere on the site."""
    folder = posixpath.dirname(page.file.src_uri)
    there = {file.src_uri for file in files if not file.inclusion.is_excluded()}

    def kept(match: re.Match[str]) -> str:
        text, link = match[1], match[2]
        target = link.partition("#")[0]
        place = posixpath.normpath(posixpath.join(folder, target))
        if "://" in link or not target or place in there:
            return match[0]
        return f"[{text}]({posixpath.relpath(_FRONT, folder or '.')})" if place == _HOME else text

    texts = _FENCE.split(_BEHIND_LANGUAGE.sub(r"\1", markdown))
    texts[::2] = [_LINK.sub(kept, text) for text in texts[::2]]
    parts = _CODE.split("".join(texts))
    parts[::2] = [part.replace("][", "]\\[") for part in parts[::2]]
    return "".join(parts)


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """The page as it is. Raises ValueError if a fence of a block was taken for text: the build stops there."""
    if "```" in re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL):
        raise ValueError(f"{page.file.src_uri}: a block of code is shown as text: its fence is not read")
    return html
