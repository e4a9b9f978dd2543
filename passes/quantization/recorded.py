"""Convolutions of which the model says what their weights are made of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DictionaryAttr, StringAttr
from xdsl.ir import Operation, SSAValue

from dialects import esc, onnx
from dialects.locations import describe
from dialects.rebuilt import RebuiltConv2d

_LOG = logging.getLogger(__name__)


def recorded(
    conv: onnx.ConvOp,
    x: SSAValue,
    weight: NDArray[np.int8],
    strides: Sequence[int],
    pads: Sequence[int],
    operation: Callable[[str], type[Operation] | None],
) -> RebuiltConv2d | None:
    """The operation that a convolution names, on weights int8 [K, R, S, C]; None where it has no form of just these.

    `operation` gives the operations that other packages add, by name.
    """
    form = conv.attributes.get(onnx.ConvOp.FORM)
    if not isinstance(form, DictionaryAttr) or conv.group.value.data != 1:
        return None
    values = dict(form.data)
    name = values.pop("operation", None)
    kinds = {op.name: op for op in esc.Esc.operations}
    kind = (kinds.get(name.data) or operation(name.data)) if isinstance(name, StringAttr) else None
    if kind is not None and issubclass(kind, RebuiltConv2d) and kind.needed_names() <= set(values) <= kind.form_names():
        found = kind.of_form(x, values, weight, strides, pads)
        if found is not None:
            return found
    _LOG.info(f"{describe(conv)}: the model records a form that does not give its weights; they are taken as they are")
    return None
