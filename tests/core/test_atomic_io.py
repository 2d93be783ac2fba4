"""Files are written completely or not at all, and leftovers of killed writers do no harm."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError


def test_a_replaced_file_leaves_no_staged_copy_behind(tmp_path: Path) -> None:
    atomic_io.write_json(tmp_path / "a.json", {"n": 1})
    atomic_io.write_json(tmp_path / "a.json", {"n": 2})
    assert atomic_io.read_json(tmp_path / "a.json") == {"n": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_nan_and_infinity_become_null_at_any_depth(tmp_path: Path) -> None:
    atomic_io.write_json(tmp_path / "a.json", {"loss": float("nan"), "rows": [{"x": float("inf")}, 1.5]})
    assert atomic_io.read_json(tmp_path / "a.json") == {"loss": None, "rows": [{"x": None}, 1.5]}


def test_a_missing_file_reads_as_none_and_a_broken_one_is_named(tmp_path: Path) -> None:
    assert atomic_io.read_json(tmp_path / "none.json") is None
    for text in ("{", "[1]", "\xff"):
        (tmp_path / "bad.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(DamagedError, match=r"bad\.json"):
            atomic_io.read_json(tmp_path / "bad.json")


def test_reader_waits_for_the_rest_of_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    atomic_io.append_line(path, {"step": 1})
    with path.open("ab") as file:
        file.write(b'{"step": 2')
    assert atomic_io.read_lines(path) == [{"step": 1}]
    with path.open("ab") as file:
        file.write(b"}\n")
    assert atomic_io.read_lines(path) == [{"step": 1}, {"step": 2}]


def test_a_row_appended_after_a_torn_line_is_not_lost(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    atomic_io.append_line(path, {"step": 3})
    assert atomic_io.read_lines(path) == [{"step": 1}, {"step": 3}]


def test_rows_with_line_separators_in_their_text_stay_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"text": "a\nb\rc\u2028d\x0be"}
    atomic_io.append_line(path, row)
    assert atomic_io.read_lines(path) == [row]


def test_tail_reads_the_end_of_a_long_file_and_drops_the_cut_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {n}\n" for n in range(10_000)))
    assert atomic_io.tail(path, max_lines=3) == ["line 9997", "line 9998", "line 9999"]
    assert atomic_io.tail(path, max_lines=100, max_bytes=25) == ["line 9998", "line 9999"]
    assert atomic_io.tail(tmp_path / "none") == []


def test_a_lock_is_held_once_and_seen_by_others(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not atomic_io.is_locked(path)
    assert not path.exists(), "checking must not create the lock"
    with atomic_io.locked(path, wait=False) as first, atomic_io.locked(path, wait=False) as second:
        assert (first, second) == (True, False)
        assert atomic_io.is_locked(path)
    assert not atomic_io.is_locked(path)


def test_is_locked_does_not_make_a_concurrent_locked_fail(tmp_path: Path) -> None:
    path, ended = tmp_path / "lock", threading.Event()
    path.touch()

    def poll() -> None:
        while not ended.is_set():
            atomic_io.is_locked(path)

    poller = threading.Thread(target=poll)
    poller.start()
    try:
        for _ in range(2_000):
            with atomic_io.locked(path, wait=False) as acquired:
                assert acquired
    finally:
        ended.set()
        poller.join()


def test_cached_lines_are_read_again_after_a_change_and_one_version_is_cached(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert atomic_io.cached_lines(path) == ()
    for step in range(5):
        atomic_io.append_line(path, {"step": step})
        assert [row["step"] for row in atomic_io.cached_lines(path)] == list(range(step + 1))
    assert atomic_io.cached_lines(path) is atomic_io.cached_lines(path)
    assert sum(cached == path for cached in atomic_io._line_cache) == 1
    for number in range(atomic_io.MAX_KEPT_FILES + 5):
        atomic_io.append_line(tmp_path / f"{number}.jsonl", {"step": 0})
        atomic_io.cached_lines(tmp_path / f"{number}.jsonl")
    assert len(atomic_io._line_cache) == atomic_io.MAX_KEPT_FILES


HOLDER = "import sys, time; from pipeline.core.atomic_io import locked; from pathlib import Path\nwith locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"


def test_the_kernel_frees_the_lock_of_a_killed_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert atomic_io.is_locked(path)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert not atomic_io.is_locked(path)


def test_overwrite_json_writes_in_place_only_if_the_allocated_blocks_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_io.write_json(path, {"n": 1, "filler": "x" * 1_000})
    before = path.stat()
    atomic_io.overwrite_json(path, {"n": 2})
    assert atomic_io.read_json(path) == {"n": 2}
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    atomic_io.overwrite_json(path, {"filler": "x" * 1_000_000})
    assert atomic_io.read_json(path) == {"n": 2}


def _write_for_ever(path: Path) -> None:
    n = 0
    while True:
        n += 1
        atomic_io.write_json(path, {"n": n, "filler": "x" * 20_000})


def test_a_writer_killed_at_any_instant_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_io.write_json(path, {"n": 0})
    for trial in range(20):
        writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(path,))
        writer.start()
        time.sleep(0.002 + 0.0007 * trial)
        assert writer.pid is not None
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        assert isinstance((atomic_io.read_json(path) or {})["n"], int)


def test_a_plain_write_in_place_would_not_survive_the_same_kills(tmp_path: Path) -> None:
    """Control: without staging and rename, a reader does see a partial file."""
    path = tmp_path / "a.json"
    text = json.dumps({"filler": "x" * 1_000_000})
    torn = 0
    for _ in range(50):
        with path.open("w") as file:
            file.write(text[: len(text) // 2])
            file.flush()
            try:
                atomic_io.read_json(path)
            except DamagedError:
                torn += 1
    assert torn == 50


@pytest.mark.parametrize(("text", "found"), [("null", "null"), ("[]", "list"), ("1", "int")])
def test_json_that_is_no_object_is_named(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DamagedError, match=rf"x\.json holds {found} instead of an object"):
        atomic_io.read_json(tmp_path / "x.json")
