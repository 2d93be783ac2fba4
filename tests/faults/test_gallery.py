"""SIGKILL of gallery writers at random instants: each acknowledged example is there, readable, and once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.core import atomic_io
from pipeline.core.paths import ROOT
from pipeline.gallery import examples
from pipeline.gallery.examples import Examples
from tests.faults.shares import shares
from tests.faults.trials import Tally
from tests.gallery.test_examples import every, keep
from tests.gallery.writer import logged, seed_of

pytestmark = pytest.mark.slow
NUM_WRITERS = 8
PATIENCE_SECONDS = 600


@dataclass
class Writers:
    """Eight processes that write to one gallery. A killed one is replaced."""

    folder: Path
    logs: list[Path]
    num_results: int
    """Of each writer."""
    bug: str = ""
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    """Those that have not ended, by their number."""

    def start(self, number: int) -> None:
        arguments = [str(self.folder), str(self.logs[number]), str(number), str(self.num_results), self.bug]
        command = [sys.executable, "-m", "tests.gallery.writer", *arguments]
        self.processes[number] = subprocess.Popen(command, cwd=ROOT)

    def kill(self, number: int) -> None:
        process = self.processes.pop(number)
        process.kill()
        process.wait()

    def drop_ended(self) -> None:
        for number, process in list(self.processes.items()):
            if process.poll() is not None:
                assert process.returncode == 0
                del self.processes[number]

    def num_logged(self, number: int) -> int:
        return len(logged(self.logs[number]))


def write_and_kill(writers: Writers, num_kills: int, numbers: random.Random, tally: Tally) -> None:
    """Let all writers finish, with `num_kills` kills on the way, spread over their work."""
    for number in range(NUM_WRITERS):
        writers.start(number)
    total, deadline = NUM_WRITERS * writers.num_results, time.monotonic() + PATIENCE_SECONDS
    begun = dict.fromkeys(range(NUM_WRITERS), 0)
    while writers.processes:
        assert time.monotonic() < deadline, "the writers do not end"
        time.sleep(numbers.uniform(0.001, 0.02))
        done = sum(map(writers.num_logged, range(NUM_WRITERS)))
        kills = tally.counts["kills"]
        # One that still imports its modules has nothing to lose.
        busy = [number for number in writers.processes if writers.num_logged(number) > begun[number]]
        if busy and kills < num_kills and done >= total * 0.95 * kills / num_kills:
            number = numbers.choice(busy)
            writers.kill(number)
            tally.counts["kills"] += 1
            begun[number] = writers.num_logged(number)
            writers.start(number)
        writers.drop_ended()
    tally.counts["of these inside a write"] += len(list(writers.folder.glob(".*.tmp")))
    tally.counts["acknowledged"] += sum(len(set(logged(log))) for log in writers.logs)


def assert_each_once(writers: Writers) -> None:
    """Assert that every acknowledged result is in the gallery under its id, each result once, and nothing is torn."""
    gallery = Examples(writers.folder)
    assert gallery.page(1, include_hidden=True).num_damaged == 0
    kept = {example.id: example.seed for example in every(gallery)}
    expected = [seed_of(number, result) for number in range(NUM_WRITERS) for result in range(writers.num_results)]
    assert sorted(kept.values()) == expected, "each result is there once"
    for log in writers.logs:
        assert {(kept.get(example_id), example_id) for _, example_id in logged(log)} == set(logged(log))


def writers_of(tmp_path: Path, num_results: int, bug: str = "") -> Writers:
    logs = [tmp_path / f"{number}.jsonl" for number in range(NUM_WRITERS)]
    return Writers(tmp_path / "gallery", logs, num_results, bug)


@shares("size", (60, 12), (500, 50))
def test_whatever_was_acknowledged_is_there_once_although_writers_are_killed(
    tmp_path: Path, tally: Tally, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    num_results, num_kills = size
    writers = writers_of(tmp_path, num_results)
    write_and_kill(writers, num_kills, random.Random(num_kills), tally)
    assert tally.counts["kills"] == num_kills
    assert_each_once(writers)
    lines = (writers.folder / "keeps.jsonl").read_bytes().splitlines()
    assert num_results <= len(lines) <= num_results + num_kills, "a kill costs a visitor one of the quota at most"
    assert_no_leftover_stays(writers.folder, monkeypatch)


def assert_no_leftover_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that what killed writers have left is gone at the first write after its time."""
    hour_ago = time.time() - atomic_io.LEFTOVER_SECONDS - 1
    for staged in folder.glob(".*.tmp"):
        os.utime(staged, (hour_ago, hour_ago))
    monkeypatch.setattr(examples, "MAX_EXAMPLES", 10**6)
    keep(Examples(folder), seed=10**9)
    assert {path.name for path in folder.glob(".*")} == {".lock"}
    others = {path.name for path in folder.iterdir() if not path.match("????????.json")}
    assert others == {".lock", "keeps.jsonl", "visitors.salt"}


@pytest.mark.parametrize("bug", ["acknowledges_first", "keeps_again", "writes_in_place"])
def test_a_gallery_that_loses_repeats_or_tears_is_detected(tmp_path: Path, bug: str) -> None:
    """Negative controls."""
    numbers = random.Random(bug)
    for attempt in range(20):  # the kills of one may all have come at harmless moments
        (tmp_path / f"{attempt}").mkdir()
        writers = writers_of(tmp_path / f"{attempt}", 20, bug)
        write_and_kill(writers, 12, numbers, Tally(f"{bug} {attempt}"))
        try:
            assert_each_once(writers)
        except AssertionError:
            return
    pytest.fail("nothing of it was detected")
