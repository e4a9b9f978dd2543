"""The networks that `examples.cifar10.train` trains: RGB pixels 0..255 [N, 3, 32, 32] to class scores [N, 10].

All of them end with a mean over positions, so they take images of other sizes too. ResNet-20, ResNet-18 and VGG-16 are
those of He et al. (2016) and of Simonyan and Zisserman (2015) as they are used for CIFAR-10: a stem of 3x3 without
pooling, normalisation behind every convolution, one fully connected layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CENTRE, SPREAD = 128.0, 64.0  # training sees (pixel - CENTRE) / SPREAD


class PixelConv(nn.Conv2d):
    """Stem convolution on pixels 0..255 that trains on centred values.

    Zero padding of pixels is black, so the centred image is padded with centred black: `folded` is then exactly the
    same function.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Pixels float32 [N, C, H, W] -> [N, K, H, W]."""
        border = (self.padding[1], self.padding[1], self.padding[0], self.padding[0])
        centred = F.pad((x - CENTRE) / SPREAD, border, value=-CENTRE / SPREAD)
        return F.conv2d(centred, self.weight, None, self.stride)

    def folded(self) -> nn.Conv2d:
        """The same function as a plain convolution of pixels, with a bias."""
        plain = nn.Conv2d(self.in_channels, self.out_channels, self.kernel_size, self.stride, self.padding)
        with torch.no_grad():
            plain.weight.copy_(self.weight / SPREAD)
            plain.bias.copy_(-CENTRE * plain.weight.sum(dim=(1, 2, 3)))
        return plain


class ResidualBlock(nn.Module):
    """Residual block: two 3x3 convolutions; a strided one has a 1x1 convolution on its shortcut.

    The shortcut has a bias, or where it is `normalised` a BatchNorm2d.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, normalised: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Sequential()
        if stride > 1:
            conv = nn.Conv2d(inputs, outputs, 1, stride, bias=not normalised)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(outputs)) if normalised else conv
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Activations [N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x))


class CifarNetwork(nn.Module, ABC):
    """A stem on pixels, what a subclass puts in between, a mean over all positions, and a fully connected layer."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.stem: nn.Module = PixelConv(3, first, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(last, len(CLASSES))

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """Activations [N, first, H, W] -> [N, last, H', W']."""

    def forward(self, x: Tensor) -> Tensor:
        """Pixels float32 [N, 3, H, W] -> scores [N, 10]."""
        return self.fc(self.flatten(self.pool(self.features(self.relu(self.bn(self.stem(x)))))))

    def fold_stem(self) -> None:
        """Make the stem a plain convolution of pixels, as exported networks have it."""
        if isinstance(self.stem, PixelConv):
            self.stem = self.stem.folded()


class ResNet8(CifarNetwork):
    """MLPerf-Tiny's: three stages of 16, 32 and 64 channels, one residual block each."""

    def __init__(self) -> None:
        super().__init__(16, 64)
        self.stage1 = ResidualBlock(16, 16, 1)
        self.stage2 = ResidualBlock(16, 32, 2)
        self.stage3 = ResidualBlock(32, 64, 2)

    def features(self, x: Tensor) -> Tensor:
        """Activations [N, 16, H, W] -> [N, 64, H / 4, W / 4]."""
        return self.stage3(self.stage2(self.stage1(x)))


class ResNet(CifarNetwork):
    """Stages of residual blocks; each stage after the first halves the extent in its first block."""

    def __init__(self, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__(widths[0], widths[-1])
        inputs = (widths[0], *widths[:-1])
        self.stages = nn.Sequential(
            *(
                ResidualBlock(before if block == 0 else width, width, 2 if stage and block == 0 else 1, normalised=True)
                for stage, (before, width) in enumerate(zip(inputs, widths, strict=True))
                for block in range(blocks)
            )
        )

    def features(self, x: Tensor) -> Tensor:
        """Activations [N, first width, H, W] -> [N, last width, H', W'], halved at every stage but the first."""
        return self.stages(x)


class VGG16(CifarNetwork):
    """Thirteen 3x3 convolutions in five groups; the extent is halved between the groups."""

    def __init__(self) -> None:
        super().__init__(64, 512)
        layers: list[nn.Module] = []
        inputs = 64
        for group, (width, count) in enumerate(((64, 1), (128, 2), (256, 3), (512, 3), (512, 3))):
            layers += [nn.MaxPool2d(2, 2)] if group else []
            for _ in range(count):
                layers += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
        self.layers = nn.Sequential(*layers)

    def features(self, x: Tensor) -> Tensor:
        """Activations [N, 64, H, W] -> [N, 512, H / 16, W / 16]."""
        return self.layers(x)


def resnet20() -> CifarNetwork:
    """Three stages of 16, 32 and 64 channels, three blocks each; 1x1 convolutions on strided shortcuts."""
    return ResNet((16, 32, 64), 3)


def resnet18() -> CifarNetwork:
    """Four stages of 64, 128, 256 and 512 channels, two blocks each."""
    return ResNet((64, 128, 256, 512), 2)


NETWORKS: Mapping[str, Callable[[], CifarNetwork]] = {
    "resnet8": ResNet8,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "vgg16": VGG16,
}
"""What builds a network, by the name that `--model` takes."""
