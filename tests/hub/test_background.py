"""Work in a thread of its own: its result and its fault are read by whoever started it, and secrets stay out of the log."""

from __future__ import annotations

import pytest

from pipeline.core.errors import HubError
from pipeline.hub.background import Background, for_people
from tests.loopback_hub import TOKEN


def test_the_result_is_there_when_the_thread_has_ended() -> None:
    work = Background("adds", lambda: 1 + 1)
    work.start()
    work.join(10)
    assert (work.result, work.error, work.daemon) == (2, None, True)


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_ends_the_work_is_kept_and_not_printed(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise error

    work = Background("fails", fail)
    work.start()
    work.join(10)
    assert (work.result, work.error) == (None, error)
    assert capsys.readouterr().err == ""


def test_an_error_for_people_is_passed_on_and_any_other_is_named_without_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    known = HubError("The Hub is away; try again.")
    assert for_people(known, "push.log") is known
    assert capsys.readouterr().err == ""
    told = str(for_people(KeyError(f"Bearer {TOKEN}"), "push.log"))
    assert told == "KeyError: 'Bearer [token]' (traceback in push.log)"
    assert TOKEN not in capsys.readouterr().err
