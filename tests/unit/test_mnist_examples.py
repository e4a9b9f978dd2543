"""The LeNet-5 of examples/mnist: removing channels that do nothing changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from examples.mnist import narrow  # noqa: E402
from examples.mnist.train import LeNet5, accuracy  # noqa: E402
from examples.torch_to_onnx import export  # noqa: E402

WIDTHS, KEPT = (5, 6, 9), (2, 4, 7)


def _with_idle_channels() -> LeNet5:
    """A network of WIDTHS in which all but the last of each, KEPT in number, have weights and biases of 0."""
    torch.manual_seed(0)
    model = LeNet5(WIDTHS)
    with torch.no_grad():
        for layer, width, kept in zip((model.conv1, model.conv2, model.fc1), WIDTHS, KEPT, strict=True):
            layer.weight[: width - kept] = 0
            layer.bias.fill_(0.5)
            layer.bias[: width - kept] = 0
    return model.eval()


def test_channels_that_do_nothing_go_and_nothing_changes() -> None:
    model = _with_idle_channels()
    rng = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (40, 1, 28, 28), generator=rng, dtype=torch.uint8)
    y = torch.randint(0, 10, (40,), generator=rng)
    for total, width, kept in zip(narrow.importance(model, x, y), WIDTHS, KEPT, strict=True):
        assert (total[: width - kept] == 0).all() and (total[width - kept :] > 0).any()
    found = narrow.narrowed(model, KEPT, x, y).eval()
    assert found.conv1.weight.shape == (2, 1, 5, 5) and found.fc1.weight.shape == (7, 64)
    torch.testing.assert_close(found(x / 255), model(x / 255))


def test_a_network_is_read_as_it_was_written(tmp_path: Path) -> None:
    model = _with_idle_channels()
    x = torch.rand(3, 1, 28, 28)
    wanted = model(x)
    with torch.no_grad():
        model.conv1.weight /= 255
    export(model, tmp_path / "m.onnx", (1, 28, 28), {})
    torch.testing.assert_close(narrow.read(tmp_path / "m.onnx").eval()(x), wanted, rtol=1e-4, atol=1e-5)


def test_training_takes_over_the_teachers_answers() -> None:
    """Bars of random brightness in one of four places, of which the teacher knows the place."""
    rng = torch.Generator().manual_seed(2)
    y = torch.randint(0, 4, (512,), generator=rng)
    x = torch.randint(0, 60, (512, 1, 28, 28), generator=rng, dtype=torch.uint8)
    for image, place in zip(x, y.tolist(), strict=True):
        image[0, 4 + 5 * place : 8 + 5 * place] += 150
    torch.manual_seed(0)
    teacher, model = LeNet5((8, 8, 16)), LeNet5((6, 8, 12))
    narrow.fit(teacher, teacher, x, y, 25, 0.05, rng)
    before = accuracy(model, x.numpy(), y.numpy())
    narrow.fit(model, teacher.eval(), x, y, 25, 0.05, rng)
    assert accuracy(teacher, x.numpy(), y.numpy()) > 0.95
    assert accuracy(model, x.numpy(), y.numpy()) > max(0.9, before)
