"""Hooks of the documentation site (`make site`): what plain Markdown leaves to its reader.

- Instructions and schemes have pages of their own, which the navigation need not name.
- The READMEs of examples/ are pages, too.
- Links to what the site does not hold become plain text. The README of the tree stands for the first page.
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
_CODE = re.compile(r"(^```.*?^```$|(?<=\n\n)(?: {4}[^\n]*\n)+|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_BEHIND_LANGUAGE = re.compile(r"^( *```\w+)[ \t]+\S.*$", re.MULTILINE)
_HOME, _FRONT = "README.md", "index.md"
_DOCS, _EXAMPLES = "docs/", "examples/"
"""Folders of the tree that pages come from; those of the first are pages at the top of the site."""
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


def on_files(files: Any, *, config: Any) -> Any:
    """All files of docs/, and the READMEs of the examples."""
    from mkdocs.structure.files import File

    root = Path(config["docs_dir"]).parent
    for path in sorted(root.glob(f"{_EXAMPLES}**/README.md")):
        uri = _page_of(path.relative_to(root).as_posix())
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def _page_of(place: str) -> str:
    """What the site calls the page of a file of the tree.

    The README of an example is a page of its own, not the first one of a section.
    """
    if place.startswith(_EXAMPLES) and place.count("/") > 1:
        place = re.sub(r"/README\.md$", ".md", place)
    return place.removeprefix(_DOCS)


def _folder_in_tree(uri: str) -> str:
    """Folder of the file that a page is made of: links of the file start there."""
    if not uri.startswith(_EXAMPLES):
        return posixpath.dirname(_DOCS + uri)
    return posixpath.dirname(uri) if uri.endswith("/README.md") else uri.removesuffix(".md")


def on_page_markdown(markdown: str, *, page: Any, files: Any, **_: Any) -> str:
    """The text of a page with only those links that lead somewhere on the site."""
    here: str = page.file.src_uri
    there = {file.src_uri for file in files if not file.inclusion.is_excluded()}
    folder = posixpath.dirname(here)

    def kept(match: re.Match[str]) -> str:
        text, link = match[1], match[2]
        target, hash_sign, section = link.partition("#")
        if "://" in link or not target:
            return match[0]
        place = posixpath.normpath(posixpath.join(_folder_in_tree(here), target))
        if place == _HOME:
            return f"[{text}]({posixpath.relpath(_FRONT, folder or '.')})"
        place = _page_of(place)
        return f"[{text}]({posixpath.relpath(place, folder or '.')}{hash_sign}{section})" if place in there else text

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
