"""docs/changelog.py: notes become a version of the changelog, once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from isa.errors import UserError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))

import changelog

OLD = "# Changes\n\nHow to read it.\n\n## 0.9.0\n\n- One.\n"
NEW = "# Changes\n\nHow to read it.\n\n## 0.10.0\n\n- A.\n  More of it.\n- B.\n- C.\n\n## 0.9.0\n\n- One.\n"


def released(folder: Path, monkeypatch: pytest.MonkeyPatch, *version: str) -> int:
    arguments = [
        "changelog.py",
        *version,
        "--changelog",
        str(folder / "CHANGELOG.md"),
        "--notes",
        str(folder / "notes"),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    return changelog.main()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "CHANGELOG.md").write_text(OLD)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/b.md").write_text("- B.\n- C.")
    (tmp_path / "notes/a.md").write_text("- A.\n  More of it.\n\n")
    return tmp_path


def test_a_release_takes_all_notes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert released(folder, monkeypatch, "0.10.0") == 0
    assert (folder / "CHANGELOG.md").read_text() == NEW
    assert not list((folder / "notes").iterdir())
    assert released(folder, monkeypatch, "0.11.0") == 1
    assert (folder / "CHANGELOG.md").read_text() == NEW


def test_without_a_version_they_are_printed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert released(folder, monkeypatch) == 0
    assert capsys.readouterr().out == "- A.\n  More of it.\n- B.\n- C.\n"
    assert (folder / "CHANGELOG.md").read_text() == OLD and len(list((folder / "notes").iterdir())) == 2


@pytest.mark.parametrize(
    ("version", "cause"),
    [
        ("0.9.0", "has 0.9.0 already"),
        ("0.8.9", "has 0.9.0 already"),
        ("1.0", "three numbers"),
        ("1.0.0-rc1", "three numbers"),
    ],
)
def test_a_version_is_new(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys, version: str, cause: str) -> None:
    assert released(folder, monkeypatch, version) == 1
    assert cause in capsys.readouterr().err
    assert (folder / "CHANGELOG.md").read_text() == OLD and len(list((folder / "notes").iterdir())) == 2


@pytest.mark.parametrize("text", ["Once upon a time.\n", "- One.\nmore\n", "- One.\n\n# Two\n", "  - One.\n", ""])
def test_a_note_is_a_list(folder: Path, text: str) -> None:
    (folder / "notes/c.md").write_text(text)
    with pytest.raises(UserError, match=r"c\.md: line \d is no part of a list"):
        changelog.notes(folder / "notes")


def test_the_notes_of_the_tree_are_lists() -> None:
    changelog.notes(changelog.ROOT / "docs/changes")
