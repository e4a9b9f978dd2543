"""What a scheme says of itself for the tables of docs/schemes: its form, its reader, its page, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from passes.decomposition.scheme import scheme_files


@dataclass(frozen=True)
class About:
    """The `ABOUT` of a file of `escc/schemes`, from which `make docs` writes a line of docs/schemes/README.md.

    `form` says in a few words what the machine holds instead of weights. `page` is a link from docs/schemes.
    `read_by` are the mnemonics of the instructions that read the form; a layer takes one of them. `settings` are
    command-line options that `benchmarks/schemes.py` measures the scheme with, by a word that tells them apart; the
    empty word is the first one. `among_all` is False for a scheme whose forms `auto` tries by itself: it is left out
    where `auto` chooses among all schemes.
    """

    form: str
    page: str
    read_by: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=lambda: {"": ""})
    among_all: bool = True


def about_schemes() -> dict[str, About]:
    """The `ABOUT` of every scheme of the tree, by the name of the scheme, in alphabetical order."""
    return {name: import_module(file).ABOUT for name, file in sorted(scheme_files().items())}
