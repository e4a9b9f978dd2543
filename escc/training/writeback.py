"""Trained parameters back into the operations of level `esc` that the network was made from."""

from __future__ import annotations

from pkgutil import resolve_name

import torch

from dialects.esc_base import AccumulatorOp
from escc.training.forms.convolutions import to_numpy
from escc.training.network import Network, TrainedLayer
from passes.decomposition.rewrite import replace_weights
from passes.decomposition.weight_form import WeightForm


@torch.no_grad()
def write_back(network: Network) -> None:
    """Replace the constants of the module by the trained integers. Raises UserError if a layer overflows int32."""
    for layer in network.layers:
        _write_back(layer)


def _write_back(layer: TrainedLayer) -> None:
    """Exchange the operations of a layer for those of the weight form that training has reached."""
    conv = layer.conv
    form: WeightForm = resolve_name(conv.TRAINED_FORM)(conv, layer.module, layer.requant)
    bias = to_numpy(layer.module.bias())
    made = replace_weights(conv.stages, layer.requant, form, lambda _: bias, conv.intermediate_bits, "use fewer bases")
    assert isinstance(made[-1], AccumulatorOp)
    layer.conv = made[-1]
