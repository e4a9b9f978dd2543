"""Schemes of other packages that fail: the package is named, and it is no bug of escc."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from test_compress_schemes import layer

import escc.schemes
from escc.cli.compile import main
from escc.compress.database import Rates
from escc.compress.price import price
from escc.schemes.auto import SCHEME as auto
from isa.errors import UserError
from isa.found import AnswerError, at_fault
from passes.decomposition.added import BrokenSchemeError, RefusedLayerError
from passes.decomposition.scheme import SchemeOptions, load_scheme

MODEL = Path(__file__).resolve().parents[2] / "examples/models/tiny_conv.onnx"
SCHEMES = """
from dataclasses import dataclass, replace

import numpy as np

from escc.compress.schemes import int8_of
from isa.errors import UserError
from passes.decomposition.int8 import Int8

def of_text(layer, options):
    return "text"

def failing(layer, options):
    raise ValueError("the matrix is\\nsingular")

def refusing(layer, options):
    raise UserError("this layer has the wrong colour")

class Checked:
    def check_options(self, options, target):
        return 1 / 0

    def __call__(self, layer, options):
        return None

class Contributor:
    def candidates(self, name, layer, options, rates):
        yield name, "text"

    def __call__(self, layer, options):
        return None

checked, contributor, number = Checked(), Contributor(), 3

class Form(Int8):
    name = "form"

    @classmethod
    def scheme(cls):
        def scheme(layer, options):
            form = int8_of(layer)
            return cls(form.integers, form.scale)
        return scheme

class UnpackedForm(Form):
    def packed_bytes(self):
        return "many"

class HalfForm(Form):
    @property
    def integer_weights(self):
        return self.integers / 2

class ErrorForm(Form):
    def __init__(self, integers, scale):
        super().__init__(integers, scale, float("nan"))

class NoListForm(Form):
    def faults(self, shape):
        return None

class NoIntegersForm(Form):
    def to_integers(self, bias, low, high, ic_bits):
        return None

class NoBiasForm(Form):
    def to_integers(self, bias, low, high, ic_bits):
        found = super().to_integers(bias, low, high, ic_bits)
        return replace(found, bias=found.bias * 1.5)

class FailingForm(Form):
    def operations(self, x, ic_shift, geometry):
        return self.no_such_attribute

class NothingForm(Form):
    def operations(self, x, ic_shift, geometry):
        return []

class OtherWindowForm(Form):
    def operations(self, x, ic_shift, geometry):
        return super().operations(x, ic_shift, replace(geometry, pads=(0, 0, 0, 0)))

unpacked, half, error, no_list = (f.scheme() for f in (UnpackedForm, HalfForm, ErrorForm, NoListForm))
no_integers, no_bias, failing_form = (f.scheme() for f in (NoIntegersForm, NoBiasForm, FailingForm))
nothing, other_window = NothingForm.scheme(), OtherWindowForm.scheme()

class UnknownKind(Form):
    layer_kind = "no-such-kind"

unknown_kind = UnknownKind.scheme()

class Unmet(Checked):
    def check_options(self, options, target): ...

    def unmet(self, options, kernels, target):
        return options.no_such_option

class UnmetNumber(Unmet):
    def unmet(self, options, kernels, target):
        return 7

class Asking(Unmet):
    reads = ("rate", "basis")

    def unmet(self, options, kernels, target):
        return ""

    def asks(self, own):
        return own["forms"]

class ReadsText(Asking):
    reads = "rate"

class Options(Asking):
    own_options = ["levels"]

unmet, unmet_number, asking, reads_text, options = Unmet(), UnmetNumber(), Asking(), ReadsText(), Options()
"""
NAMES = ("of_text", "failing", "refusing", "checked", "contributor", "number", "unpacked", "half", "error", "no_list")
NAMES += ("no_integers", "no_bias", "failing_form", "nothing", "other_window", "unknown_kind")
NAMES += ("unmet", "unmet_number", "asking", "reads_text", "options")


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package `other-schemes` whose schemes are all wrong."""
    (tmp_path / "other_schemes.py").write_text(SCHEMES)
    (tmp_path / "unreadable_scheme.py").write_text("this is no Python\n")
    metadata = tmp_path / "other_schemes-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-schemes\nVersion: 1.0\n")
    entries = "".join(f"{name.replace('_', '-')} = other_schemes:{name}\n" for name in NAMES)
    (metadata / "entry_points.txt").write_text(
        f"[escc.schemes]\n{entries}absent = no_such_module:scheme\nunreadable = unreadable_scheme:scheme\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "other_schemes", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("of-text", "node 'conv' (Conv): scheme 'of-text': answers a str; requires a WeightForm or None"),
        ("failing", "node 'conv' (Conv): scheme 'failing': ValueError: the matrix is singular"),
        ("refusing", "node 'conv' (Conv): scheme 'refusing': this layer has the wrong colour"),
        ("checked", "scheme 'checked': check_options fails: ZeroDivisionError: division by zero"),
        ("number", "the scheme 'number' (entry point group 'escc.schemes') is of type int; requires a function of"),
        ("absent", "the scheme 'absent' (entry point group 'escc.schemes') does not load: No module named"),
        ("unreadable", "the scheme 'unreadable' (entry point group 'escc.schemes') does not load: SyntaxError: "),
    ],
)
def test_the_scheme_and_its_package_are_named(
    name: str, cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(MODEL), "--scheme", name, "-o", "m.bin"]) == 1
    error, note = capsys.readouterr().err.splitlines()[-2:]
    assert cause in error and note.startswith("note: ") and "the package 'other-schemes'" in note
    assert not list(tmp_path.glob("*crash*"))


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("unpacked", "the answer is malformed: packed_bytes answers 'many'; requires a whole number not below 0"),
        ("half", "the answer is malformed: integer_weights is float64[2, 3, 3, 2]; requires int64[2, 3, 3, 2]"),
        ("error", "the answer is malformed: relative_error is nan; requires a number not below 0"),
        ("no-list", "faults of the answer answers None; requires texts"),
        ("unmet", "scheme 'unmet': unmet fails: AttributeError: 'SchemeOptions' object has no attribute"),
        ("unmet-number", "scheme 'unmet-number': unmet answers 7; requires a text"),
        ("asking", "scheme 'asking': asks fails: KeyError: 'forms'"),
        ("reads-text", "scheme 'reads-text': reads is 'rate'; requires names of options"),
        ("options", "scheme 'options': own_options is ['levels']; requires a line of help by the name of each option"),
    ],
)
def test_forms_and_attributes_are_what_they_must_be(
    name: str, cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(MODEL), "--scheme", name, "--rate", "0.1", "--basis", "2", "-o", "m.bin"]) == 1
    error, note = capsys.readouterr().err.splitlines()[-2:]
    assert cause in error and note.startswith("note: ") and "the package 'other-schemes'" in note
    assert not list(tmp_path.glob("*crash*"))


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("no-integers", "to_integers of the form 'form' answers a NoneType; requires FormIntegers (NoIntegersForm of"),
        ("no-bias", "to_integers of the form 'form' answers a bias that is not int64[2] within int32 (NoBiasForm of"),
        (
            "failing-form",
            "AttributeError: 'FailingForm' object has no attribute 'no_such_attribute' (other_schemes",
        ),
        ("nothing", "operations of the form 'form' answers what is no list of operations of level esc (NothingForm of"),
        ("other-window", "operations of the form 'form' answers accumulators of type tensor<1x4x4x2xi32>; requires"),
    ],
)
def test_what_a_form_answers_later_is_a_fault_of_its_package(
    name: str, cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(MODEL), "--scheme", name, "-o", "m.bin"]) == 1
    error, note = capsys.readouterr().err.splitlines()[-2:]
    assert cause in error and error.endswith("the package 'other-schemes')")
    assert note.startswith("note: mend or uninstall that package")
    assert not list(tmp_path.glob("*crash*"))


