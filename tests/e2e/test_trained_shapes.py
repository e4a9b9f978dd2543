"""A U-Net and a detector of the YOLO kind, trained for seconds on generated shapes: what their binaries find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import escc

torch = pytest.importorskip("torch", reason="the networks are trained by PyTorch")

SIZE, CELL = 32, 4
Array = NDArray[Any]
Shapes = tuple[Array, Array, Array]
"""Images [N, 3, 32, 32], classes of their pixels [N, 32, 32] and boxes [N, 2, 5]: class, left, top, right, bottom."""


def shapes(count: int, seed: int) -> Shapes:
    """Noise with a square (class 1) in the left half and a disc (class 2) in the right, or the other way round."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.15, (count, 3, SIZE, SIZE)).astype(np.float32)
    classes, boxes = np.zeros((count, SIZE, SIZE), np.int64), np.zeros((count, 2, 5))
    row, column = np.mgrid[:SIZE, :SIZE]
    for image in range(count):
        for side, kind in enumerate(rng.permutation([1, 2])):
            radius = rng.integers(4, 7)
            cy, cx = rng.integers(7, SIZE - 7), side * SIZE // 2 + rng.integers(7, 9)
            away = (abs(row - cy), abs(column - cx))
            inside = np.maximum(*away) <= radius if kind == 1 else np.hypot(*away) <= radius + 0.3
            x[image, :, inside] += rng.uniform(0.4, 1.0, 3) * rng.choice([-1, 1])
            classes[image, inside] = kind
            boxes[image, side] = (kind, cx - radius, cy - radius, cx + radius + 1, cy + radius + 1)
    return x, classes, boxes


def unit(inputs: int, outputs: int, stride: int = 1) -> Any:
    """Convolution, normalisation, SiLU."""
    nn = torch.nn
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.SiLU())


class UNet(torch.nn.Module):
    """Two levels down, two up, skips joined; scores of three classes while it is trained, else the best class."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.down = nn.ModuleList([unit(3, 8), unit(8, 16), unit(16, 32)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ConvTranspose2d(16, 8, 2, stride=2)])
        self.join = nn.ModuleList([unit(32, 16), unit(16, 8)])
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x: Any) -> Any:
        pool = torch.nn.functional.max_pool2d
        a = self.down[0](x)
        b = self.down[1](pool(a, 2))
        y = self.down[2](pool(b, 2))
        for up, join, skip in zip(self.up, self.join, (b, a), strict=True):
            y = join(torch.cat([up(y), skip], dim=1))
        y = self.last(y)
        return y if self.training else y.argmax(dim=1)


class Detector(torch.nn.Module):
    """Features of two sizes joined upwards; for every cell an object's score, offsets, extents and two classes."""

    def __init__(self) -> None:
        super().__init__()
        nn = torch.nn
        self.near = nn.Sequential(unit(3, 16, 2), unit(16, 24, 2), unit(24, 24))
        self.far = nn.Sequential(unit(24, 32, 2), unit(32, 32))
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.head = nn.Sequential(unit(24 + 64, 32), nn.Conv2d(32, 7, 1))

    def forward(self, x: Any) -> Any:
        near = self.near(x)
        far = self.far(near)
        far = torch.cat([far, self.pool(far)], dim=1)
        return self.head(torch.cat([torch.nn.functional.interpolate(far, scale_factor=2.0), near], dim=1))


def train(network: Any, loss: Callable[[Any, list[Any]], Any], data: list[Array], steps: int) -> None:
    """One cycle of the learning rate, batches of 32 in a fixed order, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        tensors = [torch.from_numpy(array) for array in data]
        optimiser = torch.optim.Adam(network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.02, steps)
        order = np.random.default_rng(0)
        for _ in range(steps):
            batch = torch.from_numpy(order.choice(len(data[0]), 32, replace=False))
            optimiser.zero_grad()
            loss(network(tensors[0][batch]), [tensor[batch] for tensor in tensors[1:]]).backward()
            optimiser.step()
            schedule.step()
    finally:
        torch.set_num_threads(threads)


def overlap(found: Array, wanted: Array) -> list[float]:
    """Intersection over union of each class of pixels."""
    return [float(((found == k) & (wanted == k)).sum() / ((found == k) | (wanted == k)).sum()) for k in range(3)]


def targets(boxes: Array) -> Array:
    """What the head should say: [N, 7, 8, 8]; the cell of a box's centre is responsible for it."""
    cells = SIZE // CELL
    wanted = np.zeros((len(boxes), 7, cells, cells), np.float32)
    for image, pair in enumerate(boxes):
        for kind, left, top, right, bottom in pair:
            x, y = (left + right) / 2 / CELL, (top + bottom) / 2 / CELL
            extents = (x % 1, y % 1, (right - left) / SIZE, (bottom - top) / SIZE)
            wanted[image, :, int(y), int(x)] = (1, *extents, kind == 1, kind == 2)
    return wanted


