from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import is_locked, locked, read_lines
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub.publisher import Publisher, pending
from pipeline.hub.uploader import Patience
from tests.checkpoints import write_checkpoint
from tests.hub.conftest import REPO, ROOT, states
from tests.waiting import eventually

HURRIED = Patience(poll_seconds=0.01, idle_seconds=0.05, first_retry_seconds=0.01, longest_retry_seconds=0.05)


def publish(settings: Settings) -> None:
    Publisher(settings, patience=HURRIED).run()


@pytest.fixture
def registry(home: Home) -> Registry:
    return Registry(home, "local")


def test_every_complete_checkpoint_of_every_run_is_registered(
    settings: Settings, registry: Registry, home: Home, run: RunFolder
) -> None:
    other = home.run("beta")
    for step in (100, 200, 300):
        write_checkpoint(run, step)
    write_checkpoint(other, 50)
    publish(settings)
    assert {(r.run, r.step) for r in registry.revisions()} == {
        ("alpha", 100),
        ("alpha", 200),
        ("alpha", 300),
        ("beta", 50),
    }
    assert states(run, "local") == {100: "registered", 200: "registered", 300: "registered"}
    assert states(other, "local") == {50: "registered"}


def test_a_registry_filled_in_one_pass_has_the_last_saved_checkpoint_as_its_newest(
    settings: Settings, registry: Registry, home: Home, run: RunFolder
) -> None:
    saved = [(home.run("beta"), 50), (run, 100), (home.run("beta"), 60), (run, 20)]
    for second, (folder, step) in enumerate(saved, start=1):
        os.utime(write_checkpoint(folder, step) / "manifest.json", (second, second))
    publish(settings)
    assert [(r.run, r.step) for r in registry.revisions()] == [(folder.id, step) for folder, step in reversed(saved)]


def test_a_damaged_revision_folder_does_not_stop_publishing(
    settings: Settings, registry: Registry, run: RunFolder
) -> None:
    for step in (100, 200, 300):
        write_checkpoint(run, step)
    publish(settings)
    listed, unlisted, _ = registry.revisions()
    for revision in (listed, unlisted):
        (revision.path / "provenance.json").unlink()
        (revision.path / "provenance.json").write_text("{}")
    history = registry.folder / "history.jsonl"
    rows = history.read_text().splitlines(keepends=True)
    history.write_text("".join(row for row in rows if unlisted.revision not in row))
    write_checkpoint(run, 400)
    publish(settings)
    assert [revision.step for revision in registry.revisions()] == [400, 300, 100]
    assert states(run, "local") == {100: "registered", 200: "refused", 300: "registered", 400: "registered"}
    assert not pending(settings)


def test_a_second_publisher_says_that_it_did_nothing(settings: Settings, home: Home, run: RunFolder) -> None:
    write_checkpoint(run, 100)
    with locked(home.publisher_lock("local")):
        assert not Publisher(settings, patience=HURRIED).run()
    assert pending(settings)
    assert Publisher(settings, patience=HURRIED).run()
    assert not pending(settings)


def test_publishing_again_changes_nothing(settings: Settings, registry: Registry, run: RunFolder) -> None:
    write_checkpoint(run, 100)
    publish(settings)
    before = run.pushes.read_bytes(), registry.revisions()
    publish(settings)
    assert (run.pushes.read_bytes(), registry.revisions()) == before


def test_a_checkpoint_that_is_still_written_waits_for_its_manifest(
    settings: Settings, registry: Registry, run: RunFolder
) -> None:
    checkpoint = write_checkpoint(run, 100)
    manifest = (checkpoint / "manifest.json").read_bytes()
    (checkpoint / "manifest.json").unlink()
    publish(settings)
    assert not pending(settings)
    assert registry.revisions() == []
    (checkpoint / "manifest.json").write_bytes(manifest)
    assert pending(settings)
    publish(settings)
    assert [revision.step for revision in registry.revisions()] == [100]


def test_a_damaged_checkpoint_is_refused_by_name_and_the_others_go_on(
    settings: Settings, registry: Registry, run: RunFolder
) -> None:
    for step in (100, 200, 300):
        write_checkpoint(run, step)
    (run.checkpoint(200) / "model.safetensors").write_bytes(b"short")
    publish(settings)
    assert [revision.step for revision in registry.revisions()] == [300, 100]
    assert states(run, "local") == {100: "registered", 200: "refused", 300: "registered"}
    (refused,) = [row for row in read_lines(run.pushes) if row["state"] == "refused"]
    assert "step-00000200 of run alpha is damaged: model.safetensors has 5 bytes" in refused["error"]
    assert not pending(settings)


def test_a_checkpoint_whose_manifest_is_torn_is_refused_once(settings: Settings, run: RunFolder) -> None:
    (write_checkpoint(run, 100) / "manifest.json").write_text("{")
    publish(settings)
    publish(settings)
    assert [row["state"] for row in read_lines(run.pushes)] == ["refused"]


def test_a_refused_step_that_is_saved_again_is_registered(
    settings: Settings, registry: Registry, run: RunFolder
) -> None:
    checkpoint = write_checkpoint(run, 100)
    (checkpoint / "model.safetensors").write_bytes(b"short")
    publish(settings)
    assert states(run, "local") == {100: "refused"}
    write_checkpoint(run, 100)  # bit-identical, as an exact resume saves it
    assert pending(settings)
    publish(settings)
    assert states(run, "local") == {100: "registered"}
    assert len(registry.revisions()) == 1


