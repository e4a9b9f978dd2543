"""Compiler for the kernel-decomposition accelerator: Python interface, driver, command lines, ONNX import and reports.

`escc.compile` makes a `Compiled` of a network, `escc.load` of a binary, `escc.Target` is a machine, and `escc.Error` is
what all of them raise; docs/api.md shows how. `import escc` itself loads nothing heavy.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.evaluate import Accuracy
    from escc.api import Compiled, compile, load
    from isa.errors import UserError as Error
    from isa.target import Target

__all__ = ["Accuracy", "Compiled", "Error", "Target", "compile", "load"]

_HOME = {
    "Accuracy": "emulator.evaluate:Accuracy",
    "Compiled": "escc.api:Compiled",
    "Error": "isa.errors:UserError",
    "Target": "isa.target:Target",
    "compile": "escc.api:compile",
    "load": "escc.api:load",
}


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first asked for."""
    from isa.lazy import resolve

    return resolve(__name__, _HOME, name)
