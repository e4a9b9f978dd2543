"""Write calibration.npz: images of coloured 1/f noise, to calibrate the CIFAR-10 network without CIFAR-10.

Natural images have power spectra that fall as 1/f^2, colours that vary together, varied brightness and contrast. Noise
with these properties drives the activations of a network through about the ranges that photographs do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def noise_images(count: int, side: int, seed: int) -> NDArray[np.float32]:
    """Pixels 0..255, integral, float32 [count, 3, side, side]."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side))
    frequency[0, 0] = 1 / side
    white = rng.standard_normal((count, 3, side, side))
    pink = np.fft.ifft2(np.fft.fft2(white) / frequency).real
    pink = (pink - pink.mean((2, 3), keepdims=True)) / pink.std((2, 3), keepdims=True)
    mixed = 0.9 * pink[:, :1] + 0.44 * pink  # what all colours share, and the rest
    contrast = rng.uniform(25, 75, (count, 1, 1, 1))
    brightness = rng.uniform(70, 180, (count, 1, 1, 1))
    tint = rng.normal(0, 15, (count, 3, 1, 1))
    return np.clip(np.rint(mixed * contrast + brightness + tint), 0, 255).astype(np.float32)


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).with_name("calibration.npz"), x=noise_images(64, 32, seed=0))
