from __future__ import annotations

from pipeline.hub.best_tag import best_push
from pipeline.hub.commits import Push


def push(commit: str, eval_loss: float | None, corpus: str | None = "python") -> Push:
    return Push(commit * 40, "r-1", 5, commit * 12, eval_loss=eval_loss, corpus=corpus)


def test_the_best_push_has_the_lowest_loss_and_of_equal_ones_is_the_earliest() -> None:
    pushes = [push("d", 2.0), push("c", 1.5), push("b", 1.5), push("a", None)]
    assert best_push(pushes) == pushes[2]
    assert best_push([]) is best_push(pushes[3:]) is None


def test_a_loss_on_another_corpus_than_the_newest_ones_does_not_count_and_one_on_an_unknown_does() -> None:
    pushes = [push("c", 2.0), push("b", 1.75, None), push("a", 1.0, "other")]
    assert best_push(pushes) == pushes[1]
