"""A mounted folder as the archive: every process is killed and the disk is wiped; all of it comes back, without a Hub."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import manifest
from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import append_line, read_json, read_lines, write_json
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.gallery.moderation import Moderation
from pipeline.hub import bucket, bucket_restore
from pipeline.hub.bucket import IDENTITY, SEAL, Unit, is_behind, save_all, units
from pipeline.hub.bucket_restore import restore_all
from pipeline.hub.gallery_file import HIDDEN, PIN
from pipeline.jobs.state import job_state
from tests.artifacts.test_evaluation import result
from tests.checkpoints import write_checkpoint
from tests.faults.shares import shares
from tests.homes import write_corpus, write_run
from tests.hub.test_wiped_disk import SMALL, STEPS, Space, outcome, prepared
from tests.waiting import eventually


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tmp_path: Path, archive: Path) -> Settings:
    return Settings(home=tmp_path / "home", archive=archive)


@pytest.fixture
def home(settings: Settings) -> Home:
    """With one of everything that is saved, and an archive that is still empty."""
    home = Home(settings.home)
    restore_all(settings)
    write_corpus(home, "python")
    start_run(home, "alpha", 100, 200)
    write_json(home.gallery / "aaaaaaaa.json", {"id": "aaaaaaaa", "prompt": "x"})
    home.evaluations.mkdir()
    write_json(home.evaluation("a" * 12), result(100))
    write_json(home.evaluation("a" * 12, "python"), result(100))
    return home


def start_run(home: Home, run_id: str, *steps: int) -> None:
    """A run with published checkpoints."""
    write_run(home, run_id)
    for step in steps:
        Registry(home, "local").add(write_checkpoint(home.run(run_id), step))


def forget(home: Home) -> None:
    """As if another disk had saved what is in the archive: this one deletes nothing of it."""
    write_json(home.saved, {**(read_json(home.saved) or {}), "units": {}})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def wipe(home: Home) -> dict[str, bytes]:
    """Delete the home; returns its files."""
    files = contents(home.path)
    shutil.rmtree(home.path)
    return files


def test_all_that_is_finished_comes_back_byte_by_byte(settings: Settings, home: Home, archive: Path) -> None:
    save_all(home, archive)
    assert not is_behind(home, archive)
    before = wipe(home)
    names = [
        "corpora/python",
        "runs/alpha/checkpoint",
        "runs/alpha/record",
        "evaluations",
        "gallery",
        "registry/local/rows",
    ]
    restored = restore_all(settings)
    assert [name for name in restored if "/local/" not in name or name.endswith("rows")] == names
    assert len(restored) == len(names) + 2
    after = contents(home.path)
    assert not [name for name in after if ".restored" in name]
    known = {"saved.json", "restored-archive.json", "restore.lock", "gallery/.lock"}
    assert {name: text for name, text in after.items() if name not in known}.items() <= before.items()
    missing = before.keys() - after.keys()
    assert all("step-00000100" in name or name.endswith("lock") for name in missing), missing
    assert not is_behind(home, archive), "nothing is saved again"


def test_nothing_is_saved_twice_and_old_versions_go(home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_all(home, archive)
    saved: list[str] = []
    real = bucket.save
    monkeypatch.setattr(bucket, "save", lambda to, unit, own: (saved.append(unit.name), real(to, unit, own)))
    save_all(home, archive)
    assert saved == []
    write_checkpoint(home.run("alpha"), 300)
    save_all(home, archive)
    assert saved == ["runs/alpha/checkpoint", "runs/alpha/record"]
    (version,) = (archive / "runs/alpha/checkpoint").iterdir()
    assert (version / "checkpoints/step-00000300/model.safetensors").exists()


def test_what_a_wiped_disk_has_gained_before_it_was_restored_is_added(
    settings: Settings, home: Home, archive: Path
) -> None:
    """A run starts before anybody has looked at the archive."""
    save_all(home, archive)
    wipe(home)
    start_run(home, "beta", 50)
    assert is_behind(home, archive)
    for _ in range(2):
        restore_all(settings)
        found = [(revision.run, revision.step) for revision in Registry(home, "local").revisions()]
        assert found == [("beta", 50), ("alpha", 200), ("alpha", 100)]
        assert {run.id for run in home.runs()} == {"alpha", "beta"}
        save_all(home, archive)
        wipe(home)


def test_a_copy_that_was_cut_off_does_not_count(settings: Settings, home: Home, archive: Path) -> None:
    save_all(home, archive)
    write_checkpoint(home.run("alpha"), 300)
    unit = next(unit for unit in units(home) if unit.name == "runs/alpha/checkpoint")
    half = archive / unit.name / unit.version / "checkpoints/step-00000300"
    half.mkdir(parents=True)
    (half / "model.safetensors").write_bytes(b"half")
    wipe(home)
    restore_all(settings)
    assert [path.name for path in home.run("alpha").checkpoints.iterdir()] == ["step-00000200"]


def test_a_copy_that_was_cut_off_is_made_again(home: Home, archive: Path) -> None:
    unit = next(unit for unit in units(home) if unit.name == "corpora/python")
    half = archive / unit.name / unit.version
    half.mkdir(parents=True)
    (half / "manifest.json").write_bytes(b"{")
    save_all(home, archive)
    assert (half / SEAL).exists()
    assert (half / "manifest.json").read_bytes() == home.corpus("python").manifest.read_bytes()


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "seal"])
def test_what_is_damaged_is_left_out_by_name_and_the_rest_comes(
    settings: Settings, home: Home, archive: Path, damage: str, capfd: pytest.CaptureFixture[str]
) -> None:
    save_all(home, archive)
    (path,) = (archive / "corpora/python").rglob("manifest.json")
    if damage == "changed":
        path.write_bytes(path.read_bytes()[::-1])
    elif damage == "cut":
        path.write_bytes(b"")
    elif damage == "gone":
        path.unlink()
    else:
        (path.parent / SEAL).write_text("[1, 2")
    wipe(home)
    restored = restore_all(settings)
    assert "runs/alpha/record" in restored and "corpora/python" not in restored
    assert not home.corpus("python").manifest.exists()
    is_told = "corpora/python" in capfd.readouterr().err
    assert is_told == (damage != "seal"), "a copy without a seal was cut off, and is made again"


def test_no_file_is_placed_outside_its_folder(settings: Settings, home: Home, archive: Path) -> None:
    save_all(home, archive)
    (seal,) = (archive / "corpora/python").rglob(SEAL)
    content = read_json(seal) or {}
    write_json(seal, {**content, "files": {"../../../stolen": next(iter(content["files"].values()))}})
    wipe(home)
    assert "corpora/python" not in restore_all(settings)
    assert not (home.path.parent / "stolen").exists()


@pytest.mark.parametrize("torn", ["", "{", '{"files": {}}', "[" * 100_000])
def test_a_torn_seal_does_not_count_and_is_written_again(
    settings: Settings, home: Home, archive: Path, torn: str
) -> None:
    save_all(home, archive)
    write_checkpoint(home.run("alpha"), 300)
    unit = next(unit for unit in units(home) if unit.name == "runs/alpha/checkpoint")
    version = archive / unit.name / unit.version
    version.mkdir()
    (version / SEAL).write_text(torn)
    save_all(home, archive)
    assert bucket.seal_of(version) is not None
    wipe(home)
    restore_all(settings)
    assert [path.name for path in home.run("alpha").checkpoints.iterdir()] == ["step-00000300"]


def test_a_kill_after_the_seal_leaves_no_version_behind(
    home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_all(home, archive)
    write_checkpoint(home.run("alpha"), 300)

    class KilledError(BaseException):
        pass

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(bucket.SavedUnits, "note", killed)
        with pytest.raises(KilledError):
            save_all(home, archive)
    write_checkpoint(home.run("alpha"), 400)
    save_all(home, archive)
    (version,) = (archive / "runs/alpha/checkpoint").iterdir()
    assert (version / "checkpoints/step-00000400").exists()


def test_another_bucket_at_the_same_path_is_restored_and_then_saved_to(
    settings: Settings, home: Home, archive: Path
) -> None:
    """As when the mount came late: the run was saved below the empty mount point."""
    save_all(home, archive)
    shutil.rmtree(archive)
    archive.mkdir()
    assert not is_behind(home, archive), "nothing on this disk has changed"
    with pytest.raises(FileNotFoundError, match="is empty, and was not; mount it again"):
        save_all(home, archive)  # the mount was lost: nothing is copied to the disk below
    assert contents(archive) == {}
    write_json(archive / IDENTITY, {"id": "another"})
    save_all(home, archive)
    assert restore_all(settings) == []
    save_all(home, archive)
    wipe(home)
    assert "runs/alpha/record" in restore_all(settings)


def test_evaluations_are_merged_and_nothing_else_comes_with_them(settings: Settings, home: Home, archive: Path) -> None:
    (home.evaluations / "request.json").write_text("{}")
    save_all(home, archive)
    wipe(home)
    home.evaluations.mkdir(parents=True)
    write_json(home.evaluation("a" * 12), result(100, samples=20))
    restore_all(settings)
    assert read_json(home.evaluation("a" * 12)) == result(100, samples=20), "that of this disk stays"
    assert read_json(home.evaluation("a" * 12, "python")) == result(100)
    assert not (home.evaluations / "request.json").exists()


def test_no_visitor_sees_a_hidden_example_while_it_comes_back(
    settings: Settings, home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page reads the gallery meanwhile, and a kill may come after any file."""
    write_json(home.gallery / "moderation.json", {"aaaaaaaa": HIDDEN})
    save_all(home, archive)
    wipe(home)
    seen: list[bool] = []

    def watch(archived: Path, own: Path) -> None:
        bucket_restore_merge(archived, own)
        if (home.gallery / "aaaaaaaa.json").exists():
            seen.append(Moderation(home.gallery / "moderation.json").states()["aaaaaaaa"].is_hidden)

    bucket_restore_merge = bucket_restore._merge_file
    monkeypatch.setattr(bucket_restore, "_merge_file", watch)
    restore_all(settings)
    assert seen and all(seen)


