"""Resize, ConvTranspose, blocks of channels, repeated rows and columns against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx_graphs import check, model, node, operations, random

from escc.onnx_import import import_model
from isa.errors import UserError

RESIZE = {"roi": np.zeros(0, np.float32)}
POOL = {"kernel_shape": [2, 2]}
MODES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")


def resize(shape: list[int], sizes: list[int] | None = None, scales: list[float] | None = None, **attributes: Any):
    """A Resize behind an activation function."""
    inputs = ["a", "roi", "scales"] if scales else ["a", "roi", "", "sizes"]
    constants = {**RESIZE, "scales": np.array(scales, np.float32)} if scales else {**RESIZE, "sizes": np.array(sizes)}
    nodes = [node("Relu", ["x"], ["a"]), node("Resize", inputs, ["y"], **attributes)]
    return model(nodes, shape, constants, opset=18)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    out=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    mode=st.sampled_from(MODES),
    rounding=st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
)
@example(size=(1, 7), out=(1, 2), mode="asymmetric", rounding="round_prefer_ceil")  # just below a half
def test_nearest_values(size: tuple[int, int], out: tuple[int, int], mode: str, rounding: str) -> None:
    proto = resize(
        [1, 3, *size], [1, 3, *out], mode="nearest", coordinate_transformation_mode=mode, nearest_mode=rounding
    )
    assert set(operations(check(proto))) <= {"Relu", "Take"}


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    factors=st.tuples(*[st.sampled_from([(1, 1), (2, 1), (3, 1), (4, 1), (8, 1), (3, 2), (1, 2), (2, 3)])] * 2),
    mode=st.sampled_from(MODES),
    kind=st.sampled_from(["linear", "cubic"]),
)
def test_interpolated_values(size: tuple[int, int], factors: tuple[tuple[int, int], ...], mode: str, kind: str) -> None:
    shape, out = [1, 2], [1, 2]
    for d, (up, down) in zip(size, factors, strict=True):
        shape.append(d * down)
        out.append((d * down - 1) * up + 1 if mode == "align_corners" else d * up)
    proto = resize(shape, out, mode=kind, coordinate_transformation_mode=mode)
    check(proto, tolerance=1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize(("shape", "kinds"), [([1, 2, 1, 1], ["Take"] * 2), ([1, 2, 1, 40], ["Take"])])
def test_one_value_for_all(mode: str, shape: list[int], kinds: list[str]) -> None:
    assert operations(check(resize(shape, [1, 2, 50, 40], mode=mode))) == ["Relu", *kinds]


@pytest.mark.parametrize("scales", [[1, 1, 2, 2], [1, 1, 0.6, 1.6], [1, 1, 3, 1]])
@pytest.mark.parametrize("opset", [7, 9, 10, 11])
def test_scales_of_every_opset(scales: list[float], opset: int) -> None:
    values = np.array(scales, np.float32)
    if opset == 7:
        if min(scales) < 1:
            return
        last = node("Upsample", ["a"], ["y"], scales=[float(s) for s in scales], mode="nearest")
    elif opset == 9:
        if min(scales) < 1:
            return
        last = node("Upsample", ["a", "scales"], ["y"], mode="nearest")
    else:
        last = node("Resize", ["a", "scales"] if opset == 10 else ["a", "roi", "scales"], ["y"], mode="nearest")
    nodes = [node("Relu", ["x"], ["a"]), last]
    check(model(nodes, [1, 3, 5, 10], {**RESIZE, "scales": values}, opset=opset))


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    extra=st.integers(0, 2),
    group=st.sampled_from([1, 2, 4]),
    dilation=st.integers(1, 2),
    auto=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
)
def test_transposed_convolutions(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: list[int],
    extra: int,
    group: int,
    dilation: int,
    auto: str,
) -> None:
    size = (4, 5)
    attributes: dict[str, Any] = {"strides": strides, "group": group, "dilations": [dilation] * 2}
    padding = [min(extra, s - 1) for s in strides]
    if auto == "NOTSET":
        attributes |= {"pads": pads, "output_padding": padding}
    else:
        attributes |= {"auto_pad": auto}
    for i in (0, 1):
        whole = strides[i] * (size[i] - 1) + (kernel[i] - 1) * dilation + 1
        if whole + padding[i] - pads[i] - pads[2 + i] < 1 or (auto.startswith("SAME") and whole < size[i] * strides[i]):
            return
    weights = {"w": random(4, 8 // group, *kernel), "b": random(8)}
    last = node("ConvTranspose", ["x", "w", "b"], ["y"], **attributes)
    check(model([last], [1, 4, *size], weights))


def test_an_output_shape_of_a_transposed_convolution() -> None:
    last = node("ConvTranspose", ["x", "w"], ["y"], strides=[3, 2], output_shape=[10, 8])
    check(model([last], [1, 2, 3, 3], {"w": random(2, 3, 3, 3)}))


@pytest.mark.parametrize(("group", "axis"), [(1, 1), (2, 1), (1, None), (2, None)])
def test_transposed_weights_that_are_stored_as_integers(group: int, axis: int | None) -> None:
    rng = np.random.default_rng(0)
    each = 4 // group
    constants = {
        "q": rng.integers(-127, 127, (4, each, 3, 3)).astype(np.int8),
        "s": rng.uniform(0.01, 0.1, each if axis else ()).astype(np.float32),
        "z": np.zeros(each if axis else (), np.int8),
    }
    nodes = [
        node("DequantizeLinear", ["q", "s", "z"], ["w"], **({"axis": 1} if axis else {})),
        node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1], group=group),
    ]
    module = check(model(nodes, [1, 4, 5, 4], constants))
    assert "DequantizeLinear" in operations(module)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_channels_as_positions_and_back(mode: str, block: int) -> None:
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("DepthToSpace", ["r"], ["a"], blocksize=block, mode=mode),
        node("SpaceToDepth", ["a"], ["b"], blocksize=block),
        node("Relu", ["b"], ["y"]),
    ]
    check(model(nodes, [1, 36, 3, 4]))


@pytest.mark.parametrize(
    ("split", "perm", "joined", "kinds"),
    [
        ([1, 3, 2, 4, 6, 4], [0, 3, 4, 1, 5, 2], [1, 4, 18, 8], ["DepthToSpace"]),
        ([1, 4, 3, 2, 6, 4], [0, 1, 4, 2, 5, 3], [1, 4, 18, 8], ["ChannelShuffle", "DepthToSpace"]),
        ([1, 24, 3, 2, 2, 2], [0, 3, 5, 1, 2, 4], [1, 96, 3, 2], [*["Slice"] * 4, "Concat"]),
        ([1, 24, 3, 2, 2, 2], [0, 1, 3, 5, 2, 4], [1, 96, 3, 2], [*["Slice"] * 4, "Concat", "ChannelShuffle"]),
    ],
)
def test_blocks_that_are_spelled_as_reshapes(
    split: list[int], perm: list[int], joined: list[int], kinds: list[str]
) -> None:
    nodes = [
        node("Reshape", ["x", "split"], ["a"]),
        node("Transpose", ["a"], ["b"], perm=perm),
        node("Reshape", ["b", "joined"], ["c"]),
        node("Relu", ["c"], ["y"]),
    ]
    proto = model(nodes, [1, 24, 6, 4], {"split": np.array(split), "joined": np.array(joined)})
    assert operations(check(proto)) == [*kinds, "Relu"]


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_pads_that_repeat_values(mode: str) -> None:
    nodes = [node("Pad", ["x", "pads"], ["a"], mode=mode), node("Relu", ["a"], ["y"])]
    check(model(nodes, [1, 3, 5, 4], {"pads": np.array([0, 1, 2, 0, 0, 0, 1, 3])}, opset=19))


@pytest.mark.parametrize(
    ("extents", "starts", "ends", "axes", "steps"),
    [
        ([6, 5, 7], [-1], [-(2**63)], [1], [-1]),
        ([6, 5, 7], [4, 5], [-9, 0], [2, 3], [-1, -2]),
        ([6, 5, 7], [0, 1, 9], [6, 4, 1], [1, 2, 3], [2, 1, -3]),
        ([6, 5, 7], [0, 1], [1, 2**63 - 1], [0, 1], [1, 3]),
        ([6, 7], [5], [-8], [2], [-1]),
        ([6], [0], [9], [1], [2]),
    ],
)
def test_slices_backwards_and_of_some_channels(
    extents: list[int], starts: list[int], ends: list[int], axes: list[int], steps: list[int]
) -> None:
    constants = {name: np.asarray(v) for name, v in zip("seap", (starts, ends, axes, steps), strict=True)}
    check(model([node("Relu", ["x"], ["r"]), node("Slice", ["r", *"seap"], ["y"])], [1, *extents], constants))


@pytest.mark.parametrize("pads", [[0, 0, -1, 2, 0, 0, 1, -3], [0, -1, -1, 0, 0, -1, -2, 0], [0, 1, 0, -2, 0, 0, 0, 2]])
def test_negative_pads_leave_values_out(pads: list[int]) -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Pad", ["r", "pads"], ["p"]), node("MaxPool", ["p"], ["y"], **POOL)]
    check(model(nodes, [1, 4, 6, 7], {"pads": np.asarray(pads)}))


def test_expand_tile_and_gather() -> None:
    nodes = [
        node("GlobalAveragePool", ["x"], ["m"]),
        node("Expand", ["m", "shape"], ["a"]),
        node("Tile", ["a", "twice"], ["b"]),
        node("Gather", ["b", "rows"], ["c"], axis=2),
        node("Gather", ["c", "channels"], ["d"], axis=1),
        node("Relu", ["d"], ["y"]),
    ]
    constants = {
        "shape": np.array([1, 1, 3, 4]),
        "twice": np.array([1, 2, 1, 2]),
        "rows": np.array([2, 0, -1, 1]),
        "channels": np.array([4, 5, 0, -1]),
    }
    check(model(nodes, [1, 3, 6, 5], constants))


@pytest.mark.parametrize(
    ("last", "constants", "reason"),
    [
        (node("Resize", ["x", "roi", "", "sizes"], ["y"], mode="linear"), [1, 3, 47, 31], "in 1457 phases; requires"),
        (node("Resize", ["x", "roi", "", "sizes"], ["y"]), [1, 6, 5, 4], "requires unchanged batch and channels"),
        (
            node("Resize", ["x", "roi", "", "sizes"], ["y"], coordinate_transformation_mode="tf_crop_and_resize"),
            [1, 3, 5, 8],
            "coordinate_transformation_mode=tf_crop_and_resize unsupported",
        ),
        (node("Pad", ["x", "sizes"], ["y"], mode="reflect"), [0, 0, 10, 0, 0, 0, 0, 0], "pads below the extents"),
        (node("DepthToSpace", ["x"], ["y"], blocksize=2), [1], "blocksize=2 of 3 channels"),
        (node("Tile", ["x", "sizes"], ["y"]), [2, 1, 1, 1], "requires C, H and W"),
        (node("ConvTranspose", ["x", "w"], ["y"], group=2), [1], "requires group dividing weights[0]"),
    ],
)
def test_what_is_refused(last: onnx.NodeProto, constants: list[int], reason: str) -> None:
    proto = model([last], [1, 3, 10, 4], {**RESIZE, "sizes": np.array(constants), "w": random(3, 2, 3, 3)}, opset=18)
    with pytest.raises(UserError) as found:
        import_model(proto.SerializeToString())
    assert reason in str(found.value)
