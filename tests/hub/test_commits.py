from __future__ import annotations

import pytest

from pipeline.hub.commits import Push, message, read_push, title


def test_a_title_names_the_step_and_the_last_one_says_that_the_run_ended() -> None:
    assert title(run="bold-kea", step=500, final=False) == "Training in progress step 500 (run bold-kea)"
    assert title(run="bold-kea", step=600, final=True) == "Training in progress step 600: run bold-kea ended"


@pytest.mark.parametrize("final", [False, True])
def test_title_and_message_are_parsed_back(final: bool) -> None:
    written = title(run="r-1", step=5, final=final)
    assert read_push("c" * 40, written, message("a" * 12, None)) == Push("c" * 40, "r-1", 5, "a" * 12)


@pytest.mark.parametrize("loss", [0.0, 2.25, 11.25, 3902.1, None])
def test_the_validation_loss_is_parsed_back(loss: float | None) -> None:
    for corpus in ("python", None):
        push = read_push("c" * 40, title(run="r-1", step=5, final=False), message("a" * 12, "b" * 16, loss, corpus))
        assert push is not None
        assert (push.revision, push.run_uid, push.eval_loss) == ("a" * 12, "b" * 16, loss)
        assert push.corpus == corpus


def test_a_loss_that_is_no_number_is_none() -> None:
    for loss in (float("nan"), float("inf"), -1.0):
        push = read_push("c" * 40, title(run="r-1", step=5, final=False), message("a" * 12, None, loss))
        assert push is not None
        assert push.eval_loss is None


def test_runs_of_the_same_name_are_distinguished_by_uid() -> None:
    push = read_push("c" * 40, title(run="r-1", step=5, final=False), message("a" * 12, "b" * 16))
    assert push == Push("c" * 40, "r-1", 5, "a" * 12, "b" * 16)
    assert push.is_of_run("r-1", "b" * 16)
    assert not push.is_of_run("r-1", "c" * 16)
    assert not push.is_of_run("r-1", None)


@pytest.mark.parametrize(
    "other",
    ["initial commit", "Update README.md", "Training in progress step 5", "Training in progress step x (run a)"],
)
def test_a_commit_of_somebody_else_is_no_push(other: str) -> None:
    assert read_push("c" * 40, other, "") is None


def test_a_push_whose_message_was_lost_has_no_revision() -> None:
    assert read_push("c" * 40, title(run="a", step=5, final=False), "") == Push("c" * 40, "a", 5, None)
