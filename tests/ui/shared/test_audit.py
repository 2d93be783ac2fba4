"""The audit log: whole lines, readable only by its owner, bounded, and never a reason to stop an action."""

from __future__ import annotations

import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home
from pipeline.ui.shared.audit import Audit


def test_a_line_has_time_action_target_address_and_how_the_owner_was_known(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    Audit(home).write("stop", target="calm-kea\n{}", address="8.8.8.8", known_by="cookie", count=3)
    [row] = read_lines(home.audit)
    assert datetime.fromisoformat(row.pop("time")).tzinfo == UTC
    expected = {"action": "stop", "target": "calm-kea\n{}", "address": "8.8.8.8", "known_by": "cookie", "count": 3}
    assert row == expected


def test_only_its_owner_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    home = Home(tmp_path)
    before = os.umask(0)
    try:
        audit = Audit(home, max_bytes=1)
        audit.write("start")
        audit.write("stop")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (home.audit, home.older_audit)} == {0o600}


def test_a_full_log_is_rotated_and_one_older_file_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path)
    audit = Audit(home, max_bytes=1_000)
    for number in range(100):
        audit.write("start", target=f"run-{number}")
    sizes = [path.stat().st_size for path in (home.audit, home.older_audit)]
    assert all(size < 1_300 for size in sizes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["audit.1.jsonl", "audit.jsonl"]
    targets = [row["target"] for path in (home.older_audit, home.audit) for row in read_lines(path)]
    assert targets == [f"run-{number}" for number in range(100 - len(targets), 100)]


def test_a_long_target_is_cut(tmp_path: Path) -> None:
    home = Home(tmp_path)
    Audit(home).write("start", target=["x" * 900_000])
    assert home.audit.stat().st_size < 500


def test_lines_of_many_threads_are_whole(tmp_path: Path) -> None:
    home = Home(tmp_path)
    audit = Audit(home)
    threads = [threading.Thread(target=lambda: [audit.write("start") for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_lines(home.audit)) == 200


def test_a_failed_write_is_reported_and_stops_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path)
    home.audit.mkdir()  # no file can be opened there
    Audit(home).write("delete", target="ready")
    assert f"Nothing could be written to {home.audit}" in capsys.readouterr().err
