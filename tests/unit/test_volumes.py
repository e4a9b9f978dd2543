"""Windows that reach through several slices of a volume [N,C,D,H,W], against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_graphs import Array, check, model, node, operations, random, reference

from escc import compile, load
from escc.cli.compile import main
from escc.onnx_import import import_model
from isa.errors import UserError

Draw = st.DrawFn


@st.composite
def windows(draw: Draw, pooled: bool = False) -> tuple[list[int], list[int], dict[str, Any]]:
    """Extents of a volume, those of windows that fit it, and the other attributes of the windows."""
    extents = [draw(st.integers(1, 6)) for _ in range(3)]
    kernel = [draw(st.integers(1, 3)) for _ in range(3)]
    dilations = [draw(st.sampled_from([1, 1, 2])) for _ in range(3)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    most = [min(2, k - 1) if pooled else 2 for k in kernel]
    pads = [draw(st.integers(0, most[i % 3])) for i in range(6)]
    assume(all(pads[i] + extents[i] + pads[i + 3] >= reach[i] for i in range(3)))
    strides = [draw(st.integers(1, 3)) for _ in range(3)]
    if pooled:  # windows that read nothing of the volume are refused
        for i, (size, far, step, gap) in enumerate(zip(extents, reach, strides, dilations, strict=True)):
            starts = range(-pads[i], size + pads[i + 3] - far + 1, step)
            assume(all(any(0 <= t < size for t in range(start, start + far, gap)) for start in starts))
    return extents, kernel, {"strides": strides, "dilations": dilations, "pads": pads}


def one(op_type: str, extents: list[int], attributes: dict[str, Any], *weights: Array) -> onnx.ModelProto:
    channels = 4
    inputs = ["x", *("w", "b")[: len(weights)]]
    made = [node(op_type, inputs, ["d"], name="deep", **attributes), node("LeakyRelu", ["d"], ["y"], name="leaky")]
    return model(made, [1, channels, *extents], dict(zip(("w", "b"), weights, strict=False)), opset=19)


@settings(max_examples=60, deadline=None)
@given(windows(), st.sampled_from([1, 2, 4]))
def test_convolutions(window: tuple[list[int], list[int], dict[str, Any]], group: int) -> None:
    extents, kernel, attributes = window
    weights = random(8, 4 // group, *kernel, seed=1)
    check(one("Conv", extents, attributes | {"group": group}, weights, random(8, seed=2)))


@settings(max_examples=60, deadline=None)
@given(windows(), st.sampled_from([1, 2, 4]), st.data())
def test_convolutions_back(
    window: tuple[list[int], list[int], dict[str, Any]], group: int, data: st.DataObject
) -> None:
    extents, kernel, attributes = window
    limits = [max(s, d) - 1 for s, d in zip(attributes["strides"], attributes["dilations"], strict=True)]
    # onnxruntime rejects a padding of the result that reaches a stride, which ONNX itself allows for dilations.
    extra = [data.draw(st.integers(0, min(m, s - 1))) for m, s in zip(limits, attributes["strides"], strict=True)]
    sizes = zip(extents, kernel, attributes["strides"], attributes["dilations"], extra, strict=True)
    whole = [s * (size - 1) + (k - 1) * d + 1 + x for size, k, s, d, x in sizes]
    pads = attributes["pads"]
    assume(all(size - pads[i] - pads[i + 3] >= 1 for i, size in enumerate(whole)))
    weights = random(4, 8 // group, *kernel, seed=1)
    attributes |= {"group": group, "output_padding": extra}
    check(one("ConvTranspose", extents, attributes, weights, random(8, seed=2)))


@settings(max_examples=60, deadline=None)
@given(windows(pooled=True), st.booleans())
def test_the_most_of_windows(window: tuple[list[int], list[int], dict[str, Any]], ceil: bool) -> None:
    extents, kernel, attributes = window
    check(one("MaxPool", extents, attributes | {"kernel_shape": kernel, "ceil_mode": int(ceil)}))


@settings(max_examples=60, deadline=None)
@given(windows(pooled=True), st.booleans())
def test_means_of_windows(window: tuple[list[int], list[int], dict[str, Any]], zeros: bool) -> None:
    extents, kernel, attributes = window
    check(one("AveragePool", extents, attributes | {"kernel_shape": kernel, "count_include_pad": int(zeros)}))


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms_of_windows(p: int) -> None:
    attributes = {"kernel_shape": [2, 2, 3], "strides": [1, 2, 1], "pads": [1, 0, 1, 0, 0, 1], "p": p}
    check(one("LpPool", [4, 6, 5], attributes), tolerance=1e-3)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("op_type", ["Conv", "MaxPool", "AveragePool"])
def test_pads_that_follow_from_the_extents(op_type: str, auto: str) -> None:
    weights = (random(8, 4, 3, 2, 3, seed=1),) if op_type == "Conv" else ()
    attributes: dict[str, Any] = {"kernel_shape": [3, 2, 3], "strides": [2, 1, 2], "auto_pad": auto}
    check(one(op_type, [5, 6, 7], attributes, *weights))


@pytest.mark.parametrize("scales", [[2.0, 2.0, 2.0], [1.0, 0.5, 3.0], [1.5, 2.0, 1.0]])
def test_the_nearest_values(scales: list[float]) -> None:
    nodes = [node("Resize", ["x", "", "scales"], ["r"], name="r", mode="nearest"), node("LeakyRelu", ["r"], ["y"])]
    check(model(nodes, [1, 3, 4, 6, 5], {"scales": np.array([1.0, 1.0, *scales], np.float32)}))


def network() -> onnx.ModelProto:
    """A small network of volumes, as those that tell what a film shows: the second convolution goes through the depth
    alone, its shortcut through single values."""
    weights = {
        "stem": random(8, 3, 3, 3, 3, seed=1, scale=0.15),
        "left": random(12, 8, 1, 3, 3, seed=2, scale=0.15),
        "right": random(12, 12, 3, 1, 1, seed=3, scale=0.2),
        "short": random(12, 8, 1, 1, 1, seed=4, scale=0.3),
        "each": random(12, 1, 3, 3, 3, seed=5, scale=0.3),
        "scores": random(24, 10, seed=6, scale=0.3),
    }
    nodes = [
        node("Conv", ["x", "stem"], ["a"], name="stem", pads=[1, 1, 1, 1, 1, 1], strides=[1, 2, 2]),
        node("Relu", ["a"], ["r"], name="relu"),
        node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[1, 3, 3], strides=[1, 2, 2], pads=[0, 1, 1, 0, 1, 1]),
        node("Conv", ["p", "left"], ["l"], name="left", pads=[0, 1, 1, 0, 1, 1]),
        node("Relu", ["l"], ["lr"], name="left/relu"),
        node("Conv", ["lr", "right"], ["d"], name="right", pads=[1, 0, 0, 1, 0, 0], strides=[2, 1, 1]),
        node("Conv", ["p", "short"], ["s"], name="short", strides=[2, 1, 1]),
        node("Add", ["d", "s"], ["sum"], name="sum"),
        node("Conv", ["sum", "each"], ["e"], name="each", pads=[1, 1, 1, 1, 1, 1], group=12),
        node("Concat", ["e", "sum"], ["both"], name="both", axis=1),
        node("GlobalAveragePool", ["both"], ["g"], name="mean"),
        node("Flatten", ["g"], ["f"], name="flat"),
        node("Gemm", ["f", "scores"], ["y"], name="scores"),
    ]
    return model(nodes, ["N", 3, 6, 16, 12], weights)


def test_a_network_at_every_level(tmp_path: Path) -> None:
    """Decomposed too: the taps along the depth are channels, so that every scheme finds convolutions of maps."""
    proto, x = network(), random(4, 3, 6, 16, 12, seed=9)
    path, data = str(tmp_path / "m.onnx"), str(tmp_path / "x.npy")
    onnx.save(proto, path)
    np.save(data, x)
    wanted = np.concatenate([reference(proto, image[None])[0] for image in x])
    for scheme, bound in (("dense", 0.03), ("escalate", 0.3)):
        binary = str(tmp_path / f"{scheme}.bin")
        options = [path, "--calibration", data, "--scheme", scheme, "-q"]
        assert main([*options, "--verify-numerics", "-o", binary]) == 0
        found = load(binary).run(x)
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).mean() < bound * np.abs(wanted).mean()


def test_slices_are_stored_once_for_all_taps() -> None:
    """What a convolution through slices reads has one scale, so that no table stands between slices and channels, even
    where others read it too.
    """
    pads = [1, 1, 1, 1, 1, 1]
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="a", pads=pads),
        node("Relu", ["a"], ["r"], name="r"),
        node("Conv", ["r", "v"], ["c"], name="c", pads=pads),
        node("Add", ["c", "r"], ["y"], name="y"),
    ]
    weights = {"w": random(8, 3, 3, 3, 3, seed=1), "v": random(8, 8, 3, 3, 3, seed=2)}
    proto, x = model(nodes, ["N", 3, 6, 8, 8], weights), random(64, 3, 6, 8, 8, seed=9)  # enough to cut off the largest
    text = compile(proto, calibration=x, scheme="dense").ir("esc")
    assert "esc.concat" in text and "esc.lookup" not in text


def test_slices_that_are_read_whole_are_not_copied() -> None:
    """A pool of whole blocks, and a convolution through the depth of a volume that is as deep as its window."""
    pool = {"kernel_shape": [1, 2, 2], "strides": [1, 2, 2]}
    assert "Take" not in operations(check(one("MaxPool", [4, 6, 8], pool)))
    assert operations(check(one("Conv", [1, 6, 8], {"pads": [0, 1, 1, 0, 1, 1]}, random(8, 4, 1, 3, 3)))) == [
        "Reshape",
        "Conv",
        "LeakyRelu",
        "Reshape",
    ]


LARGE = 1 << 30


@pytest.mark.parametrize(
    ("op_type", "attributes", "weights"),
    [
        ("Conv", {"pads": [LARGE, 0, 0, 0, 0, 0]}, (random(8, 4, 2, 2, 2),)),
        ("Conv", {"pads": [0, LARGE, 0, 0, 0, 0]}, (random(8, 4, 2, 2, 2),)),
        ("Conv", {"strides": [1, LARGE, 1]}, (random(8, 4, 2, 2, 2),)),
        ("Conv", {"dilations": [LARGE, 1, 1], "pads": [LARGE, 0, 0, LARGE, 0, 0]}, (random(8, 4, 2, 2, 2),)),
        ("ConvTranspose", {"output_shape": [LARGE, 6, 7]}, (random(4, 8, 2, 2, 2),)),
        ("ConvTranspose", {"output_shape": [5, LARGE, 7]}, (random(4, 8, 2, 2, 2),)),
        ("ConvTranspose", {"strides": [1, LARGE, 1]}, (random(4, 8, 2, 2, 2),)),
        ("ConvTranspose", {"dilations": [LARGE, 1, 1]}, (random(4, 8, 2, 2, 2),)),
        ("MaxPool", {"kernel_shape": [LARGE, 1, 1], "pads": [LARGE - 1, 0, 0, LARGE - 1, 0, 0]}, ()),
        ("AveragePool", {"kernel_shape": [1, LARGE, 1], "pads": [0, LARGE - 1, 0, 0, LARGE - 1, 0]}, ()),
    ],
)
def test_windows_that_would_take_all_memory_are_refused(
    op_type: str, attributes: dict[str, Any], weights: tuple[Array, ...]
) -> None:
    proto = one(op_type, [4, 5, 6], attributes, *weights)
    with pytest.raises(UserError, match=r"requires at most|requires at least one|does not fit"):
        import_model(proto.SerializeToString())


@pytest.mark.parametrize("extents", [[4, 5], [4, 5, 6]])
def test_results_that_would_take_all_memory_are_refused(extents: list[int]) -> None:
    sizes = {"sizes": np.array([1, 3, LARGE, *extents[1:]])}
    proto = model([node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest")], [1, 3, *extents], sizes)
    with pytest.raises(UserError, match="requires at most"):
        import_model(proto.SerializeToString())


@pytest.mark.parametrize(
    ("op_type", "attributes", "weights", "cause"),
    [
        ("MaxPool", {"kernel_shape": [2, 2]}, (), r"kernel_shape=\[2,2\] unsupported; requires 3 values"),
        ("MaxPool", {"kernel_shape": [2, 2, 0]}, (), r"requires 3 values of at least 1"),
        ("MaxPool", {"kernel_shape": [2, 1, 1], "pads": [2, 0, 0, 0, 0, 0]}, (), "requires pads smaller than"),
        ("AveragePool", {"kernel_shape": [9, 1, 1]}, (), "window of 9 does not fit 4 positions"),
        ("Conv", {"strides": [1, 1]}, (random(8, 4, 2, 2, 2),), r"strides=\[1,1\] unsupported; requires 3 values"),
        ("Conv", {"pads": [1, 1, 1, 1]}, (random(8, 4, 2, 2, 2),), "requires 6 values of at least 0"),
        ("Conv", {}, (random(8, 3, 2, 2, 2),), "requires group x weights"),
        ("Conv", {}, (random(8, 4, 2, 2),), "requires 5 dimensions"),
        ("Conv", {"kernel_shape": [3, 2, 2]}, (random(8, 4, 2, 2, 2),), r"requires \[2,2,2\]"),
        (
            "ConvTranspose",
            {"output_padding": [2, 0, 0]},
            (random(4, 8, 2, 2, 2),),
            "less than the stride or the dilation",
        ),
        ("ConvTranspose", {"pads": [5, 0, 0, 5, 0, 0]}, (random(4, 8, 2, 2, 2),), "requires at least 1"),
        ("LpPool", {"kernel_shape": [2, 2, 2], "ceil_mode": 1}, (), "requires"),
        (
            "Resize",
            {"mode": "linear"},
            (np.ones(5, np.float32),),
            "mode=linear of a volume unsupported; requires nearest",
        ),
    ],
)
def test_other_windows_are_refused_with_the_reason(
    op_type: str, attributes: dict[str, Any], weights: tuple[Array, ...], cause: str
) -> None:
    proto = one(op_type, [4, 5, 6], attributes, *weights)
    with pytest.raises(UserError, match=rf"node 'deep' \({op_type}\): .*{cause}"):
        import_model(proto.SerializeToString())
