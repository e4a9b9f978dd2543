"""Options of a scheme's own are judged before any layer is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sample_models import residual_model

import escc
from escc.cli.compile import main as compile_command
from escc.cli.compress import main as compress_command
from isa.errors import UserError
from isa.target import load_target
from passes.decomposition.scheme import load_scheme, own_options, scheme_names

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
