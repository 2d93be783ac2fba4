"""Scans are shared, kept by key, counted by visitor, and end when nobody watches."""

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
def looks(open_scans: Callable[..., Scans]) -> Scans:
    return open_scans()


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatasetHub]:
    with DatasetHub({"me/code": {"train.jsonl": b'{"content": "import pandas"}\n'}}) as hub:
        hub.silent = "train.jsonl"
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        yield hub


def key(source: str, keywords: tuple[str, ...] = PANDAS, limit: int = 20_000, match: str = "substring") -> Key:
    return Key.of(source, keywords, match, limit, is_owner=True)


def last_of(looks: Scans, asked: Key) -> Scan:
    *_, last = looks.watch(asked)
    return last


def eventually(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_scan_ends_with_everything_that_was_found(looks: Scans, source: str) -> None:
    last = last_of(looks, key(source))
    assert last.done
    assert (last.report["scanned"], last.report["kept"]) == (300, 200)
    assert last.samples[0].keywords == PANDAS
    assert len(last.samples) == 50


def test_the_limit_holds_exactly(looks: Scans, source: str) -> None:
    assert last_of(looks, key(source, limit=50)).report["scanned"] == 50


def test_two_who_ask_for_the_same_share_one_scan(looks: Scans) -> None:
    one, two = looks.watch(key("installed")), looks.watch(key("installed"))
    next(one), next(two)
    assert len(looks._shared) == 1
    assert list(one)[-1:] == list(two)[-1:]


def test_only_a_finished_scan_of_what_cannot_change_is_given_again(looks: Scans, source: str) -> None:
    for named, is_same in ((source, False), ("installed", True)):
        asked = key(named, limit=20)
        first = last_of(looks, asked)
        assert (last_of(looks, asked) is first) == is_same


def test_other_keywords_and_another_match_are_counted_from_memory(looks: Scans, source: str) -> None:
    first = last_of(looks, key(source))
    other = last_of(looks, key(source, ("print", "pand")))
    names = last_of(looks, key(source, ("print", "pand"), match="identifier"))
    assert [look.num_remembered for look in (first, other, names)] == [0, 300, 300]
    assert [look.report["keywords"]["pand"]["files"] for look in (other, names)] == [200, 0]
    assert len(looks._processes) == 1


def test_a_file_that_changed_is_read_again(looks: Scans, source: str) -> None:
    last_of(looks, key(source))
    Path(source.removeprefix("files:"), "file0.py").write_text("import pandas, polars\n")
    again = last_of(looks, key(source))
    assert again.report["kept"] == 201
    assert again.num_remembered == 0


def test_who_watches_a_scan_of_others_is_counted_too(looks: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a thread for as long as the scan is silent."""
    monkeypatch.setattr(scans, "MOST_WATCHERS_OF_EACH", 2)
    monkeypatch.setattr(scans, "MOST_WATCHERS", 3)
    watching = []

    def join(visitor: str | None) -> None:
        watching.append(looks.watch(key("installed"), scans.Subscription(visitor)))
        next(watching[-1])

    for visitor in ("1.1.1.1", "1.1.1.1", "2.2.2.2"):
        join(visitor)
    with pytest.raises(BusyError):
        join("1.1.1.1")
    with pytest.raises(BusyError):
        join("3.3.3.3")
    join(None)  # the owner waits behind none of them
    watching[0].close()
    join("3.3.3.3")
    for watched in watching:
        watched.close()


def test_a_scan_that_nobody_watches_stops_and_its_process_answers_on(looks: Scans) -> None:
    watching = looks.watch(key("installed"))
    next(watching)
    watching.close()
    eventually(lambda: not looks._shared)
    [process] = looks._processes.values()
    assert not process.has_ended
    assert last_of(looks, key("installed", limit=20)).done


def test_a_process_that_does_not_stop_is_killed(looks: Scans, silent_hub: DatasetHub) -> None:
    with looks.question("browser") as question:
        thread = threading.Thread(target=list, args=(looks.watch(key("hub:me/code"), question),))
        thread.start()
        eventually(lambda: any("train.jsonl" in request for request in silent_hub.requests))
        [process] = looks._processes.values()
        looks.stop("browser")
        thread.join(60)
    eventually(lambda: not psutil.pid_exists(process.pid))
    assert looks._shared == []


def test_who_stops_watching_is_let_go_before_the_end(looks: Scans) -> None:
    states = []
    with looks.question("browser-one") as question:
        for state in looks.watch(key("installed", ("pandas", "stopped")), question):
            states.append(state)
            looks.stop("browser-one")
    assert [state.done for state in states] == [False]
    assert question.is_stopped


def test_a_newer_question_waits_for_the_last_word_of_the_older_one(looks: Scans) -> None:
    shown = []

    def ask(name: str, keyword: str) -> None:
        with looks.question("browser-one") as question:
            for _ in looks.watch(key("installed", ("pandas", keyword)), question):
                shown.append(name)
                began.set()
                time.sleep(0.2)  # what showing takes: a newer question comes meanwhile
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


def test_an_older_question_whose_browser_is_gone_holds_up_nobody(looks: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "PATIENCE_SECONDS", 0.1)
    with looks.question("browser-one") as older, looks.question("browser-one") as newer:
        assert older.is_superseded
        assert newer.is_open


def test_what_the_scan_refuses_reaches_who_watches(looks: Scans, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        last_of(looks, key(f"files:{tmp_path}/nowhere"))
    assert looks._shared == []


def test_a_scan_ends_with_its_bytes_and_keeps_what_it_counted(open_scans: Callable[..., Scans], tmp_path: Path) -> None:
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


def test_a_scan_ends_with_its_seconds_and_keeps_what_it_counted(open_scans: Callable[..., Scans], source: str) -> None:
    last = last_of(open_scans(preview_seconds=0), key(source, limit=10**9))
    assert last.ended == Ended("seconds", 0)
    assert last.report["scanned"] > 0


def test_a_scan_that_read_all_that_was_asked_is_no_early_end(open_scans: Callable[..., Scans], source: str) -> None:
    last = last_of(open_scans(preview_bytes=1), key(source, limit=50))
    assert (last.ended, last.done) == (None, True)


def test_a_scan_of_a_silent_source_ends_too(
    open_scans: Callable[..., Scans], silent_hub: DatasetHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "PATIENCE_SECONDS", 0.1)
    looks = open_scans(preview_seconds=0.1)
    only = last_of(looks, key("hub:me/code"))
    assert only.ended == Ended("seconds", 0.1)
    assert (only.done, only.report["scanned"]) == (False, 0)
    eventually(lambda: not looks._processes)


# ---- quotas ----


class Busy:
    """Scans that run until they are let go, in no process at all."""

    def __init__(self, looks: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = looks
        monkeypatch.setattr(looks, "_start", self._start)
        self.watching: list[Any] = []

    def _start(self, asked: Key, visitor: str | None) -> Any:
        class Silent:
            def is_answering(self, look: Any) -> bool:
                return False

        from pipeline.data.preview.process import Look

        look = Look(0)
        look.newest = Scan({}, [], False)
        return scans.SharedScan(asked, Silent(), look, visitor, time.monotonic() + 60)  # type: ignore[arg-type]

    def start(self, visitor: str | None, name: str) -> None:
        self.watching.append(self.looks.watch(key(f"hub:me/{name}"), scans.Subscription(visitor)))
        next(self.watching[-1])


@pytest.fixture
def busy(looks: Scans, monkeypatch: pytest.MonkeyPatch) -> Busy:
    return Busy(looks, monkeypatch)


def test_one_visitor_has_a_share_and_others_start_all_the_same(busy: Busy) -> None:
    for number in range(scans.MOST_OF_EACH):
        busy.start("1.1.1.1", f"a{number}")
    with pytest.raises(BusyError, match="from your address"):
        busy.start("1.1.1.1", "one-more")
    busy.start("2.2.2.2", "b")
    busy.start(None, "c")


def test_visitors_together_cannot_fill_the_owners_lane(busy: Busy) -> None:
    for number in range(scans.MOST_RUNNING):
        busy.start(f"1.1.1.{number}", f"a{number}")
    with pytest.raises(BusyError, match="running already"):
        busy.start("9.9.9.9", "b")
    for number in range(scans.MOST_OF_OWNER):
        busy.start(None, f"c{number}")
    with pytest.raises(BusyError, match="running already"):
        busy.start(None, "d")


def test_who_joins_a_scan_that_runs_starts_none(busy: Busy) -> None:
    for number in range(scans.MOST_OF_EACH):
        busy.start("1.1.1.1", f"a{number}")
    busy.start("1.1.1.1", "a0")
    assert len(busy.looks._shared) == scans.MOST_OF_EACH


def test_results_of_one_visitor_do_not_push_out_anothers(looks: Scans) -> None:
    mine = key("hub:me/mine")
    looks._keep(mine, Scan({}, [], True), "2.2.2.2")
    for number in range(1_000):
        looks._keep(key(f"hub:me/{number}"), Scan({}, [], True), "1.1.1.1")
    assert looks.found(mine) is not None
    assert len(looks._found) == 1 + scans.MOST_FOUND_OF_EACH


# ---- processes ----


def test_sources_that_nobody_asks_make_room(
    looks: Scans, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scans, "MOST_PROCESSES", 1)
    monkeypatch.setattr(scans, "PROCESSES_OF_OWNER", 0)
    last_of(looks, key(source))
    [first] = looks._processes.values()
    last_of(looks, key(f"{source}/file1.py"))
    assert first.has_ended
    assert len(looks._processes) == 1


def test_an_idle_process_ends(looks: Scans, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "IDLE_SECONDS", 0.0)
    last_of(looks, key(source))
    eventually(lambda: not looks._processes)
    assert list(looks._scratch.iterdir()) == []


def test_a_killed_process_is_one_sentence_and_the_next_scan_starts_another(looks: Scans) -> None:
    watching = looks.watch(key("installed"))
    next(watching)
    [process] = looks._processes.values()
    psutil.Process(process.pid).kill()
    with pytest.raises(PipelineError, match="The scan ended: it was killed by SIGKILL"):
        list(watching)
    assert last_of(looks, key("installed", limit=20)).done
