from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts.checkpoint import Checkpoint, complete_checkpoints, revision_of
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home, RunFolder
from tests.checkpoints import write_checkpoint


def test_a_folder_without_a_manifest_is_no_checkpoint(run: RunFolder) -> None:
    write_checkpoint(run, 100)
    (write_checkpoint(run, 200) / "manifest.json").unlink()
    assert complete_checkpoints(run) == [run.checkpoint(100)]


def test_a_run_without_checkpoints_has_none(run: RunFolder) -> None:
    assert complete_checkpoints(run) == []


def test_checkpoints_come_in_the_order_of_their_steps(run: RunFolder) -> None:
    for step in (900, 1_000, 20):
        write_checkpoint(run, step)
    assert [path.name for path in complete_checkpoints(run)] == ["step-00000020", "step-00000900", "step-00001000"]


def test_the_training_state_is_no_part_of_a_revision(run: RunFolder) -> None:
    assert "training/optimizer.safetensors" not in Checkpoint.open(write_checkpoint(run, 100)).files


def test_an_id_is_twelve_digits_and_depends_on_run_step_and_weights(run: RunFolder, home: Home) -> None:
    ids = {
        revision_of(write_checkpoint(run, 100, weights=b"one")),
        revision_of(write_checkpoint(run, 200, weights=b"one")),
        revision_of(write_checkpoint(run, 300, weights=b"two")),
        revision_of(write_checkpoint(home.run("beta"), 100, weights=b"one")),
    }
    assert len(ids) == 4
    assert all(len(found or "") == 12 and int(found or "", 16) >= 0 for found in ids)


def test_the_same_step_saved_again_has_the_same_id(run: RunFolder) -> None:
    first = Checkpoint.open(write_checkpoint(run, 100, eval_loss=2.5)).revision
    assert Checkpoint.open(write_checkpoint(run, 100, eval_loss=2.6)).revision == first


def test_a_step_saved_again_with_other_weights_has_another_id_at_once(run: RunFolder) -> None:
    first = revision_of(write_checkpoint(run, 100, weights=b"one"))
    assert revision_of(write_checkpoint(run, 100, weights=b"two")) != first


def _flip(path: Path) -> None:
    content = bytearray((path / "model.safetensors").read_bytes())
    content[7] ^= 1
    (path / "model.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "model.safetensors").write_bytes(b"short"), "model.safetensors has 5 bytes"),
        (_flip, "model.safetensors does not have the SHA-256"),
        (lambda path: (path / "config.json").unlink(), "config.json is missing"),
    ],
)
def test_a_damaged_file_is_named(run: RunFolder, damage: Callable[[Path], None], message: str) -> None:
    path = write_checkpoint(run, 100)
    Checkpoint.open(path).verify(path)
    damage(path)
    with pytest.raises(DamagedError, match=message):
        Checkpoint.open(path).verify(path)


@pytest.mark.parametrize(
    "manifest",
    [
        "{",
        "[]",
        "{}",
        '{"step": 100, "files": []}',
        '{"step": 100, "files": {"a": {"size": "5", "sha256": ""}}}',
        '{"step": 100, "files": {"../../outside": {"size": 5, "sha256": ""}}}',
        '{"step": 100, "files": {"/outside": {"size": 5, "sha256": ""}}}',
        '{"step": 200, "files": {}}',
    ],
)
def test_an_invalid_manifest_is_damage(run: RunFolder, manifest: str) -> None:
    path = write_checkpoint(run, 100)
    (path / "manifest.json").write_text(manifest)
    with pytest.raises(DamagedError):
        Checkpoint.open(path)
    assert revision_of(path) is None


def test_a_checkpoint_in_the_folder_of_another_step_is_damaged(run: RunFolder) -> None:
    moved = write_checkpoint(run, 100).rename(run.checkpoint(200))
    with pytest.raises(DamagedError, match="is that of step 100"):
        Checkpoint.open(moved)


def test_a_checkpoint_without_provenance_is_damaged(run: RunFolder) -> None:
    path = write_checkpoint(run, 100)
    (path / "provenance.json").write_text(json.dumps({"step": 100}))
    with pytest.raises(DamagedError, match="'run'"):
        Checkpoint.open(path)
