from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.artifacts.checkpoint import Newest, checkpoints_of, newest_valid, verify
from pipeline.core.atomic_io import append_line, read_json, sha256
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home, RunFolder
from pipeline.training import checkpoints


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return Home(tmp_path).run("run")


def write(content: bytes = b"weights") -> checkpoints.WriteFiles:
    def fill(folder: Path) -> None:
        (folder / "training").mkdir()
        (folder / "model.safetensors").write_bytes(content)
        (folder / "training" / "optimizer.safetensors").write_bytes(content * 2)

    return fill


def save(run: RunFolder, *steps: int, keep: int = 10) -> None:
    for step in steps:
        checkpoints.save(run, step, write(b"weights %d" % step), keep=keep)


def steps(run: RunFolder) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoints_of(run)]


def test_a_checkpoint_is_a_folder_whose_manifest_names_every_file(run: RunFolder) -> None:
    save(run, 500)
    folder = run.path / "checkpoints" / "step-00000500"
    manifest = read_json(folder / "manifest.json")
    assert manifest == {
        "format": 1,
        "step": 500,
        "files": {
            "model.safetensors": {"sha256": sha256(folder / "model.safetensors"), "size": 11},
            "training/optimizer.safetensors": {"sha256": sha256(folder / "training/optimizer.safetensors"), "size": 22},
        },
    }
    verify(folder)


def test_a_save_that_is_cut_off_leaves_no_checkpoint(run: RunFolder) -> None:
    save(run, 1)

    def cut_off(folder: Path) -> None:
        write()(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(run, 2, cut_off, keep=10)
    assert steps(run) == [1]
    assert newest_valid(run).step == 1


def test_without_the_staging_folder_a_partial_checkpoint_would_count(run: RunFolder) -> None:
    """Negative control of the test above: files are written directly to their final path."""
    save(run, 1)
    run.checkpoint(2).mkdir()
    (run.checkpoint(2) / "model.safetensors").write_bytes(b"half")
    assert steps(run) == [1, 2]


def test_what_a_killed_save_left_is_cleared_by_the_next(run: RunFolder) -> None:
    save(run, 1)
    for name in (".staging-step-00000002", ".removed-step-00000001", ".damaged-step-00000003"):
        (run.checkpoints / name).mkdir()
    save(run, 2)
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-00000001", "step-00000002"]


def test_saving_a_step_again_replaces_it(run: RunFolder) -> None:
    save(run, 1)
    checkpoints.save(run, 1, write(b"other"), keep=10)
    assert (run.checkpoint(1) / "model.safetensors").read_bytes() == b"other"
    verify(run.checkpoint(1))


def flip(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[3] ^= 1
    (folder / "model.safetensors").write_bytes(data)


def shorten(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weig")


def lose_a_file(folder: Path) -> None:
    (folder / "training" / "optimizer.safetensors").unlink()


def lose_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def tear_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"format": 1, "st')


def empty_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")


def forget_the_files(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"format": 1, "step": 2, "files": {}}')


def name_another_step(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "step": 3}))


DAMAGES = {
    flip: "model.safetensors does not have the SHA-256 of its manifest",
    shorten: "model.safetensors has 4 bytes, its manifest says 9",
    lose_a_file: "training/optimizer.safetensors is missing",
    lose_the_manifest: "it has no manifest.json",
    tear_the_manifest: "manifest.json is not JSON",
    empty_the_manifest: "manifest.json is of another format",
    forget_the_files: "manifest.json names no files",
    name_another_step: "manifest.json is of another format or another step",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(run: RunFolder, damage: object) -> None:
    save(run, 1, 2)
    assert newest_valid(run).step == 2
    damage(run.checkpoint(2))  # type: ignore[operator]
    newest = newest_valid(run)
    assert (newest.path, newest.step) == (run.checkpoint(1), 1)
    assert DAMAGES[damage] in str(newest.damaged[0])  # type: ignore[index]
    assert "step-00000002" in str(newest.damaged[0])


def test_a_run_without_an_intact_checkpoint_raises_damaged_error(run: RunFolder) -> None:
    save(run, 1, 2)
    flip(run.checkpoint(1))
    flip(run.checkpoint(2))
    with pytest.raises(DamagedError, match=r"Run run has no checkpoint left .* start a new run"):
        newest_valid(run)


def test_a_run_without_a_checkpoint_begins_at_step_0(run: RunFolder) -> None:
    assert newest_valid(run) == Newest(None, 0, ())


def test_damaged_checkpoints_of_later_steps_are_hidden(run: RunFolder) -> None:
    save(run, 1, 2, 3)
    checkpoints.quarantine_after(run, 1)
    assert steps(run) == [1]
    assert (run.checkpoints / ".damaged-step-00000003" / "model.safetensors").exists()


def test_only_the_newest_stay_once_the_publisher_has_seen_the_others(run: RunFolder) -> None:
    for step in (1, 2, 3, 4):
        append_line(run.pushes, {"step": step, "state": "registered"})
    save(run, 1, 2, 3, 4, 5, keep=2)
    assert steps(run) == [4, 5]


def test_a_checkpoint_that_the_publisher_has_not_seen_is_never_deleted(run: RunFolder) -> None:
    append_line(run.pushes, {"step": 1, "state": "pushed"})
    append_line(run.pushes, {"step": 3, "state": "registered"})
    save(run, 1, 2, 3, 4, 5, keep=2)
    assert steps(run) == [2, 4, 5]
    append_line(run.pushes, {"step": 2, "state": "superseded"})
    checkpoints.rotate(run, keep=2)
    assert steps(run) == [4, 5]


def test_a_revision_outlives_the_checkpoint_it_is_linked_to(run: RunFolder, tmp_path: Path) -> None:
    save(run, 1)
    revision = tmp_path / "revision.safetensors"
    revision.hardlink_to(run.checkpoint(1) / "model.safetensors")
    append_line(run.pushes, {"step": 1, "state": "registered"})
    save(run, 2, 3, keep=2)
    assert steps(run) == [2, 3]
    assert revision.read_bytes() == b"weights 1"
