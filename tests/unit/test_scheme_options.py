"""Options of a scheme's own are judged before any layer is looked at."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sample_models import residual_model

import escc
from escc.cli.compile import main as compile_command
from escc.cli.compress import main as compress_command
from escc.cli.values import schemes
from isa.errors import UserError
from isa.target import load_target
from passes.decomposition.scheme import (
    GENERAL,
    ConvLayer,
    SchemeOptions,
    general_options,
    load_scheme,
    own_options,
    scheme_names,
)

OPTIONS = [(name, option) for name in scheme_names() for option in getattr(load_scheme(name), "own_options", {})]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_option_of_every_scheme_is_judged_without_a_layer(name: str, option: str) -> None:
    with pytest.raises(UserError, match=f"scheme '{name}': {option}=wrong"):
        own_options(name, load_scheme(name), (f"{option}=wrong",), load_target("esc1"))


def test_a_value_that_a_layer_can_meet_is_taken() -> None:
    target = load_target("esc1")
    for name, given in (("gs", ("sparsity=0.5", "banks=8")), ("auto", ("levels=4", "forms=gs,kmeans"))):
        assert own_options(name, load_scheme(name), given, target) == dict(text.split("=") for text in given)


@pytest.mark.parametrize("command", [compile_command, compress_command])
def test_a_wrong_value_is_a_usage_error_before_anything_is_read(
    command: Callable[[Sequence[str]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data", "absent.npz"] if command is compress_command else []
    with pytest.raises(SystemExit) as left:
        command(["absent.onnx", *data, "-o", "m.out", "--scheme", "gs", "--scheme-option", "sparsity=2"])
    assert left.value.code == 2 and not list(tmp_path.iterdir())
    assert capsys.readouterr().err.splitlines() == [
        "error: scheme 'gs': sparsity=2: requires a number from 0 to below 1",
        "note: --scheme-option sparsity=0.7",
    ]


def test_a_layer_that_no_option_would_change_does_not_hide_a_wrong_one() -> None:
    """The layers are so small that the scheme keeps them dense and asks for no option."""
    with pytest.raises(UserError, match="sparsity=2: requires a number"):
        escc.compile(residual_model(channels=2), scheme="gs", scheme_options={"sparsity": 2})


FIELDS = {"basis": "basis", "planes": "planes", "rate": "byte_price", "cycle_rate": "cycle_price"}
"""Fields of `SchemeOptions` by the names of options."""
UNREAD = [
    (name, option) for name in scheme_names() for option in GENERAL if option not in general_options(load_scheme(name))
]


def _layer() -> ConvLayer:
    weights = np.random.default_rng(0).standard_normal((16, 3, 3, 16)) * 0.01
    return ConvLayer("conv", weights, (1, 1), (8, 8, 16), (8, 8, 16), 0.5, None, False, load_target("esc1"))


@pytest.mark.parametrize(("name", "option"), UNREAD)
def test_an_option_that_a_scheme_does_not_read_changes_nothing(name: str, option: str) -> None:
    scheme, options = load_scheme(name), SchemeOptions()
    other = replace(options, **{FIELDS[option]: 3})
    before, after = (scheme(_layer(), given) for given in (options, other))
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        np.testing.assert_array_equal(before.integer_weights, after.integer_weights)


def test_every_scheme_but_dense_reads_some_option() -> None:
    assert not general_options(load_scheme("dense"))
    assert all(general_options(load_scheme(name)) for name in scheme_names() if name != "dense")
    assert general_options(load_scheme("auto")) == GENERAL


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        (("dense", "--basis", "3"), "--basis has no effect: scheme 'dense' reads none of --basis, --planes, --rate, "),
        (
            ("kmeans", "--basis", "3", "--planes", "2", "--rate", "1"),
            "--basis, --planes have no effect: scheme 'kmeans' reads --rate, --cycle-rate",
        ),
        (("escalate", "--cycle-rate", "1"), "--cycle-rate has no effect: scheme 'escalate' reads --basis, --planes, "),
        (("gs", "--rate", "1"), ""),
        (("auto", "--forms", "gs,kmeans", "--basis", "3"), "--basis has no effect: gs, kmeans do not read it"),
        (
            ("auto", "--forms", "auto,gs", "--basis", "3", "--planes", "1", "--rate", "1"),
            "--basis, --planes affect 'auto' alone: gs does not read them",
        ),
        (("auto", "--forms", "auto,escalate", "--basis", "3"), ""),
    ],
)
def test_options_that_the_scheme_ignores_are_named(
    options: tuple[str, ...], warning: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.onnx").write_bytes(residual_model())
    line = [str(tmp_path / "m.onnx"), "--emit", "esc", "-o", str(tmp_path / "m.mlir"), "--scheme", *options]
    assert compile_command(line) == 0
    idle = [text for text in capsys.readouterr().err.splitlines() if "no effect" in text or " alone: " in text]
    assert len(idle) == bool(warning) and all(text.startswith(f"warning: {warning}") for text in idle)


def test_python_warns_of_options_that_the_scheme_ignores() -> None:
    with pytest.warns(UserWarning, match=r"^basis has no effect: scheme 'kmeans' reads rate, cycle_rate$"):
        escc.compile(residual_model(), scheme="kmeans", basis=3)


MOST = "a layer takes at most 5 virtual bases (basis kernels times planes) for each tap of its kernel, here"


@pytest.mark.parametrize("name", ["escalate", "auto"])
@pytest.mark.parametrize(
    ("basis", "planes", "warning"),
    [
        (99, 9, f"basis 99 and planes 9 have no full effect: {MOST} 45 instead of 891"),
        (50, None, f"basis 50 has no full effect: {MOST} 45 instead of 50"),
        (None, 6, f"planes 6 has no full effect: {MOST} 45 instead of 54"),
        (9, 5, ""),
        (9, None, ""),  # for the kernels of one tap too many, and not for the others
        (None, None, ""),
    ],
)
def test_bases_beyond_those_of_any_layer_are_named(
    name: str, basis: int | None, planes: int | None, warning: str
) -> None:
    unmet: Callable[..., str] = getattr(load_scheme(name), "unmet")  # noqa: B009
    assert unmet(SchemeOptions(basis, planes), [(1, 1), (3, 3), (1, 1)], load_target("esc1")) == warning
    assert unmet(SchemeOptions(basis, planes), [], load_target("esc1")) == ""


def test_a_compilation_warns_of_bases_beyond_those_of_any_layer() -> None:
    with pytest.warns(UserWarning, match=f"^basis 99 and planes 9 have no full effect: {re.escape(MOST)} 45") as found:
        escc.compile(residual_model(channels=2), scheme="escalate", basis=99, planes=9)
    assert sum("virtual bases" in str(warning.message) for warning in found) == 1


def test_a_list_of_schemes_takes_what_each_of_them_reads() -> None:
    with pytest.raises(ArgumentTypeError, match=r"^scheme 'gs' does not read the option 'planes'; it reads rate, cyc"):
        schemes("dense,gs:planes=2")
    with pytest.raises(ArgumentTypeError, match=r"^scheme 'dense' does not read the option 'rate'; it reads no option"):
        schemes("dense:rate=1")
    assert schemes("escalate:basis=6,kmeans:rate=1")[1] == ("kmeans:rate=1", "kmeans", (("rate", 1.0),))
