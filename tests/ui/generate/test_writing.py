"""Updates are few, the last one is complete, and one state covers both answers. The clock moves only when it is told."""

from __future__ import annotations

import copy
import itertools
import statistics
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.core.errors import PipelineError
from pipeline.generation.settings import Sampling
from pipeline.generation.text_chunk import TextChunk, joined
from pipeline.ui.generate import writing
from pipeline.ui.generate.answers import Completion, Result
from pipeline.ui.generate.writing import Pace, written

SAMPLES, TOKENS = 4, 100
FIRST, SECOND = (SimpleNamespace(revision=name, run="r", step=1, eval_loss=1.0) for name in ("first", "second"))


class Time:
    """A clock that advances when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class TimedGenerator:
    """Writes one token each 20 milliseconds, whether it is read or not, as the real one does.

    `stop_at` and `fail_at`: the number of tokens, of all samples of a revision, after which it is stopped or fails.
    """

    def __init__(self, time: Time, *, stop_at: int | None = None, fail_at: int | None = None) -> None:
        self.time = time
        self.stop_at = stop_at
        self.fail_at = fail_at
        self.asked: list[str] = []

    def batches(self, revision: Any, prompt: str, sampling: Sampling, **who: str) -> Iterator[list[TextChunk]]:
        self.asked.append(revision.revision)
        yield []
        began, num_sent = self.time.now, 0
        num_all = sampling.samples * TOKENS
        while num_sent < num_all:
            arrived = min(num_all, int((self.time.now - began) / 0.02))
            if arrived == num_sent:
                self.time.sleep(0.02)
                continue
            end = min(arrived, self.stop_at or arrived, self.fail_at or arrived)
            chunks = [self._chunk(revision, number) for number in range(num_sent, end)]
            num_sent = end
            if self.stop_at == end:
                ended = num_sent // TOKENS
                chunks += [
                    TextChunk(sample=sample, done=True, finish="stopped") for sample in range(ended, sampling.samples)
                ]
                yield list(joined(chunks))
                return
            yield list(joined(chunks))
            if self.fail_at == end:
                raise PipelineError("The generator ended.")

    def _chunk(self, revision: Any, number: int) -> TextChunk:
        sample, token = divmod(number, TOKENS)
        is_done = token == TOKENS - 1
        return TextChunk(
            sample=sample,
            text=token_text(revision, sample, token),
            done=is_done,
            tokens=token + 1,
            seconds=1.0,
            finish="length" if is_done else None,
        )


def token_text(revision: Any, sample: int, token: int) -> str:
    return f"{revision.revision}-{sample}-{token} "


def updates(
    time: Time, generator: TimedGenerator, revisions: tuple[Any, ...] = (FIRST, SECOND)
) -> list[tuple[float, Completion]]:
    """Every update, with its time in seconds."""
    pace = Pace(time.clock, time.sleep)
    found: Any = written(
        generator,  # type: ignore[arg-type]
        revisions,
        "import",
        Sampling(samples=SAMPLES),
        visitor="",
        asked_by="",
        pace=pace,
    )
    return [(time.now, copy.deepcopy(completion)) for completion in found]


def test_at_most_three_updates_are_sent_in_any_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four samples of two revisions, 800 tokens in 16 seconds. The control is an update for each batch that arrived."""
    time = Time()
    found = updates(time, TimedGenerator(time))
    times = [at for at, _ in found]
    assert max(sum(at <= other < at + 1 for other in times) for at in times) <= 3
    assert len(found) <= 3 * time.now
    for name in ("UPDATE_SECONDS", "LONG_UPDATE_SECONDS"):
        monkeypatch.setattr(writing, name, 0)
    assert len(updates(time, TimedGenerator(time))) > 700


def test_long_text_is_updated_less_often() -> None:
    time = Time()
    found = updates(time, TimedGenerator(time))
    pauses: dict[bool, list[float]] = {True: [], False: []}
    for (at, completion), (after, _) in itertools.pairwise(found[:-1]):
        pauses[completion.num_characters >= writing.LONG].append(after - at)
    assert statistics.median(pauses[False]) < writing.LONG_UPDATE_SECONDS <= statistics.median(pauses[True])


def test_the_last_update_has_the_whole_text_of_every_sample_of_both_revisions() -> None:
    time = Time()
    *_, (_, last) = updates(time, TimedGenerator(time))
    assert [answer.texts for answer in last.answers] == [
        ["".join(token_text(revision, sample, token) for token in range(TOKENS)) for sample in range(SAMPLES)]
        for revision in (FIRST, SECOND)
    ]
    assert last.state == "finished"


def test_each_update_has_the_text_of_all_samples_so_far() -> None:
    time = Time()
    found = updates(time, TimedGenerator(time))
    sizes = [sum(len(text) for answer in completion.answers for text in answer.texts) for _, completion in found]
    assert sizes == sorted(sizes)
    middle = found[len(found) * 3 // 4][1]
    assert [len(answer.texts) for answer in middle.answers] == [SAMPLES, SAMPLES]


def test_between_two_answers_it_is_still_written() -> None:
    time = Time()
    states = [completion.state for _, completion in updates(time, TimedGenerator(time))]
    assert set(states[:-1]) == {"running"}
    assert states[-1] == "finished"


def test_a_stop_ends_both_answers_and_says_so() -> None:
    time = Time()
    generator = TimedGenerator(time, stop_at=150)
    *_, (_, last) = updates(time, generator)
    assert last.state == "stopped"
    assert generator.asked == ["first"]
    assert last.answers[0].texts[1].endswith("first-1-49 ")
    assert Result.of(last, FIRST) == Result("import", last.sampling, FIRST, last.answers[0].texts)  # type: ignore[arg-type]


def test_a_failure_keeps_what_was_written() -> None:
    time = Time()
    *_, (_, last) = updates(time, TimedGenerator(time, fail_at=150))
    assert (last.state, str(last.error)) == ("failed", "The generator ended.")
    assert last.answers[0].texts[1].endswith("first-1-49 ")
    assert Result.of(last, FIRST) is None  # type: ignore[arg-type]


def test_what_was_stopped_before_there_was_text_cannot_be_kept() -> None:
    completion = Completion("import", {})
    assert Result.of(completion, FIRST) is None  # type: ignore[arg-type]
