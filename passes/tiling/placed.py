"""Rows and columns of an input tile at other places of an output tile, by `post.map` with the strides of both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from passes.tiling.geometry import Span
from passes.tiling.layer_to_instructions import HeldRegion, LayerLowering
from passes.tiling.limits import field_range


class Series(NamedTuple):
    """`extent` indices of an output axis from `first` on, `step` apart: the input indices from `source` on, `stride`
    apart.
    """

    first: int
    step: int
    extent: int
    source: int
    stride: int

    @property
    def read(self) -> Span:
        """The input indices from the first to the last."""
        return Span(self.source, (self.extent - 1) * self.stride + 1)


def runs(out: Span, taken: Sequence[int], step: int) -> Iterator[Series]:
    """The output indices `out` in runs of indices `step` apart, of which index i takes input index `taken[i]`."""
    _, most = field_range("post.map", "sy")
    for phase in range(out.first, min(out.first + step, out.end)):
        first = phase
        while first < out.end:
            following = range(first + step, out.end, step)
            stride = taken[following[0]] - taken[first] if following else 1
            last = first
            if 1 <= stride <= most:
                for i in following:
                    if taken[i] - taken[last] != stride:
                        break
                    last = i
            yield Series(first, step, (last - first) // step + 1, taken[first], max(stride, 1) if last > first else 1)
            first = last + step


def spacing(taken: Sequence[int]) -> int:
    """The step at which `runs` of all indices are fewest."""
    whole = Span(0, len(taken))
    return min(range(1, min(len(taken), 16) + 1), key=lambda step: (sum(1 for _ in runs(whole, taken, step)), step))


def place(
    layer: LayerLowering,
    act: tuple[HeldRegion, int],
    out: tuple[HeldRegion, int],
    rows: Series,
    columns: Series,
    first: int,
) -> None:
    """Move the values of some rows and columns; channel c of the output tile is channel `first` + c of the input.

    Where the distance of rows in the output is no multiple of that of columns, each row takes an instruction.
    """
    (target, address), step = out, columns.step if columns.extent > 1 else 1
    row_step = rows.step if rows.extent > 1 else step
    _, widest = field_range("post.map", "out_c")
    place_of = layer.out_fields(target, address, _corner(target, rows, columns))
    if row_step * place_of["out_w"] % step or step * place_of["out_c"] > widest:
        for rows_, columns_ in _single(rows, columns, apart=step * place_of["out_c"] > widest):
            place(layer, act, out, rows_, columns_, first)
        return
    fields = layer.act_fields(*act, (rows.read, columns.read, Span(first + target.k.first, target.k.extent)))
    layer.emit(
        "post.map",
        **fields,
        oh=rows.extent,
        ow=columns.extent,
        kn=target.k.extent,
        sy=rows.stride,
        sx=columns.stride,
        out=place_of["out"],
        out_w=row_step * place_of["out_w"] // step,
        out_c=step * place_of["out_c"],
    )


def _corner(target: HeldRegion, rows: Series, columns: Series) -> HeldRegion:
    """The part of the output tile from the first to the last position that a run writes."""
    y, x = (Span(run.first, (run.extent - 1) * run.step + 1) for run in (rows, columns))
    return HeldRegion("", y, x, target.k)


def _single(rows: Series, columns: Series, apart: bool) -> Iterator[tuple[Series, Series]]:
    """Each row alone, or each position where even columns lie too far `apart`."""
    for i in range(rows.extent):
        row = Series(rows.first + i * rows.step, 1, 1, rows.source + i * rows.stride, 1)
        for j in range(columns.extent if apart else 1):
            column = Series(columns.first + j * columns.step, 1, 1, columns.source + j * columns.stride, 1)
            yield row, column if apart else columns
