"""Which commit contains a revision. Pushes through real publishers are tested in test_uploader.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.hub.commits import Push
from pipeline.hub.model_repo import find_push

REVISION = Revision(
    repo="me/parrot",
    revision="a" * 12,
    run="alpha",
    step=100,
    corpus="python",
    pushed_at="2026-01-01T00:00:00+00:00",
    eval_loss=None,
    commit=None,
    path=Path("nowhere"),
)


@pytest.mark.parametrize(
    ("push", "is_it"),
    [
        (Push("c", "alpha", 100, "a" * 12), True),
        (Push("c", "alpha", 100, None), True),
        (Push("c", "alpha", 100, "b" * 12), False),  # the step was saved again with other weights
        (Push("c", "alpha", 200, None), False),
        (Push("c", "beta", 100, None), False),
    ],
)
def test_a_commit_holds_a_revision_by_its_id_or_else_by_run_and_step(push: Push, is_it: bool) -> None:
    other = Push("d", "alpha", 50, "d" * 12)
    assert find_push([other, push], REVISION) == (push if is_it else None)
