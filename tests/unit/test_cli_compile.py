"""Options of `escc` that need no whole compilation; how fast it answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from escc.cli.compile import main
from escc.cli.compile_options import idle_options, make_parser
from escc.universe import multiverse

ESC = """
builtin.module {
  func.func @main(%x : tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32> {
    %q = esc.quantize %x : tensor<1x1x2x2xf32> -> tensor<1x2x2x1x!esc.q<u8, 0.5>>
    %y = esc.dequantize %q : tensor<1x2x2x1x!esc.q<u8, 0.5>> -> tensor<1x1x2x2xf32>
    func.return %y : tensor<1x1x2x2xf32>
  }
}
"""


@pytest.fixture
def esc_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("a.mlir").write_text(ESC)
    return "a.mlir"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom escc.cli.compile import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'onnx', 'xdsl', 'numba', 'torch', 'lark'} & set(sys.modules)\nassert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout and "exit codes:" in done.stdout


def test_every_option_is_documented() -> None:
    information = {"--help", "--version", "--dump-pass-pipeline", "--supported-ops", "--list-targets", "--print-target"}
    for action in make_parser()._actions:
        if action.option_strings and not information & set(action.option_strings):
            assert action.help and "default" in action.help, action.option_strings
            assert action.nargs == 0 or "example" in action.help, action.option_strings


def usage(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    with pytest.raises(SystemExit) as e:
        main(argv)
    assert e.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[1].startswith("note: ")
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        ((), "MODEL"),
        (("-",), "-o FILE"),
        (("m.onnx", "--emit", "elf"), "invalid choice: 'elf'"),
        (("m.onnx", "--basis", "0"), "positive integer"),
        (("m.onnx", "--percentile", "40"), "above 50"),
        (("m.onnx", "--tolerance", "-1"), "not below 0"),
        (("m.onnx", "--image-mean", "1;2"), "separated by commas"),
        (("m.onnx", "--image-mean", "1,nan"), "finite"),
        (("m.onnx", "--image-std", "1,0"), "other than 0"),
        (("m.onnx", "--report", "r.txt"), ".json or .html"),
        (("m.onnx", "-p", "nonsense"), "no pass 'nonsense'"),
        (("m.onnx", "--print-ir-after", "nonsense"), "no pass 'nonsense'"),
        (("m.onnx", "--scheme", "nonsense"), "'nonsense'"),
        (("m.onnx", "-v", "-q"), "not allowed with"),
    ],
)
def test_usage_errors(argv: tuple[str, ...], cause: str, capsys: pytest.CaptureFixture[str], esc_file: str) -> None:
    Path("m.onnx").write_bytes(b"")
    assert cause in usage(capsys, *argv)


def test_targets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--list-targets"]) == 0
    assert capsys.readouterr().out.startswith("esc1 ")
    assert main(["--print-target"]) == 0
    printed = capsys.readouterr().out
    assert "[array]" in printed and "blocks = 32" in printed
    comments = [line for line in printed.splitlines() if line.startswith("#")]
    total, parts, area, *pieces = comments[: comments.index("# energy of events of single instructions")]
    assert area.startswith("# area estimate: 5.49 mm2 at 45 nm, without wiring")
    assert sum(float(piece.split()[1]) for piece in pieces) == pytest.approx(5.49, abs=0.02)
    assert int(total.split()[3].replace(",", "")) == sum(
        int(part.split()[-1].replace(",", "")) for part in parts.split(", ")
    )
    assert int(total.split()[3].replace(",", "")) <= 256 << 10
    assert "coefficient registers 49,152," in parts  # 32 * 2 * 3072 * 2 bits
    assert "broadcast FIFOs 9,216," in parts  # 8 * 16 * 72 bytes
    (tmp_path / "copy.toml").write_text(printed)
    assert main(["--print-target", "--target", str(tmp_path / "copy.toml")]) == 0
    assert capsys.readouterr().out == printed
    with pytest.raises(SystemExit, match="2"):
        main(["--print-target", "--target", "nonsense"])
    assert "unknown target 'nonsense'" in capsys.readouterr().err


def test_supported_operators_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--supported-ops"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("Conv", "AveragePool", "QuantizeLinear"))


def test_emitting_text_goes_to_standard_output_with_the_summary_apart(
    esc_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([esc_file, "--emit", "esc", "-p", "canonicalize"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("builtin.module attributes {escc.passes = [")
    assert captured.err.startswith("standard output: ") and len(captured.err.splitlines()) == 1
    assert main([esc_file, "--emit", "esc", "-p", "canonicalize", "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_a_level_above_cannot_be_emitted(esc_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([esc_file, "--emit", "onnx"]) == 1
    assert "stands at level 'esc'" in capsys.readouterr().err
    assert main([esc_file, "--emit", "bin", "-p", "canonicalize"]) == 1
    assert "the pipeline ends at level 'esc', --emit bin needs 'eisa'" in capsys.readouterr().err
    assert not Path("a.bin").exists()


def test_ir_after_passes_and_timing(esc_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-p", "canonicalize,dce", "--emit", "esc", "-o", "out.mlir", "-q"]
    assert main([esc_file, *options, "--print-ir-after", "dce"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("// ----- IR after") == 1
    assert main([esc_file, *options, "--print-ir-after-all", "--timing"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("// ----- IR after") == 2
    assert [line.split()[0] for line in captured.err.splitlines()[-5:]] == [
        "load",
        "canonicalize",
        "dce",
        "emit",
        "total",
    ]
    assert main([esc_file, *options, "--print-ir-tree-dir", "tree"]) == 0
    assert sorted(p.name for p in Path("tree").iterdir()) == ["01-canonicalize.mlir", "02-dce.mlir"]
    assert Path("tree/02-dce.mlir").read_text() == Path("out.mlir").read_text()


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (["--percentile", "99"], "--percentile has no effect: it belongs to --range percentile"),
        (["--scheme", "dense", "-p", "dce"], "--scheme has no effect: -p gives the passes with their options"),
        (["--range", "minmax", "--seed", "1"], "--range has no effect: no pass between a.mlir and --emit esc takes it"),
        (["--basis", "3", "--seed", "1"], ""),
        (
            ["--range", "percentile", "--percentile", "99", "--verify-numerics", "--calibration", "x"],
            "--range, --perce",
        ),
    ],
)
def test_options_without_effect_are_named(options: list[str], warning: str) -> None:
    args = make_parser().parse_args(["a.mlir", "--emit", "esc", *options])
    registry = multiverse().all_passes
    passes = tuple(registry[name]()() for name in ("fuse-epilogues", "decompose-conv", "esc-legalize"))
    if "--percentile" in options and "--range" not in options:
        passes += (registry["quantize"]()(),)
    (text,) = idle_options(args, passes) or [""]
    assert text.startswith(warning) and bool(text) == bool(warning)


def test_image_options_are_checked_against_the_input(esc_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--emit", "esc", "-p", "canonicalize"]
    assert main([esc_file, *options, "--image-mean", "1,2,3"]) == 1
    assert "--image-mean: 3 values for an input of [1] channels" in capsys.readouterr().err
    assert main([esc_file, *options, "--image-mean", "1", "--image-std=2.5", "--channel-order", "rgb"]) == 0
    out = capsys.readouterr().out
    assert "image_mean = [1.0" in out and "image_std = [2.5" in out and 'channel_order = "rgb"' in out


def test_pipeline_of_a_level_starts_where_the_text_stands(esc_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dump-pass-pipeline"]) == 0
    whole = capsys.readouterr().out
    assert whole.startswith("onnx-canonicalize,onnx-legalize,quantize") and whole.count("\n") == 1
    assert main([esc_file, "--dump-pass-pipeline"]) == 0
    assert capsys.readouterr().out == whole[whole.index("fuse-epilogues") :]
    assert main(["--dump-pass-pipeline", "--emit", "esc", "--scheme", "dense", "--range", "minmax"]) == 0
    text = capsys.readouterr().out
    assert 'scheme="dense"' in text and 'method="minmax"' in text and "tile-basis-first" not in text


def test_a_binary_in_the_place_of_a_model_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.bin").write_bytes(b"\x7fELF")
    assert main(["m.bin"]) == 1
    assert "m.bin: has the name that its own binary would get\nnote: escc takes" in capsys.readouterr().err
    assert main(["m.bin", "-o", "n.bin"]) == 1
    assert "m.bin: is an ELF binary, not an ONNX model" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "cause"),
    [
        ("[array]\nic_bits = 8\n", "ic_bits=16; requires 8 of target 'other'"),
        ("[array]\ncoefficient_registers = 64\n", "coefficient registers of a block; target 'other' has"),
    ],
)
def test_text_of_one_machine_is_refused_for_another(
    setting: str, cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(__file__).parents[2] / "examples/models/resnet8_cifar10.onnx"
    text, other = str(tmp_path / "e.mlir"), str(tmp_path / "other.toml")
    assert main([str(model), "--scheme", "escalate", "--basis", "4", "--emit", "esc", "-q", "-o", text]) == 0
    (tmp_path / "other.toml").write_text(f'base = "esc1"\nname = "other"\n{setting}')
    capsys.readouterr()
    assert main([text, "--target", other, "-o", str(tmp_path / "x.bin")]) == 1
    assert cause in capsys.readouterr().err and not (tmp_path / "x.bin").exists()
    assert main([text, "-q", "-o", str(tmp_path / "x.bin")]) == 0


def test_options_of_what_text_says_itself_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, text = Path(__file__).parents[2] / "examples/models/resnet8_cifar10.onnx", str(tmp_path / "b.mlir")
    assert main([str(model), "--scheme", "dense", "--emit", "bfs", "-q", "-o", text, "--tolerance", "0.5"]) == 0
    assert "--tolerance has no effect: it belongs to --verify-numerics" in capsys.readouterr().err
    (tmp_path / "other.toml").write_text('base = "esc1"\nname = "other"\n')
    assert main([text, "--target", str(tmp_path / "other.toml"), "-o", str(tmp_path / "x.bin")]) == 0
    assert f"--target has no effect: {text} names its target itself" in capsys.readouterr().err
