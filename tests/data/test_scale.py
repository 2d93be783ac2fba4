"""Checks that every way to prepare a corpus gives the same bytes: one process, two, two of which one is killed, a
killed job, Ray, with the parts here or elsewhere. Also checks the exact numbers of a preparation's limits.
"""

from __future__ import annotations

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.core.atomic_io import read_json, sha256, write_json
from pipeline.core.environment import child_environment
from pipeline.core.paths import CorpusFolder, Home
from tests.data.examples import code, json_lines, row
from tests.data.execution.toys import nothing_left_behind
from tests.waiting import eventually, is_gone

NUM_SHARDS = 6
ROWS = 1_200
"""Rows per shard."""
EVERY = 5
"""One row in so many is kept."""
KEYWORDS = ["pandas"]
WATCH_SECONDS = 120


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of compressed lines: one is truncated, and one has a bad line."""
    folder = tmp_path_factory.mktemp("source")
    for shard in range(NUM_SHARDS):
        numbers = range(shard * ROWS, (shard + 1) * ROWS)
        lines = json_lines(row(n, content=text(n)) for n in numbers).replace(b"src/file770.py", b'"src')
        packed = gzip.compress(lines, 1)
        # Larger than a shard of small files, so that each file is a shard of its own.
        (folder / f"part-{shard}.json.gz").write_bytes(packed[:-500] if shard == 4 else packed)
    return folder


def text(number: int) -> str:
    """One in EVERY is short and mentions pandas; the others are long and hard to compress."""
    if number % EVERY == 0:
        return code(number) * 5
    return "# " + random.Random(number).randbytes(8_000).hex()


class Made:
    """A corpus in a folder of its own, prepared by real processes."""

    def __init__(self, folder: Path, source: Path, **request: Any) -> None:
        self.folder = CorpusFolder(Home(folder).corpus("code").path)
        self.folder.path.mkdir(parents=True)
        config = {"source": f"files:{source}", "keywords": KEYWORDS, "vocab_size": 300, **request.pop("config", {})}
        self.ask(config=config, **request)

    def ask(self, **request: Any) -> None:
        write_json(self.folder.request, {"request_id": f"r{time.monotonic_ns()}", "kind": "prepare", **request})

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.data", str(self.folder.path)],
            env=child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, during: Callable[[subprocess.Popen[str]], object] = lambda process: None) -> str:
        """Run the job to its end, and return what it printed."""
        with self.start() as process:
            during(process)
            output, _ = process.communicate(timeout=WATCH_SECONDS)
        assert process.returncode == 0, output
        return output

    @property
    def parts(self) -> dict[str, tuple[int, int]]:
        """Complete parts of shards by name: inode and modification time."""
        found = self.folder.parts.glob("*/*.parquet")
        return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in found if p.with_suffix(".json").exists()}

    @property
    def digests(self) -> dict[str, str]:
        """Digests of everything in the corpus that must not depend on how it was made."""
        path = self.folder.path
        found = [*path.glob("files-*.parquet"), *path.glob("tokens-*.bin"), *self.folder.tokenizer.iterdir()]
        assert len(found) >= 6
        return {str(p.relative_to(path)): sha256(p) for p in sorted(found)}

    @property
    def report(self) -> dict[str, Any]:
        """The report, except times."""
        report = read_json(self.folder.report)
        assert report is not None
        return {key: value for key, value in report.items() if key not in ("seconds", "bytes_per_second")}

    @property
    def samples(self) -> Any:
        return read_json(self.folder.samples)


@pytest.fixture(scope="module")
def alone(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A corpus made by one process, undisturbed."""
    made = Made(tmp_path_factory.mktemp("alone"), source)
    made.run()
    return made


def check_same(made: Made, other: Made) -> None:
    assert made.digests == other.digests
    assert made.report == other.report
    assert made.samples == other.samples


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process(process.pid).children()
        if not is_gone(child.pid) and "pipeline.data.execution.worker" in child.cmdline()
    ]