@pytest.mark.parametrize("odd", [{"tasks": 3}, {"repo": "a/\ud800"}, {"seconds": float("nan")}, {"commit": ["x"]}])
def test_an_evaluation_that_no_page_can_show_does_not_come_back(
    settings: Settings, home: Home, archive: Path, odd: dict[str, Any]
) -> None:
    home.evaluation("b" * 12).write_text(json.dumps({**result(100), **odd}))
    save_all(home, archive)
    wipe(home)
    restore_all(settings)
    assert not home.evaluation("b" * 12).exists() and home.evaluation("a" * 12).exists()


def test_an_example_that_was_deleted_since_an_older_version_stays_deleted(
    settings: Settings, home: Home, archive: Path
) -> None:
    """A kill after the seal of the newer version leaves the older one."""
    write_json(home.gallery / "bbbbbbbb.json", {"id": "bbbbbbbb"})
    save_all(home, archive)
    (older,) = (archive / "gallery").iterdir()
    shutil.copytree(older, archive / "older")
    (home.gallery / "aaaaaaaa.json").unlink()
    append_line(home.gallery / "deleted.jsonl", {"id": "aaaaaaaa"})
    save_all(home, archive)
    (archive / "older").rename(older)
    wipe(home)
    restore_all(settings)
    assert [path.stem for path in home.gallery.glob("????????.json")] == ["bbbbbbbb"]


