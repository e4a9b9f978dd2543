"""Errors of ours; those of the user are `isa.errors.UserError`."""

from __future__ import annotations


class InternalError(Exception):
    """A bug of ours, with the IR text that shows it: goes into the reproducer."""

    def __init__(self, message: str, ir: str = ""):
        super().__init__(message)
        self.ir = ir
