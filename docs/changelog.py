"""Put the notes of docs/changes under a new version of CHANGELOG.md: `python -m docs.changelog VERSION`.

A note is a file docs/changes/TOPIC.md of list items, as they will stand in the changelog; each change brings a file of
its own, so that two changes never meet in one. A release joins them in the order of their names and removes them;
without VERSION they are printed as they would stand there, and nothing changes.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from isa.errors import UserError
from isa.files import write_atomic

ROOT = Path(__file__).resolve().parents[1]
_VERSION = re.compile(r"(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*)){2}")
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def notes(folder: Path) -> dict[Path, str]:
    """The text of every note by its file, in the order of their names. Raises UserError for what is no list."""
    found: dict[Path, str] = {}
    for path in sorted(folder.glob("*.md")):
        text = path.read_text(encoding="utf-8").strip("\n")
        for number, line in enumerate(text.split("\n"), 1):
            if not line.startswith("- ") and (number == 1 or not line.startswith("  ")):
                raise UserError(
                    f"{path}: line {number} is no part of a list; a note holds items of a Markdown list alone",
                    "an item begins with '- ', its further lines with two spaces",
                )
        found[path] = text
    return found


def joined(changelog: str, version: str, texts: list[str]) -> str:
    """A changelog with a newest version more. Raises UserError for a version that is not newer than all others."""
    if not _VERSION.fullmatch(version):
        raise UserError(f"'{version}' is no version; requires three numbers, such as 1.2.3")
    headings = list(_HEADING.finditer(changelog))
    newest = max((_numbers(heading[1]) for heading in headings if _VERSION.fullmatch(heading[1])), default=())
    if _numbers(version) <= newest:
        raise UserError(
            f"version {version}: the changelog has {'.'.join(map(str, newest))} already; requires a newer one"
        )
    at = headings[0].start() if headings else len(changelog)
    body = "\n".join(texts)
    return f"{changelog[:at]}## {version}\n\n{body}\n\n{changelog[at:]}".rstrip("\n") + "\n"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", metavar="VERSION", help="of the release (default: print the notes)")
    parser.add_argument("--changelog", type=Path, default=ROOT / "CHANGELOG.md")
    parser.add_argument("--notes", type=Path, default=ROOT / "docs/changes", help="folder of the notes")
    args = parser.parse_args()
    try:
        found = notes(args.notes)
        if args.version is None:
            print("\n".join(found.values()))
            return 0
        if not found:
            raise UserError(f"{args.notes}: holds no notes; a release requires one")
        text = joined(args.changelog.read_text(encoding="utf-8"), args.version, list(found.values()))
        write_atomic(args.changelog, text)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in found:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
