"""What a user is told while a command runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from isa.text import clipped


@dataclass
class Console:
    """Standard error of a command line: `info` unless quiet, `detail` if verbose, warnings once each.

    Every text becomes one line that a terminal can show, whatever names it holds.
    """

    quiet: bool = False
    verbose: bool = False
    warnings: list[str] = field(default_factory=list[str])

    def info(self, text: str) -> None:
        """Print unless -q."""
        if not self.quiet:
            self.progress("")
            print(clipped(text), file=sys.stderr)

    def detail(self, text: str) -> None:
        """Print if -v."""
        if self.verbose:
            print(clipped(text), file=sys.stderr)

    def progress(self, text: str) -> None:
        """Show a passing line on a terminal ("" takes it away); nothing elsewhere."""
        if not self.quiet and sys.stderr.isatty():
            print(f"\r\x1b[K{clipped(text)}", end="", file=sys.stderr, flush=True)

    def step(self, text: str) -> None:
        """Say what begins and may take long: a passing line on a terminal, else a line of its own; not with -q."""
        if sys.stderr.isatty():
            self.progress(text)
        else:
            self.info(text)

    def warn(self, text: str) -> None:
        """Print `warning: ...` the first time this text comes."""
        text = " ".join(text.split())
        if text not in self.warnings:
            self.warnings.append(text)
            self.progress("")
            print(f"warning: {clipped(text)}", file=sys.stderr)
