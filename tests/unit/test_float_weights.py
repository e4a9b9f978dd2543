"""The number of weights that compression is measured against, from the ONNX file to the report of the binary."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx_graphs import model, node, random

from escc.cli.compile import main
from escc.onnx_import import import_model
from isa.assembly import parse_assembly, print_assembly
from isa.container import read_elf
from isa.errors import UserError
from passes.analysis.original_weight_count import float_weights, recorded

KEY = "escc.float_weights"


def network(metadata: str | None) -> onnx.ModelProto:
    """A convolution of 8 * 3 * 9 = 216 weights and a bias."""
    proto = model(
        [node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1]), node("Relu", ["c"], ["y"])],
        [1, 3, 6, 6],
        {"w": random(8, 3, 3, 3), "b": random(8)},
    )
    if metadata is not None:
        proto.metadata_props.add(key=KEY, value=metadata)
    return proto


@pytest.mark.parametrize(("metadata", "weights"), [(None, 216), ("12345", 12345)])
def test_from_the_file_to_the_report(
    metadata: str | None, weights: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, binary, report = (tmp_path / name for name in ("m.onnx", "m.bin", "m.json"))
    onnx.save(network(metadata), source)
    assert main([str(source), "-o", str(binary), "--report", str(report), "--scheme", "escalate"]) == 0
    assert f"than {4 * weights:,} of float32 weights" in capsys.readouterr().err
    program = read_elf(binary.read_bytes())
    assert program.original_weights == weights
    assert parse_assembly(print_assembly(program)) == program
    data = json.loads(report.read_text())
    totals, (layer,) = data["totals"], data["layers"]
    assert totals["weights"] == weights
    assert totals["compression"] == 4 * weights / len(program.rodata)
    assert totals["bits_per_weight"] == 8 * len(program.rodata) / weights
    assert 0 < layer["coefficient_bytes"] < layer["packed_bytes"]
    assert 0 < layer["coefficient_entropy_bytes"] < layer["entropy_bytes"]
    for name in ("coefficients", "density", "coefficient_bytes", "coefficient_entropy_bytes", "entropy_bytes"):
        assert totals[name] == pytest.approx(layer[name])


def test_the_weights_of_level_esc_count_where_none_are_recorded(tmp_path: Path) -> None:
    source = tmp_path / "m.onnx"
    onnx.save(network(None), source)
    from dialects.interpreters.run import main_function
    from escc.irtext import make_context, parse_module

    for scheme in ("dense", "escalate"):
        text = tmp_path / "m.mlir"
        passes = f'onnx-canonicalize,onnx-legalize,quantize,fuse-epilogues,decompose-conv{{scheme="{scheme}"}}'
        assert main([str(source), "-p", passes, "--emit", "esc", "-o", str(text), "-q"]) == 0
        function = main_function(parse_module(make_context(), text.read_bytes(), "m"))
        assert recorded(function) is None
        assert float_weights(function) == 216


@pytest.mark.parametrize("text", ["", "0", "-3", "1.5", "many", "9" * 40, "١٢"])
def test_metadata_that_is_no_count(text: str) -> None:
    with pytest.raises(UserError, match=KEY):
        import_model(network(text).SerializeToString())
