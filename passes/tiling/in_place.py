"""Which resident tensors may be computed in the place of another one that nothing reads afterwards.

The post unit reads a value of an operand of an addition or a product before it writes the value of the result. A
depthwise convolution has read all of a channel before it writes that channel, if a tile of its partial sums has all
rows and columns. In both cases the two tensors need the room of one.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from passes.tiling.records import LayerRecord


class Replacements:
    """Who computes and who reads the tensors of a program."""

    def __init__(self, layers: Sequence[LayerRecord]) -> None:
        self._layers = layers
        self._computed: dict[str, list[int]] = {}
        self._read: dict[str, list[int]] = {}
        for i, layer in enumerate(layers):
            self._computed.setdefault(layer.stored(layer.output), []).append(i)
            for name in layer.reads:
                self._read.setdefault(layer.stored(name), []).append(i)

    def over(self, inside: range, tensors: Set[str]) -> str | None:
        """The tensor in whose place the last of some layers that run side by side may compute its output: an operand,
        or else, of a layer alone, what it reads channel by channel.

        `tensors`: those of which ACT holds the whole. None of the layers computes the operand.
        """
        last = self._layers[inside[-1]]
        if last.output not in tensors or self._computed.get(last.output) != [inside[-1]]:
            return None
        names = (*last.operands, *(last.consumed if len(inside) == 1 else ()))
        return next((name for name in names if self._replaced(name, inside, tensors)), None)

    def _replaced(self, name: str, inside: range, tensors: Set[str]) -> bool:
        """Whether a tensor has its own place, of the size that the output needs, and the last layer reads it last."""
        last = self._layers[inside[-1]]
        if name not in tensors or last.stored(name) != name or len(self._computed.get(name, ())) != 1:
            return False
        if self._read[name].count(inside[-1]) > 1 or max(self._read[name]) > inside[-1]:
            return False
        before = self._computed[name][0]
        return before not in inside and self._layers[before].output_bytes == last.output_bytes
