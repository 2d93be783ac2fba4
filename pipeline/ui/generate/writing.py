"""Writes the completions of one or two revisions, and paces their updates. Does not depend on Gradio."""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.core.errors import PipelineError
from pipeline.generation.settings import Sampling
from pipeline.ui.generate.answers import Answer, Completion

if TYPE_CHECKING:
    from pipeline.artifacts.revision import Revision
    from pipeline.generation.process import Generator

UPDATE_SECONDS = 0.5
"""Min time between two updates in the browser. Each costs its main thread up to 40 ms, most of it in Gradio's front end
(benchmarks/page_stream.py)."""
LONG, LONG_UPDATE_SECONDS = 4_000, 1.0
"""From so many characters on, all of which are drawn at each update, updates are this far apart."""

MAX_PAGES = 1_024
"""Pages whose turn is remembered; of another one a completion that is still written may overwrite an opened example."""


class Pace:
    """Spaces updates in time."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._due_at = clock()

    def wait(self, num_characters: int) -> None:
        """Sleep until the next update is due, which shows so much text."""
        if (seconds := self._due_at - self._clock()) > 0:
            self._sleep(seconds)
        self._due_at = self._clock() + (UPDATE_SECONDS if num_characters < LONG else LONG_UPDATE_SECONDS)


class CardTurns:
    """What each page's completion card shows: a completion that is being written, or an example that was opened since
    and that it must not overwrite. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: OrderedDict[str, int] = OrderedDict()
        self._numbers = itertools.count()

    def begin(self, page_key: str) -> int:
        """The number of a new turn, which ends the one before it."""
        with self._lock:
            number = self._newest[page_key] = next(self._numbers)
            self._newest.move_to_end(page_key)
            while len(self._newest) > MAX_PAGES:
                self._newest.popitem(last=False)
            return number

    def is_over(self, page_key: str, number: int) -> bool:
        return self._newest.get(page_key, number) != number


def written(
    generator: Generator,
    revisions: Sequence[Revision],
    prompt: str,
    sampling: Sampling,
    *,
    visitor: str,
    asked_by: str,
    pace: Pace | None = None,
) -> Iterator[Completion]:
    """Yield the same Completion again whenever it should be shown: as soon as the generator has accepted the request,
    while the revisions write, one after the other, and at the end, when its state is no longer `running`.

    Text that arrives between two updates is in the next one, so an update has the new text of all samples.
    """
    pace = pace or Pace()
    completion = Completion(prompt, sampling.to_dict())
    try:
        for revision in revisions:
            answer = Answer(revision, [""] * sampling.samples)
            for chunks in generator.batches(revision, prompt, sampling, visitor=visitor, asked_by=asked_by):
                if not chunks:  # the request is open
                    completion.answers.append(answer)
                for chunk in chunks:
                    answer.add(chunk)
                if not answer.is_complete:  # else the next revision's first update shows it, or the end
                    pace.wait(completion.num_characters)
                    yield completion
            if answer.is_stopped:  # the person who stopped one answer does not wait for the other
                break
        completion.state = "stopped" if any(answer.is_stopped for answer in completion.answers) else "finished"
    except PipelineError as error:
        completion.state, completion.error = "failed", error
    yield completion  # at once: somebody may have pressed Stop