def test_a_step_saved_again_with_other_weights_is_a_second_revision(
    settings: Settings, registry: Registry, run: RunFolder
) -> None:
    for weights in (b"one", b"two"):
        write_checkpoint(run, 100, weights=weights)
        publish(settings)
    assert [revision.step for revision in registry.revisions()] == [100, 100]


def test_a_checkpoint_that_training_deleted_is_not_reported_as_damaged(
    settings: Settings, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_checkpoint(run, 100)
    add = Registry.add

    def add_too_late(registry: Registry, path: Path) -> object:
        path.rename(path.with_name(".removed"))
        return add(registry, path)

    monkeypatch.setattr(Registry, "add", add_too_late)
    publish(settings)
    assert not checkpoint.exists()
    assert not run.pushes.exists()


def test_a_publisher_retries_while_the_disk_is_full(
    settings: Settings, registry: Registry, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(run, 100)
    add, failures = Registry.add, iter([OSError(28, "No space left on device")] * 3)

    def add_when_there_is_room(registry: Registry, path: Path) -> object:
        for failure in failures:
            raise failure
        return add(registry, path)

    monkeypatch.setattr(Registry, "add", add_when_there_is_room)
    publish(settings)
    assert [revision.step for revision in registry.revisions()] == [100]


def test_a_checkpoint_published_to_another_repo_is_pending_for_this_one(settings: Settings, run: RunFolder) -> None:
    write_checkpoint(run, 100)
    publish(settings)
    assert not pending(settings)
    assert pending(Settings(home=settings.home, hub_repo=REPO))


def test_nothing_is_pending_in_an_empty_home(settings: Settings) -> None:
    assert not pending(settings)
    assert not pending(Settings(home=settings.home, hub_repo=REPO))
    assert not settings.home.exists()


def test_a_registry_that_was_deleted_is_filled_again(settings: Settings, registry: Registry, run: RunFolder) -> None:
    write_checkpoint(run, 100)
    publish(settings)
    registry.folder.rename(registry.folder.with_name("elsewhere"))
    assert pending(settings)
    publish(settings)
    assert [revision.step for revision in registry.revisions()] == [100]


def test_the_retry_delay_doubles_up_to_its_maximum() -> None:
    patience = Patience(first_retry_seconds=1, longest_retry_seconds=60)
    assert [patience.retry_seconds(failures) for failures in (1, 2, 3, 6, 7, 10_000)] == [1, 2, 4, 32, 60, 60]


LOADED = """
import sys
from pipeline.hub.publisher import Publisher, pending
from pipeline.core.settings import Settings
pending(Settings.from_environment())
Publisher(Settings.from_environment()).run()
print(sorted(name for name in ("huggingface_hub", "httpx2", "jinja2", "torch", "gradio") if name in sys.modules))
"""


def environment(home: Home) -> dict[str, str]:
    return {"PIPELINE_HOME": str(home.path), "PATH": "/usr/bin:/bin"}


@pytest.mark.slow
def test_without_a_hub_repo_the_client_is_never_imported(home: Home, run: RunFolder) -> None:
    write_checkpoint(run, 100)
    command = [sys.executable, "-c", LOADED]
    done = subprocess.run(command, cwd=ROOT, env=environment(home), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert states(run, "local") == {100: "registered"}


def start(home: Home) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "pipeline.hub"], cwd=ROOT, env=environment(home))


@pytest.mark.slow
def test_a_publisher_stays_while_a_run_runs_and_leaves_after_it(home: Home, run: RunFolder, registry: Registry) -> None:
    with locked(run.lock):
        publisher = start(home)
        write_checkpoint(run, 100)
        eventually(registry.newest)
        with pytest.raises(subprocess.TimeoutExpired):
            publisher.wait(4)  # twice as long as it waits without a run
        write_checkpoint(run, 200)
        eventually(lambda: len(registry.revisions()) == 2)
    assert publisher.wait(30) == 0


@pytest.mark.slow
def test_of_two_publishers_the_second_leaves_at_once(home: Home, run: RunFolder) -> None:
    with locked(run.lock):
        first = start(home)
        eventually(lambda: is_locked(home.publisher_lock("local")))
        assert start(home).wait(30) == 0
        assert first.poll() is None
    assert first.wait(30) == 0


@pytest.mark.slow
def test_sigterm_ends_a_publisher_and_the_next_goes_on(home: Home, run: RunFolder, registry: Registry) -> None:
    with locked(run.lock):
        write_checkpoint(run, 100)
        first = start(home)
        eventually(registry.newest)
        first.terminate()
        assert first.wait(10) == -signal.SIGTERM
        write_checkpoint(run, 200)
        assert not is_locked(home.publisher_lock("local"))
    assert start(home).wait(30) == 0
    assert states(run, "local") == {100: "registered", 200: "registered"}


@pytest.mark.slow
def test_bad_settings_end_it_with_one_sentence(home: Home) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.hub"],
        cwd=ROOT,
        env={**environment(home), "PIPELINE_HUB_REPO": "nonsense"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "write it as owner/name" in done.stderr
