"""Paths of this machine are hidden from visitors; text that only looks like a path stays."""

from __future__ import annotations

import pytest

from pipeline.core.atomic_io import append_line
from pipeline.core.paths import Home
from pipeline.core.text import without_paths
from pipeline.jobs.views import run_view
from pipeline.ui.shared.privacy import hidden, run_for_visitors
from tests.homes import write_run


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/srv/home/runs/x is damaged", "[path] is damaged"),
        ("No space left: '/srv/home/a.json'", "No space left: '[path]'"),
        ("files:/home/me/secret/**/*.py", "files:[path]"),
        ("files:secret", "files:[path]"),
        ("~/code/x.py:12", "[path]:12"),
        (r"C:\Users\me\x.py", "[path]"),
        ("(/srv/a/b)", "([path])"),
    ],
)
def test_a_path_is_replaced(text: str, shown: str) -> None:
    assert without_paths(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "step 3 / 10",
        "and/or",
        "hub:owner/name@main:train",
        "https://huggingface.co/datasets/owner/name",
        "pandas/core/frame.py",
        "1,200/2,000",
    ],
)
def test_text_that_is_not_a_path_of_this_machine_stays(text: str) -> None:
    assert without_paths(text) == text


def test_nested_strings_are_replaced() -> None:
    assert hidden({"a": ["/srv/x/y", 1, None], "b": ("/srv/x/y",)}) == {"a": ["[path]", 1, None], "b": ["[path]"]}


def test_no_text_of_a_run_shows_a_path(home: Home) -> None:
    run = write_run(home, "sad-kea", error="/srv/x/y is full", message="writes /srv/x/y", gpu_problem="see /srv/x/y")
    append_line(run.pushes, {"step": 20, "state": "refused", "repo": "me/model", "error": "/srv/x/y is damaged"})
    view = run_view(home, "sad-kea")
    assert "/srv/x/y" in str((view.gpu_problem, view.push_fault)), "control"
    assert "/srv/x/y" not in str(run_for_visitors(view))
