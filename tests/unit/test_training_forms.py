"""Training of every weight form: integers as the interpreter has them, projections, ADMM, and back into the network."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx_graphs import model, node, random
from xdsl.dialects.builtin import ModuleOp

torch = pytest.importorskip("torch")

from dialects.esc_base import AccumulatorOp  # noqa: E402
from dialects.interpreters.run import run_module  # noqa: E402
from dialects.rebuilt import RebuiltConv2d  # noqa: E402
from escc import driver  # noqa: E402
from escc.irtext import make_context  # noqa: E402
from escc.onnx_export import export_model  # noqa: E402
from escc.onnx_import import import_model  # noqa: E402
from escc.training.admm import Admm  # noqa: E402
from escc.training.forms.circulant import CirculantConv  # noqa: E402
from escc.training.forms.codebook import CodebookConv  # noqa: E402
from escc.training.forms.gather import GatherConv  # noqa: E402
from escc.training.forms.smartexchange import SmartExchangeConv  # noqa: E402
from escc.training.network import Network  # noqa: E402
from escc.training.session import TRAINED_AFTER  # noqa: E402
from escc.training.sparsity import Sparsity  # noqa: E402
from escc.training.straight_through import ConvFrame, DecomposedConv, Projected  # noqa: E402
from escc.training.writeback import write_back  # noqa: E402
from escc.universe import multiverse  # noqa: E402
from isa.gather import Gathering, bank_loads  # noqa: E402
from passes.pipelines import PipelineOptions, build  # noqa: E402

SCHEMES: dict[str, tuple[tuple[str, ...], float | None, type[Projected]]] = {
    "circulant": (("k=4",), None, CirculantConv),
    "kmeans": (("entries=7",), 50.0, CodebookConv),
    "gs": (("sparsity=0.5",), None, GatherConv),
    "patdnn": (("sparsity=0.5",), None, GatherConv),
    "smartexchange": (("rebuilt=1",), 3.0, SmartExchangeConv),
    "escalate": ((), 3.0, DecomposedConv),
}
"""By scheme: its own options, the rate, and the module that its layers become."""


def network(scheme: str) -> tuple[Network, ModuleOp]:
    """Two convolutions and a fully connected layer, the last two of them in the form of a scheme."""
    nodes = [
        node("Conv", ["x", "a.w", "a.b"], ["a"], name="a", pads=[1] * 4),
        node("Relu", ["a"], ["a.r"]),
        node("Conv", ["a.r", "b.w"], ["b"], name="b", strides=[2, 1]),
        node("Relu", ["b"], ["b.r"]),
        node("Flatten", ["b.r"], ["f"]),
        node("Gemm", ["f", "c.w", "c.b"], ["y"], name="c", transB=1),
    ]
    constants = {
        "a.w": random(32, 3, 3, 3, seed=1, scale=0.3),
        "a.b": random(32, seed=2),
        "b.w": random(24, 32, 3, 3, seed=3, scale=0.2),
        "c.w": random(10, 24 * 3 * 6, seed=4, scale=0.2),
        "c.b": random(10, seed=5),
    }
    module = import_model(model(nodes, [1, 3, 8, 8], constants).SerializeToString())
    own, rate, _ = SCHEMES[scheme]
    options = PipelineOptions(scheme=scheme, options=own, rate=rate)
    for step in build(multiverse().all_passes, options, "esc"):
        driver.run_passes(make_context(), module, [step])
        if step.name == TRAINED_AFTER[-1]:
            break
    return Network(module), module


def shaken(net: Network, by: float) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)


def of_the_form(net: Network, scheme: str) -> list[Any]:
    """Its layers in the form; a scheme may leave others dense."""
    found = [layer.module for layer in net.layers if isinstance(layer.module, SCHEMES[scheme][2])]
    assert found, [type(layer.module).__name__ for layer in net.layers]
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_written_back_integers_compute_what_the_network_does(scheme: str) -> None:
    net, module = network(scheme)
    of_the_form(net, scheme)
    before = [op.name for op in module.walk() if isinstance(op, AccumulatorOp)]
    shaken(net, 0.03)
    write_back(net)
    module.verify()
    for layer in net.layers:
        weight = layer.module.integer_weight().detach()
        if isinstance(layer.conv, RebuiltConv2d):
            stored = torch.tensor(layer.conv.weight.transpose(0, 3, 1, 2).astype(np.float32))
            torch.testing.assert_close(stored * 2**layer.conv.right_shift, weight, rtol=0, atol=0)
    assert [op.name for op in module.walk() if isinstance(op, AccumulatorOp)] == before
    x = np.random.default_rng(1).standard_normal((16, 3, 8, 8)).astype(np.float32)
    with torch.no_grad():
        want = net(torch.from_numpy(x)).flatten(1).numpy()
    (got,) = run_module(module, [x])
    difference = np.abs(want - got.reshape(want.shape))
    steps = difference / np.min(np.abs(np.diff(np.unique(got))))
    assert steps.max() < 1.01 and (steps > 0.5).mean() < 0.1
    write_back(net)
    (again,) = run_module(import_model(export_model(module).SerializeToString()), [x])
    np.testing.assert_array_equal(again, run_module(module, [x])[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_projection_is_a_point_of_the_form_and_stays_where_it_is(scheme: str) -> None:
    net, _ = network(scheme)
    for conv in of_the_form(net, scheme):
        shaken(net, 0.02)
        with torch.no_grad():
            point = conv.projected(conv.latent)
            assert not torch.equal(point, conv.latent)
            torch.testing.assert_close(conv.projected(point), point, rtol=0, atol=1e-6)
            conv.settle(point)
            settled = conv.integer_weight()
            conv.latent.copy_(point)
            conv.relaxed = True
            torch.testing.assert_close(settled, conv.integer_weight(), rtol=0, atol=1e-3)
            conv.relaxed = False


@pytest.mark.parametrize("scheme", SCHEMES)
def test_latent_numbers_approach_real_weights_without_another_point(scheme: str) -> None:
    net, _ = network(scheme)
    for conv in of_the_form(net, scheme):
        with torch.no_grad():
            conv.latent.copy_(conv.projected(conv.latent))
            before, weight = conv.projected(conv.latent), conv.integer_weight()
            real = weight + 0.1 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
            conv.approach((real * conv.factor()[:, None, None, None]).double().numpy())
            torch.testing.assert_close(conv.projected(conv.latent), before, rtol=0, atol=1.01 / 127)
            torch.testing.assert_close(conv.integer_weight(), weight, rtol=0, atol=1e-3)
            conv.relaxed = True
            assert (conv.integer_weight() - real).square().sum() < (weight - real).square().sum()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_admm_ends_at_a_point_of_the_form(scheme: str) -> None:
    """Minimise the distance from wanted numbers: the latent numbers meet their projection, which is settled."""
    net, _ = network(scheme)
    modules = of_the_form(net, scheme)
    wanted = [torch.randn(m.latent.shape, generator=torch.Generator().manual_seed(7)) * m.latent.std() for m in modules]
    admm = Admm(modules, Sparsity(net))
    for step in range(1200):
        if step % 40 == 0:
            admm.project(np.inf, step / 1200)
        with torch.no_grad():
            for m, w in zip(modules, wanted, strict=True):
                m.latent.sub_(2e-3 * (m.latent - w))
            pulls = admm.pulls()
            for m, pull in zip((m for m in modules if isinstance(m, DecomposedConv)), pulls, strict=True):
                m.latent.sub_(pull)
            admm.draw()
    for m, w in zip(modules, wanted, strict=True):
        first = m.projected(m.latent)
        assert (m.latent - first).norm() < 0.6 * (w - first).norm()
    admm.settle()
    for m in modules:
        torch.testing.assert_close(m.projected(m.latent), m.latent.detach(), rtol=0, atol=0.46)


def test_a_checkpoint_of_admm_goes_on_where_it_was() -> None:
    net, _ = network("circulant")
    modules = of_the_form(net, "circulant")
    admm = Admm(modules, Sparsity(net))
    shaken(net, 0.05)
    admm.project(np.inf, 0.5)
    other = Admm(modules, Sparsity(net))
    other.load(copy.deepcopy(admm.state()))
    before = [m.latent.detach().clone() for m in modules]
    admm.draw()
    first = [m.latent.detach().clone() for m in modules]
    with torch.no_grad():
        for m, b in zip(modules, before, strict=True):
            m.latent.copy_(b)
    other.draw()
    assert all(torch.equal(m.latent, f) for m, f in zip(modules, first, strict=True))
    assert any(not torch.equal(f, b) for f, b in zip(first, before, strict=True))


def test_sparse_weights_keep_the_loads_of_their_banks() -> None:
    net, _ = network("gs")
    for conv in of_the_form(net, "gs"):
        how = Gathering.of(conv.banking.banks, conv.banking.bundle, conv.latent.shape[1])

        def loads(conv: Any = conv, how: Gathering = how) -> Any:
            k, c, r, s = conv.latent.shape
            return bank_loads(conv.kept.permute(0, 2, 3, 1).reshape(k, r * s, c).numpy().astype(np.int8), how)

        before, mask = loads(), conv.kept.clone()
        with torch.no_grad():
            point = torch.randn(conv.latent.shape, generator=torch.Generator().manual_seed(5))
            conv.settle(conv.projected(point))
        assert not torch.equal(conv.kept, mask)
        np.testing.assert_array_equal(loads(), before)


def test_a_book_takes_gradients_and_the_means_of_its_patches() -> None:
    rng = np.random.default_rng(0)
    book = np.array([[[10.0, 10.0]], [[60.0, -40.0]]])
    codes = rng.integers(-2, 3, (3, 2, 2, 4))
    conv = CodebookConv(codes, book, ConvFrame(np.ones(3), np.zeros(3), 1.0))
    np.testing.assert_array_equal(conv.codes(conv.latent).numpy(), codes.reshape(-1))
    pull = torch.tensor(rng.standard_normal((3, 8, 2, 2)), dtype=torch.float32)
    (conv.integer_weight() * pull).sum().backward()
    patches = 127 * pull.reshape(3, 4, 2, 2, 2).permute(0, 3, 4, 1, 2).reshape(-1, 2)
    assert conv.latent.grad is not None and conv.book.grad is not None
    torch.testing.assert_close(conv.latent.grad, patches)
    flat = torch.tensor(codes.reshape(-1))
    for n in (1, 2):
        want = patches[flat == n].sum(0) - patches[flat == -n].sum(0)
        torch.testing.assert_close(conv.book.grad[n - 1], want, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        moved = conv.latent + 0.01
        conv.adapt(moved)
    for n in (1, 2):
        both = torch.cat([moved[flat == n], -moved[flat == -n]])
        torch.testing.assert_close(conv.book[n - 1].detach(), both.mean(0).detach())


def test_vectors_and_coefficients_of_an_exchange_have_exact_gradients() -> None:
    rng = np.random.default_rng(1)
    t = rng.integers(-1, 2, (3, 2, 3, 1, 4)).astype(float)
    vectors = rng.integers(-30, 31, (1, 2, 3, 1)).astype(float)
    conv = SmartExchangeConv(t, vectors, ConvFrame(np.ones(3), np.zeros(3), 1.0), 1)
    weight = conv.integer_weight()
    want: NDArray[np.float64] = np.einsum("kjrsc,jxd->krsxcd", t, vectors[0]).reshape(3, 3, 3, 4).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(weight.detach().numpy(), want)
    pull: NDArray[np.float64] = rng.standard_normal((3, 4, 3, 3))
    (weight * torch.tensor(pull, dtype=weight.dtype)).sum().backward()
    by_vector = 127 * np.einsum("kjrc,kcrx->jx", t[:, :, :, 0], pull)[:, :, None]
    assert conv.basis.grad is not None and conv.latent.grad is not None
    np.testing.assert_allclose(conv.basis.grad.numpy(), by_vector, rtol=1e-4, atol=1e-2)
    by_coefficient = np.einsum("jx,kcrx->kcjr", vectors[0, :, :, 0], pull).reshape(3, 4, 6)
    np.testing.assert_allclose(conv.latent.grad.numpy(), by_coefficient, rtol=1e-4, atol=1e-2)
