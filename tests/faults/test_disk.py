"""The disk fills up at any write: one message, no leftovers, and with enough space the resumed run is bit-identical."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from pipeline.core.paths import Home, RunFolder
from tests.faults.bugs import has_no_words_for_a_full_disk
from tests.faults.child import saves_beside_training
from tests.faults.conftest import References
from tests.faults.shares import shares
from tests.faults.small_disk import Full
from tests.faults.trials import INTERVAL, RUN, Outcome, Tally
from tests.training.runs import ROOT, new_run, status

pytestmark = pytest.mark.slow
PAGE = 4_096
SENTENCE = re.compile(
    r"Run run could not (save step \d+|write its record): the disk is full \(\d+ MB free\); free some of it, then resume "
    r"the run\."
)
TrainWith = Callable[..., Full]
NAMESPACES = (["unshare", "-Urm"], ["unshare", "-m"])


def namespace() -> list[str]:
    """The command that runs a process in its own mount namespace."""
    for command in NAMESPACES:
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.fail(
        "Neither `unshare -Urm` nor `unshare -m` is permitted here; allow user namespaces, or run this as root."
    )


@pytest.fixture(scope="module")
def train_with(template: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainWith]:
    """Train with `free` bytes of disk, then resume with enough."""
    disk = tmp_path_factory.mktemp("disk")
    command = [*namespace(), sys.executable, "-m", "tests.faults.small_disk", str(template.path), str(disk)]
    with subprocess.Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, text=True, bufsize=1) as process:
        assert process.stdin and process.stdout
        requests, answers = process.stdin, process.stdout

        def train_with(free: int, plant: str = "none") -> Full:
            requests.write(f"{plant} {free}\n")
            return Full(**json.loads(answers.readline()))

        yield train_with
        requests.close()


def bytes_of_a_checkpoint(folder: RunFolder) -> int:
    """Disk space of one checkpoint, allocated in pages."""
    files = [path for path in folder.checkpoint(INTERVAL).rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in files)


def few(checkpoint: int) -> list[int]:
    """Disk full at the status, the first save, a later save, a row after a save; and large enough."""
    return [2 * PAGE, checkpoint // 2, 2 * checkpoint, checkpoint + 8 * PAGE, 8 * checkpoint]


def many(checkpoint: int) -> list[int]:
    """Page by page at the start and after each save, and coarsely in between."""
    after_saves = [saves * checkpoint + page * PAGE for saves in (1, 2, 3, 4) for page in range(3, 15)]
    return [*range(0, 16 * PAGE, PAGE), *range(16 * PAGE, 5 * checkpoint, 10 * PAGE), *after_saves]


def check(full: Full, undisturbed: Outcome, *, is_background: bool = False) -> str:
    """Assert that a full disk was handled correctly. Returns where it occurred, for the tally. `is_background`: whether
    checkpoints are written while training continues.
    """
    assert as_json(undisturbed) == full.outcome
    assert full.damaged == [] and full.hidden == []
    due = list(range(INTERVAL, full.reached + 1, INTERVAL))
    if full.exit_status == 0:
        assert (full.state, full.steps, full.said) == ("finished", due, [])
        return "large enough"
    assert full.exit_status == 1
    assert full.steps in (due, due[:-1] if is_background else [step for step in due if step < full.reached])
    if full.state is None:
        assert full.said == [] and full.reached == 0
        return "no byte free at the start: nothing said anywhere"
    assert full.state == "failed" and full.error is not None
    found = SENTENCE.fullmatch(full.error)
    assert found, full.error
    assert full.said in ([], [full.error])
    where = f"at {found[1]}" if found[1].startswith("save") else f"in the record, {len(full.steps)} checkpoints there"
    return where if full.said else f"{where}, none left for the log"


def as_json(value: Outcome) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(value)))


@shares("sizes", few, many)
def test_a_full_disk_gives_one_message_and_does_not_change_the_result(
    train_with: TrainWith, undisturbed: References, tally: Tally, sizes: Callable[[int], list[int]]
) -> None:
    expected = undisturbed()
    for free in sizes(bytes_of_a_checkpoint(expected.folder)):
        tally.counts["disks"] += 1
        tally.counts[check(train_with(free), expected.outcome)] += 1
    assert tally.counts["large enough"] < tally.counts["disks"] / 2


@shares("pages", (10,), tuple(range(0, 120, 6)))
def test_a_full_disk_is_handled_in_a_background_save_too(
    train_with: TrainWith, undisturbed: References, tally: Tally, pages: tuple[int, ...]
) -> None:
    """Training gets the error of the background save at the next step."""
    expected = undisturbed()
    checkpoint = bytes_of_a_checkpoint(expected.folder)
    for more in pages:
        tally.counts["disks"] += 1
        full = train_with(checkpoint + more * PAGE, saves_beside_training.__name__)
        tally.counts[check(full, expected.outcome, is_background=True)] += 1


@pytest.mark.parametrize("where", ["in the record", "in a save"])
def test_a_run_without_a_message_for_a_full_disk_is_detected(
    train_with: TrainWith, undisturbed: References, where: str
) -> None:
    """Negative control."""
    expected = undisturbed()
    checkpoint = bytes_of_a_checkpoint(expected.folder)
    free = {"in the record": 2 * PAGE, "in a save": checkpoint // 2}[where]
    full = train_with(free, has_no_words_for_a_full_disk.__name__)
    assert full.exit_status == 1
    with pytest.raises(AssertionError):
        check(full, expected.outcome)


@pytest.mark.faults
def test_with_the_log_on_a_full_disk_the_message_is_in_the_status(home: Home) -> None:
    """Runs in a separate process, because Python itself flushes once more at exit."""
    folder = new_run(home, **RUN)
    with Path("/dev/full").open("wb") as log:
        command = [sys.executable, "-m", "pipeline.training", str(folder.path)]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, stdout=log, stderr=log, cwd=ROOT, env=one_thread, check=False)
    assert done.returncode == 1
    assert SENTENCE.fullmatch(status(folder)["error"])