def test_reports_and_quotas_are_merged(settings: Settings, home: Home, archive: Path) -> None:
    (home.gallery / "reports.jsonl").write_text('{"at": 1}\n')
    save_all(home, archive)
    wipe(home)
    home.gallery.mkdir(parents=True)
    (home.gallery / "reports.jsonl").write_text('{"at": 2}\n')
    restore_all(settings)
    assert sorted(row["at"] for row in read_lines(home.gallery / "reports.jsonl")) == [1, 2]


def test_a_torn_moderation_file_of_this_disk_stops_nothing(settings: Settings, home: Home, archive: Path) -> None:
    write_json(home.gallery / "moderation.json", {"aaaaaaaa": {"is_hidden": True}})
    save_all(home, archive)
    wipe(home)
    home.gallery.mkdir(parents=True)
    (home.gallery / "moderation.json").write_text("{")
    assert "runs/alpha/record" in restore_all(settings)


def test_no_planted_job_comes_back(settings: Settings, home: Home, archive: Path) -> None:
    save_all(home, archive)
    for name, file in (("corpora/evil", "request.json"), ("runs/evil/record", "request.json")):
        version = archive / name / "0123456789ab"
        version.mkdir(parents=True)
        write_json(version / file, {"request_id": "x", "kind": "prepare", "requested_at": 1.0})
        entry = {**manifest.entry(version / file), "mtime_ns": 1}
        write_json(version / SEAL, {"files": {file: entry}, "sealed_at": 1.0})
    wipe(home)
    restore_all(settings)
    assert not home.corpus("evil").path.exists() and not home.run("evil").path.exists()


