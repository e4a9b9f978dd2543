"""The core property of the back end: what the esc interpreter computes, the machine computes, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tile_models import MAIN, Graph, lower, random_graph
from xdsl.dialects.builtin import ModuleOp

from dialects.eisa import to_program
from dialects.esc import shape_of
from dialects.interpreters.run import run_module
from emulator.machine import Machine
from passes.pipelines import STAGES

FAST = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)

TARGETS = {
    "small": "[scratchpad]\nact = 12288\ncoef = 2048\npar = 1024\npsum = 2048\n",
    "narrow": "[array]\nblocks = 8\nslices = 3\nchunk = 32\n[scratchpad]\nact = 16384\ncoef = 4096\n",
    "odd": "[array]\nblocks = 5\nslices = 7\nmacs = 3\nchunk = 16\n[scratchpad]\nact = 12005\ncoef = 2222\n",
}


@pytest.fixture(scope="session")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("targets")
    found = {"esc1": "esc1"}
    for name, text in TARGETS.items():
        path = folder / f"{name}.toml"
        path.write_text(f'base = "esc1"\nname = "{name}"\n{text}')
        found[name] = str(path)
    return found


def check(module: ModuleOp, target: str, passes: tuple[str, ...] = MAIN) -> None:
    """Lower, run two random inputs on the machine and in the interpreter, compare all outputs."""
    program = to_program(lower(module, target, passes))
    port = program.inputs[0]
    random = np.random.default_rng(1)
    low, high = (-128, 128) if port.tensor.signed else (0, 256)
    x = random.integers(low, high, (2, *port.shape[1:])).astype(np.float32)
    x[random.random(x.shape) < 0.3] = 0
    want = run_module(module, [x])
    got = Machine(program).run([x]).outputs
    for a, b in zip(want, got, strict=True):
        np.testing.assert_array_equal(a, b)


@st.composite
def conv_cases(draw: st.DrawFn) -> dict[str, object]:
    kernel = (draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    return {
        "h": draw(st.integers(kernel[0], 19)),
        "w": draw(st.integers(kernel[1], 19)),
        "c": draw(st.sampled_from([1, 2, 3, 8, 16, 31, 33, 64, 65, 130])),
        "k": draw(st.sampled_from([1, 3, 8, 16, 32, 40, 64, 70, 129])),
        "kernel": kernel,
        "strides": (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        "pads": tuple(draw(st.integers(0, 2)) for _ in range(4)),
        "signed": draw(st.booleans()),
        "out_signed": draw(st.booleans()),
        "target": draw(st.sampled_from(["esc1", "small", "narrow", "odd"])),
        "seed": draw(st.integers(0, 99)),
    }


@FAST
@given(case=conv_cases(), residual=st.booleans(), table=st.booleans())
def test_dense_convolution(targets: dict[str, str], case: dict, residual: bool, table: bool) -> None:
    g = Graph(case["h"], case["w"], case["c"], case["signed"], case["seed"])
    other = g.conv(g.x, case["k"], case["kernel"], case["strides"], case["pads"]) if residual else None
    y = g.conv(g.x, case["k"], case["kernel"], case["strides"], case["pads"], 1, case["out_signed"], other, table)
    check(g.module(y), targets[case["target"]])


@FAST
@given(case=conv_cases(), multiplier=st.integers(1, 3))
def test_depthwise_convolution(targets: dict[str, str], case: dict, multiplier: int) -> None:
    c = max(2, case["c"])
    g = Graph(case["h"], case["w"], c, case["signed"], case["seed"])
    y = g.conv(g.x, c * multiplier, case["kernel"], case["strides"], case["pads"], c, case["out_signed"])
    check(g.module(y), targets[case["target"]])


@FAST
@given(
    case=conv_cases(), groups=st.integers(2, 5), per=st.sampled_from([1, 3, 8, 20]), out=st.sampled_from([1, 4, 9, 33])
)
def test_grouped_convolution(targets: dict[str, str], case: dict, groups: int, per: int, out: int) -> None:
    g = Graph(case["h"], case["w"], groups * per, case["signed"], case["seed"])
    y = g.conv(g.x, groups * out, case["kernel"], case["strides"], case["pads"], groups, case["out_signed"])
    check(g.module(y), targets[case["target"]])


@FAST
@given(case=conv_cases(), v=st.integers(1, 8), residual=st.booleans(), ic_shift=st.integers(0, 4))
def test_decomposed_convolution(targets: dict[str, str], case: dict, v: int, residual: bool, ic_shift: int) -> None:
    g = Graph(case["h"], case["w"], case["c"], case["signed"], case["seed"])
    other = g.conv(g.x, case["k"], case["kernel"], case["strides"], case["pads"]) if residual else None
    y = g.decomposed(
        g.x, case["k"], v, case["kernel"], case["strides"], case["pads"], case["out_signed"], other, ic_shift
    )
    check(g.module(y), targets[case["target"]])


@FAST
@given(case=conv_cases(), average=st.booleans(), include=st.booleans(), ceil=st.tuples(st.booleans(), st.booleans()))
def test_pooling(targets: dict[str, str], case: dict, average: bool, include: bool, ceil: tuple[bool, bool]) -> None:
    g = Graph(case["h"], case["w"], case["c"], case["signed"], case["seed"])
    pads = tuple(min(p, k - 1) for p, k in zip(case["pads"], case["kernel"] * 2, strict=True))
    x = g.conv(g.x, case["k"], (1, 1), (1, 1), (0, 0, 0, 0), signed=case["out_signed"])
    _, h, w, _ = shape_of(x)
    more = []
    for size, k, s, before, after, wanted in (
        (h, case["kernel"][0], case["strides"][0], pads[0], pads[2], ceil[0]),
        (w, case["kernel"][1], case["strides"][1], pads[1], pads[3], ceil[1]),
    ):
        floor = (size + before + after - k) // s + 1
        more.append(int(wanted and floor * s - before < size and floor * s - before + k > size + after))
    y = g.pool(x, average, case["kernel"], case["strides"], pads, tuple(more), include)
    check(g.module(y), targets[case["target"]])


@FAST
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 5, 16, 64, 70])),
    parts=st.lists(st.sampled_from([1, 7, 32, 60, 64, 65, 128]), min_size=1, max_size=4),
    signed=st.booleans(),
    target=st.sampled_from(["esc1", "small", "narrow", "odd"]),
)
def test_concatenation(
    targets: dict[str, str], shape: tuple[int, int, int], parts: list[int], signed: bool, target: str
) -> None:
    g = Graph(*shape)
    ys = [g.conv(g.x, k, (1, 1), pads=(0, 0, 0, 0), signed=signed) for k in parts]
    check(g.module(g.concat(*ys)), targets[target])


@FAST
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 5, 16, 64, 130])),
    out=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 5, 16, 64, 130])),
    offsets=st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.integers(-70, 70)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    signed=st.booleans(),
    target=st.sampled_from(["esc1", "small", "narrow", "odd"]),
)
def test_slicing_and_padding(
    targets: dict[str, str], shape: tuple, out: tuple, offsets: tuple, strides: tuple, signed: bool, target: str
) -> None:
    g = Graph(*shape)
    x = g.conv(g.x, shape[2], (1, 1), pads=(0, 0, 0, 0), signed=signed)
    check(g.module(g.slice(x, offsets, strides, out)), targets[target])


@pytest.mark.parametrize(
    "build",
    [
        lambda: (g := Graph(32, 32, 512)) and g.module(g.pool(g.x, True, (32, 32), (1, 1))),
        lambda: (g := Graph(150, 150, 64, False)) and g.module(g.pool(g.x, True, (150, 150), (1, 1))),
        lambda: (g := Graph(40, 44, 66)) and g.module(g.pool(g.x, False, (36, 35), (5, 3), (2, 3, 4, 5))),
        lambda: (g := Graph(35, 34, 70)) and g.module(g.conv(g.x, 140, (32, 33), (2, 1), (3, 4, 1, 2), 70)),
        lambda: (g := Graph(32, 32, 192)) and g.module(g.conv(g.x, 10, (32, 32), pads=(0, 0, 0, 0), signed=True)),
        lambda: (g := Graph(12, 12, 800)) and g.module(g.conv(g.x, 8, (12, 12), pads=(0, 0, 0, 0), groups=4)),
    ],
    ids=["global-average", "large-average", "maximum", "depthwise", "dense", "grouped"],
)
@pytest.mark.parametrize("target", ["esc1", "odd"])
def test_windows_in_parts(targets: dict[str, str], build: Callable[[], ModuleOp], target: str) -> None:
    check(build(), targets[target])


@st.composite
def tiny_targets(draw: st.DrawFn) -> str:
    """Scratchpads smaller than most windows, but not than one row or column of them."""
    sizes = {"act": draw(st.integers(760, 1200)), "coef": draw(st.integers(130, 700)), "psum": 256}
    return "[scratchpad]\n" + "".join(f"{name} = {size}\n" for name, size in sizes.items())


@FAST
@given(case=conv_cases(), kind=st.sampled_from(["dense", "depthwise", "average", "maximum"]), tiny=tiny_targets())
def test_windows_beyond_tiny_scratchpads(tmp_path: Path, case: dict, kind: str, tiny: str) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(f'base = "esc1"\nname = "tiny"\n{tiny}')
    c = min(case["c"], 33)
    g = Graph(case["h"], case["w"], c, case["signed"], case["seed"])
    kernel, strides = case["kernel"], case["strides"]
    if kind in ("dense", "depthwise"):
        groups, k = (c, c) if kind == "depthwise" else (1, min(case["k"], 16))
        y = g.conv(g.x, k, kernel, strides, case["pads"], groups, case["out_signed"])
    else:
        y = g.pool(g.x, kind == "average", kernel, strides)
    check(g.module(y), str(path))


@FAST
@given(data=st.data(), target=st.sampled_from(["esc1", "small", "narrow"]))
def test_random_graph(targets: dict[str, str], data: st.DataObject, target: str) -> None:
    size = st.integers(1, 14)
    g = Graph(data.draw(size), data.draw(size), data.draw(st.sampled_from([1, 3, 16, 64, 80])))
    check(g.module(*random_graph(data.draw, g)), targets[target])


@FAST
@given(data=st.data(), target=st.sampled_from(["esc1", "small", "narrow"]))
def test_random_graph_of_large_maps_through_every_pass(
    targets: dict[str, str], data: st.DataObject, target: str
) -> None:
    """Where not all tensors fit ACT, and with the passes that `MAIN` leaves out."""
    size = st.integers(14, 40)
    g = Graph(data.draw(size), data.draw(size), data.draw(st.sampled_from([3, 40, 130])))
    module = g.module(*random_graph(data.draw, g, (16, 72, 200)))
    check(module, targets[target], (*STAGES["bfs"], *STAGES["eisa"]))


@pytest.mark.parametrize("target", ["esc1", "small", "narrow"])
def test_a_part_computed_from_another_part_of_its_tensor(targets: dict[str, str], target: str) -> None:
    """Rows of the parts lie in turn, which a shuffle of one group moves value by value."""
    g = Graph(2, 2, 1)
    part = g.slice(g.x, (0, 1, -3), (2, 1), (1, 2, 7))
    check(g.module(g.conv(g.concat(g.shuffle(part, 1), part), 4, groups=2)), targets[target])


@pytest.mark.parametrize("target", ["esc1", "small", "narrow"])
@pytest.mark.parametrize("spread", list(product((False, True), repeat=3)), ids=str)
def test_products(targets: dict[str, str], target: str, spread: tuple[bool, bool, bool]) -> None:
    """A factor with one row, column or channel for all, or with several of these; `small` takes several tiles."""
    g = Graph(24, 20, 80, signed=True, seed=sum(spread))
    rows, columns, channels = (1 if one else n for n, one in zip((24, 20, 80), spread, strict=True))
    y = g.mul(g.lookup(g.x, False), g.slice(g.x, (0, 0, 0), (1, 1), (rows, columns, channels)), True)
    check(g.module(g.mul(y, y, False)), targets[target])


@pytest.mark.parametrize("target", ["esc1", "small", "narrow"])
@pytest.mark.parametrize("groups", [2, 3, 4, 5])
def test_shuffles(targets: dict[str, str], target: str, groups: int) -> None:
    """Of whole tensors, of the halves of one, and of tiles whose channels the groups do not divide."""
    g = Graph(21, 20, 120, seed=groups)
    half = g.slice(g.shuffle(g.x, groups), (0, 0, 60), (1, 1), (21, 20, 60))
    check(g.module(g.shuffle(g.lookup(half, True), groups)), targets[target])


@pytest.mark.parametrize("target", ["esc1", "small", "narrow"])
@pytest.mark.parametrize("what", ["doubled", "tripled", "edges", "back", "one", "thinned", "any"])
def test_rows_and_columns_in_another_order(targets: dict[str, str], target: str, what: str) -> None:
    g = Graph(21, 20, 40, seed=1)
    rows, columns = {
        "doubled": ([i // 2 for i in range(42)], [i // 2 for i in range(40)]),
        "tripled": ([i // 3 for i in range(63)], list(range(20))),
        "edges": ([0, *range(21), 20, 20], [0, 0, *range(20), 19]),
        "back": (list(range(21))[::-1], list(range(20))),
        "one": ([7] * 5, [3] * 9),
        "thinned": ([i * 3 // 2 for i in range(14)], [i * 4 // 3 for i in range(15)]),
        "any": ([5, 5, 2, 20, 0, 1, 2], [19, 3, 3, 0, 12]),
    }[what]
    y = g.take(g.lookup(g.x, True), rows, columns)
    check(g.module(g.conv(y, 8)), targets[target])


@pytest.mark.parametrize("target", ["esc1", "small", "narrow"])
@pytest.mark.parametrize("blocks", [(2, 2), (1, 3), (3, 2), (4, 4), (1, 48)])
def test_channels_as_positions(targets: dict[str, str], target: str, blocks: tuple[int, int]) -> None:
    g = Graph(11, 10, 96, seed=1)
    check(g.module(g.conv(g.depth_to_space(g.lookup(g.x, True), blocks), 8)), targets[target])


@pytest.mark.parametrize("target", ["esc1", "small"])
def test_single_buffers_compute_the_same(targets: dict[str, str], target: str) -> None:
    g = Graph(20, 20, 16)
    y = g.conv(g.x, 40, strides=(1, 2))
    y = g.decomposed(y, 32, 4)
    y = g.pool(y, False, (3, 3), (2, 2))
    passes = tuple(p for p in MAIN if p != "double-buffer")
    check(g.module(y, softmax=True), targets[target], passes)


@pytest.mark.parametrize(
    "build",
    [
        lambda: (g := Graph(24, 24, 600)) and g.module(g.conv(g.x, 24)),
        lambda: (g := Graph(7, 7, 192)) and g.module(g.conv(g.x, 300, (7, 7), pads=(0, 0, 0, 0))),
        lambda: (g := Graph(1, 1, 2600)) and g.module(g.conv(g.x, 130, (1, 1), pads=(0, 0, 0, 0), signed=True)),
        lambda: (g := Graph(40, 300, 8)) and g.module(g.conv(g.conv(g.x, 16, strides=(2, 1)), 16)),
        lambda: (g := Graph(7, 7, 1280)) and g.module(g.pool(g.x, True, (7, 7), (7, 7))),
    ],
    ids=["channel-tiles", "large-kernel", "fully-connected", "wide", "global-pool"],
)
@pytest.mark.parametrize("target", ["esc1", "small"])
def test_large_layers(targets: dict[str, str], build, target: str) -> None:
    check(build(), targets[target])
