"""The ESC-1 machine: state, functional execution, timing, DRAM, energy, statistics and traces.

`emulator.load("model.bin")` gives a `Model` to run; it needs neither compiler nor xDSL nor ONNX.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emulator.evaluate import Accuracy
    from emulator.model import Model, load
    from isa.errors import UserError as Error

__all__ = ["Accuracy", "Error", "Model", "load"]

_HOME = {
    "Accuracy": "emulator.evaluate:Accuracy",
    "Error": "isa.errors:UserError",
    "Model": "emulator.model:Model",
    "load": "emulator.model:load",
}


def __getattr__(name: str) -> object:
    """A public name, loaded when it is first asked for: `import emulator` alone loads nothing heavy."""
    from isa.lazy import resolve

    return resolve(__name__, _HOME, name)
