"""The rules of SCNN and SparTen written down literally: a loop for each word of a rule, slow and independent."""

from __future__ import annotations

import math
from typing import Any

from escc.baselines.scnn import Scnn
from escc.baselines.sparten import SparTen
from escc.baselines.work import LayerWork


def match(work: LayerWork, image: int, k: int, oy: int, ox: int, r: int, s: int, c: int) -> bool:
    """Whether filter k multiplies two values other than zero at tap (r, s) and channel c of its group."""
    g = work.geometry
    y, x = oy * g.strides[0] - g.pads[0] + r, ox * g.strides[1] - g.pads[1] + s
    if not (0 <= y < g.height and 0 <= x < g.width):
        return False
    channel = k // (g.filters // g.groups) * (g.channels // g.groups) + c
    return bool(work.weights[k, r, s, c]) and bool(work.activations[image, y, x, channel])


def matches(work: LayerWork, image: int) -> int:
    """All products of two values other than zero."""
    g = work.geometry
    return sum(
        match(work, image, k, oy, ox, r, s, c)
        for k in range(g.filters)
        for oy in range(g.out_height)
        for ox in range(g.out_width)
        for r in range(g.kernel[0])
        for s in range(g.kernel[1])
        for c in range(g.channels // g.groups)
    )


def sparten_cycles(machine: SparTen, work: LayerWork, image: int) -> int:
    """Cycles of the slowest cluster."""
    g = work.geometry
    per_group, channels = g.filters // g.groups, g.channels // g.groups
    places = [(oy, ox) for oy in range(g.out_height) for ox in range(g.out_width)]

    def weights(k: int, r: int | None = None, s: int | None = None, piece: range = range(channels)) -> int:
        taps = [(a, b) for a in range(g.kernel[0]) for b in range(g.kernel[1]) if r is None or (a, b) == (r, s)]
        return sum(bool(work.weights[k, a, b, c]) for a, b in taps for c in piece)

    def position(oy: int, ox: int, together: list[int]) -> int:
        total = 0
        for r in range(g.kernel[0]):
            for s in range(g.kernel[1]):
                for start in range(0, channels, machine.chunk):
                    piece = range(start, min(start + machine.chunk, channels))
                    order = list(together)
                    if machine.balance == "chunk":
                        order.sort(key=lambda k, r=r, s=s, piece=piece: -weights(k, r, s, piece))
                    units: list[list[int]] = [[] for _ in range(machine.units)]
                    for i, k in enumerate(order):
                        units[i if i < machine.units else 2 * machine.units - 1 - i].append(k)
                    slowest = max(
                        sum(match(work, image, k, oy, ox, r, s, c) for k in unit for c in piece) for unit in units
                    )
                    total += max(1, slowest)
        return total

    sets: list[list[int]] = []
    for group in range(g.groups):
        members = list(range(group * per_group, (group + 1) * per_group))
        size = machine.units
        if machine.balance != "none":
            members.sort(key=lambda k: -weights(k))
            size = 2 * machine.units
        sets += [members[i : i + size] for i in range(0, per_group, size)]
    if machine.clusters // len(places) > 1:
        sharing = machine.clusters // len(places)
        return max(
            sum(position(*place, together) for together in sets[i::sharing])
            for place in places
            for i in range(min(sharing, len(sets)))
        )
    each = math.ceil(len(places) / machine.clusters)
    return max(
        sum(position(*place, together) for place in places[i : i + each] for together in sets)
        for i in range(0, len(places), each)
    )


def scnn_cycles(machine: Scnn, work: LayerWork, image: int) -> int:
    """Cycles of all groups of filters, channel after channel, each as long as its slowest element."""
    g = work.geometry
    rows, columns = math.ceil(g.height / machine.rows), math.ceil(g.width / machine.columns)
    out_rows, out_columns = math.ceil(g.out_height / machine.rows), math.ceil(g.out_width / machine.columns)
    reach = ((g.kernel[0] - 1) // g.strides[0], (g.kernel[1] - 1) // g.strides[1])
    sum_columns = out_columns + reach[1]
    per_group, channels = g.filters // g.groups, g.channels // g.groups
    size = max(1, min(per_group, machine.accumulators // (out_rows * out_columns)))
    total = 0
    for group in range(g.groups):
        for first in range(0, per_group, size):
            taken = range(first, min(first + size, per_group))
            for c in range(channels):
                slowest = 0
                for i in range(machine.rows):
                    for j in range(machine.columns):
                        spent = 0
                        for phase in [(a, b) for a in range(g.strides[0]) for b in range(g.strides[1])]:
                            seen = [
                                (y - i * rows, x - j * columns)
                                for y in range(i * rows, min((i + 1) * rows, g.height))
                                for x in range(j * columns, min((j + 1) * columns, g.width))
                                if ((y + g.pads[0]) % g.strides[0], (x + g.pads[1]) % g.strides[1]) == phase
                                and work.activations[image, y, x, group * channels + c]
                            ]
                            held = [
                                (k - first, r, s)
                                for r in range(g.kernel[0])
                                for s in range(g.kernel[1])
                                if (r % g.strides[0], s % g.strides[1]) == phase
                                for k in taken
                                if work.weights[group * per_group + k, r, s, c]
                            ]
                            spent += _element(machine, work, seen, held, sum_columns)
                        slowest = max(slowest, spent)
                total += slowest
            total += ((out_rows + reach[0]) * (out_columns + reach[1]) - out_rows * out_columns) * len(taken)
    return total


def _element(machine: Scnn, work: LayerWork, seen: list[Any], held: list[Any], sum_columns: int) -> int:
    """Cycles of one element for the vectors of one channel and phase."""
    g = work.geometry
    spent = 0
    for a in range(0, len(seen), machine.activation_vector):
        for w in range(0, len(held), machine.weight_vector):
            banks = [0] * machine.banks
            for y, x in seen[a : a + machine.activation_vector]:
                for k, r, s in held[w : w + machine.weight_vector]:
                    at_y = (y + g.kernel[0] - 1 - r) // g.strides[0]
                    at_x = (x + g.kernel[1] - 1 - s) // g.strides[1]
                    banks[(machine.bank_skew * k + at_y * sum_columns + at_x) % machine.banks] += 1
            spent += max(banks) if machine.conflicts else 1
    return spent
