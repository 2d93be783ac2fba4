"""Which commit contains a revision. Pushes through real publishers are tested in test_uploader.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.core.atomic_io import write_json
from pipeline.core.errors import DamagedError
from pipeline.hub.commits import Push
from pipeline.hub.model_repo import _file_names, find_push

REVISION = Revision(
    repo="me/parrot",
    revision="a" * 12,
    run="alpha",
    step=100,
    corpus="python",
    pushed_at="2026-01-01T00:00:00+00:00",
    eval_loss=None,
    commit=None,
    path=Path("nowhere"),
)


@pytest.mark.parametrize(
    ("push", "is_it"),
    [
        (Push("c", "alpha", 100, "a" * 12), True),
        (Push("c", "alpha", 100, None), True),
        (Push("c", "alpha", 100, "b" * 12), False),  # the step was saved again with other weights
        (Push("c", "alpha", 200, None), False),
        (Push("c", "beta", 100, None), False),
    ],
)
def test_a_commit_holds_a_revision_by_its_id_or_else_by_run_and_step(push: Push, is_it: bool) -> None:
    other = Push("d", "alpha", 50, "d" * 12)
    assert find_push([other, push], REVISION) == (push if is_it else None)


@pytest.mark.parametrize("name", ["/etc/hostname", "../outside.txt", "link.txt"])
def test_nothing_outside_its_folder_is_pushed_with_a_revision(tmp_path: Path, name: str) -> None:
    """A manifest that somebody else has written, as in an archive."""
    folder = tmp_path / "0123456789ab"
    folder.mkdir()
    (tmp_path / "outside.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    entry = {"sha256": "0" * 64, "size": 6}
    write_json(folder / "manifest.json", {"format": 1, "step": 1, "files": {name: entry}})
    with pytest.raises(DamagedError, match="not its own"):
        _file_names(folder)
    (folder / "own.txt").write_text("x")
    write_json(folder / "manifest.json", {"format": 1, "step": 1, "files": {"own.txt": entry}})
    assert _file_names(folder) == ["own.txt", "manifest.json"]
