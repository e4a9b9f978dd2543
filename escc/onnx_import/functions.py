"""Functions that a model defines itself: their calls are replaced by the nodes that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx

from escc.onnx_import.limits import MAX_CALL_DEPTH, MAX_FUNCTION_BYTES, MAX_NODES

_Key = tuple[str, str, str]


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _call_key(node: onnx.NodeProto) -> _Key:
    return _domain(node.domain), node.op_type, node.overload


def _described(key: _Key) -> str:
    return f"function '{'::'.join(part for part in key if part)}'"


@dataclass
class _Frame:
    """A call that is being expanded, or the graph itself (`key` None): nodes left, names and attributes inside it."""

    key: _Key | None
    nodes: Iterator[onnx.NodeProto]
    prefix: str
    names: dict[str, str]
    attributes: dict[str, onnx.AttributeProto]


class _Expansion:
    def __init__(self, model: onnx.ModelProto):
        self._functions: dict[_Key, onnx.FunctionProto] = {}
        for function in model.functions:
            key = (_domain(function.domain), function.name, function.overload)
            if self._functions.setdefault(key, function) is not function:
                raise ValueError(f"{_described(key)} is defined twice; requires one definition")
        self._opset = _opset(model.opset_import)
        self._domains = {_domain(o.domain) for o in model.opset_import}
        self._taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
        self._taken.update(info.name for info in (*model.graph.input, *model.graph.output))
        self._taken.update(tensor.name for tensor in model.graph.initializer)
        self._suffixes: dict[str, int] = {}
        self._bytes = 0

    def run(self, nodes: Iterable[onnx.NodeProto]) -> list[onnx.NodeProto]:
        """The nodes with every call expanded. Raises ValueError with the reason when that cannot be done."""
        result: list[onnx.NodeProto] = []
        frames = [_Frame(None, iter(nodes), "", {}, {})]
        steps = 0
        while frames:
            frame = frames[-1]
            node = next(frame.nodes, None)
            if node is None:
                frames.pop()
                continue
            steps += 1
            if steps > MAX_NODES:
                raise ValueError(f"its functions stand for more than {MAX_NODES:,} nodes; requires at most as many")
            node = node if frame.key is None else self._instance(frame, node)
            key = _call_key(node)
            if key not in self._functions:
                result.append(node)
                continue
            if any(f.key == key for f in frames):
                raise ValueError(f"{_described(key)} calls itself; requires functions without recursion")
            if len(frames) > MAX_CALL_DEPTH:
                raise ValueError(f"functions call one another {MAX_CALL_DEPTH} deep; requires a flatter model")
            frames.append(self._call(key, node))
        return result

    def _call(self, key: _Key, node: onnx.NodeProto) -> _Frame:
        function = self._functions[key]
        opset = _opset(function.opset_import)
        if opset not in (self._opset, None):
            raise ValueError(f"{_described(key)} uses opset {opset}; requires that of the model, {self._opset}")
        if key[0] not in self._domains:
            raise ValueError(f"{_described(key)} is of a domain without opset; requires an opset import of '{key[0]}'")
        for what, given, known in (("inputs", node.input, function.input), ("outputs", node.output, function.output)):
            if len(given) > len(known):
                raise ValueError(f"{_described(key)} is called with {len(given)} {what}; requires at most {len(known)}")
        names: dict[str, str] = dict.fromkeys(function.input, "")
        names.update(zip(function.input, node.input, strict=False))
        moved: list[onnx.NodeProto] = []
        for inner, outer in zip(function.output, node.output, strict=False):
            if not outer:
                continue
            if inner in function.input:  # a result that is an argument
                moved.append(onnx.helper.make_node("Identity", [inner], [f"{inner} of {outer}"]))
                names[f"{inner} of {outer}"] = outer
            else:
                names[inner] = outer
        attributes = {a.name: a for a in function.attribute_proto}
        attributes.update({a.name: a for a in node.attribute})
        return _Frame(key, iter([*function.node, *moved]), node.name, names, attributes)

    def _instance(self, frame: _Frame, node: onnx.NodeProto) -> onnx.NodeProto:
        """A node of a function as it stands in a call: names of the graph, attributes filled in."""
        self._bytes += node.ByteSize()
        if self._bytes > MAX_FUNCTION_BYTES:
            raise ValueError(f"its functions stand for nodes of more than {MAX_FUNCTION_BYTES:,} bytes; requires fewer")
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [self._renamed(frame, name) for name in node.input]
        copy.output[:] = [self._renamed(frame, name) for name in node.output]
        copy.name = "/".join(part for part in (frame.prefix, node.name) if part)
        del copy.attribute[:]
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                copy.attribute.append(attribute)
            elif (given := frame.attributes.get(attribute.ref_attr_name)) is not None:
                filled = copy.attribute.add()
                filled.CopyFrom(given)
                filled.name = attribute.name
        return copy

    def _renamed(self, frame: _Frame, name: str) -> str:
        if not name:
            return ""
        if name not in frame.names:
            base = "/".join(part for part in (frame.prefix, name) if part)
            fresh, n = base, self._suffixes.get(base, 1)
            while fresh in self._taken:
                fresh, n = f"{base}_{n}", n + 1
            self._suffixes[base] = n
            self._taken.add(fresh)
            frame.names[name] = fresh
        return frame.names[name]


def _opset(imports: Iterable[onnx.OperatorSetIdProto]) -> int | None:
    return next((int(o.version) for o in imports if _domain(o.domain) == ""), None)


def expand_functions(model: onnx.ModelProto) -> None:
    """Replace each call of a local function in the graph by the function's nodes, in place.

    Raises ValueError with the reason: recursion, more nodes than `MAX_NODES`, more arguments than the function has.
    """
    if not model.functions:
        return
    nodes = _Expansion(model).run(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.functions[:]
