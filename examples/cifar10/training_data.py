"""Write CIFAR-10 as `esc-compress` reads it: `python -m examples.cifar10.training_data OUT_DIR`.

Images come from --data (or $ESCC_DATA, or ../shared/data): 50,000 JPEG training images and 5085 lossless ones. Writes
train.npz and validation.npz: x, uint8 pixels [N, 3, 32, 32], and y, int64 classes [N]. Those for validation are
lossless images of which train.npz holds no copy, as JPEG or otherwise.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from examples.cifar10.images import DATA, Images, load_jpeg, load_npz, without_copies


def main(argv: Sequence[str] | None = None) -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path, help="folder for train.npz and validation.npz")
    p.add_argument("--data", type=Path, default=DATA, help="folder with images/ (default: %(default)s)")
    p.add_argument("--limit", type=int, help="take about so many of the JPEG images (default: all)")
    p.add_argument(
        "--lossless-repeats",
        type=int,
        default=3,
        help="copies of each lossless image in train.npz (default: %(default)s)",
    )
    p.add_argument(
        "--validation", type=int, default=500, help="lossless images for validation.npz (default: %(default)s)"
    )
    args = p.parse_args(argv)

    jpeg_x, jpeg_y = load_jpeg(args.data / "images/cifar10_train_jpeg.zip", args.limit)
    clean_x, clean_y = load_npz(args.data / "images/cifar10_train_lossless.npz")
    n = args.validation
    pairs = (jpeg_x, jpeg_y), (clean_x[:n], clean_y[:n])
    jpeg, held = (Images(torch.from_numpy(x), torch.from_numpy(y)) for x, y in pairs)
    kept = without_copies(jpeg, held)
    jpeg_x, jpeg_y = kept.x.numpy(), kept.y.numpy()
    train_x = np.concatenate([jpeg_x, *[clean_x[n:]] * args.lossless_repeats])
    train_y = np.concatenate([jpeg_y, *[clean_y[n:]] * args.lossless_repeats])
    args.out.mkdir(parents=True, exist_ok=True)
    for name, x, y in (("train", train_x, train_y), ("validation", clean_x[:n], clean_y[:n])):
        np.savez(args.out / f"{name}.npz", x=np.ascontiguousarray(x.transpose(0, 3, 1, 2)), y=y)
        print(f"{args.out / name}.npz: {len(x)} images")


if __name__ == "__main__":
    main()
