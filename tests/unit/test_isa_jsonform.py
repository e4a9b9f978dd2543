"""Strict JSON forms of the dataclasses of a program."""

from __future__ import annotations

from typing import Any

import pytest
from isa_programs import small_program

from isa.jsonform import FormError, canonical, from_plain, loads, to_plain
from isa.program import Layer, Port

PORT, LAYER = small_program().inputs[0], small_program().layers[0]


def test_round_trip() -> None:
    assert from_plain(Port, loads(canonical(PORT), ""), "") == PORT
    assert from_plain(Layer, loads(canonical(LAYER), ""), "") == LAYER


def test_canonical() -> None:
    assert canonical({"b": (1, 2.5, None), "a": "é"}) == '{"a":"\\u00e9","b":[1,2.5,null]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(float("nan"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": 3}, "port.name: must be of type str, found 3"),
        ({"shape": 3}, "port.shape: must be a list"),
        ({"shape": [1, 2.0]}, "port.shape[1]: must be of type int, found 2.0"),
        ({"shape": [True]}, "port.shape[0]: must be of type int, found True"),
        ({"shape": [1 << 63]}, "port.shape[0]: exceeds 64 bits"),
        ({"mean": [1e999]}, "port.mean[0]: must be of type float, found inf"),
        ({"mean": ["1"]}, "port.mean[0]: must be of type float, found '1'"),
        ({"softmax_axis": "1"}, "port.softmax_axis: must be of type int, found '1'"),
        ({"tensor": []}, "port.tensor: must be an object"),
        ({"tensor": {}}, "port.tensor: 'address' is missing"),
        ({"more": 1}, "port: 'more' is unknown"),
    ],
)
def test_faults(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FormError) as caught:
        from_plain(Port, {**to_plain(PORT), **changes}, "port")
    assert str(caught.value) == message


def test_faults_of_pairs_and_enumerations() -> None:
    with pytest.raises(FormError, match=r"layer.rodata\[0\]: must have 2 items, found 3"):
        from_plain(Layer, {**to_plain(LAYER), "rodata": [[1, 2, 3]]}, "layer")
    tensor = {**to_plain(PORT.tensor), "format": "RAW"}
    with pytest.raises(FormError, match="must be one of raw, bitmap; found 'RAW'"):
        from_plain(Port, {**to_plain(PORT), "tensor": tensor}, "port")


@pytest.mark.parametrize("text", ["", "{", "[" * 100000, "1" * 5000])
def test_text_that_is_no_json(text: str) -> None:
    with pytest.raises(FormError, match=r"\.esc\.io: not JSON"):
        loads(text, ".esc.io")
