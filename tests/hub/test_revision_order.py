"""The order of the revisions is the same for the registry, for the store on this disk, and for one that has only the Hub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.hub import push_status
from tests.checkpoints import write_checkpoint
from tests.hub.conftest import REPO, Publishers, states
from tests.hub.test_hub_registry import LIST, ask
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.slow

NEWEST = "store.choose('newest').revision"
Row = dict[str, Any]


class Saves:
    """Checkpoints of several runs, each saved a second after the one before."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.second = 1_000

    def save(self, *checkpoints: tuple[str, int, float], **options: Any) -> None:
        """Each a run, a step and a validation loss."""
        for run, step, loss in checkpoints:
            self.second += 1
            path = write_checkpoint(self.home.run(run), step, eval_loss=loss, **options)
            os.utime(path / "manifest.json", (self.second, self.second))


@pytest.fixture
def saves(home: Home) -> Saves:
    return Saves(home)


def best(rows: list[Row]) -> Row:
    """Of rows newest first: the one with the lowest loss, of equal ones the oldest."""
    return min(reversed(rows), key=lambda row: row["eval_loss"])


def superseded(home: Home) -> set[str]:
    rows = [row for run in home.runs() for row in read_lines(run.pushes)]
    newest = {row["revision"]: row["state"] for row in rows}
    return {revision for revision, state in newest.items() if state == "superseded"}


def check_agreement(publishers: Publishers, hub: LoopbackHub, folder: Path) -> list[Row]:
    """A superseded revision is on this disk alone, at its place in the order; aside from those, all three lists are the
    same. Returns the list of the Hub.
    """
    home = publishers.home
    registered = [revision.to_dict() for revision in Registry(home, REPO).revisions()]
    here, newest_here = ask(publishers, LIST), ask(publishers, NEWEST)
    wiped = Publishers(Home(folder / "wiped"), hub, folder)
    remote, newest_remote = ask(wiped, LIST), ask(wiped, NEWEST)
    assert here == registered
    assert remote == [row for row in registered if row["revision"] not in superseded(home)]
    assert isinstance(remote, list)
    assert newest_here == newest_remote == next(row["revision"] for row in registered if not row["diverged"])
    assert hub.repos.tags[REPO]["best"] == best(remote)["commit"]
    return remote


def steps(rows: list[Row]) -> list[tuple[str, int]]:
    return [(row["run"], row["step"]) for row in rows]


def test_interleaved_runs_have_one_order_on_disk_and_hub(
    publishers: Publishers, hub: LoopbackHub, saves: Saves, tmp_path: Path
) -> None:
    hub.repos.page_size = 3
    saves.save(("alpha", 100, 3.0), ("beta", 50, 4.0), ("alpha", 200, 2.0), ("gamma", 10, 5.0), ("alpha", 300, 2.5))
    publishers.finish()
    assert states(publishers.home.run("alpha")) == {100: "pushed", 200: "superseded", 300: "pushed"}
    remote = check_agreement(publishers, hub, tmp_path / "one")
    assert steps(remote) == [("alpha", 300), ("gamma", 10), ("beta", 50), ("alpha", 100)]
    saves.save(("beta", 60, 3.5), ("gamma", 20, 2.5), ("alpha", 400, 2.7), ("beta", 70, 3.1))
    saves.save(("gamma", 30, 9.0), diverged=True)
    publishers.finish()
    remote = check_agreement(publishers, hub, tmp_path / "two")
    assert steps(remote)[:5] == [("gamma", 30), ("beta", 70), ("alpha", 400), ("gamma", 20), ("beta", 60)]
    assert steps([best(remote)]) == [("alpha", 300)], "of equal losses the first"


def test_a_push_that_was_refused_at_first_keeps_its_place(
    publishers: Publishers, hub: LoopbackHub, saves: Saves, tmp_path: Path
) -> None:
    hub.refuse(413, on="/commit/main", times=1)
    saves.save(("alpha", 100, 3.0), ("beta", 50, 3.2), ("gamma", 10, 3.5))
    publishers.finish()
    assert states(publishers.home.run("alpha")) == {100: "refused"}
    push_status.request_retry(publishers.home, Settings(home=publishers.home.path, hub_repo=REPO).repo)
    publishers.finish()
    assert hub.titles(REPO)[-1] == "Training in progress step 100 (run alpha)"
    assert steps(check_agreement(publishers, hub, tmp_path)) == [("gamma", 10), ("beta", 50), ("alpha", 100)]


def test_a_step_that_a_run_saves_again_later_is_the_newer_one(
    publishers: Publishers, hub: LoopbackHub, saves: Saves, tmp_path: Path
) -> None:
    """As after a roll-back. The lower step is pushed first, as a later one on the Hub would supersede it."""
    saves.save(("alpha", 300, 2.5), ("beta", 50, 4.0), ("alpha", 200, 2.4))
    publishers.finish()
    assert steps(check_agreement(publishers, hub, tmp_path)) == [("alpha", 200), ("beta", 50), ("alpha", 300)]