@pytest.mark.slow
def test_the_numbers_are_those_of_the_source(alone: Made) -> None:
    report, manifest = alone.report, read_json(alone.folder.manifest)
    assert manifest is not None
    assert report["bad_rows"] == {"not JSON": 1, "file ends too early": 1}
    assert [bad["where"].rpartition("/")[2].partition(":")[0] for bad in report["bad_examples"]] == [
        "part-0.json.gz",
        "part-4.json.gz",
    ]
    lost = int(report["bad_examples"][1]["where"].rpartition(":")[2]) - 1
    assert report["scanned"] == (NUM_SHARDS - 1) * ROWS - 1 + lost
    numbers = [n for n in range(NUM_SHARDS * ROWS) if n != 770 and not 4 * ROWS + lost <= n < 5 * ROWS]
    assert report["scanned"] == len(numbers)
    kept = sum(n % EVERY == 0 for n in numbers)
    assert report["kept"] == manifest["files_train"] + manifest["files_validation"] == kept


@pytest.mark.slow
@pytest.mark.parametrize(
    "workforce", [{"workers": 2}, {"workers": 2, "parts": "file"}, {"engine": "ray", "workers": 2}], ids=str
)
def test_every_engine_makes_the_same_corpus(
    workforce: dict[str, Any], alone: Made, source: Path, tmp_path: Path
) -> None:
    if "parts" in workforce:
        workforce = {**workforce, "parts": f"file://{tmp_path}/elsewhere"}
    made = Made(tmp_path, source, workforce=workforce)
    made.run()
    check_same(made, alone)
    if "parts" in workforce:
        assert len(list((tmp_path / "elsewhere").glob("*/*.parquet"))) >= NUM_SHARDS, "control: they were there"


@pytest.mark.slow
def test_a_killed_worker_changes_nothing(alone: Made, source: Path, tmp_path: Path) -> None:
    made, killed = Made(tmp_path, source, workforce={"workers": 2}), []

    def kill_one_in_mid_shard(process: subprocess.Popen[str]) -> None:
        eventually(lambda: staged(made) != [] and len(workers_of(process)) == 2, "the start of a shard")
        killed.extend(workers_of(process)[:1])
        os.kill(killed[0].pid, signal.SIGKILL)

    output = made.run(kill_one_in_mid_shard)
    assert "a worker was lost (signal 9)" in output, "control: it was at work"
    check_same(made, alone)


def staged(made: Made) -> list[Path]:
    """Parts that are being written."""
    return [path for path in made.folder.parts.glob("*/.*.parquet.*.tmp") if path.exists()]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_job_is_resumed(workers: int, alone: Made, source: Path, tmp_path: Path) -> None:
    made = Made(tmp_path, source, workforce={"workers": workers})
    with made.start() as process:
        eventually(lambda: len(made.parts) >= 1, "the end of a shard")
        below = workers_of(process)
        process.kill()
    psutil.wait_procs(below, timeout=300)
    before = made.parts
    assert 1 <= len(before) < NUM_SHARDS, "control: it was killed before it was done"
    seen: dict[str, tuple[int, int]] = {}

    def record_parts(process: subprocess.Popen[str]) -> None:
        while process.poll() is None and not made.folder.path.joinpath("tokenizer").exists():
            seen.update(made.parts)
            time.sleep(0.01)

    made.run(record_parts)
    assert {name: seen[name] for name in before} == before, "what was complete was not read again"
    check_same(made, alone)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"vocab_size": 301}, {"windows": "drop"}], ids=str)
def test_another_setting_makes_other_bytes(change: dict[str, Any], alone: Made, source: Path, tmp_path: Path) -> None:
    """The control of all these tests."""
    made = Made(tmp_path, source, config=change)
    made.run()
    assert made.digests != alone.digests


