"""Settings of layers as text, and what the pass makes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_compress_pass import calibration, compress, network
from xdsl.context import Context

from dialects import esc
from dialects.esc_decomposed import CoeffCombineOp
from escc.compress.database import Database, Rates
from escc.compress.price import price
from isa.errors import UserError
from isa.target import load_target
from passes.decompose_conv import DecomposeConvPass
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.setting import InTurn, Setting

__all__ = ["calibration"]

_WORD = st.text("abcxyz0189.-", min_size=1, max_size=6)


@given(_WORD, st.dictionaries(_WORD, _WORD, max_size=3))
def test_a_setting_is_read_back_from_its_text(scheme: str, options: dict[str, str]) -> None:
    setting = Setting.made(scheme, options)
    assert Setting.of(str(setting)) == setting


def test_general_options_and_those_of_the_scheme_are_told_apart() -> None:
    base = SchemeOptions(basis=3, seed=7, byte_price=9.0, network_bytes=100, own={"forms": "all"})
    _, asked = Setting.of("auto:basis=6:rate=0.5:levels=4").resolved(base, load_target("esc1"))
    assert asked == SchemeOptions(6, None, 7, 0.5, None, 100, 0, {"levels": "4"})


@pytest.mark.parametrize(
    "text, message",
    [
        ("nothing", "unknown compression scheme 'nothing'"),
        ("auto:vectors=3", "scheme 'auto': unknown option 'vectors=3'"),
        ("auto:rate=x", "setting 'auto:rate=x': rate=x: requires a number not below 0"),
        ("auto:basis=0", "basis=0: requires a whole number of at least 1"),
    ],
)
def test_wrong_settings_are_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        InTurn([text], load_target("esc1"))


def test_each_layer_gets_its_setting(calibration: str) -> None:
    """The settings of one scheme for all layers give what that scheme gives; others change their own layer alone."""
    one = "escalate:basis=4:planes=1"
    whole = compress(network(), calibration, scheme="escalate", basis=4, planes=1)
    assert str(compress(network(), calibration, layers=(one,) * 5)) == str(whole)
    mixed = compress(network(), calibration, layers=("dense", "escalate:basis=2:planes=1", "dense", "dense", one))
    bases = [op.coefficients.array.shape[1] for op in mixed.walk() if isinstance(op, CoeffCombineOp)]
    assert bases == [2, 4]
    assert sum(isinstance(op, esc.Conv2dOp) for op in mixed.walk()) == 3


def test_settings_of_another_number_of_layers_are_refused(calibration: str) -> None:
    with pytest.raises(UserError, match="layers has 2 settings; requires 5, one for each convolution"):
        compress(network(), calibration, layers=("dense", "dense"))


class WatchedDatabase(Database):
    """Keeps the layers that it is asked about."""

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> None:
        super().__call__(layer, options)
        self.asked = [*getattr(self, "asked", []), (layer, options)]


@pytest.mark.parametrize("scheme", ["auto", "gs", "circulant", "kmeans"])
def test_rows_are_about_what_their_settings_give(calibration: str, scheme: str) -> None:
    target = load_target("esc1")
    database = WatchedDatabase(scheme, Rates((0.1, 1.0)), target)
    module = network()
    DecomposeConvPass(scheme=scheme, calibration=calibration).visit(Context(), module, database)
    assert sum(isinstance(op, esc.Conv2dOp) for op in module.walk()) == 5
    assert len(database.layers) == 5 and sum(map(len, database.layers)) > 8
    for (layer, options), rows in zip(database.asked, database.layers, strict=True):
        assert (str(rows[0].setting), rows[0].error) == ("dense", 0.0)
        for row in rows[1:]:
            asked_scheme, asked = row.setting.resolved(options, target)
            form = asked_scheme(layer, asked)
            if form is None:  # int8 weights are better in both
                assert scheme == "auto" and row.cost.nbytes >= rows[0].cost.nbytes
                continue
            again = price(form, layer.shape, target)
            assert again.nbytes == pytest.approx(row.cost.nbytes, rel=0.2)
            assert layer.sensitivity() * form.relative_error <= 1.3 * row.error + 0.01
