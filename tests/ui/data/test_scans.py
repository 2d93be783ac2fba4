"""Scans are shared, cached by key, limited per visitor, and end without watchers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.core.errors import BusyError, InputError, PipelineError
from pipeline.core.settings import Limits
from pipeline.data.preview.scan import Ended, Scan
from pipeline.ui.data import scans
from pipeline.ui.data.scans import Key, Scans
from tests.data.dataset_hub import DatasetHub
from tests.waiting import eventually

pytestmark = pytest.mark.slow

PANDAS = ("pandas",)


@pytest.fixture
def source(tmp_path: Path) -> str:
    folder = tmp_path / "code"
    folder.mkdir()
    for number in range(300):
        (folder / f"file{number}.py").write_text(f"import pandas as pd\nprint({number})\n" if number % 3 else "x = 1\n")
    return f"files:{folder}"


@pytest.fixture
def open_scans(tmp_path: Path) -> Iterator[Callable[..., Scans]]:
    opened: list[Scans] = []

    def start(**limits: Any) -> Scans:
        opened.append(Scans(Limits(**limits), tmp_path / f"scratch-{len(opened)}"))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def shared_scans(open_scans: Callable[..., Scans]) -> Scans:
    return open_scans()


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatasetHub]:
    with DatasetHub({"me/code": {"train.jsonl": b'{"content": "import pandas"}\n'}}) as hub:
        hub.silent = "train.jsonl"
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def key(source: str, keywords: tuple[str, ...] = PANDAS, limit: int = 20_000, match: str = "substring") -> Key:
    return Key.of(source, keywords, match, limit, is_owner=True)


def last_of(shared_scans: Scans, key: Key) -> Scan:
    *_, last = shared_scans.watch(key)
    return last


def test_a_scan_ends_with_everything_that_was_found(shared_scans: Scans, source: str) -> None:
    last = last_of(shared_scans, key(source))
    assert last.done
    assert (last.report["scanned"], last.report["kept"]) == (300, 200)
    assert last.samples[0].keywords == PANDAS
    assert len(last.samples) == 50


def test_the_row_limit_is_exact(shared_scans: Scans, source: str) -> None:
    assert last_of(shared_scans, key(source, limit=50)).report["scanned"] == 50


def test_two_watchers_of_the_same_key_share_one_scan(shared_scans: Scans) -> None:
    one, two = shared_scans.watch(key("installed")), shared_scans.watch(key("installed"))
    next(one), next(two)
    assert len(shared_scans._shared) == 1
    assert list(one)[-1:] == list(two)[-1:]


def test_only_a_finished_scan_of_an_unchanging_source_is_reused(shared_scans: Scans, source: str) -> None:
    for named, is_same in ((source, False), ("installed", True)):
        asked = key(named, limit=20)
        first = last_of(shared_scans, asked)
        assert (last_of(shared_scans, asked) is first) == is_same


def test_other_keywords_and_another_match_are_counted_from_memory(shared_scans: Scans, source: str) -> None:
    first = last_of(shared_scans, key(source))
    other = last_of(shared_scans, key(source, ("print", "pand")))
    names = last_of(shared_scans, key(source, ("print", "pand"), match="identifier"))
    assert [scan.num_from_memory for scan in (first, other, names)] == [0, 300, 300]
    assert [scan.report["keywords"]["pand"]["files"] for scan in (other, names)] == [200, 0]
    assert len(shared_scans._processes) == 1


def test_a_file_that_changed_is_read_again(shared_scans: Scans, source: str) -> None:
    last_of(shared_scans, key(source))
    Path(source.removeprefix("files:"), "file0.py").write_text("import pandas, polars\n")
    again = last_of(shared_scans, key(source))
    assert again.report["kept"] == 201
    assert again.num_from_memory == 0


def test_a_watcher_of_anothers_scan_is_counted_too(shared_scans: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each watcher takes a thread, even while the scan is silent."""
    monkeypatch.setattr(scans, "MAX_WATCHERS_OF_EACH", 2)
    monkeypatch.setattr(scans, "MAX_WATCHERS", 3)
    watching = []

    def join(visitor: str | None) -> None:
        watching.append(shared_scans.watch(key("installed"), scans.Subscription(visitor)))
        next(watching[-1])

    for visitor in ("1.1.1.1", "1.1.1.1", "2.2.2.2"):
        join(visitor)
    with pytest.raises(BusyError):
        join("1.1.1.1")
    with pytest.raises(BusyError):
        join("3.3.3.3")
    join(None)  # the owner is not limited by them
    watching[0].close()
    join("3.3.3.3")
    for watched in watching:
        watched.close()