@pytest.mark.parametrize("name", ["runs/alpha", "corpora/python"])
def test_a_request_that_had_not_begun_does_not_start_because_it_is_restored(
    settings: Settings, home: Home, archive: Path, name: str
) -> None:
    """Resumed and queued, or cancelled, or ended before its first status."""
    folder = home.run("alpha") if name == "runs/alpha" else home.corpus("python")
    write_json(folder.status, {"request_id": "old", "state": "stopped", "step": 20})
    write_json(folder.request, {"request_id": "new", "kind": "train", "requested_at": 2.0, "resume": True})
    assert job_state(folder).state == "queued"
    save_all(home, archive)
    wipe(home)
    restore_all(settings)
    assert job_state(folder).state == "stopped"


def test_a_run_that_was_asked_to_stop_comes_back_stopped(settings: Settings, home: Home, archive: Path) -> None:
    """What restarts interrupted runs must not restart it."""
    run = home.run("alpha")
    write_json(run.status, {"request_id": "alpha", "state": "running", "step": 20})
    save_all(home, archive)
    write_json(run.stop, {"request_id": "alpha"})
    save_all(home, archive)
    wipe(home)
    restore_all(settings)
    assert job_state(run).state == "stopped" and not run.stop.exists()


@pytest.mark.parametrize("when", ["listing", "copying"])
def test_a_mount_that_is_lost_during_a_restore_loses_nothing(
    settings: Settings, home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    save_all(home, archive)
    wipe(home)
    is_lost = True

    def fails(*arguments: Any, **options: Any) -> None:
        if is_lost:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")
        return real(*arguments, **options)

    where, name = (bucket_restore.shutil, "copyfile") if when == "copying" else (Path, "lstat")  # type: ignore[attr-defined]
    real = getattr(where, name)
    with monkeypatch.context() as patch:
        patch.setattr(where, name, fails)
        with pytest.raises(OSError, match="not connected"):
            restore_all(settings)
    is_lost = False
    assert "runs/alpha/record" in restore_all(settings) and home.gallery.exists()


def test_a_seal_in_the_archive_itself_stops_nothing(settings: Settings, home: Home, archive: Path) -> None:
    save_all(home, archive)
    write_json(archive / SEAL, {"files": {}, "sealed_at": 1.0})
    wipe(home)
    assert "runs/alpha/record" in restore_all(settings)


def test_a_record_is_not_saved_without_the_checkpoint_that_it_speaks_of(
    settings: Settings, home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training deletes the checkpoint while it is copied."""
    save_all(home, archive)
    write_checkpoint(home.run("alpha"), 300)
    real = bucket.save

    def save(folder: Path, unit: Unit, own: Any = ()) -> None:
        if unit.name.endswith("/checkpoint"):
            raise FileNotFoundError
        real(folder, unit, own)

    with monkeypatch.context() as patch:
        patch.setattr(bucket, "save", save)
        before = {path.parent.name for path in (archive / "runs/alpha/record").rglob(SEAL)}
        save_all(home, archive)
        assert {path.parent.name for path in (archive / "runs/alpha/record").rglob(SEAL)} == before
    save_all(home, archive)
    assert {path.parent.name for path in (archive / "runs/alpha/record").rglob(SEAL)} != before


def test_a_checkpoint_is_saved_that_training_deletes_while_it_is_copied(
    settings: Settings, home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a slow archive, each would be deleted during its copy."""
    run, copy = home.run("alpha"), shutil.copyfile

    def copied(source: Path, target: Path) -> None:
        if "checkpoints" in source.parts:
            shutil.rmtree(run.checkpoints, ignore_errors=True)
        copy(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(bucket.shutil, "copyfile", copied)  # type: ignore[attr-defined]
        save_all(home, archive)
    wipe(home)
    assert "runs/alpha/record" in restore_all(settings)
    assert not list(home.path.rglob(".archiving"))


def test_a_corpus_that_is_deleted_does_not_come_back(settings: Settings, home: Home, archive: Path) -> None:
    save_all(home, archive)
    shutil.rmtree(home.corpus("python").path)
    assert is_behind(home, archive)
    save_all(home, archive)
    assert not (archive / "corpora/python").exists()
    assert not is_behind(home, archive)
    wipe(home)
    restore_all(settings)
    assert home.corpora() == []


def test_an_archive_that_is_away_is_looked_at_again(settings: Settings, home: Home, archive: Path) -> None:
    save_all(home, archive)
    away = archive.rename(archive.with_name("away"))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        save_all(home, archive)
    wipe(home)
    with pytest.raises(FileNotFoundError, match="mount it"):
        restore_all(settings)
    away.rename(archive)
    assert "runs/alpha/record" in restore_all(settings)


def test_an_empty_mount_point_is_not_an_empty_archive(settings: Settings, home: Home, archive: Path) -> None:
    """The bucket is mounted a minute after the start, when a visitor has kept an example."""
    save_all(home, archive)
    away = archive.rename(archive.with_name("away"))
    archive.mkdir()
    wipe(home)
    assert restore_all(settings) == []
    write_json(home.gallery / "bbbbbbbb.json", {"id": "bbbbbbbb"})
    shutil.rmtree(archive)
    away.rename(archive)
    restore_all(settings)
    save_all(home, archive)
    wipe(home)
    restore_all(settings)
    assert {path.stem for path in home.gallery.glob("*.json")} == {"aaaaaaaa", "bbbbbbbb"}
    assert home.run("alpha").request.exists()


def test_what_this_disk_has_not_brought_back_is_not_deleted(home: Home, archive: Path) -> None:
    """It was saved by another disk, and restoring failed."""
    save_all(home, archive)
    forget(home)
    write_checkpoint(home.run("alpha"), 300)
    save_all(home, archive)
    steps = {path.name for path in (archive / "runs/alpha/checkpoint").glob("*/checkpoints/*")}
    assert steps == {"step-00000200", "step-00000300"}


def test_moderation_is_merged_and_this_disks_own_wins(settings: Settings, home: Home, archive: Path) -> None:
    write_json(home.gallery / "moderation.json", {"aaaaaaaa": HIDDEN, "cccccccc": HIDDEN})
    save_all(home, archive)
    wipe(home)
    write_json(home.gallery / "moderation.json", {"cccccccc": PIN})
    restore_all(settings)
    assert read_json(home.gallery / "moderation.json") == {"aaaaaaaa": HIDDEN, "cccccccc": PIN}


@pytest.mark.parametrize("with_own", [False, True])
def test_moderation_that_is_none_hides_the_example_and_closes_no_gallery(
    settings: Settings, home: Home, archive: Path, with_own: bool
) -> None:
    write_json(home.gallery / "moderation.json", {"aaaaaaaa": True, "bbbbbbbb": {"is_hidden": 3}})
    save_all(home, archive)
    wipe(home)
    if with_own:
        write_json(home.gallery / "moderation.json", {})
    restore_all(settings)
    states = Moderation(home.gallery / "moderation.json").states()
    assert states["aaaaaaaa"].is_hidden and states["bbbbbbbb"].is_hidden


def test_a_kill_at_any_rename_is_followed_by_a_whole_restore(
    settings: Settings, home: Home, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bbbbbbbb", "cccccccc"):
        write_json(home.gallery / f"{name}.json", {"id": name})
    save_all(home, archive)
    before = {name: text for name, text in wipe(home).items() if not name.endswith("lock")}
    real, count = Path.rename, 0

    class KilledError(BaseException):
        pass

    for number in range(1, 30):
        count = 0

        def rename(path: Path, target: Path, number: int = number) -> Path:
            nonlocal count
            count += 1
            if count == number:
                raise KilledError
            return real(path, target)

        monkeypatch.setattr(Path, "rename", rename)
        try:
            restore_all(settings)
        except KilledError:
            save_all(home, archive)  # by a publisher that runs beside
            monkeypatch.setattr(Path, "rename", real)
            restore_all(settings)
        else:
            break
        save_all(home, archive)
        after = wipe(home)
        own = ("saved.json", "restored-archive.json", "restore.lock")
        lost = {name for name in before if after.get(name) != before[name]}
        assert all("step-00000100" in name or name in own for name in lost), (number, lost)
    assert number > 5


def test_a_run_whose_checkpoint_is_damaged_is_not_begun_anew(
    settings: Settings, home: Home, archive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_all(home, archive)
    (weights,) = (archive / "runs/alpha/checkpoint").rglob("model.safetensors")
    weights.write_bytes(b"x" * weights.stat().st_size)
    wipe(home)
    restored = restore_all(settings)
    assert not [name for name in restored if name.startswith("runs/")]
    assert not home.run("alpha").path.exists()
    assert "runs/alpha/checkpoint" in capfd.readouterr().err
    save_all(home, archive)
    assert weights.exists()


def test_an_older_version_stands_in_for_a_damaged_one(settings: Settings, home: Home, archive: Path) -> None:
    save_all(home, archive)
    forget(home)
    write_checkpoint(home.run("alpha"), 300)
    save_all(home, archive)
    (newest,) = (archive / "runs/alpha/checkpoint").rglob("step-00000300")
    (newest / "model.safetensors").write_bytes(b"")
    wipe(home)
    restore_all(settings)
    assert [path.name for path in home.run("alpha").checkpoints.iterdir()] == ["step-00000200"]


@pytest.mark.parametrize("odd", ["link", "fifo", "folder", "long", "nul", "time", "deep", "foreign"])
def test_what_somebody_else_put_there_stops_nothing(settings: Settings, home: Home, archive: Path, odd: str) -> None:
    save_all(home, archive)
    (seal,) = (archive / "corpora/python").rglob(SEAL)
    content, path = read_json(seal) or {}, seal.with_name("manifest.json")
    entry = content["files"]["manifest.json"]
    if odd in ("link", "fifo", "folder"):
        path.unlink()
        if odd == "link":
            path.symlink_to("/dev/zero")
        elif odd == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir()
    elif odd == "deep":
        seal.write_text("[" * 100_000)
    else:
        name = {"long": "a" * 300 + ".bin", "nul": "a\0.bin", "foreign": "process.json"}.get(odd, "manifest.json")
        changed = {**entry, "mtime_ns": 2**70 if odd == "time" else entry["mtime_ns"]}
        write_json(seal, {**content, "files": {**content["files"], name: changed}})
    wipe(home)
    restored = restore_all(settings)
    assert "corpora/python" not in restored and "runs/alpha/record" in restored
    assert not home.corpus("python").path.exists()


# ---- the whole way, with real processes ----


class Archived(Space):
    """Without a Hub."""

    def environment(self, **variables: str) -> dict[str, str]:
        own = {"PIPELINE_HUB_REPO": "", "PIPELINE_HUB_STATE": "0", "PIPELINE_ARCHIVE": str(self.folder / "data")}
        return super().environment(**{**own, **variables})

    def train(self, *options: str, **variables: str) -> None:
        start = ["train", "--corpus", "mine", "--run-id", "parrot", "--max-steps", str(STEPS), *options, "--set"]
        self.run(*start, *SMALL.split(), **variables)

    def saved_step(self) -> int:
        seals = (self.folder / "data/runs/parrot/checkpoint").glob(f"*/{SEAL}")
        return max(
            (int(path.name[5:]) for seal in seals for path in (seal.parent / "checkpoints").iterdir()), default=0
        )


@pytest.fixture
def space(tmp_path: Path, archive: Path) -> Iterator[Archived]:
    with prepared(Archived, tmp_path) as made:
        yield made


def undisturbed(space: Archived) -> dict[str, Any]:
    elsewhere = Archived(space.folder, space.hub)
    elsewhere.home = Home(space.folder / "undisturbed")
    shutil.copytree(space.home.path, elsewhere.home.path)
    elsewhere.train(PIPELINE_ARCHIVE="")
    return outcome(elsewhere.home)


@pytest.mark.slow
@shares("num_wipes", quick=1, full=10)
def test_a_run_goes_on_bit_identically_after_the_disk_was_wiped(space: Archived, num_wipes: int) -> None:
    """Kills at random moments, also while files are copied."""
    reference = undisturbed(space)
    chance = random.Random(0)
    for _ in range(num_wipes):
        space.train("--detach")
        eventually(lambda: space.saved_step() > 0, "a checkpoint in the archive")
        time.sleep(chance.uniform(0, 1.5))
        space.wipe()
        (shown,) = space.shown("runs")
        assert shown["run"] == "parrot" and shown["state"] in ("interrupted", "finished")
        assert [corpus["corpus"] for corpus in space.shown("corpora")] == ["mine"]
        if shown["state"] == "interrupted":
            space.run("resume", "parrot")
        assert outcome(space.home) == reference
        steps = [row["step"] for row in read_lines(space.home.run("parrot").metrics)]
        assert steps == sorted(set(steps))
        space.wipe()
        shutil.rmtree(space.folder / "data/runs")
        space.shown("runs")


@pytest.mark.slow
def test_a_missing_folder_is_a_note_and_training_goes_on(tmp_path: Path) -> None:
    with prepared(Archived, tmp_path) as space:
        assert "is not shown: there is no folder" in space.run("runs")
        space.train("--detach")
        eventually(lambda: space.shown("status", "parrot")["state"] == "finished", "the run")
        (space.folder / "data").mkdir()
        eventually(lambda: space.saved_step() == STEPS, "the checkpoint in the archive")
