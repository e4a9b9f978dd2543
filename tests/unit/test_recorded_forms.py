"""Weights that are made of something smaller: an exported model says so, and an imported one is made of the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper
from test_circulant_form import random_blocks
from test_codebook import random_codes
from test_gather import random_weights
from test_onnx_export import compiled, integers, run_onnx
from test_smartexchange_form import random_sums
from tile_models import Graph
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Dialect, SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, prop_def

from dialects import esc
from dialects.blob import DenseAttr
from dialects.esc_base import AccumulatorOp, Flow, Mask
from dialects.esc_circulant import CirculantConv2dOp
from dialects.esc_codebook import CodebookConv2dOp
from dialects.esc_gather import GatherConv2dOp
from dialects.esc_smartexchange import SmartExchangeConv2dOp
from dialects.interpreters.run import main_function, run_module
from dialects.rebuilt import RebuiltConv2d
from escc.onnx_export import export_model
from escc.onnx_import import import_model
from escc.recorded_forms import PREFIX, from_text, to_text
from isa.errors import UserError
from isa.gather import Banking
from isa.smartexchange import least_shift
from passes.decompose_conv import DecomposeConvPass

WINDOW = (1, 1), (1, 1, 1, 1)
FORMS = ("circulant", "codebook", "fast", "own", "smartexchange")
"""Those that not all weights have; any weights can be gathered."""


def network(form: str, seed: int = 1) -> ModuleOp:
    """Two convolutions, of which the second one is of a form."""
    g = Graph(6, 6, 3, seed=seed)
    x = g.conv(g.x, 8)
    shape = 10, 3, 3, 8
    op: RebuiltConv2d
    if form == "sparse":
        op = GatherConv2dOp(x, random_weights(seed, shape), *WINDOW, Banking(7, 4, 1))
    elif form in ("circulant", "fast"):
        op = CirculantConv2dOp(x, random_blocks(seed, shape, 4), 10, *WINDOW, form == "fast")
    elif form == "codebook":
        op = CodebookConv2dOp(x, *random_codes(seed, shape, (3, 1), 20), *WINDOW)
    else:
        t, vectors = random_sums(seed, shape, (3, 1), 3, form == "own")
        op = SmartExchangeConv2dOp(x, t, vectors, least_shift(t, vectors), *WINDOW)
    return g.module(g.requantize(g.append(op), signed=True))


def form_of(module: ModuleOp) -> AccumulatorOp:
    """The last convolution."""
    return [op for op in main_function(module).body.block.ops if isinstance(op, AccumulatorOp)][-1]


@pytest.mark.parametrize("form", [*FORMS, "sparse"])
def test_a_network_that_is_exported_and_imported_has_the_same_form(form: str) -> None:
    proto = export_model(compiled(export_model(network(form)).SerializeToString()))
    again = compiled(proto.SerializeToString())
    assert isinstance(form_of(again), RebuiltConv2d) and form_of(again).name == form_of(network(form)).name
    assert integers(again) == integers(compiled(export_model(again).SerializeToString()))
    x = np.random.default_rng(2).integers(-128, 128, (1, 3, 6, 6)).astype(np.float32)
    for a, b in zip(run_onnx(proto, [x]), run_module(again, [x]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_scheme_that_is_asked_for_says_what_it_leaves_alone(tmp_path: Path) -> None:
    module = compiled(export_model(network("codebook")).SerializeToString())
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((8, 3, 6, 6)).astype(np.float32))
    with pytest.warns(UserWarning, match=r"scheme 'escalate': layers that are compressed already .* \(1 of them\)"):
        DecomposeConvPass(scheme="escalate", calibration=str(tmp_path / "x.npy")).apply(Context(), module)
    assert form_of(module).name == "esc.codebook_conv2d"


@irdl_op_definition
class OtherConv2dOp(RebuiltConv2d):
    """A convolution of another package, whose weights are twice its `halves` int8 [K, R, S, C]."""

    name = "other.conv2d"
    halves = prop_def(DenseAttr)
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    @property
    def kernel(self) -> tuple[int, int]:
        return self.halves.array.shape[1], self.halves.array.shape[2]

    @property
    def weight(self) -> NDArray[np.int8]:
        return (self.halves.array.astype(np.int8) * 2).astype(np.int8)

    @property
    def coded(self) -> DenseAttr:
        return self.halves

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        yield self.input, np.ones(self.halves.array.shape[3], np.bool_)

    def drop_channels(self, flow: Flow) -> bool:
        return False


def test_a_form_of_another_package_comes_back_where_its_dialect_is_known() -> None:
    g = Graph(6, 6, 3, seed=1)
    x = g.conv(g.x, 8)
    halves = np.random.default_rng(1).integers(-60, 60, (10, 3, 3, 8)).astype(np.int8)
    plain = CodebookConv2dOp(x, *random_codes(1, halves.shape, (3, 1), 20), *WINDOW)
    form = {"halves": DenseAttr.of(halves)}
    op = OtherConv2dOp.of_form(x, form, (2 * halves).astype(np.int8), *WINDOW)
    assert op is not None and op.output.type == plain.output.type
    data = export_model(g.module(g.requantize(g.append(op), signed=True))).SerializeToString()
    assert not isinstance(form_of(compiled(data)), RebuiltConv2d), "nothing knows what it is"
    known = Context()
    known.register_dialect("other", lambda: Dialect("other", [OtherConv2dOp]))
    again = form_of(compiled(data, "quantize", context=known))
    assert isinstance(again, OtherConv2dOp) and np.array_equal(again.weight, op.weight)


@pytest.mark.parametrize("form", FORMS)
def test_weights_that_were_changed_are_dense(form: str) -> None:
    proto = export_model(network(form))
    weights = next(t for t in reversed(proto.graph.initializer) if t.name.endswith("/integers"))
    values = numpy_helper.to_array(weights).copy()
    values.flat[0] = 5 if values.flat[0] != 5 else 6
    weights.CopyFrom(numpy_helper.from_array(values, weights.name))
    assert isinstance(form_of(compiled(proto.SerializeToString())), esc.Conv2dOp)


@given(st.sampled_from(FORMS), st.integers(0, 99))
def test_text_of_a_form_reads_back(form: str, seed: int) -> None:
    op = form_of(network(form, seed))
    assert isinstance(op, RebuiltConv2d)
    found = dict(from_text(to_text(op)).data)
    assert found.pop("operation").data == op.name  # type: ignore[attr-defined]
    assert found == op.form


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{", "it is no JSON"),
        ("[]", "it is no JSON object"),
        ('{"operation": 1, "values": {}}', "it needs exactly 'operation' and 'values'"),
        ('{"operation": "a", "values": {"operation": 1}}', "value 'operation' has the name of another part"),
        ('{"operation": "a", "values": {"x": 1.5}}', "value 'x' is neither an integer nor a constant"),
        ('{"operation": "a", "values": {"x": {"shape": [1]}}}', "value 'x' needs exactly 'shape' and 'int8'"),
        ('{"operation": "a", "values": {"x": {"shape": [0], "int8": ""}}}', "value 'x' has a shape that is none"),
        ('{"operation": "a", "values": {"x": {"shape": [1], "int8": "?"}}}', "value 'x' is no base64"),
        (
            '{"operation": "a", "values": {"x": {"shape": [9], "int8": "AA=="}}}',
            "value 'x' has 1 bytes for a shape of 9",
        ),
    ],
)
def test_text_that_is_no_form_is_refused_by_name(text: str, cause: str) -> None:
    proto = export_model(network("codebook"))
    entry = next(e for e in proto.metadata_props if e.key.startswith(PREFIX))
    entry.value = text
    with pytest.raises(UserError, match=f"metadata '{PREFIX}.*' does not describe weights: {cause}"):
        import_model(proto.SerializeToString())


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "esc.conv2d"},
        {"operation": "esc.nothing"},
        {"values": {}},
        {"values": {"codes": 1, "book": 1}},
        {"values": {key: {"shape": [1], "int8": "AQ=="} for key in ("codes", "book")}},
        {"values": {"codes": {"shape": [1, 1, 1, 1], "int8": "AQ=="}, "book": {"shape": [1, 1, 1], "int8": "AQ=="}}},
        {"operation": "esc.circulant_conv2d", "values": {"values": {"shape": [1] * 5, "int8": "AQ=="}, "channels": 0}},
    ],
)
def test_a_form_that_does_not_give_the_weights_is_not_used(change: dict[str, object]) -> None:
    proto: onnx.ModelProto = export_model(network("codebook"))
    entry = next(e for e in proto.metadata_props if e.key.startswith(PREFIX))
    entry.value = json.dumps({**json.loads(entry.value), **change})
    assert isinstance(form_of(compiled(proto.SerializeToString())), esc.Conv2dOp)
