"""Versions of what is installed."""

from __future__ import annotations


def version(distribution: str) -> str:
    """Installed version of a distribution, or "unknown"."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
