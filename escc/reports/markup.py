"""Texts of strangers as markup."""

from __future__ import annotations

from html import escape

from isa.text import printable


def safe(text: str) -> str:
    """A text as markup that shows it, in an attribute too."""
    return escape(printable(text), quote=True)
