"""The compiler as a backend of ONNX (`onnx.backend.base.Backend`): ONNX's own test suite runs through it.

A model is read, brought into canonical form and checked up to the end of level `onnx`, as for compilation. What is
computed is the float network of that level, which is what quantisation starts from; so a result shows whether the
compiler has understood a model, and a refusal is the one that `escc` gives.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep
from onnx.backend.test.runner import BackendIsNotSupposedToImplementIt
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from dialects.interpreters.run import run_module
from dialects.signature import moved_inputs
from escc.onnx_import import import_model
from isa.errors import UserError
from passes.onnx_canonicalize import OnnxCanonicalizePass
from passes.onnx_legalize import OnnxLegalizePass

Array = NDArray[Any]


def _with_constants(model: onnx.ModelProto, values: Mapping[str, Array]) -> onnx.ModelProto:
    """The model with initializers in the place of inputs."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    kept = [info for info in model.graph.input if info.name not in values]
    del changed.graph.input[:]
    changed.graph.input.extend(kept)
    changed.graph.initializer.extend(numpy_helper.from_array(x, name) for name, x in values.items())
    return changed


def _legal(model: onnx.ModelProto, inputs: Sequence[Array]) -> ModuleOp:
    """The module at the end of level `onnx`, with the inputs' extents where the model has dynamic ones.

    Raises UserError with what is unsupported.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    given = [info for info in model.graph.input if info.name not in stored]
    dynamic = {
        info.name: (1, *x.shape[1:])
        for info, x in zip(given, inputs, strict=False)
        if any(not dim.HasField("dim_value") for dim in info.type.tensor_type.shape.dim[1:])
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a batch becomes 1, which any batch can run through
        module = import_model(model.SerializeToString(), shapes=dynamic)
    for step in (OnnxCanonicalizePass(), OnnxLegalizePass()):
        step.apply(Context(), module)
    return module


class EsccRep(BackendRep):
    """A model that is ready to run."""

    def __init__(self, model: onnx.ModelProto):
        self._model = model

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs for the inputs of the model, in order.

        What the compiler requires as constants (weights, axes, bounds) may be inputs of the model too: then all but the
        first of them are the constants of this run. Raises BackendIsNotSupposedToImplementIt with the reason for what
        is not supported.
        """
        if not all(isinstance(x, np.ndarray | np.generic) for x in inputs):
            raise BackendIsNotSupposedToImplementIt("an input is no array; requires tensors of types that NumPy has")
        arrays = [np.asarray(x) for x in inputs]
        stored = {tensor.name for tensor in self._model.graph.initializer}
        names = [info.name for info in self._model.graph.input if info.name not in stored]
        try:
            return self._run(self._model, arrays)
        except UserError as error:
            if len(arrays) < 2:
                raise BackendIsNotSupposedToImplementIt(str(error)) from error
        try:
            return self._run(_with_constants(self._model, dict(zip(names[1:], arrays[1:], strict=True))), arrays[:1])
        except UserError as error:
            raise BackendIsNotSupposedToImplementIt(str(error)) from error

    def _run(self, model: onnx.ModelProto, inputs: Sequence[Array]) -> tuple[Array, ...]:
        module = _legal(model, inputs)
        with np.errstate(over="ignore"):
            singles = [x.astype(np.float32) for x in inputs]
        if any(np.isinf(single).any() and np.isfinite(x).all() for single, x in zip(singles, inputs, strict=True)):
            raise UserError("an input holds numbers beyond float32; requires such as that format has")
        types = [output.type.tensor_type.elem_type for output in model.graph.output]
        results = run_module(module, moved_inputs(module, singles))
        return tuple(
            y.astype(onnx.helper.tensor_dtype_to_np_dtype(kind)) for y, kind in zip(results, types, strict=True)
        )


class EsccBackend(Backend):
    """Models of float inputs and outputs, one image or a batch, on the CPU."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> EsccRep:
        """The model, read when its inputs are known."""
        return EsccRep(model)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether a device is the CPU."""
        return device.partition(":")[0] == "CPU"
