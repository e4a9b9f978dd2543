"""Layers for the baseline machines: random small ones, and AlexNet and VGG-16 with masks of published densities."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from escc.baselines.work import LayerGeometry, LayerWork


@dataclass(frozen=True)
class Published:
    """A convolution of a published network; densities of weights and inputs from S. Han et al., NIPS 2015, tables 4
    and 5 (an input is what the layer before leaves).
    """

    name: str
    geometry: LayerGeometry
    weight_density: float
    input_density: float


def _square(
    extent: int, channels: int, filters: int, kernel: int, stride: int, pad: int, groups: int = 1
) -> LayerGeometry:
    return LayerGeometry(
        extent, extent, channels, filters, (kernel, kernel), (stride, stride), (pad, pad, pad, pad), groups
    )


ALEXNET = (
    Published("conv1", _square(227, 3, 96, 11, 4, 0), 0.84, 1.0),
    Published("conv2", _square(27, 96, 256, 5, 1, 2, 2), 0.38, 0.88),
    Published("conv3", _square(13, 256, 384, 3, 1, 1), 0.35, 0.52),
    Published("conv4", _square(13, 384, 384, 3, 1, 1, 2), 0.37, 0.37),
    Published("conv5", _square(13, 384, 256, 3, 1, 1, 2), 0.37, 0.40),
)
VGG16 = (
    Published("conv1_1", _square(224, 3, 64, 3, 1, 1), 0.58, 1.0),
    Published("conv1_2", _square(224, 64, 64, 3, 1, 1), 0.22, 0.53),
    Published("conv2_1", _square(112, 64, 128, 3, 1, 1), 0.34, 0.89),
    Published("conv2_2", _square(112, 128, 128, 3, 1, 1), 0.36, 0.80),
    Published("conv3_1", _square(56, 128, 256, 3, 1, 1), 0.53, 0.81),
    Published("conv3_2", _square(56, 256, 256, 3, 1, 1), 0.24, 0.68),
    Published("conv3_3", _square(56, 256, 256, 3, 1, 1), 0.42, 0.70),
    Published("conv4_1", _square(28, 256, 512, 3, 1, 1), 0.32, 0.64),
    Published("conv4_2", _square(28, 512, 512, 3, 1, 1), 0.27, 0.51),
    Published("conv4_3", _square(28, 512, 512, 3, 1, 1), 0.34, 0.45),
    Published("conv5_1", _square(14, 512, 512, 3, 1, 1), 0.35, 0.34),
    Published("conv5_2", _square(14, 512, 512, 3, 1, 1), 0.29, 0.32),
    Published("conv5_3", _square(14, 512, 512, 3, 1, 1), 0.36, 0.29),
)


def masked(
    geometry: LayerGeometry, weight_density: float, input_density: float, seed: int, images: int = 1
) -> LayerWork:
    """A layer whose zeros lie at random; half of its stored outputs are zeros."""
    rng = np.random.default_rng(seed)
    weights = rng.random(geometry.weight_shape) < weight_density
    inputs = rng.random((images, geometry.height, geometry.width, geometry.channels)) < input_density
    return LayerWork("layer", geometry, weights, inputs, np.full(images, geometry.outputs // 2, np.int64))


def works(network: tuple[Published, ...]) -> Iterator[LayerWork]:
    """The layers of a network with masks of its densities."""
    for seed, layer in enumerate(network):
        yield masked(layer.geometry, layer.weight_density, layer.input_density, seed)


@st.composite
def small_works(draw: st.DrawFn) -> LayerWork:
    """Small layers of any stride, padding and number of groups, with zeros of any density."""
    groups = draw(st.integers(1, 2))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    geometry = LayerGeometry(
        draw(st.integers(3, 11)),
        draw(st.integers(3, 11)),
        groups * draw(st.integers(1, 6)),
        groups * draw(st.integers(1, 9)),
        kernel,
        (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        (draw(st.integers(0, 1)), draw(st.integers(0, 1)), draw(st.integers(0, 1)), draw(st.integers(0, 1))),
        groups,
    )
    densities = (draw(st.sampled_from((0.0, 0.2, 0.5, 1.0))), draw(st.sampled_from((0.1, 0.5, 1.0))))
    return masked(geometry, *densities, draw(st.integers(0, 1000)), images=draw(st.integers(1, 2)))
