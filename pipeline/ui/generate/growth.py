"""One prompt at every step of a run: which steps, and what each of them wrote. Does not depend on Gradio."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.revision import Revision, best_of
from pipeline.config.prompts import course_prompts
from pipeline.core.errors import PipelineError
from pipeline.generation.settings import Sampling

if TYPE_CHECKING:
    from pipeline.generation.process import Generator

MAX_STEPS = 16
"""Each of them is loaded and writes a text."""


@dataclass
class Growth:
    """The answers of the steps of one run to one prompt."""

    prompt: str
    steps: Sequence[Revision]
    """First step first."""
    texts: dict[str, str] = field(default_factory=dict)
    """By revision."""
    is_live: bool = True
    error: PipelineError | None = None
    """Why it ended before all steps had written."""

    @property
    def written(self) -> list[Revision]:
        """The steps that have written, first step first."""
        return [revision for revision in self.steps if revision.revision in self.texts]

    @property
    def course_answer(self) -> str:
        """What the course's model wrote; "" unless the prompt is one of the course's."""
        return next((prompt.answer for prompt in course_prompts() if prompt.text == self.prompt), "")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The steps as rows of a chart."""
        return [{"step": revision.step, "eval_loss": revision.eval_loss} for revision in self.steps]


def chosen(run: Sequence[Revision], limit: int = MAX_STEPS) -> list[Revision]:
    """At most so many of the revisions of a run, which are ordered by step: the first, the last, the best, and others
    evenly between them. Diverged ones are left out, unless all are.
    """
    sound = [revision for revision in run if not revision.diverged] or list(run)
    if len(sound) <= limit:
        return sound
    evenly = {round(number * (len(sound) - 1) / (limit - 2)) for number in range(limit - 1)}
    best = best_of(list(reversed(sound)))
    return [revision for index, revision in enumerate(sound) if index in evenly or revision is best]


def grown(
    generator: Generator,
    growth: Growth,
    sampling: Sampling,
    *,
    fetch: Callable[[Revision], Revision],
    is_stopped: Callable[[], bool],
    visitor: str,
    asked_by: str,
) -> Iterator[Growth]:
    """Yield the same Growth again after each answer, until its last one: first the last step and the first one, so that
    there is soon something to compare. `fetch`: brings a revision's files to this disk. A stop ends it, and leaves the
    answers so far.
    """
    one = replace(sampling, samples=1)
    order = [*growth.steps[-1:], *growth.steps[:-1]]
    try:
        for revision in order:
            if is_stopped():
                break
            answer = generator.generate(fetch(revision), growth.prompt, one, visitor=visitor, asked_by=asked_by)
            if "stopped" in answer["finish"]:
                break
            growth.texts[revision.revision] = answer["samples"][0]
            if revision is not order[-1]:
                yield growth
    except PipelineError as error:
        growth.error = error
    growth.is_live = False
    yield growth