def detection_loss(found: Any, wanted: list[Any]) -> Any:
    functional = torch.nn.functional
    target, present = wanted[0], wanted[0][:, :1]
    score = functional.binary_cross_entropy_with_logits(found[:, :1], present, pos_weight=torch.tensor(8.0))
    places = (functional.smooth_l1_loss(found[:, 1:5], target[:, 1:5], reduction="none") * present).sum()
    kinds = functional.binary_cross_entropy_with_logits(found[:, 5:], target[:, 5:], reduction="none")
    return score + (5 * places + (kinds * present).sum()) / present.sum()


def detected(head: Array) -> list[tuple[float, ...]]:
    """Boxes of an image, the best of each neighbourhood: class, left, top, right, bottom."""
    found: list[tuple[float, ...]] = []
    for y, x in zip(*np.nonzero(head[0] > 0), strict=True):
        if head[0, y, x] < head[0, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].max():
            continue
        dx, dy, w, h = head[1:5, y, x]
        cx, cy = (x + dx) * CELL, (y + dy) * CELL
        kind = 1 + int(head[5:, y, x].argmax())
        found.append((kind, cx - w * SIZE / 2, cy - h * SIZE / 2, cx + w * SIZE / 2, cy + h * SIZE / 2))
    return found


def same(a: Any, b: Any) -> bool:
    """Whether two boxes are of one class and share more than half of what both cover."""
    across, down = (max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (1, 2))
    area = sum((box[3] - box[1]) * (box[4] - box[2]) for box in (a, b))
    return a[0] == b[0] and 2 * across * down > area - across * down


def recall_and_false(heads: Array, boxes: Array) -> tuple[float, float]:
    """Share of the boxes that are found, and boxes found for each image that are none."""
    answers = [detected(head) for head in heads]
    hits = sum(any(same(box, one) for one in found) for found, pair in zip(answers, boxes, strict=True) for box in pair)
    wrong = sum(
        not any(same(box, one) for box in pair) for found, pair in zip(answers, boxes, strict=True) for one in found
    )
    return hits / boxes[:, :, 0].size, wrong / len(boxes)


@pytest.fixture(scope="module")
def data() -> tuple[Shapes, Shapes]:
    return shapes(512, 1), shapes(64, 2)


def in_float(network: Any, x: Array) -> Array:
    with torch.no_grad():
        return network.eval()(torch.from_numpy(x)).numpy()


def test_a_unet_finds_the_pixels_that_it_finds_in_float(data: tuple[Shapes, Shapes]) -> None:
    (x, classes, _), (new, wanted, _) = data
    torch.manual_seed(0)
    network = UNet()
    weight = torch.tensor([1.0, 2.0, 2.0])
    train(network, lambda y, t: torch.nn.functional.cross_entropy(y, t[0], weight), [x, classes], 80)
    before = in_float(network, new)
    compiled = escc.compile(network, x[:64], "dense")
    after = compiled.run(new)
    assert after.dtype == np.int64 and after.shape == wanted.shape
    assert min(overlap(before, wanted)) > 0.8, "the training fails"
    assert all(a > b - 0.02 for a, b in zip(overlap(after, wanted), overlap(before, wanted), strict=True))
    assert (after == before).mean() > 0.99


def test_a_detector_finds_the_boxes_that_it_finds_in_float(data: tuple[Shapes, Shapes]) -> None:
    (x, _, boxes), (new, _, wanted) = data
    torch.manual_seed(0)
    network = Detector()
    train(network, detection_loss, [x, targets(boxes)], 150)
    before = recall_and_false(in_float(network, new), wanted)
    after = recall_and_false(escc.compile(network, x[:64], "dense").run(new), wanted)
    assert before[0] > 0.9 and before[1] < 0.2, "the training fails"
    assert after[0] > before[0] - 0.03 and after[1] < before[1] + 0.05
