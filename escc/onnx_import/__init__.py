"""Import of ONNX models: `import_model` gives a module of the `onnx` dialect, `supported_ops` says what it takes."""

from __future__ import annotations

from escc.onnx_import.importer import import_model
from escc.onnx_import.supported import supported_ops

__all__ = ["import_model", "supported_ops"]
