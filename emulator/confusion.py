"""Which classes a classifier takes for which, as a table."""

from __future__ import annotations

import numpy as np

from emulator.evaluate import Accuracy
from emulator.tables import TextColumn, TextTable

_WHOLE = 16
"""Classes up to which the table is the whole matrix."""
_PAIRS = 20
"""Pairs of classes that are shown of a larger one, those that are confused most."""


def confused(found: Accuracy) -> TextTable:
    """The matrix of labels (rows) and answers (columns); of many classes, the pairs that are confused most often."""
    matrix = found.confusion
    if found.classes <= _WHOLE:
        columns = [TextColumn("label \\ answer", text=True), *(TextColumn(str(i)) for i in range(len(matrix)))]
        rows = [[str(label), *map(str, row)] for label, row in enumerate(matrix.tolist())]
        return TextTable(columns, rows)
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    of_label = matrix.sum(axis=1)
    pairs = [(int(i) // found.classes, int(i) % found.classes) for i in order]
    rows = [
        [str(label), str(answer), str(wrong[label, answer]), str(of_label[label])]
        for label, answer in pairs
        if wrong[label, answer]
    ]
    columns = [TextColumn("label"), TextColumn("answer"), TextColumn("images"), TextColumn("of")]
    return TextTable(columns, rows)
