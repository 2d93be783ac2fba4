"""Checkpoints damaged in every file and every way: each is refused with a reason, and the previous one is used."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import checkpoints_of, newest_valid
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home, RunFolder
from tests.faults.conftest import References
from tests.faults.shares import shares
from tests.faults.trials import Tally, assert_same, finish
from tests.training.runs import ask_to_resume, status

pytestmark = pytest.mark.slow
Damage = Callable[[Path, random.Random], None]
"""Damages one file of a checkpoint."""


def truncate(file: Path, numbers: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: numbers.randrange(file.stat().st_size)])


def lengthen(file: Path, numbers: random.Random) -> None:
    file.write_bytes(file.read_bytes() + numbers.randbytes(numbers.randint(1, 5_000)))


def flip_a_bit(file: Path, numbers: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
    file.write_bytes(data)


def zero_a_range(file: Path, numbers: random.Random) -> None:
    data = bytearray(file.read_bytes())
    start = numbers.choice([index for index, byte in enumerate(data) if byte])
    end = min(len(data), start + numbers.randint(1, 4_096))
    data[start:end] = bytes(end - start)
    file.write_bytes(data)


def fill_with_noise(file: Path, numbers: random.Random) -> None:
    file.write_bytes(numbers.randbytes(file.stat().st_size))


def empty(file: Path, numbers: random.Random) -> None:
    file.write_bytes(b"")


def delete(file: Path, numbers: random.Random) -> None:
    file.unlink()


def replace_by_a_folder(file: Path, numbers: random.Random) -> None:
    file.unlink()
    file.mkdir()


def replace_by_a_link_to_nowhere(file: Path, numbers: random.Random) -> None:
    file.unlink()
    file.symlink_to("nowhere")


DAMAGES: list[Damage] = [
    truncate,
    lengthen,
    flip_a_bit,
    zero_a_range,
    fill_with_noise,
    empty,
    delete,
    replace_by_a_folder,
    replace_by_a_link_to_nowhere,
]
WRONG_MANIFESTS: dict[str, Callable[[dict], object]] = {
    "a list": lambda found: [found],
    "of another format": lambda found: {**found, "format": 2},
    "of another step": lambda found: {**found, "step": found["step"] - 6},
    "without files": lambda found: {**found, "files": {}},
    "with a file outside": lambda found: {**found, "files": {"../../config.json": {"sha256": "", "size": 0}}},
    "without sizes": lambda found: {**found, "files": {name: {"sha256": ""} for name in found["files"]}},
    "with a file too many": lambda found: {**found, "files": {**found["files"], "x": {"sha256": "", "size": 0}}},
}


def check_refused(run: RunFolder, damaged: Path, before: Path) -> str:
    """Assert that `damaged` is refused and `before` is used. Returns the reason without file name and numbers."""
    newest = newest_valid(run)
    assert newest.path == before, f"{newest.path} was taken"
    assert [f"Checkpoint {damaged.name} of run {run.id} is damaged: " in str(error) for error in newest.damaged] == [
        True
    ]
    reason = str(newest.damaged[0]).partition(": ")[2].partition(";")[0]
    return re.sub(r"(?<!-)\b\d[\d,]*", "N", re.sub(r"^[\w/]+\.[\w.]+ ", "FILE ", reason))


def files_of(checkpoint: Path) -> list[str]:
    return sorted(path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file())


@pytest.fixture
def run(home: Home, undisturbed: References) -> RunFolder:
    """A run with four checkpoints that can be resumed."""
    folder = RunFolder(Path(shutil.copytree(undisturbed().folder.path, home.run("run").path)))
    write_json(folder.status, {**status(folder), "state": "stopped"})
    ask_to_resume(folder)
    return folder


@shares("rounds", 1, 5)
def test_every_damage_to_every_file_is_refused_with_its_reason(run: RunFolder, tally: Tally, rounds: int) -> None:
    *_, before, newest = checkpoints_of(run)
    copy = shutil.copytree(newest, run.path / "copy")
    numbers = random.Random(0)
    for damage in DAMAGES * rounds:
        for name in files_of(copy):
            damage(newest / name, numbers)
            tally.counts["damages"] += 1
            tally.counts[f"refused, as {check_refused(run, newest, before)}"] += 1
            shutil.rmtree(newest)
            shutil.copytree(copy, newest)


def test_a_file_of_the_previous_checkpoint_is_refused(run: RunFolder, tally: Tally) -> None:
    """The files have the right names and most have the right size."""
    *_, before, newest = checkpoints_of(run)
    for name in files_of(newest):
        data = (newest / name).read_bytes()
        if (before / name).read_bytes() != data:
            shutil.copy(before / name, newest / name)
            tally.counts[f"refused, as {check_refused(run, newest, before)}"] += 1
            (newest / name).write_bytes(data)
    assert newest_valid(run).path == newest
    assert tally.counts.total() >= 5


@pytest.mark.parametrize("wrong", WRONG_MANIFESTS)
def test_a_wrong_manifest_is_refused(run: RunFolder, wrong: str) -> None:
    *_, before, newest = checkpoints_of(run)
    file = newest / manifest.NAME
    file.write_text(json.dumps(WRONG_MANIFESTS[wrong](read_json(file) or {})))
    check_refused(run, newest, before)


def test_a_file_in_place_of_a_checkpoint_folder_is_ignored(run: RunFolder, undisturbed: References) -> None:
    *_, before, newest = checkpoints_of(run)
    shutil.rmtree(newest)
    newest.write_bytes(b"")
    assert newest_valid(run).path == before
    assert finish(run) == 0, run.log.read_text()
    assert_same(run, undisturbed().outcome)


@shares("num_runs", 1, 10)
def test_a_run_resumed_before_damaged_checkpoints_is_bit_identical(
    run: RunFolder, undisturbed: References, tally: Tally, num_runs: int
) -> None:
    whole = shutil.copytree(run.path, run.path.with_name("whole"))
    numbers = random.Random(1)
    for _ in range(num_runs):
        num_damaged = numbers.randint(1, 3)
        for path in checkpoints_of(run)[-num_damaged:]:
            numbers.choice(DAMAGES)(path / numbers.choice(files_of(path)), numbers)
        assert finish(run) == 0, run.log.read_text()
        assert run.log.read_text().count("is damaged: ") == num_damaged
        assert_same(run, undisturbed().outcome)
        tally.counts[f"bit-identical after {num_damaged} damaged checkpoints"] += 1
        shutil.rmtree(run.path)
        shutil.copytree(whole, run.path)


def test_when_all_checkpoints_are_damaged_the_run_fails_with_a_message(run: RunFolder, tally: Tally) -> None:
    numbers = random.Random(2)
    for path in checkpoints_of(run):
        numbers.choice(DAMAGES)(path / numbers.choice(files_of(path)), numbers)
    with pytest.raises(DamagedError):
        newest_valid(run)
    assert finish(run) == 1
    tally.counts["runs that said they have no checkpoint left"] += 1
    assert re.fullmatch(
        r"Run run has no checkpoint left that can be read \(.+\); start a new run\.", status(run)["error"]
    )
    assert "Traceback" not in run.log.read_text()


@pytest.mark.parametrize("damage", [flip_a_bit, zero_a_range, fill_with_noise], ids=lambda damage: damage.__name__)
def test_checking_only_sizes_is_detected(run: RunFolder, monkeypatch: pytest.MonkeyPatch, damage: Damage) -> None:
    """Negative control."""
    *_, before, newest = checkpoints_of(run)
    monkeypatch.setattr(manifest, "fault", sizes_only)
    damage(newest / "model.safetensors", random.Random(0))
    with pytest.raises(AssertionError, match="was taken"):
        check_refused(run, newest, before)


def sizes_only(folder: Path, entries: manifest.Entries) -> str | None:
    wrong = [name for name, facts in entries.items() if (folder / name).stat().st_size != facts["size"]]
    return f"{wrong[0]} has another size" if wrong else None
