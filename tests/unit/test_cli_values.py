"""Values of options: whatever a number is not is refused in one line, by every option of every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from escc.cli import compare, compile_options, compress_options, emulate, values

PARSERS = {
    "escc": (compile_options.make_parser, ["m"]),
    "esc-emu": (emulate.make_parser, ["m"]),
    "esc-compress": (compress_options.make_parser, ["m", "--data", "d", "-o", "o"]),
    "esc-compare": (compare.make_parser, ["m"]),
}
NUMBERS = (
    values.positive,
    values.natural,
    values.threads,
    values.above_zero,
    values.not_negative,
    values.share,
    values.percentile,
    values.byte_count,
    values.numbers,
    values.divisors,
)
WRONG = ("", "abc", "nan", "inf", "1e400", "9" * 5000, "٣", "²", "1_0", " 3", "3 ", "0x10", "1,,2", "--1")
OPTIONS = [
    (name, action.option_strings[-1])
    for name, (make_parser, _) in PARSERS.items()
    for action in make_parser()._actions
    if action.type in NUMBERS
]


@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_what_is_no_number_is_a_usage_error(command: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_parser, arguments = PARSERS[command]
    for text in WRONG:
        with pytest.raises(SystemExit, match="2"):
            make_parser().parse_args([*arguments, f"{option}={text}"])
        line, note = capsys.readouterr().err.splitlines()
        assert f"{option}: expected " in line and note.startswith("note: "), text[:20]


def test_there_are_options() -> None:
    assert len(OPTIONS) > 30 and {name for name, _ in OPTIONS} == PARSERS.keys()


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (values.positive, "0012", 12),
        (values.natural, "0", 0),
        (values.positive, "2147483647", 2147483647),
        (values.threads, "1024", 1024),
        (values.above_zero, "1e-3", 0.001),
        (values.not_negative, ".5", 0.5),
        (values.byte_count, "1.5k", 1536),
        (values.numbers, "-1,2.5", (-1.0, 2.5)),
    ],
)
def test_numbers(parse: Callable[[str], object], text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text", "why"),
    [
        (values.positive, "0", "expected a positive integer, found '0'"),
        (values.natural, "-1", "expected an integer not below 0, found '-1'"),
        (values.natural, "2147483648", "expected an integer not below 0 of at most 2147483647, found '2147483648'"),
        (values.threads, "1025", "expected a positive integer of at most 1024, found '1025'"),
        (values.divisors, "1,0", "expected divisors other than 0, found '1,0'"),
        (
            values.schemes,
            "escalate:basis",
            "option 'basis' of scheme 'escalate': expected a positive integer, found ''",
        ),
    ],
)
def test_a_wrong_value_says_what_is_expected(parse: Callable[[str], object], text: str, why: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as error:
        parse(text)
    assert str(error.value) == why
