"""Which resident tensors are computed in the place of an operand of an addition or a product.

The post unit reads a value of the operand before it writes the value of the result, so that both may have the same
bytes if nothing reads the operand afterwards. Then the two tensors need the room of one.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from passes.tiling.records import LayerRecord


def in_place(layers: Sequence[LayerRecord], tensors: Set[str], together: Sequence[range] = ()) -> dict[str, str]:
    """The tensor in whose place another one is computed, by the name of that one.

    `tensors`: those of which ACT holds the whole; `together`: the numbers of layers that run side by side. Of these,
    only the last one may compute its output in such a place, and none of them computes the operand.
    """
    computed: dict[str, list[int]] = {}
    read: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        computed.setdefault(layer.stored(layer.output), []).append(i)
        for name in layer.reads:
            read.setdefault(layer.stored(name), []).append(i)
    found: dict[str, str] = {}
    for i, layer in enumerate(layers):
        numbers = next((numbers for numbers in together if i in numbers), range(i, i + 1))
        if layer.output not in tensors or computed.get(layer.output) != [i] or i != numbers[-1]:
            continue
        for name in layer.operands:
            own = name in tensors and layer.stored(name) == name and len(computed[name]) == 1
            if not own or read[name].count(i) > 1 or max(read[name]) > i:
                continue
            before = computed[name][0]
            if before not in numbers and layers[before].output_bytes == layer.output_bytes:
                found[layer.output] = name
                break
    return found
