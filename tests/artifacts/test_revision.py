from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifacts.checkpoint import Checkpoint
from pipeline.artifacts.revision import Registry, best_of, newest_of, pick, window_of
from pipeline.core.atomic_io import append_line, read_json, read_lines, write_json
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import Home, RunFolder
from tests.checkpoints import write_checkpoint
from tests.hub.conftest import ROOT
from tests.memory import bytes_of_json


@pytest.fixture
def registry(home: Home) -> Registry:
    return Registry(home, "local")


def test_a_revision_holds_the_model_and_not_the_training_state(registry: Registry, run: RunFolder) -> None:
    revision = registry.add(write_checkpoint(run, 100))
    assert {path.name for path in revision.path.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "provenance.json",
        "manifest.json",
    }
    assert revision.path == registry.folder / revision.revision


def test_a_revision_knows_where_it_comes_from(registry: Registry, run: RunFolder) -> None:
    revision = registry.add(write_checkpoint(run, 100, eval_loss=2.25))
    facts = revision.to_dict()
    assert facts.pop("pushed_at").endswith("+00:00")
    assert facts == {
        "repo": "local",
        "revision": revision.revision,
        "run": "alpha",
        "run_uid": None,
        "step": 100,
        "corpus": "python",
        "eval_loss": 2.25,
        "diverged": False,
        "tokens": 100 * 32 * 128,
        "parameters": 4_242_432,
        "commit": None,
    }
    provenance = read_json(revision.path / "provenance.json") or {}
    assert (provenance["repo"], provenance["revision"], provenance["preset"]) == ("local", revision.revision, "tiny")


@pytest.mark.parametrize("earlier", ["", "2199-01-01T00:00:00+00:00", "2199-01-01T00:00:00", "yesterday"])
def test_the_times_of_revisions_are_in_their_order_also_when_the_clock_was_set_back(
    registry: Registry, run: RunFolder, earlier: str
) -> None:
    if earlier:
        old = registry.add(write_checkpoint(run, 50))
        facts = (registry.folder / "history.jsonl").read_text()
        (registry.folder / "history.jsonl").write_text(facts.replace(old.pushed_at, earlier))
    added = [registry.add(write_checkpoint(run, step)) for step in (100, 20, 300)]
    times = [revision.pushed_at for revision in added]
    assert times == sorted(set(times)) and registry.revisions()[:3] == added[::-1]
    if earlier.endswith("+00:00"):
        assert times[0] > earlier


def test_a_revision_matches_its_own_manifest(registry: Registry, run: RunFolder) -> None:
    path = registry.add(write_checkpoint(run, 100)).path
    Checkpoint.open(path).verify(path)


def test_the_checkpoint_keeps_its_own_provenance(registry: Registry, run: RunFolder) -> None:
    path = write_checkpoint(run, 100)
    before = (path / "provenance.json").read_bytes()
    registry.add(path)
    assert (path / "provenance.json").read_bytes() == before


def test_weights_are_linked_not_copied_and_outlive_their_checkpoint(registry: Registry, run: RunFolder) -> None:
    checkpoint = write_checkpoint(run, 100, weights=b"weights")
    kept = registry.add(checkpoint).path / "model.safetensors"
    assert kept.samefile(checkpoint / "model.safetensors")
    shutil.rmtree(checkpoint)
    assert kept.read_bytes() == b"weights"


def test_files_of_a_revision_are_read_only(registry: Registry, run: RunFolder) -> None:
    path = registry.add(write_checkpoint(run, 100)).path
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o444}