def test_a_form_of_a_layer_kind_that_is_not_there_has_no_price() -> None:
    w = layer(np.ones((8, 3, 3, 8)))
    form = load_scheme("unknown-kind")(w, SchemeOptions())
    assert form is not None
    with pytest.raises(AnswerError, match="the form 'form': unknown layer kind 'no-such-kind'") as raised:
        price(form, w.shape, w.target)
    assert at_fault(raised.value) == "UnknownKind of the package 'other-schemes'"


def test_a_fault_in_a_scheme_of_ours_is_a_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "schemes"
    folder.mkdir()
    (folder / "ours.py").write_text("SCHEME = lambda layer, options: 1 / 0\n")
    monkeypatch.setattr(escc.schemes, "__path__", [*escc.schemes.__path__, str(folder)])
    assert main([str(MODEL), "--scheme", "ours", "-o", "m.bin"]) == 70
    assert "internal: " in capsys.readouterr().err


def test_a_broken_scheme_is_told_once_and_refused_layers_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = MODEL.parent / "resnet8_cifar10.onnx"
    assert main([str(model), "--scheme", "failing", "-o", "m.bin"]) == 1
    assert capsys.readouterr().err.count("error: ") == 1
    assert main([str(model), "--scheme", "refusing", "-o", "m.bin"]) == 1
    error, note = capsys.readouterr().err.splitlines()[-2:]
    assert " nodes (Conv) '" in error and error.endswith("more: scheme 'refusing': this layer has the wrong colour")
    assert "-v names every node" in note


def test_among_several_schemes_those_that_fail_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    w = layer(np.random.default_rng(1).standard_normal((24, 3, 3, 16)))
    options = SchemeOptions(byte_price=0.3, own={"forms": "failing,kmeans,of-text,refusing"})
    with caplog.at_level(logging.INFO):
        found = auto(w, options)
    assert getattr(found, "name", "") == "codebook"
    for name, reason in (
        ("failing", "ValueError: the matrix is singular"),
        ("of-text", "answers a str; requires a WeightForm or None"),
        ("refusing", "this layer has the wrong colour"),
    ):
        assert f"node 'conv' (Conv): scheme '{name}' is left out: {reason}" in caplog.messages
    several = list(auto.candidates("auto", w, options, Rates((0.3,))))
    assert {setting.scheme for setting, _ in several} == {"kmeans"}


def test_all_schemes_are_those_that_load(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        asked = auto.asks({"forms": "all"})
    assert {"failing", "kmeans"} <= set(asked) and not {"absent", "number", "unreadable"} & set(asked)
    assert any("the scheme 'absent'" in message and "does not load" in message for message in caplog.messages)
    with pytest.raises(UserError, match="the scheme 'absent'"):
        auto(layer(np.ones((8, 3, 3, 8))), SchemeOptions(own={"forms": "absent"}))


def test_a_contributor_is_looked_at_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(MODEL), "--scheme", "contributor", "--max-bytes", "40", "-o", "m.bin"]) == 1
    assert "scheme 'contributor': answers a str" in capsys.readouterr().err
    assert load_scheme("contributor")(layer(np.ones((8, 3, 3, 8))), SchemeOptions()) is None


def test_errors_of_schemes_are_faults_of_the_input() -> None:
    w = layer(np.ones((8, 3, 3, 8)))
    with pytest.raises(BrokenSchemeError, match="scheme 'failing'"):
        load_scheme("failing")(w, SchemeOptions())
    with pytest.raises(RefusedLayerError, match="scheme 'refusing'"):
        load_scheme("refusing")(w, SchemeOptions())
