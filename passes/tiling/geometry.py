"""Which part of an input an output range needs: clipped windows, channel ranges, and the pieces of a tiled extent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from isa.integers import Number, least, most


class Span(NamedTuple):
    """`extent` consecutive indices from `first`."""

    first: int
    extent: int

    @property
    def end(self) -> int:
        """One past the last index."""
        return self.first + self.extent


def window_span(out: Span, kernel: int, stride: int, pad: int, size: int, taken: Sequence[int] | None = None) -> Span:
    """Input indices that the windows of output indices `out` touch, clipped to [0, size); never empty.

    Window i covers [i*stride - pad, i*stride - pad + kernel). Windows that lie wholly outside leave the nearest index.
    Where `taken` says the input index of each output index, there are no windows.
    """
    if taken is not None:
        indices = taken[out.first : out.end]
        return Span(min(indices), max(indices) + 1 - min(indices))
    first = min(max(out.first * stride - pad, 0), size - 1)
    end = min(max((out.end - 1) * stride - pad + kernel, first + 1), size)
    return Span(first, end - first)


def windows(span: Span, size: int) -> Span:
    """The windows that lie wholly in a span, if windows of `size` indices lie side by side from 0 on."""
    return Span(span.first // size, span.end // size - span.first // size)


def roll(held: Span, wanted: Span, ring: int) -> tuple[list[Span], Span]:
    """What a ring of `ring` rows loads to hold the rows `wanted`, in pieces that do not go round, and the rows that it
    holds then. Row y has place y % ring.

    Rows that the ring holds stay. Those that come next take the places of the oldest ones.
    """
    follows = held.first <= wanted.first <= held.end
    start = max(wanted.first, held.end) if follows else wanted.first
    loaded: list[Span] = []
    for row in (start, start + ring - start % ring):
        end = min(wanted.end, row + ring - row % ring)
        if row < end:
            loaded.append(Span(row, end - row))
    end = max(wanted.end, held.end) if follows else wanted.end
    first = max(held.first if follows else wanted.first, end - ring)
    return loaded, Span(first, end - first)


class ChannelMap(NamedTuple):
    """Output channels [first, first + extent) read input channel i // per + offset."""

    first: int
    extent: int
    offset: int
    per: int

    def inside(self, out: Span) -> Span:
        """The part of `out` that the map covers; may be empty."""
        low = max(out.first, self.first)
        return Span(low, max(0, min(out.end, self.first + self.extent) - low))

    def source(self, out: Span, channels: int, chunk: int) -> Span:
        """Input channels that output channels `out` read, from a multiple of the chunk, clipped to [0, channels).

        Empty if the map covers none of `out`; channels that all lie outside the input leave its nearest chunk.
        """
        covered = self.inside(out)
        if not covered.extent:
            return Span(0, 0)
        low = min(max(covered.first // self.per + self.offset, 0), channels - 1)
        high = min(max((covered.end - 1) // self.per + self.offset + 1, low + 1), channels)
        first = low // chunk * chunk
        return Span(first, high - first)


def steps(first: int, extent: int, step: int) -> Iterator[Span]:
    """[first, first + extent) in pieces of `step`, the last one clipped."""
    for i in range(first, first + extent, step):
        yield Span(i, min(step, first + extent - i))


def pieces(extent: int, outer: Number, inner: Number) -> tuple[tuple[Number, Number], ...]:
    """Sizes and their counts when `extent` is cut into `outer` pieces and each of those into `inner` pieces.

    Of one cut, or of the columns of many (see `isa.integers`); sizes that a cut does not have count 0 times.
    """
    whole, rest = extent // outer, extent % outer
    cut = [(inner, whole * (outer // inner) + rest // inner), (outer % inner, whole), (rest % inner, 1)]
    return tuple((most(size, 1), count * (size > 0)) for size, count in cut)


@lru_cache(maxsize=4096)
def total_span(
    out: int, step: int, kernel: int, stride: int, pad: int, size: int, taken: tuple[int, ...] | None = None
) -> int:
    """Sum of the extents of `window_span` over all steps of an output axis: input rows fetched in all."""
    return sum(window_span(s, kernel, stride, pad, size, taken).extent for s in steps(0, out, step))


@lru_cache(maxsize=4096)
def widest_span(
    out: int, step: int, kernel: int, stride: int, pad: int, size: int, taken: tuple[int, ...] | None = None
) -> int:
    """Largest extent of `window_span` over all steps of an output axis."""
    return max(window_span(s, kernel, stride, pad, size, taken).extent for s in steps(0, out, step))


@lru_cache(maxsize=4096)
def coverage(out: Span, kernel: int, stride: int, pad: int, size: int) -> Mapping[int, int]:
    """How many input indices the windows of output indices `out` read once, twice and so on."""
    reads: dict[int, int] = {}
    for i in range(out.first, out.end):
        for at in range(max(0, i * stride - pad), min(size, i * stride - pad + kernel)):
            reads[at] = reads.get(at, 0) + 1
    found: dict[int, int] = {}
    for times in reads.values():
        found[times] = found.get(times, 0) + 1
    return found


def balanced(extent: Number, largest: Number) -> Number:
    """Step that cuts `extent` into the fewest pieces of at most `largest`, as equal as possible; of one, or of the
    columns of many (see `isa.integers`).
    """
    count = -(-extent // most(1, least(largest, extent)))
    return -(-extent // count)


@lru_cache(maxsize=4096)
def step_choices(extent: int, multiple: int = 1) -> tuple[int, ...]:
    """Steps that cut `extent` into 1, 2, 3, ... pieces (sparser beyond 32) in whole multiples, largest first."""
    units = -(-extent // multiple)
    counts = [*range(1, min(units, 32) + 1)]
    while counts[-1] < units:
        counts.append(min(units, counts[-1] * 5 // 4))
    return tuple(dict.fromkeys(min(extent, multiple * -(-units // n)) for n in counts))
