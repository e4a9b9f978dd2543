"""The table of layer kinds: modules of passes/layers/ and entry points of other packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdsl.ir import Operation

from isa.errors import UserError
from passes import layers
from passes.layers.table import assemble_kinds, layer_kinds
from passes.tiling.esc_op_to_layer import LayerTiler
from passes.tiling.layer_kind import LayerKind

ROOT = Path(__file__).parents[2]


class Folding(LayerKind):
    name = "folding"

    def matches(self, op: Operation) -> bool:
        return False

    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        raise AssertionError("the kind matches no operation, so that there is nothing to tile")


NEW_KIND = """\
from test_layer_kinds import Folding
KIND = Folding()
"""


@pytest.fixture
def fresh_table() -> Iterator[None]:
    """The table of kinds is read again, before and after."""
    layer_kinds.cache_clear()
    yield
    layer_kinds.cache_clear()
    sys.modules.pop("passes.layers.folding", None)


@pytest.mark.usefixtures("fresh_table")
def test_a_new_file_is_a_new_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [kind.name for kind in layer_kinds()]
    layer_kinds.cache_clear()
    (tmp_path / "folding.py").write_text(NEW_KIND)
    (tmp_path / "kit_of_folding.py").write_text("SHARED = 1\n")
    monkeypatch.setattr(layers, "__path__", [*layers.__path__, str(tmp_path)])
    assert [kind.name for kind in layer_kinds()] == sorted([*before, "folding"])


def test_no_shared_file_lists_the_kinds_of_the_tree() -> None:
    own = [module.stem for module in Path(layers.__path__[0]).glob("*.py") if "\nKIND = " in module.read_text("utf-8")]
    assert len(own) >= 6 and set(own) <= {kind.name for kind in layer_kinds()}
    assert "escc.layers" not in (ROOT / "pyproject.toml").read_text("utf-8")


def test_a_kind_that_is_found_twice_counts_once() -> None:
    kind = Folding()
    assert assemble_kinds([("folding", kind), ("folding", kind)]) == (kind,)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([("folding", Folding)], "the layer kind 'folding' must be a LayerKind, found ABCMeta"),
        ([("scatter", Folding())], "the layer kind 'folding' is found under the name 'scatter'"),
        (
            [("folding", Folding()), ("folding", Folding())],
            "two layer kinds have the name 'folding', Folding and Folding",
        ),
    ],
)
def test_what_is_no_kind_of_its_own_is_refused(found: list[tuple[str, object]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        assemble_kinds(found)
