"""Paths of this machine are hidden from visitors; text that only looks like a path stays."""

from __future__ import annotations

import pytest

from pipeline.ui.shared.privacy import hidden, without_paths


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
