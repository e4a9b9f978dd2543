"""Trained parameters back into the operations of level `esc` that the network was made from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dialects import esc
from dialects.esc_base import AccumulatorOp
from escc.training.network import Network, TrainedLayer
from escc.training.straight_through import Convolution, DecomposedConv
from passes.decomposition.int8 import Int8
from passes.decomposition.rewrite import replace_weights
from passes.decomposition.ternary_basis import TernaryBasis
from passes.decomposition.weight_form import WeightForm
from passes.math.activation_quant import bounded
from passes.math.scales import storable

Array = NDArray[Any]


def _numpy(x: torch.Tensor) -> Array:
    return x.detach().cpu().double().numpy()


@torch.no_grad()
def write_back(network: Network) -> None:
    """Replace the constants of the module by the trained integers. Raises UserError if a layer overflows int32."""
    for layer in network.layers:
        module = layer.module
        if isinstance(module, DecomposedConv):
            _decomposed(layer, module)
        else:
            _dense(layer, module)


def trained_integers(module: DecomposedConv) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Coefficients int8 [K, V, C] and bases int8 [V, R, S] in use; bases that no coefficient uses are left out."""
    t = _numpy(module.coefficients()).astype(np.int8).transpose(0, 2, 1)
    b = _numpy(module.integer_basis()).astype(np.int8)
    used: NDArray[np.bool_] = np.abs(t).max(axis=(0, 2)) > 0
    used[0] |= not used.any()
    return np.ascontiguousarray(t[:, used]), np.ascontiguousarray(b[used])


def _decomposed(layer: TrainedLayer, module: DecomposedConv) -> None:
    assert layer.combine is not None and isinstance(layer.conv, esc.BasisConv2dOp)
    t, b = trained_integers(module)
    form = TernaryBasis(t, b, _numpy(module.factor()) * t.any(axis=(1, 2)))
    _replace(layer, form, [layer.combine, layer.conv], _numpy(module.bias()), layer.combine.ic_bits.value.data)


def _replace(layer: TrainedLayer, form: WeightForm, stages: list[esc.EscOp], bias: Array, ic_bits: int) -> None:
    """Exchange the operations of a layer for those of a form with its bias [K] in output steps."""
    *first, last = replace_weights(stages, layer.requant, form, lambda _: bias, ic_bits, "use fewer bases")
    assert isinstance(last, AccumulatorOp)
    layer.conv = last
    layer.combine = first[0] if first and isinstance(first[0], esc.CoeffCombineOp) else None


def _dense(layer: TrainedLayer, module: Convolution) -> None:
    assert isinstance(layer.conv, esc.Conv2dOp)
    weight = _numpy(module.integer_weight()).astype(np.int8).transpose(0, 2, 3, 1)
    q = esc.q_of(layer.conv.input)
    factor = storable(bounded(_numpy(module.factor())), q.scale, layer.requant.first_type.scale)
    form = Int8(np.ascontiguousarray(weight), factor, groups=layer.conv.groups.value.data)
    _replace(layer, form, [layer.conv], _numpy(module.bias()), 0)