def test_a_scan_without_watchers_stops_and_its_process_keeps_answering(shared_scans: Scans) -> None:
    watching = shared_scans.watch(key("installed"))
    next(watching)
    watching.close()
    eventually(lambda: not shared_scans._shared)
    [process] = shared_scans._processes.values()
    assert not process.has_ended
    assert last_of(shared_scans, key("installed", limit=20)).done


def test_a_process_that_does_not_stop_is_killed(shared_scans: Scans, silent_hub: DatasetHub) -> None:
    with shared_scans.question("browser") as question:
        thread = threading.Thread(target=list, args=(shared_scans.watch(key("hub:me/code"), question),))
        thread.start()
        eventually(lambda: any("train.jsonl" in request for request in silent_hub.requests))
        [process] = shared_scans._processes.values()
        shared_scans.stop("browser")
        thread.join(60)
    eventually(lambda: not psutil.pid_exists(process.pid))
    assert shared_scans._shared == []


def test_stopping_a_question_ends_its_watch_before_the_scan_does(shared_scans: Scans) -> None:
    states = []
    with shared_scans.question("browser-one") as question:
        for state in shared_scans.watch(key("installed", ("pandas", "stopped")), question):
            states.append(state)
            shared_scans.stop("browser-one")
    assert [state.done for state in states] == [False]
    assert question.is_stopped


def test_a_newer_question_waits_until_the_older_one_has_ended(shared_scans: Scans) -> None:
    shown = []

    def ask(name: str, keyword: str) -> None:
        with shared_scans.question("browser-one") as question:
            for _ in shared_scans.watch(key("installed", ("pandas", keyword)), question):
                shown.append(name)
                began.set()
                time.sleep(0.2)  # the time that showing takes, in which a newer question comes
                shown.append(name)
            shown.append(f"{name} over")

    began = threading.Event()
    older = threading.Thread(target=ask, args=("older", "old"))
    older.start()
    assert began.wait(60)
    ask("newer", "new")
    older.join()
    assert shown.index("older over") < shown.index("newer")
    assert shown[-1] == "newer over"


def test_an_older_question_whose_browser_is_gone_does_not_block(
    shared_scans: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "PATIENCE_SECONDS", 0.1)
    with shared_scans.question("browser-one") as older, shared_scans.question("browser-one") as newer:
        assert older.is_superseded
        assert newer.is_open


def test_an_error_of_the_scan_reaches_its_watcher(shared_scans: Scans, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        last_of(shared_scans, key(f"files:{tmp_path}/nowhere"))
    assert shared_scans._shared == []


def test_a_scan_ends_at_its_byte_limit_and_keeps_what_it_counted(
    open_scans: Callable[..., Scans], tmp_path: Path
) -> None:
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "many.jsonl").write_text('{"content": "import pandas"}\n' * 100_000 + "7\n" * 100_000)
    asked = key(f"files:{tmp_path}/many", limit=10**9)
    last = last_of(open_scans(preview_bytes=1_000), asked)
    assert last.ended == Ended("bytes", 1_000)
    assert not last.done
    assert 0 < last.report["kept"] < 200_000
    assert last.samples
    whole = last_of(open_scans(preview_bytes=10**9), asked)
    assert (whole.ended, whole.done) == (None, True), "control"


def test_a_scan_ends_at_its_time_limit(open_scans: Callable[..., Scans], source: str) -> None:
    last = last_of(open_scans(preview_seconds=0), key(source, limit=10**9))
    assert last.ended == Ended("seconds", 0)
    assert not last.done


def test_a_scan_that_read_all_requested_rows_did_not_end_early(open_scans: Callable[..., Scans], source: str) -> None:
    last = last_of(open_scans(preview_bytes=1), key(source, limit=50))
    assert (last.ended, last.done) == (None, True)


