"""Verification of a folder by its manifest, and the message of each kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts import manifest
from pipeline.core.atomic_io import read_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed folder with a file in it and one in a subfolder."""
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "state.bin").write_bytes(b"moments")
    manifest.seal(tmp_path, 7)
    return tmp_path


def entries(folder: Path) -> manifest.Entries:
    found = manifest.entries_of(read_json(folder / manifest.NAME) or {})
    assert found is not None
    return found


def test_a_sealed_folder_verifies_and_lists_files_in_subfolders(folder: Path) -> None:
    assert set(entries(folder)) == {"model.bin", "training/state.bin"}
    assert (read_json(folder / manifest.NAME) or {})["step"] == 7
    assert manifest.fault(folder, entries(folder)) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"moment"), "has 6 bytes, its manifest says 7"),
        (lambda path: path.write_bytes(b"Moments"), "does not have the SHA-256 of its manifest"),
    ],
)
def test_each_kind_of_damage_is_named_with_its_file(folder: Path, change: Callable[[Path], object], fault: str) -> None:
    change(folder / "training" / "state.bin")
    assert manifest.fault(folder, entries(folder)) == f"training/state.bin {fault}"


@pytest.mark.parametrize(
    "files",
    [
        None,
        [],
        {},
        {"a": None},
        {"a": {"size": 1}},
        {"a": {"size": "1", "sha256": "0"}},
        {"/etc/passwd": {"size": 1, "sha256": "0"}},
        {"../a": {"size": 1, "sha256": "0"}},
        {"": {"size": 1, "sha256": "0"}},
    ],
)
def test_a_manifest_with_invalid_file_entries_has_none(files: object) -> None:
    assert manifest.entries_of({"files": files}) is None
