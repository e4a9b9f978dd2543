"""How fast each packed format is written and read: `python benchmarks/packing.py [FORMAT...]`.

For each format and number of values, MB of values a second on one thread, packing and unpacking: processor time, the
best of several runs, so that other programs on the machine matter little. A value is a byte, of parameters the nine
that they take in PAR. Weights are those of a normal distribution, a part of them 0 where the format is for such. A blob
of any size costs what a call costs beside its values, which decides for small ones: the last column is the time of a
call with the fewest values. The last line names the lowest of all rates, beside the goal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from escc.cli.common import script
from isa.coefficients import pack_streams, stream_code, unpack_streams
from isa.formats import SignFormat
from isa.gather import Gathering, pack_gather, unpack_gather
from isa.packing import pack, unpack
from isa.parameters import pack_parameters, unpack_parameters
from isa.weights import pack_weights, unpack_weights, weight_table

SIZES = (1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 16, 1 << 20)
GOAL = 50
"""MB/s that every format should reach at every size."""
_CHANNELS = 64
"""Values of an output channel of streams, whose blobs hold as many channels as it takes."""


class Timed(NamedTuple):
    """Bytes of values, and calls that pack and unpack them, by the word of the table for each."""

    size: int
    calls: Mapping[str, Callable[[], Any]]


def _both(size: int, pack: Callable[[], Any], unpack: Callable[[], Any]) -> Timed:
    return Timed(size, {"pack": pack, "unpack": unpack})


def _weights(n: int, density: float) -> NDArray[np.int8]:
    """Weights int8 [n] of which so many are not zero."""
    rng = np.random.default_rng(n)
    found = np.clip(np.rint(rng.normal(0, 20, n)), -127, 127) * (rng.random(n) < density)
    return found.astype(np.int8)


def _signs(coding: SignFormat, density: float) -> Callable[[int], Timed]:
    def made(n: int) -> Timed:
        t = np.sign(_weights(n, density))
        data = pack(t, coding)
        return _both(n, lambda: pack(t, coding), lambda: unpack(data, coding, n))

    return made


def _dense(n: int) -> Timed:
    w = _weights(n, 1)
    table = weight_table(w)
    data = pack_weights(w, table)
    return _both(n, lambda: pack_weights(w, table), lambda: unpack_weights(data, table, n))


def _dense_with_table(n: int) -> Timed:
    w = _weights(n, 1)
    return Timed(n, {"pack": lambda: pack_weights(w, weight_table(w))})


def _sparse(n: int) -> Timed:
    w, how = _weights(n, 0.3).reshape(-1, 1, _CHANNELS), Gathering.of(30, 16, _CHANNELS)
    data = pack_gather(w, how)
    return _both(n, lambda: pack_gather(w, how), lambda: unpack_gather(data, how, (len(w), 1, _CHANNELS)))


def _coefficients(n: int) -> Timed:
    t = np.sign(_weights(n, 0.3)).reshape(-1, 1, _CHANNELS)
    code = stream_code(t)
    data = pack_streams(t, code)
    return _both(n, lambda: pack_streams(t, code), lambda: unpack_streams(data, 0, code, (len(t), 1, _CHANNELS)))


def _parameters(n: int) -> Timed:
    rng, count = np.random.default_rng(n), n // 9
    bias, mult = rng.integers(-(1 << 20), 1 << 20, count), rng.integers(1 << 29, 1 << 30, count)
    shift = rng.integers(30, 40, count)
    data = pack_parameters(bias, mult, shift)
    return _both(9 * count, lambda: pack_parameters(bias, mult, shift), lambda: unpack_parameters(data, count))


FORMATS: Mapping[str, Callable[[int], Timed]] = {
    "weights": _dense,
    "weights+table": _dense_with_table,
    "signs-flat": _signs(SignFormat.FLAT, 0.5),
    "signs-two-level": _signs(SignFormat.TWO_LEVEL, 0.05),
    "signs-delta": _signs(SignFormat.DELTA, 0.1),
    "gather": _sparse,
    "coefficients": _coefficients,
    "parameters": _parameters,
}


def seconds(call: Callable[[], Any], least: float) -> float:
    """Processor time of a call: the best mean of five runs of at least so many seconds."""
    call()
    count, found = 1, float("inf")
    for _ in range(5):
        spent = 0.0
        while spent < least / 5:
            start = time.process_time()
            for _ in range(count):
                call()
            spent = time.process_time() - start
            count = count if spent >= least / 5 else 2 * count
        found = min(found, spent / count)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement (default: 0.2)")
    args = parser.parse_args()
    if unknown := [name for name in args.formats if name not in FORMATS]:
        parser.error(f"unknown format '{unknown[0]}'; requires one of {', '.join(FORMATS)}")
    print(f"{'MB/s':24}" + "".join(f"{size:>10,}" for size in SIZES) + f"{'us a call':>12}")
    lowest = (float("inf"), "")
    for name in args.formats or FORMATS:
        made = [FORMATS[name](size) for size in SIZES]
        for way in made[0].calls:
            spent = [seconds(m.calls[way], args.seconds) for m in made]
            rates = [m.size / s * 1e-6 for m, s in zip(made, spent, strict=True)]
            cells = "".join(f"{rate:10.1f}" for rate in rates)
            print(f"{name:16}{way:8}{cells}{spent[0] * 1e6:12.1f}", flush=True)
            lowest = min(lowest, *((rate, f"{name} {way}, {n:,}") for rate, n in zip(rates, SIZES, strict=True)))
    print(f"lowest: {lowest[0]:.1f} ({lowest[1]} values), goal {GOAL}")


if __name__ == "__main__":
    script(main)