def test_a_scan_of_a_silent_source_ends_too(
    open_scans: Callable[..., Scans], silent_hub: DatasetHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(scans, "IDLE_SECONDS", 0.0)  # it may be told to stop before it has asked the source
    shared_scans = open_scans(preview_seconds=0.1)
    only = last_of(shared_scans, key("hub:me/code"))
    assert only.ended == Ended("seconds", 0.1)
    assert (only.done, only.report["scanned"]) == (False, 0)
    eventually(lambda: not shared_scans._processes)


def test_every_watcher_of_an_overdue_scan_is_woken(
    open_scans: Callable[..., Scans], silent_hub: DatasetHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "WAIT_SECONDS", 3_600)  # the first watcher waits until it is woken
    shared_scans = open_scans(preview_seconds=3_600)
    first: list[Scan] = []
    asleep = threading.Thread(target=lambda: first.extend(shared_scans.watch(key("hub:me/code"))), daemon=True)
    asleep.start()
    eventually(lambda: bool(shared_scans._shared))
    (shared,) = shared_scans._shared
    eventually(lambda: bool(shared.handle.changed._waiters))  # type: ignore[attr-defined]
    monkeypatch.setattr(scans, "WAIT_SECONDS", 0.1)
    shared.ends_at = 0.0
    assert last_of(shared_scans, key("hub:me/code")).ended == Ended("seconds", 3_600)
    asleep.join(60)
    assert [scan.ended for scan in first] == [Ended("seconds", 3_600)]


# ---- quotas ----


class Busy:
    """Scans that run without a process until their watcher is closed."""

    def __init__(self, shared_scans: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shared_scans = shared_scans
        monkeypatch.setattr(shared_scans, "_start", self._start)
        self.watching: list[Any] = []

    def _start(self, asked: Key, visitor: str | None) -> Any:
        class Silent:
            def is_answering(self, handle: Any) -> bool:
                return False

        from pipeline.data.preview.process import ScanHandle

        handle = ScanHandle(0)
        handle.newest = Scan({}, [], False)
        return scans.SharedScan(asked, Silent(), handle, visitor, time.monotonic() + 60)  # type: ignore[arg-type]

    def start(self, visitor: str | None, name: str) -> None:
        self.watching.append(self.shared_scans.watch(key(f"hub:me/{name}"), scans.Subscription(visitor)))
        next(self.watching[-1])


@pytest.fixture
def busy(shared_scans: Scans, monkeypatch: pytest.MonkeyPatch) -> Busy:
    return Busy(shared_scans, monkeypatch)


def test_one_visitor_has_a_quota_and_others_can_still_start(busy: Busy) -> None:
    for number in range(scans.MAX_OF_EACH):
        busy.start("1.1.1.1", f"a{number}")
    with pytest.raises(BusyError, match="from your address"):
        busy.start("1.1.1.1", "one-more")
    busy.start("2.2.2.2", "b")
    busy.start(None, "c")


def test_visitors_together_cannot_use_up_the_owners_quota(busy: Busy) -> None:
    for number in range(scans.MAX_RUNNING):
        busy.start(f"1.1.1.{number}", f"a{number}")
    with pytest.raises(BusyError, match="running already"):
        busy.start("9.9.9.9", "b")
    for number in range(scans.MAX_OF_OWNER):
        busy.start(None, f"c{number}")
    with pytest.raises(BusyError, match="running already"):
        busy.start(None, "d")


def test_joining_a_running_scan_starts_none(busy: Busy) -> None:
    for number in range(scans.MAX_OF_EACH):
        busy.start("1.1.1.1", f"a{number}")
    busy.start("1.1.1.1", "a0")
    assert len(busy.shared_scans._shared) == scans.MAX_OF_EACH


def test_results_of_one_visitor_do_not_evict_anothers(shared_scans: Scans) -> None:
    mine = key("hub:me/mine")
    shared_scans._cache(mine, Scan({}, [], True), "2.2.2.2")
    for number in range(1_000):
        shared_scans._cache(key(f"hub:me/{number}"), Scan({}, [], True), "1.1.1.1")
    assert shared_scans.found(mine) is not None
    assert len(shared_scans._results) == 1 + scans.MAX_FOUND_OF_EACH


# ---- processes ----


def test_an_idle_process_is_ended_for_another_source(
    shared_scans: Scans, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "MAX_PROCESSES", 1)
    monkeypatch.setattr(scans, "PROCESSES_OF_OWNER", 0)
    last_of(shared_scans, key(source))
    [first] = shared_scans._processes.values()
    last_of(shared_scans, key(f"{source}/file1.py"))
    assert first.has_ended
    assert len(shared_scans._processes) == 1


def test_an_idle_process_ends(shared_scans: Scans, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "IDLE_SECONDS", 0.0)
    last_of(shared_scans, key(source))
    eventually(lambda: not shared_scans._processes)
    assert list(shared_scans._scratch.iterdir()) == []


def test_a_killed_process_is_reported_in_one_sentence_and_the_next_scan_starts_another(shared_scans: Scans) -> None:
    watching = shared_scans.watch(key("installed"))
    next(watching)
    [process] = shared_scans._processes.values()
    psutil.Process(process.pid).kill()
    with pytest.raises(PipelineError, match="The scan ended: it was killed by SIGKILL"):
        list(watching)
    assert last_of(shared_scans, key("installed", limit=20)).done
