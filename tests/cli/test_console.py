"""A command's side of the terminal: lines for people, one document for programs, and what Ctrl-C does."""

from __future__ import annotations

import json
import os
import signal

import pytest

from pipeline.cli.console import Console, duration
from pipeline.cli.options import changes_of, check_ended
from pipeline.core.errors import InputError, PipelineError
from pipeline.jobs.view_types import DryRunView, JobView, PushView


def test_a_program_gets_one_document_and_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=True)
    console.line("for people")
    console.table(("a",), [(1,)])
    console.progress("half")
    console.document({"é": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"é": [1, None]}


def test_people_get_lines_and_no_document(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=False)
    console.table(("name", "n"), [("a", 1), ("longer", None)])
    console.document({"a": 1})
    assert capsys.readouterr().out == "name    n\na       1\nlonger  -\n"


def test_a_value_that_json_does_not_know_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Console(as_json=True).document(float("nan"))


def test_what_was_said_before_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(as_json=False)
    for message in ("one file", "one file", "two files"):
        console.show_push(PushView(state="running", corpus="c", repo="me/c", private=False, url=None, message=message))
    for place in (2, 2, 1):
        console.show_dry_run(DryRunView(state="queued", place=place, measured=None))
    assert capsys.readouterr().out.splitlines() == [
        *("one file", "two files"),
        *("dry run  queued  place 2 in the queue", "dry run  queued  place 1 in the queue"),
    ]


def test_the_first_interrupt_stops_the_job_and_the_second_leaves_it(capsys: pytest.CaptureFixture[str]) -> None:
    stopped: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    with (
        pytest.raises(PipelineError, match="stopping by itself"),
        Console(as_json=False).stop_on_signal(lambda: stopped.append(1)),
    ):
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped == [1]
        os.kill(os.getpid(), signal.SIGINT)
    assert stopped == [1]
    assert "Press again" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before


def test_a_job_that_ended_by_itself_meanwhile_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        raise InputError("a is finished; there is nothing to stop.")

    with Console(as_json=False).stop_on_signal(stop):
        os.kill(os.getpid(), signal.SIGINT)
    assert "a is finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("view", "kind"),
    [
        (JobView(state="failed", error="The bird is 3; give it 4.", is_callers_mistake=True), InputError),
        (JobView(state="failed", error="The bird died."), PipelineError),
        (JobView(state="interrupted"), PipelineError),
    ],
)
def test_a_failed_job_ends_its_command_as_it_ended_itself(view: JobView, kind: type[PipelineError]) -> None:
    with pytest.raises(kind) as caught:
        check_ended(view)
    assert type(caught.value) is kind
    assert (view.error or "see its log") in str(caught.value)
    check_ended(JobView(state="stopped"))


def test_pairs_become_changes_and_anything_else_is_refused() -> None:
    assert changes_of("--set", ["a=1", "b = x=y", "c="]) == {"a": "1", "b": " x=y", "c": ""}
    for pair in ("a", "=1", ""):
        with pytest.raises(InputError, match="--set is"):
            changes_of("--set", [pair])


@pytest.mark.parametrize(("seconds", "words"), [(42, "42 s"), (720, "12 min"), (12_600, "3.5 h")])
def test_a_time_is_said_in_its_largest_unit(seconds: float, words: str) -> None:
    assert duration(seconds) == words
