"""Looks at data are shared, kept when they cannot change, and end when nobody watches."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pipeline.data.scan import Ended
from pipeline.errors import BusyError, InputError
from pipeline.settings import Limits
from pipeline.ui import scans
from pipeline.ui.scans import Scans


@pytest.fixture
def source(tmp_path: Path) -> str:
    for number in range(300):
        (tmp_path / f"file{number}.py").write_text(
            f"import pandas as pd\nprint({number})\n" if number % 3 else "x = 1\n"
        )
    return f"files:{tmp_path}"


def test_a_look_ends_with_everything_that_was_found(source: str) -> None:
    *_, last = Scans().watch(source, ("pandas",), 20_000)
    assert last.done
    assert (last.report["scanned"], last.report["kept"]) == (300, 200)
    assert last.samples[0].keywords == ("pandas",)


def test_the_limit_holds_exactly(source: str) -> None:
    *_, last = Scans().watch(source, ("pandas",), 50)
    assert last.report["scanned"] == 50


def test_two_who_ask_for_the_same_share_one_look(source: str) -> None:
    looks = Scans()
    one = looks.watch(source, ("pandas",), 20_000)
    two = looks.watch(source, ("pandas",), 20_000)
    next(one), next(two)
    assert len(looks._looks) == 1
    assert list(one)[-1:] == list(two)[-1:]


def test_a_look_that_can_change_is_not_kept_and_the_installed_one_is(source: str) -> None:
    looks = Scans()
    list(looks.watch(source, ("pandas",), 20))
    assert looks._looks == {}
    *_, last = looks.watch("installed", ("pandas",), 20)
    *_, again = looks.watch("installed", ("pandas",), 20)
    assert again is last


def test_other_keywords_and_another_match_are_counted_from_memory(source: str) -> None:
    looks = Scans()
    *_, first = looks.watch(source, ("pandas",), 20_000)
    *_, other = looks.watch(source, ("print", "pand"), 20_000)
    *_, names = looks.watch(source, ("print", "pand"), 20_000, match="identifier")
    assert [look.num_remembered for look in (first, other, names)] == [0, 300, 300]
    assert [look.report["keywords"]["pand"]["files"] for look in (other, names)] == [200, 0]


def test_a_file_that_changed_is_read_again(source: str, tmp_path: Path) -> None:
    looks = Scans()
    list(looks.watch(source, ("pandas",), 20_000))
    (tmp_path / "file0.py").write_text("import pandas, polars\n")
    *_, again = looks.watch(source, ("pandas",), 20_000)
    assert again.report["kept"] == 201
    assert again.num_remembered == 0


def test_a_look_that_nobody_watches_ends() -> None:
    looks = Scans()
    watching = looks.watch("installed", ("pandas",), 20_000)
    next(watching)
    watching.close()
    assert looks._looks == {}
    end = time.monotonic() + 30
    while any(thread.name == "look" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_who_stops_watching_is_let_go_before_the_end() -> None:
    looks = Scans()
    states = []
    with looks.question("browser-one") as question:
        for state in looks.watch("installed", ("pandas", "stopped"), 20_000, question):
            states.append(state)
            looks.stop("browser-one")
    assert [state.done for state in states] == [False]
    assert question.is_stopped
    assert looks._looks == {}


def test_a_newer_question_waits_for_the_last_word_of_the_older_one() -> None:
    looks, shown = Scans(), []

    def ask(name: str, keyword: str) -> None:
        with looks.question("browser-one") as question:
            for _ in looks.watch("installed", ("pandas", keyword), 20_000, question):
                shown.append(name)
                began.set()
                time.sleep(0.2)  # what showing takes: a newer question comes meanwhile
                shown.append(name)
            shown.append(f"{name} over")

    began = threading.Event()
    older = threading.Thread(target=ask, args=("older", "old"))
    older.start()
    assert began.wait(30)
    ask("newer", "new")
    older.join()
    assert shown.index("older over") < shown.index("newer")
    assert shown[-1] == "newer over"


def test_an_older_question_whose_browser_is_gone_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans, "PATIENCE_SECONDS", 0.1)
    looks = Scans()
    with looks.question("browser-one") as older, looks.question("browser-one") as newer:
        assert older.is_superseded
        assert newer.is_open


def test_what_the_scan_refuses_reaches_who_watches(tmp_path: Path) -> None:
    looks = Scans()
    with pytest.raises(InputError, match="nowhere"):
        list(looks.watch(f"files:{tmp_path}/nowhere", ("pandas",), 10))
    assert looks._looks == {}


def test_too_many_looks_at_once_are_refused(source: str) -> None:
    looks, go_on = Scans(), threading.Event()
    watching = []
    for number in range(scans.MOST_RUNNING):
        look = scans._Look((source, ("x",), "substring", number), looks._memory, Limits())
        look._thread = threading.Thread(target=go_on.wait, args=(60,))
        look.start()
        looks._working.append(look)
        watching.append(look)
    with pytest.raises(BusyError, match="press Scan"):
        next(looks.watch(source, ("pandas",), 10))
    go_on.set()


def test_a_look_ends_with_its_bytes_and_keeps_what_it_counted(tmp_path: Path) -> None:
    (tmp_path / "many.jsonl").write_text('{"content": "import pandas"}\n' * 100_000 + "7\n" * 100_000)
    *_, last = Scans(Limits(preview_bytes=1_000)).watch(f"files:{tmp_path}", ("pandas",), 10**9)
    assert last.ended == Ended("bytes", 1_000)
    assert not last.done
    assert 0 < last.report["kept"] < 200_000
    assert last.samples
    *_, whole = Scans(Limits(preview_bytes=10**9)).watch(f"files:{tmp_path}", ("pandas",), 10**9)
    assert (whole.ended, whole.done) == (None, True), "control"


def test_a_look_ends_with_its_seconds_and_keeps_what_it_counted(source: str) -> None:
    *_, last = Scans(Limits(preview_seconds=0)).watch(source.removesuffix("/"), ("pandas",), 10**9)
    assert last.ended == Ended("seconds", 0)
    assert last.report["scanned"] > 0


def test_a_look_that_read_all_that_was_asked_is_no_early_end(source: str) -> None:
    *_, last = Scans(Limits(preview_bytes=1)).watch(source, ("pandas",), 50)
    assert (last.ended, last.done) == (None, True)


def test_a_look_at_a_silent_source_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()
    monkeypatch.setattr(scans, "PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr("pipeline.data.scan.scan", lambda *args, **options: silent.wait(60))
    looks = Scans(Limits(preview_seconds=0.1))
    [only] = looks.watch("installed", ("pandas",), 10)
    silent.set()
    assert only.ended == Ended("seconds", 0.1)
    assert (only.done, only.report["scanned"]) == (False, 0)
    assert looks._looks == {}


def test_an_installed_look_that_ended_early_is_not_kept() -> None:
    looks = Scans(Limits(preview_seconds=0))
    *_, last = looks.watch("installed", ("pandas",), 20_000)
    assert last.ended
    assert looks._looks == {}


def test_a_look_that_nobody_waits_for_counts_while_its_thread_works(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()
    monkeypatch.setattr(scans, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr("pipeline.data.scan.scan", lambda *args, **options: iter([silent.wait(60)][:0]))
    looks = Scans(Limits(preview_seconds=0.05))
    for number in range(scans.MOST_RUNNING):
        [ended] = looks.watch("installed", ("pandas",), number)
        assert ended.ended
    with pytest.raises(BusyError):
        list(looks.watch("installed", ("pandas",), 99))
    silent.set()
    for thread in threading.enumerate():
        if thread.name == "look":
            thread.join(10)
    assert list(looks.watch("installed", ("pandas",), 99)) == []
