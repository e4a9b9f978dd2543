"""Import of ONNX models.

`import_model` gives a module of the `onnx` dialect, `supported_ops` says what it takes, `fingerprint` identifies
a file.
"""

from __future__ import annotations

from escc.onnx_import.importer import import_model
from escc.onnx_import.reader import fingerprint
from escc.onnx_import.supported import supported_ops

__all__ = ["fingerprint", "import_model", "supported_ops"]
