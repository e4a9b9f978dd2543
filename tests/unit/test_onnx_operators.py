"""Every operator in its attribute and input forms: import, interpreter and canonicalisation against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_graphs import canonical, check, close, model, node, operations, random, reference

from dialects.interpreters.run import run_module
from escc.onnx_import import import_model

Draw = st.DataObject
few = settings(max_examples=25, deadline=None, derandomize=True)
opsets = st.integers(9, 23)
flag = st.booleans()


def upto(high: int, low: int = 1) -> st.SearchStrategy[int]:
    """An integer of [low, high]."""
    return st.integers(low, high)


def some(draw: Any, **choices: st.SearchStrategy[Any]) -> dict[str, Any]:
    """A random part of the given attributes."""
    return {name: draw(choice) for name, choice in choices.items() if draw(flag)}


@few
@given(st.data())
def test_conv(data: Draw) -> None:
    draw = data.draw
    group, cpg, mpg = draw(upto(3)), draw(upto(3)), draw(upto(3))
    kernel = [draw(upto(4)), draw(upto(4))]
    attributes = some(draw, strides=st.lists(upto(3), min_size=2, max_size=2), kernel_shape=st.just(kernel))
    auto = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""]))
    if auto:
        attributes["auto_pad"] = auto
    if auto in ("", "NOTSET"):
        attributes |= some(draw, pads=st.lists(upto(3, 0), min_size=4, max_size=4))
    if group > 1:
        attributes["group"] = group
    bias = draw(flag)
    constants = {"w": random(group * mpg, cpg, *kernel), "b": random(group * mpg, seed=3)}
    nodes = [node("Conv", ["x", "w", *["b"] * bias], ["y"], **attributes)]
    check(model(nodes, [1, group * cpg, draw(upto(9, 4)), draw(upto(9, 4))], constants, opset=draw(opsets)))


@few
@given(st.data())
def test_pools(data: Draw) -> None:
    draw = data.draw
    op, opset = draw(st.sampled_from(["MaxPool", "AveragePool"])), draw(opsets)
    kernel = [draw(upto(4)), draw(upto(4))]
    attributes = {"kernel_shape": kernel, **some(draw, strides=st.lists(upto(3), min_size=2, max_size=2))}
    auto = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""]))
    if auto:
        attributes["auto_pad"] = auto
    if auto.startswith("SAME"):
        # onnxruntime fails where a window is smaller than the stride.
        assume(all(s <= k for s, k in zip(attributes.get("strides", [1, 1]), kernel, strict=True)))
    if auto in ("", "NOTSET"):
        attributes |= some(draw, pads=st.tuples(*(upto(k - 1, 0) for k in kernel * 2)).map(list))
        if opset >= 10:
            attributes |= some(draw, ceil_mode=upto(1, 0))
    if op == "AveragePool":
        attributes |= some(draw, count_include_pad=upto(1, 0))
    check(model([node(op, ["x"], ["y"], **attributes)], [1, 2, draw(upto(9, 4)), draw(upto(9, 4))], opset=opset))


@few
@given(st.data())
def test_elementwise(data: Draw) -> None:
    draw, number = data.draw, st.floats(-2, 2, width=16)
    op = draw(st.sampled_from(["Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "HardSigmoid", "HardSwish"]))
    opset = max(draw(opsets), 14 if op == "HardSwish" else 9)
    attributes = some(draw, alpha=number) if op in ("LeakyRelu", "Elu", "HardSigmoid") else {}
    if op == "HardSigmoid":
        attributes |= some(draw, beta=number)
    nodes = [node(op, ["x"], ["z"], **attributes), node("Relu", ["z"], ["y"])]
    check(model(nodes, draw(st.sampled_from([[1, 3, 4, 5], [1, 7]])), opset=opset))


@few
@given(st.data())
def test_clip(data: Draw) -> None:
    draw = data.draw
    opset = draw(opsets)
    low, high = sorted(draw(st.tuples(st.floats(-2, 2, width=16), st.floats(-2, 2, width=16))))
    bounds = some(draw, min=st.just(low), max=st.just(high))
    if opset < 11:
        clip, constants = node("Clip", ["x"], ["z"], **bounds), {}
    else:
        clip = node("Clip", ["x", *(n if n in bounds else "" for n in ("min", "max"))], ["z"])
        constants = {n: np.asarray(v, np.float32) for n, v in bounds.items()}
    check(model([clip, node("Relu", ["z"], ["y"])], [1, 3, 4, 5], constants, opset=opset))


@few
@given(st.data())
def test_nothing_to_do(data: Draw) -> None:
    draw, opset = data.draw, data.draw(opsets)
    dropout = {"ratio": 0.25} if opset < 12 else {}
    nodes = [
        node("Identity", ["x"], ["i"]),
        node("Dropout", ["i", *(["r"] if opset >= 12 and draw(flag) else [])], ["d"], **dropout),
        node("Cast", ["d"], ["c"], to=1),
        node("Relu", ["c"], ["r0"]),
        node("Identity", ["r0"], ["y"]),
    ]
    proto = model(nodes, [1, 2, 3, 4], {"r": np.asarray(0.25, np.float32)}, opset=opset)
    assert operations(check(proto)) == ["Relu"]


@few
@given(st.data())
def test_arithmetic_with_constants(data: Draw) -> None:
    """Before, after and between Conv or Gemm, or alone."""
    draw = data.draw
    op = draw(st.sampled_from(["Add", "Sub", "Mul", "Div"]))
    is_map = draw(flag)
    shape = [1, 3, 4, 5] if is_map else [1, 3]
    form = st.sampled_from([[], [1], [3, 1, 1], [1, 3, 1, 1], [1, 1]] if is_map else [[], [1], [3], [1, 3]])
    kernel, pads = draw(upto(2)), [draw(upto(1, 0))] * 4
    constants = {"c": random(*draw(form)) + np.float32(3), "b": random(3, seed=5)}
    constants["w"] = random(3, 3, kernel, kernel) if is_map else random(3, 3)

    def layer(x: str, y: str) -> Any:
        return node("Conv", [x, "w", "b"], [y], pads=pads) if is_map else node("Gemm", [x, "w", "b"], [y])

    before, after = draw(flag), draw(flag)
    nodes = [layer("x", "l")] if before else []
    operands = ["l" if before else "x", "c"]
    nodes.append(node(op, operands[::-1] if op != "Div" and draw(flag) else operands, ["t"]))
    if after:
        nodes.append(layer("t", "k"))
    nodes.append(node("Relu", ["k" if after else "t"], ["y"]))
    module = check(model(nodes, shape, constants, opset=draw(opsets)))
    if before:
        assert operations(module).count("Conv") == 1 + after


@few
@given(st.data())
def test_batch_normalization(data: Draw) -> None:
    draw, opset = data.draw, data.draw(opsets)
    group = draw(st.sampled_from([1, 2, 4]))
    constants = {n: random(4, seed=i) for i, n in enumerate("sbm")} | {"v": np.abs(random(4, seed=4)) + np.float32(0.1)}
    constants["w"] = random(4, 4 // group, 3, 3)
    before, other = draw(flag), draw(flag)
    nodes = [node("Conv", ["x", "w"], ["c"], group=group, pads=[1, 1, 1, 1])] if before else []
    nodes.append(
        node("BatchNormalization", ["c" if before else "x", *"sbmv"], ["n"], **some(draw, epsilon=st.just(0.01)))
    )
    nodes.append(node("Conv", ["n", "w"], ["y"], group=group, strides=[2, 2]))
    nodes += [node("Relu", ["n"], ["r"]), node("Sum", ["n", "r"], ["z"])] if other else []
    module = check(model(nodes, [1, 4, 6, 6], constants, ["y", "z"] if other else ["y"], opset))
    assert operations(module).count("Conv") == (2 if before or other else 1)


@few
@given(st.data())
def test_slice_and_pad(data: Draw) -> None:
    draw, opset = data.draw, data.draw(opsets)
    shape, nodes, constants, source = [1, 4, 7, 8], [], dict[str, Any](), "x"
    for i in range(draw(upto(3))):
        axes = draw(st.lists(upto(3), unique=True, min_size=1, max_size=3))
        steps = [draw(upto(2)) if a > 1 and opset >= 10 else 1 for a in axes]
        starts = [draw(upto(2, -3)) for _ in axes]
        ends = [draw(st.sampled_from([2**31 - 1, 2**62, 20, -1, 4])) for _ in axes]
        signed = [a - 4 if draw(flag) else a for a in axes]
        if opset < 10:
            nodes.append(node("Slice", [source], [f"s{i}"], starts=starts, ends=ends, axes=signed))
        else:
            names = [f"{n}{i}" for n in ("starts", "ends", "axes", "steps")]
            constants |= dict(zip(names, map(np.asarray, (starts, ends, signed, steps)), strict=True))
            nodes.append(node("Slice", [source, *names[: 4 if set(steps) != {1} or draw(flag) else 3]], [f"s{i}"]))
        for a, s, e, k in zip(axes, starts, ends, steps, strict=True):
            shape[a] = len(range(*slice(s, e, k).indices(shape[a])))
        assume(min(shape) > 0)
        source = f"s{i}"
    pads = [0, *(draw(upto(2, 0)) for _ in range(3)), 0, *(draw(upto(2, 0)) for _ in range(3))]
    if opset < 11:
        nodes.append(node("Pad", [source], ["p"], pads=pads))
    elif opset < 18 or draw(flag):
        constants["pads"] = np.asarray(pads)
        nodes.append(node("Pad", [source, "pads", ""], ["p"], mode="constant"))
    else:
        constants |= {"pads": np.asarray([pads[3], pads[1], pads[7], pads[5]]), "which": np.asarray([-1, 1])}
        nodes.append(node("Pad", [source, "pads", "", "which"], ["p"]))
    nodes.append(node("Relu", ["p"], ["y"]))
    names = operations(check(model(nodes, [1, 4, 7, 8], constants, opset=opset)))
    assert names.count("Slice") <= 1


@few
@given(st.data())
def test_classifier(data: Draw) -> None:
    """Flatten in all its forms, Gemm and MatMul with all their attributes, Softmax."""
    draw, opset = data.draw, data.draw(opsets)
    shape = draw(st.sampled_from([[1, 3, 4, 5], [1, 5, 1, 1], [1, 6]]))
    nodes, constants, source, k = [], dict[str, Any](), "x", int(np.prod(shape))
    if len(shape) == 4:
        if draw(flag):
            nodes.append(node("Transpose", [source], ["t"], perm=[0, 2, 3, 1]))
            source = "t"
        form = draw(st.sampled_from(["flatten", "reshape", "squeeze"]))
        if form == "squeeze" and (source == "t" or shape[2] != 1):
            form = "flatten"
        if form == "reshape":
            constants["shape"] = np.asarray([draw(st.sampled_from([0, 1])), -1])
            nodes.append(node("Reshape", [source, "shape"], ["f"]))
        elif form == "flatten":
            nodes.append(node("Flatten", [source], ["f"], **some(draw, axis=st.just(1))))
        elif opset < 13:
            nodes.append(node("Squeeze", [source], ["f"], axes=[2, 3]))
        else:
            constants["axes"] = np.asarray([2, -1])
            nodes.append(node("Squeeze", [source, "axes"], ["f"]))
        source = "f"
    for i in range(draw(upto(3))):
        n, y = draw(upto(5)), f"y{i}"
        if draw(flag):
            attributes = some(
                draw, transB=st.just(1), alpha=st.sampled_from([0.5, -2.0]), beta=st.sampled_from([0.5, 0.0])
            )
            constants[f"w{i}"] = random(*((n, k) if "transB" in attributes else (k, n)), seed=i)
            form = draw(st.sampled_from([[n], [1, n], [1], [], None]))
            if form is None and opset < 11:
                form = [n]
            if form is not None:
                constants[f"b{i}"] = random(*form, seed=9)
            nodes.append(node("Gemm", [source, f"w{i}", *[f"b{i}"] * (form is not None)], [y], **attributes))
        else:
            constants |= {f"w{i}": random(k, n, seed=i), f"b{i}": random(n, seed=8)}
            nodes += [node("MatMul", [source, f"w{i}"], [f"m{i}"]), node("Add", [f"b{i}", f"m{i}"], [y])]
        nodes.append(node("Relu", [y], [f"r{i}"]))
        source, k = f"r{i}", n
    nodes.append(node("Softmax", [source], ["y"], **some(draw, axis=st.just(1))))
    module = check(model(nodes, shape, constants, ["y", source] if draw(flag) else ["y"], opset))
    assert set(operations(module)) <= {"Conv", "Relu", "Reshape", "Softmax"}


@few
@given(st.data())
def test_reductions(data: Draw) -> None:
    draw, opset = data.draw, data.draw(opsets)
    op = draw(st.sampled_from(["ReduceMean", "GlobalAveragePool", "GlobalMaxPool"]))
    if op == "ReduceMean":
        axes = draw(st.sampled_from([[2, 3], [-1, -2], [3, 2], [2], [3]]))
        attributes = {"keepdims": 1} if len(axes) == 1 else some(draw, keepdims=upto(1, 0))
        if opset < 18:
            reduction = node(op, ["x"], ["y"], axes=axes, **attributes)
        else:
            reduction = node(op, ["x", "axes"], ["y"], **attributes)
        proto = model([reduction], [1, 3, 5, 6], {"axes": np.asarray(axes)} if opset >= 18 else {}, opset=opset)
    else:
        proto = model([node(op, ["x"], ["y"])], [1, 3, 5, 6], opset=opset)
    assert set(operations(check(proto))) <= {"AveragePool", "MaxPool", "Reshape"}


@few
@given(st.data())
def test_pad_folds_into_windows(data: Draw) -> None:
    draw = data.draw
    op = draw(st.sampled_from(["MaxPool", "AveragePool", "Conv"]))
    pads = [draw(upto(2, 0)) for _ in range(4)]
    own = [draw(upto(2 - p, 0)) for p in pads]
    ceil = draw(upto(1, 0))
    lowest = op == "MaxPool" and not ceil and draw(flag)  # onnxruntime starts its maximum at the lowest finite float
    constants = {
        "p": np.asarray([0, 0, *pads[:2], 0, 0, *pads[2:]]),
        "v": np.asarray(-np.inf if lowest else 0, np.float32),
        "w": random(2, 3, 3, 3),
    }
    attributes: dict[str, Any] = {} if op == "Conv" else {"kernel_shape": [3, 3], "ceil_mode": ceil}
    if op == "AveragePool":
        attributes["count_include_pad"] = draw(upto(1, 0))
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Pad", ["r", "p", "v"], ["q"]),
        node(op, ["q", *["w"] * (op == "Conv")], ["y"], pads=own, strides=[2, 2], **attributes),
    ]
    proto = model(nodes, [1, 3, 7, 8], constants, opset=draw(upto(23, 11)))
    names = operations(check(proto, legal=False))
    if op == "Conv" or (op == "MaxPool" and not ceil):
        assert "Pad" not in names


@pytest.mark.parametrize("opset", [9, 11, 13, 21, 23])
def test_concat_add_and_unsqueeze(opset: int) -> None:
    constants = {"w": random(2, 3, 1, 1), "a": np.asarray([2, 3]), "k": random(4, 7)}
    unsqueeze = node("Unsqueeze", ["f"], ["u"], axes=[2, 3]) if opset < 13 else node("Unsqueeze", ["f", "a"], ["u"])
    nodes = [
        node("Conv", ["x", "w"], ["c"]),
        node("Relu", ["c"], ["r"]),
        node("Concat", ["c", "r"], ["j"], axis=-3 if opset >= 11 else 1),
        node("Add", ["j", "j"], ["s"]),
        node("Sub", ["s", "j"], ["d"]),
        node("GlobalAveragePool", ["d"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        unsqueeze,
        node("Relu", ["u"], ["v"]),
        node("MatMul", ["f", "k"], ["m"]),
        node("Concat", ["m", "f"], ["y"], axis=1),
    ]
    check(model(nodes, [1, 3, 4, 5], constants, ["y", "v"], opset))


def test_matmul_on_positions_is_a_1x1_conv() -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        node("MatMul", ["t", "w"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Transpose", ["a"], ["y"], perm=[0, 3, 1, 2]),
    ]
    assert operations(check(model(nodes, [1, 3, 4, 5], {"w": random(3, 6), "b": random(6)}))) == ["Conv"]


def test_channels_last_model() -> None:
    """As converters write it: NHWC input and output, transposes around each Conv, constants along the last axis."""
    constants = {
        "scale": random(1, 1, 1, 3),
        "w": random(4, 3, 3, 3),
        "b": random(4),
        "pads": np.asarray([0, 1, 1, 0, 0, 0, 0, 0]),
        "v": random(5, 4, 3, 3),
        "axes": np.asarray([1, 2]),
        "k": random(5, 6),
    }
    nodes = [
        node("Mul", ["x", "scale"], ["n"]),
        node("Transpose", ["n"], ["t0"], perm=[0, 3, 1, 2]),
        node("Conv", ["t0", "w"], ["c0"], pads=[1, 1, 1, 1]),
        node("Transpose", ["c0"], ["t1"], perm=[0, 2, 3, 1]),
        node("Add", ["t1", "b"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Pad", ["r", "pads"], ["p"]),
        node("Transpose", ["p"], ["t2"], perm=[0, 3, 1, 2]),
        node("Conv", ["t2", "v"], ["c1"], strides=[2, 2]),
        node("Transpose", ["c1"], ["t3"], perm=[0, 2, 3, 1]),
        node("Identity", ["t3"], ["map"]),
        node("ReduceMean", ["t3"], ["g"], axes=[1, 2], keepdims=0),
        node("MatMul", ["g", "k"], ["y"]),
    ]
    proto = model(nodes, ["N", 8, 8, 3], constants, ["y", "map"])
    x = random(1, 8, 8, 3)
    want = reference(proto, x)
    module = import_model(proto.SerializeToString())
    close(run_module(module, [x.transpose(0, 3, 1, 2)]), want)
    close(run_module(canonical(module), [x.transpose(0, 3, 1, 2)]), want)
    assert operations(module) == ["Conv", "Relu", "Conv", "Transpose", "AveragePool", "Conv", "Reshape"]
    assert 'input_layouts = ["NHWC"]' in str(module)
