from __future__ import annotations

import pytest

from pipeline.core.atomic_io import append_line, read_lines
from pipeline.core.paths import RunFolder
from pipeline.hub import push_log
from pipeline.hub.push_log import Ledger
from tests.memory import bytes_of_json


def test_the_newest_row_of_a_step_counts(run: RunFolder) -> None:
    book = Ledger(run, "me/parrot")
    book.write(100, push_log.REGISTERED, revision="a" * 12)
    book.write(200, push_log.REGISTERED, revision="b" * 12)
    book.write(100, push_log.PUSHED, revision="a" * 12, commit="c" * 40)
    assert {step: row["state"] for step, row in book.rows().items()} == {100: "pushed", 200: "registered"}
    assert book.rows()[100]["commit"] == "c" * 40


def test_a_row_has_the_names_that_others_rely_on(run: RunFolder) -> None:
    Ledger(run, "me/parrot").write(100, push_log.RETRYING, revision="a" * 12, error="away")
    (row,) = read_lines(run.pushes)
    assert {"time", "step", "state", "revision", "commit", "error"} <= row.keys()


def test_rows_of_another_repo_count_for_nothing(run: RunFolder) -> None:
    Ledger(run, "local").write(100, push_log.REGISTERED, revision="a" * 12)
    assert Ledger(run, "me/parrot").rows() == {}


def test_a_fault_that_lasts_fills_no_disk(run: RunFolder) -> None:
    book = Ledger(run, "me/parrot")
    for _ in range(100):
        book.write(100, push_log.RETRYING, revision="a" * 12, error="away")
    book.write(100, push_log.RETRYING, revision="a" * 12, error="away for another reason")
    assert len(read_lines(run.pushes)) == 2


def test_a_torn_last_line_costs_no_row(run: RunFolder) -> None:
    book = Ledger(run, "me/parrot")
    book.write(100, push_log.REGISTERED, revision="a" * 12)
    with run.pushes.open("ab") as file:
        file.write(b'{"time": 1, "repo": "me/parrot", "step": 100, "sta')
    assert book.rows()[100]["state"] == "registered"
    book.write(100, push_log.UPLOADING, revision="a" * 12)
    assert book.rows()[100]["state"] == "uploading"


def test_a_ledger_that_grows_is_kept_in_memory_once(run: RunFolder) -> None:
    book = Ledger(run, "me/parrot")
    with bytes_of_json() as held:
        for step in range(200):
            book.write(step, push_log.REGISTERED, revision="a" * 12, error="x" * 1_000)
            assert len(book.rows()) == step + 1
    assert 200 * 1_000 < held[0] < 3 * 200 * 2_000  # one copy of the rows; one for each time it grew is 20 MB


def test_a_run_that_never_pushed_has_an_empty_ledger(run: RunFolder) -> None:
    assert Ledger(run, "local").rows() == {}


def test_the_token_never_reaches_the_ledger(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my secret")
    Ledger(run, "me/parrot").write(100, push_log.REFUSED, revision=None, error="bad header 'Bearer my secret'")
    assert "my secret" not in run.pushes.read_text()
    append_line(run.pushes, {"control": "my secret"})
    assert "my secret" in run.pushes.read_text()