# ---- only a scan, stopped and resumed ----
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_stopped_scan_reports_its_counts_and_is_resumed(
    workers: int, alone: Made, source: Path, tmp_path: Path
) -> None:
    made = Made(tmp_path, source, workforce={"workers": workers}, only_scan=True)
    asked = read_json(made.folder.request)
    assert asked is not None

    def stop_in_the_middle(process: subprocess.Popen[str]) -> None:
        eventually(lambda: len(made.parts) >= 1, "the end of a shard")
        write_json(made.folder.stop, {"request_id": asked["request_id"]})

    made.run(stop_in_the_middle)
    status, before = read_json(made.folder.status), made.parts
    assert status is not None
    assert status["state"] == "stopped"
    assert 1 <= len(before) < NUM_SHARDS
    stopped = made.report
    assert not stopped["done"]
    assert len(before) * (ROWS - 10) <= stopped["scanned"] < alone.report["scanned"]
    assert not staged(made), "nothing half-written is left"

    made.ask(**{key: value for key, value in asked.items() if key not in ("request_id", "kind")}, resume=True)
    made.run()
    assert {name: made.parts[name] for name in before} == before, "what was complete was not read again"
    assert len(made.parts) == NUM_SHARDS
    assert made.report == alone.report
    assert made.report["done"]
    assert made.samples == alone.samples

    # ---- a preparation continues from the scan ----
    made.ask(config=asked["config"])
    made.run()
    assert made.digests == alone.digests


# ---- limits ----
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_limits_are_exact_and_the_same_for_all(workers: int, source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_bytes(json_lines(row(n, content=text(n)) for n in range(90_000, 90_100)))
    config = {
        "validation_source": f"files:{other}",
        "max_files": 500,
        "max_validation_files": 20,
        "windows": "drop",
        "window": 32,
    }
    made = Made(tmp_path / "home", source, config=config, workforce={"workers": workers})
    made.run()
    manifest = read_json(made.folder.manifest)
    assert manifest is not None
    assert (manifest["files_train"], manifest["files_validation"]) == (500, 20)
    kept = [n for n in range(NUM_SHARDS * ROWS) if n % EVERY == 0 and n != 770][:500]
    held_out = [n for n in range(90_000, 90_100) if n % EVERY == 0][:20]
    for split, numbers in (("train", kept), ("validation", held_out)):
        assert contents(made, split) == [text(n) for n in numbers]
        assert manifest[f"tokens_{split}"] == whole_windows(made, split, 32)
    assert manifest["tokens_dropped"] == all_tokens(made) - manifest["tokens_train"] - manifest["tokens_validation"]
    assert manifest["tokens_dropped"] > 0


@pytest.mark.slow
def test_a_scan_that_may_end_early_counts_the_same_with_any_number_of_workers(source: Path, tmp_path: Path) -> None:
    reports = []
    for workers in (1, 2, 4):
        config = {"max_files": 300, "quality": {"drop_exact_duplicates": True, "max_line_length": 10_000}}
        made = Made(tmp_path / str(workers), source, config=config, workforce={"workers": workers}, only_scan=True)
        made.run()
        reports.append((made.report, made.samples))
    assert reports[0] == reports[1] == reports[2]
    assert 300 <= reports[0][0]["kept"] < 600


def contents(made: Made, split: str) -> list[str]:
    import polars as pl

    return [
        text for path in sorted(made.folder.path.glob(f"files-{split}-*")) for text in pl.read_parquet(path)["content"]
    ]


def lengths(made: Made, split: str) -> list[int]:
    """Number of tokens of each file, counted by the tokenizer itself."""
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(made.folder.tokenizer / "tokenizer.json"))
    return [len(found.ids) for found in loaded.encode_batch(contents(made, split), add_special_tokens=False)]


def whole_windows(made: Made, split: str, window: int) -> int:
    return sum(length // window * window for length in lengths(made, split))


def all_tokens(made: Made) -> int:
    return sum(sum(lengths(made, split)) for split in ("train", "validation"))
