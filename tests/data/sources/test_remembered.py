"""What was read once is counted again without being read: the same rows in the same order, within a budget."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.scan import scan
from pipeline.data.sources import Batch, Piece, Shard, Source, open_source
from pipeline.data.sources.files import FilesSource
from pipeline.data.sources.hub import HubSource
from pipeline.data.sources.installed import InstalledSource
from pipeline.data.sources.remembered import Memory, Remembered
from tests.data.examples import batch, code, code_folder, json_lines, row
from tests.data.sources.test_installed import install

watchers: list[list[str]] = []
"""Each is told the files that this process opens."""


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        for watcher in watchers:
            watcher.append(str(arguments[0]))


sys.addaudithook(_hear)  # there is no way to take one away again


@pytest.fixture
def watch_files() -> Iterator[list[str]]:
    watchers.append([])
    yield watchers[-1]
    watchers.pop()


class Counted(Source):
    """Pieces that count how often each is read."""

    spec = "counted"
    name = "counted"
    num_bytes = None
    key = "counted"

    def __init__(self, num_pieces: int = 4, spec: str = "counted") -> None:
        self.spec = spec
        self.reads = [0] * num_pieces

    def shards(self) -> list[Shard]:
        return [self]

    def pieces(self) -> Iterator[Piece]:
        for number in range(len(self.reads)):
            yield Piece(lambda number=number: self._read(number), (number + 1) / len(self.reads))  # type: ignore[misc]

    def _read(self, number: int) -> Batch:
        self.reads[number] += 1
        return batch([row(10 * number + place) for place in range(10)])


def paths(source: Source) -> list[str]:
    return [path for batch in source.batches() for path in batch.rows["path"]]


def test_the_second_time_gives_the_same_rows_in_the_same_order_and_says_that_it_remembers() -> None:
    source = Counted()
    remembered = Remembered(source, Memory())
    first, second = list(remembered.batches()), list(remembered.batches())
    assert [one.rows.rows() for one in first] == [one.rows.rows() for one in second]
    assert [one.progress for one in first] == [one.progress for one in second] == [0.25, 0.5, 0.75, 1.0]
    assert [one.is_remembered for one in (*first, *second)] == [False] * 4 + [True] * 4
    assert source.reads == [1, 1, 1, 1]


def test_a_half_read_source_goes_on_where_it_was_left() -> None:
    source = Counted()
    remembered = Remembered(source, Memory())
    list(islice(remembered.batches(), 2))
    assert len(paths(remembered)) == 40
    assert source.reads == [1, 1, 1, 1]


def test_what_does_not_fit_is_read_again_and_the_beginning_stays() -> None:
    source, memory = Counted(), Memory(budget_bytes=2 * batch([row(n) for n in range(10)]).rows.estimated_size() + 99)
    remembered = Remembered(source, memory)
    assert paths(remembered) == paths(remembered)
    assert source.reads == [1, 1, 2, 2]
    assert memory.num_bytes <= memory._budget


def test_the_source_that_was_not_looked_at_for_longest_goes_first() -> None:
    one, two, three = (Counted(spec=name) for name in ("one", "two", "three"))
    whole = Memory()
    paths(Remembered(one, whole))
    memory = Memory(budget_bytes=2 * whole.num_bytes)
    one.reads = [0] * 4
    for source in (one, two, one, three, one, two):
        paths(Remembered(source, memory))
    assert (one.reads, two.reads, three.reads) == ([1] * 4, [2] * 4, [1] * 4)


def test_many_who_look_at_once_see_the_same_and_the_sum_is_right() -> None:
    source, memory = Counted(num_pieces=30), Memory()
    seen: list[list[str]] = []
    threads = [threading.Thread(target=lambda: seen.append(paths(Remembered(source, memory)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one == seen[0] for one in seen)
    assert len(seen) == 8
    alone = Memory()
    paths(Remembered(Counted(num_pieces=30), alone))
    assert memory.num_bytes == alone.num_bytes


def test_a_bad_row_is_remembered_too(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(json_lines([row(1)]) + b"{broken\n" + json_lines([row(2)]))
    remembered = Remembered(FilesSource(str(tmp_path)), Memory())
    first, second = list(remembered.batches()), list(remembered.batches())
    assert [one.bad for one in first] == [one.bad for one in second]
    assert first[0].bad[0].where.endswith("rows.jsonl:2")


def test_no_file_is_opened_the_second_time(tmp_path: Path, watch_files: list[str]) -> None:
    folder = code_folder(tmp_path / "code", 30)
    (folder / "rows.jsonl").write_bytes(json_lines(row(n) for n in range(50)))
    memory = Memory()
    *_, first = scan(Remembered(open_source(f"files:{folder}"), memory), ["pandas"])
    assert any("rows.jsonl" in name for name in watch_files)
    assert any("file7.py" in name for name in watch_files)
    watch_files.clear()
    *_, second = scan(Remembered(open_source(f"files:{folder}"), memory), ["numpy", "frame"], match="identifier")
    assert [name for name in watch_files if str(folder) in name] == []
    assert (first.num_remembered, second.num_remembered) == (0, 81)
    assert second.report["scanned"] == first.report["scanned"] == 81


def test_of_the_packages_installed_nothing_is_opened_nor_listed_again(
    tmp_path: Path, watch_files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = install(tmp_path / "site", "tool", {f"tool/file{n}.py": code(n).encode() for n in range(20)})
    monkeypatch.setattr("importlib.metadata.distributions", lambda: [package])
    memory = Memory()
    *_, first = scan(Remembered(InstalledSource(), memory), ["pandas"])
    assert len(watch_files) > 20
    watch_files.clear()
    *_, second = scan(Remembered(InstalledSource(), memory), ["mean"])
    assert [name for name in watch_files if str(tmp_path) in name] == []
    assert first.report["scanned"] == second.report["scanned"] == second.num_remembered == 20


@pytest.mark.parametrize("change", ["longer", "same size", "same time", "gone", "new"])
def test_a_file_that_changed_is_read_again_and_its_old_rows_are_forgotten(tmp_path: Path, change: str) -> None:
    folder = code_folder(tmp_path, 3)
    memory = Memory()
    path = folder / "part0" / "file0.py"
    before, old = path.stat(), path.read_text()
    first = paths(Remembered(FilesSource(str(folder)), memory))
    if change == "gone":
        path.unlink()
    elif change == "new":
        (folder / "zz.py").write_text("x = 1\n")
    else:
        path.write_text(old + "more\n" if change == "longer" else old.replace("mean", "norm"))
        times = (before.st_atime_ns, before.st_mtime_ns + (0 if change == "same time" else 10**9))
        os.utime(path, ns=times)
    again = Remembered(FilesSource(str(folder)), memory)
    (only,) = again.batches()
    assert not only.is_remembered
    assert len(only.rows) == len(first) + {"gone": -1, "new": 1}.get(change, 0)
    assert only.rows.rows() == next(iter(FilesSource(str(folder)).batches())).rows.rows()
    alone = Memory()
    paths(Remembered(FilesSource(str(folder)), alone))
    assert memory.num_bytes == alone.num_bytes


def test_a_dataset_is_fixed_only_at_a_commit() -> None:
    assert HubSource("owner/name@" + 40 * "a").is_fixed
    assert not HubSource("owner/name@main").is_fixed
    assert not HubSource("owner/name").is_fixed
    assert InstalledSource().is_fixed
    assert not InstalledSource([]).is_fixed


def test_a_scan_that_was_stopped_goes_on_from_memory() -> None:
    source, memory = Counted(num_pieces=40), Memory()
    *_, stopped = scan(Remembered(source, memory), ["pandas"], should_stop=lambda: sum(source.reads) > 5)
    assert not stopped.done
    num_read = sum(source.reads)
    *_, whole = scan(Remembered(source, memory), ["pandas"])
    assert whole.report["scanned"] == 400
    assert whole.num_remembered >= 10 * (num_read - 1)
    assert source.reads == [1] * 40