def test_files_are_copied_where_they_cannot_be_linked(
    registry: Registry, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    checkpoint = write_checkpoint(run, 100)
    path = registry.add(checkpoint).path
    Checkpoint.open(path).verify(path)
    assert not (path / "model.safetensors").samefile(checkpoint / "model.safetensors")


def test_another_failure_to_link_is_not_hidden_and_leaves_nothing(
    registry: Registry, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        registry.add(write_checkpoint(run, 100))
    assert list(registry.folder.iterdir()) == []


def test_adding_again_changes_nothing(registry: Registry, run: RunFolder) -> None:
    checkpoint = write_checkpoint(run, 100)
    assert registry.add(checkpoint) == registry.add(checkpoint)
    assert len(read_lines(registry.folder / "history.jsonl")) == 1


def test_a_damaged_checkpoint_is_not_added_and_leaves_nothing(registry: Registry, run: RunFolder) -> None:
    checkpoint = write_checkpoint(run, 100)
    (checkpoint / "model.safetensors").write_bytes(b"short")
    with pytest.raises(DamagedError, match=r"step-00000100 of run alpha is damaged: model\.safetensors has 5 bytes"):
        registry.add(checkpoint)
    assert registry.revisions() == []
    assert list(registry.folder.iterdir()) == []


def test_revisions_come_newest_first(registry: Registry, run: RunFolder) -> None:
    for step in (100, 200, 300):
        registry.add(write_checkpoint(run, step))
    assert [revision.step for revision in registry.revisions()] == [300, 200, 100]
    assert registry.newest() == registry.revisions()[0]


def test_the_newest_is_one_that_has_not_diverged_if_there_is_one(registry: Registry, run: RunFolder) -> None:
    for step, diverged in ((100, True), (200, False), (300, True)):
        registry.add(write_checkpoint(run, step, diverged=diverged))
    newest = registry.newest()
    assert newest is not None and newest.step == registry.get("newest").step == 200
    assert [revision.diverged for revision in registry.revisions()] == [True, False, True]
    assert newest_of([revision for revision in registry.revisions() if revision.diverged]) == registry.revisions()[0]


def test_a_history_that_grows_is_kept_in_memory_once(registry: Registry, run: RunFolder) -> None:
    facts = registry.add(write_checkpoint(run, 100)).to_dict()
    with bytes_of_json() as sizes:
        for step in range(200):
            row = {**facts, "revision": f"{step:012x}", "corpus": "x" * 10_000}
            append_line(registry.folder / "history.jsonl", row)
            assert registry.newest()
    # One copy of the rows; 32 cached versions of the file would take ten times as much.
    assert 200 * 10_000 < sizes[0] < 2 * 200 * 11_000


def test_a_revision_that_was_deleted_is_not_shown(registry: Registry, run: RunFolder) -> None:
    registry.add(write_checkpoint(run, 100))
    shutil.rmtree(registry.add(write_checkpoint(run, 200)).path)
    assert [revision.step for revision in registry.revisions()] == [100]


def test_an_empty_registry_has_no_newest_and_creates_nothing(registry: Registry) -> None:
    assert registry.newest() is None
    registry.repair()
    assert not registry.folder.exists()


def test_repos_have_registries_of_their_own(home: Home, run: RunFolder, registry: Registry) -> None:
    checkpoint = write_checkpoint(run, 100)
    registry.add(checkpoint)
    other = Registry(home, "me/parrot").add(checkpoint)
    assert other.repo == "me/parrot"
    assert other.revision == registry.revisions()[0].revision


def test_a_commit_is_recorded(registry: Registry, run: RunFolder) -> None:
    revision = registry.add(write_checkpoint(run, 100))
    registry.note_commit(revision, "c" * 40)
    assert registry.revisions()[0].commit == "c" * 40
    registry.note_commit(registry.revisions()[0], "c" * 40)
    assert len(read_lines(registry.folder / "commits.jsonl")) == 1


def test_a_revision_is_found_by_newest_by_its_id_and_by_its_first_digits(registry: Registry, run: RunFolder) -> None:
    first, second = (registry.add(write_checkpoint(run, step)) for step in (100, 200))
    assert registry.get("newest") == second
    assert registry.get(first.revision) == first
    assert registry.get(f" {first.revision[:5].upper()} ") == first


def test_best_is_the_lowest_validation_loss_of_the_newest_ones_corpus(registry: Registry, run: RunFolder) -> None:
    losses = (2.0, None, 1.5, 1.5, 1.75)
    added = [registry.add(write_checkpoint(run, step, eval_loss=loss)) for step, loss in enumerate(losses, start=1)]
    assert registry.get("best") == added[2], "of equal ones the earliest"
    rows = [replace(added[0], corpus="other", eval_loss=0.5), replace(added[1], eval_loss=0.25, diverged=True)]
    assert best_of([*reversed(added), *rows]) == added[2]
    assert best_of([rows[0], *reversed(added)]) == rows[0], "another corpus is the newest one's"
    stopped = replace(rows[0], eval_loss=None)  # before its first evaluation
    assert best_of([stopped, *reversed(added)]) == added[2]


def test_without_a_validation_loss_there_is_no_best(registry: Registry, run: RunFolder) -> None:
    revision = registry.add(write_checkpoint(run, 100, eval_loss=None))
    assert best_of([revision]) is best_of([]) is None
    with pytest.raises(InputError, match="No revision has a validation loss yet; use newest"):
        pick([revision], "best", "local")


@pytest.mark.parametrize(
    ("tokens", "parameters", "is_young"), [(99, 100, True), (100, 100, False), (None, 100, False), (99, None, False)]
)
def test_a_revision_is_young_while_it_has_read_fewer_tokens_than_it_has_weights(
    registry: Registry, run: RunFolder, tokens: int | None, parameters: int | None, is_young: bool
) -> None:
    revision = registry.add(write_checkpoint(run, 100))
    assert replace(revision, tokens=tokens, parameters=parameters).is_young == is_young


@pytest.mark.parametrize("text", ["", "abc", "ffffffffffff", "no such"])
def test_an_unknown_revision_error_lists_the_existing_ones(registry: Registry, run: RunFolder, text: str) -> None:
    revision = registry.add(write_checkpoint(run, 100))
    with pytest.raises(
        InputError, match=rf"no revision '{text}'; use newest, best, .*{revision.revision} \(run alpha, step 100"
    ):
        registry.get(text)


def test_an_ambiguous_revision_error_lists_the_candidates(registry: Registry, run: RunFolder) -> None:
    revision = registry.add(write_checkpoint(run, 100))
    twin = revision.revision[:6] + "0" * 6
    shutil.copytree(revision.path, registry.folder / twin)
    append_line(registry.folder / "history.jsonl", {**revision.to_dict(), "revision": twin, "step": 200})
    with pytest.raises(InputError, match=r"step 200.*step 100.*give more digits"):
        registry.get(revision.revision[:6])


def test_without_revisions_the_remedy_is_to_train(registry: Registry) -> None:
    with pytest.raises(InputError, match="local has no revision yet; train"):
        registry.get("newest")


KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.core import atomic_io
from pipeline.core.paths import Home
from pipeline.artifacts.revision import Registry
atomic_io.{seam} = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Registry(Home(Path(sys.argv[1])), "local").add(Path(sys.argv[2]))
"""


def _killed_at(seam: str, home: Home, checkpoint: Path) -> None:
    command = [sys.executable, "-c", KILLED.format(seam=seam), str(home.path), str(checkpoint)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL


def test_a_kill_between_rename_and_history_is_repaired(registry: Registry, home: Home, run: RunFolder) -> None:
    registry.add(write_checkpoint(run, 100))
    _killed_at("append_line", home, write_checkpoint(run, 200))
    assert [revision.step for revision in registry.revisions()] == [100]  # control: the kill did leave the row out
    registry.repair()
    assert [revision.step for revision in registry.revisions()] == [200, 100]
    registry.repair()
    assert len(read_lines(registry.folder / "history.jsonl")) == 2


@pytest.mark.parametrize("provenance", ["{", "{}", None])
def test_repair_leaves_a_damaged_folder_unlisted_and_lists_the_others(
    registry: Registry, home: Home, run: RunFolder, provenance: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    _killed_at("append_line", home, write_checkpoint(run, 100))
    damaged = registry.folder / ("0" * 12)
    damaged.mkdir()
    if provenance is not None:
        (damaged / "provenance.json").write_text(provenance)
    registry.repair()
    assert [revision.step for revision in registry.revisions()] == [100]
    assert damaged.is_dir() and str(damaged) in capsys.readouterr().err


def test_repair_does_not_read_revisions_that_have_a_row(
    registry: Registry, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    provenance = registry.add(write_checkpoint(run, 100)).path / "provenance.json"
    provenance.unlink()
    provenance.write_text("{")
    registry.repair()
    assert [revision.step for revision in registry.revisions()] == [100]
    assert capsys.readouterr().err == ""


def test_a_kill_while_a_revision_is_built_leaves_nothing_after_repair(
    registry: Registry, home: Home, run: RunFolder
) -> None:
    checkpoint = write_checkpoint(run, 100)
    _killed_at("sync", home, checkpoint)
    assert [path.name[0] for path in registry.folder.iterdir()] == ["."]  # control: a staging folder did stay behind
    assert registry.revisions() == []
    registry.repair()
    assert list(registry.folder.iterdir()) == []
    assert registry.add(checkpoint) == registry.newest()


ADDS = """
import sys
from pathlib import Path
from pipeline.core.paths import Home
from pipeline.artifacts.revision import Registry
registry = Registry(Home(Path(sys.argv[1])), "local")
for checkpoint in sys.argv[2:]:
    registry.add(Path(checkpoint))
"""


@pytest.mark.slow
def test_a_reader_sees_only_whole_revisions_while_the_publisher_adds(
    registry: Registry, home: Home, run: RunFolder
) -> None:
    checkpoints = [str(write_checkpoint(run, step)) for step in range(1, 41)]
    command = [sys.executable, "-c", ADDS, str(home.path), *checkpoints]
    with subprocess.Popen(command, cwd=ROOT) as writer:
        seen: list[int] = []
        while writer.poll() is None or seen[-1] < len(checkpoints):
            revisions = registry.revisions()
            seen.append(len(revisions))
            for revision in revisions[:1]:
                Checkpoint.open(revision.path).verify(revision.path)
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) > 2  # it did read in between


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"revision": "../../x"},
        {"revision": "0123456789ab"},
        {"revision": "0123456789ab", "repo": "local", "run": 3, "step": 1, "corpus": "c", "pushed_at": "x"},
        {"step": 10**400},
        {"revision": [1]},
    ],
)
def test_a_row_of_somebody_else_hides_no_revision(registry: Registry, run: RunFolder, row: dict[str, object]) -> None:
    added = registry.add(write_checkpoint(run, 100))
    append_line(registry.folder / "history.jsonl", row)
    append_line(registry.folder / "commits.jsonl", row)
    assert registry.revisions() == [added]


@pytest.mark.parametrize(
    ("facts", "config", "window"),
    [({"window": 64}, {"n_ctx": 128}, 64), ({}, {"n_ctx": 128}, 128), ({"window": "x"}, {}, None), ({}, {}, None)],
)
def test_the_trained_window_is_that_of_the_run_or_of_the_course(
    registry: Registry,
    run: RunFolder,
    tmp_path: Path,
    facts: dict[str, object],
    config: dict[str, object],
    window: int | None,
) -> None:
    write_json(tmp_path / "provenance.json", facts)
    write_json(tmp_path / "config.json", config)
    assert window_of(replace(registry.add(write_checkpoint(run, 100)), path=tmp_path)) == window
