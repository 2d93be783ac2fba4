"""The same calls for programs: preview, start, stop, status, generate, revisions, examples.

Every one goes through the same access function as the page. `gradio_client.Client(URL, download_files=False).predict(..., api_name="/status")`;
where the page needs its owner, the key goes in the header `X-Owner-Key`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, get_type_hints

import gradio as gr
from pydantic import TypeAdapter, ValidationError

from pipeline.config.schema import COURSE_KEYWORDS, DataConfig
from pipeline.core.errors import InputError, PipelineError, require
from pipeline.generation.choose import choose
from pipeline.generation.settings import Sampling
from pipeline.jobs import run_requests
from pipeline.jobs.views import run_view
from pipeline.ui.data.report_view import ended
from pipeline.ui.data.scans import Key
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.privacy import hidden_unless, scan_for_visitors
from pipeline.ui.shared.threads import wait_for

MOST_SHOWN = 80
"""Characters of a wrong value in its error."""


class Api:
    """One method per endpoint. A PipelineError becomes Gradio's own error, as plain text: the page itself calls none of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def connect(self) -> None:
        for name in ("preview", "start", "stop", "status", "generate", "revisions", "examples"):
            gr.api(for_people(getattr(self, name)), api_name=name, concurrency_limit=None)

    def preview(
        self,
        request: gr.Request,
        source: str = "installed",
        keywords: list[str] = list(COURSE_KEYWORDS),  # noqa: B006 - Gradio reads defaults, nobody changes it
        limit: int = 2_000,
        match: str = DataConfig.match,
    ) -> dict[str, Any]:
        """Scan `limit` rows of a source: how many files are kept, which keyword keeps how many, and some of them; `ended`
        says why it counted fewer, if it came to the end of what one look may take.
        """
        is_owner = self.engine.reading.check(request, source)
        limit = max(1, min(limit, self.engine.settings.limits.preview_rows))
        last = None
        config = DataConfig(source=source, keywords=tuple(keywords), match=match)
        visitor = self.engine.visitor_key(request) or None
        with self.engine.scans.question(request.session_hash or "", visitor) as question:
            for state in self.engine.scans.watch(Key.of(source, config.keywords, match, limit, is_owner), question):
                last = state
        if last is None:
            raise InputError("The scan was stopped before it found anything; ask again.")
        last = last if is_owner else scan_for_visitors(last)
        return {**last.report, "samples": [sample.to_dict() for sample in last.samples], "ended": ended(last) or None}

    def start(
        self,
        request: gr.Request,
        corpus: str,
        preset: str = "tiny",
        recipe: str = "accelerate",
        changes: dict[str, Any] = {},  # noqa: B006 - as above
        run: str = "",
        request_id: str = "",
    ) -> dict[str, Any]:
        """Start a run, or queue it behind the one that trains; a repeated `request_id` returns the first answer."""
        self.engine.access.require(request, "start", corpus)
        run_id = run_requests.start_training(
            self.engine.settings,
            corpus=corpus,
            preset=preset,
            recipe=recipe,
            changes=changes,
            run_id=run or None,
            request_id=request_id or None,
            queue=True,
        )
        return run_view(self.engine.home, run_id).to_dict()

    def stop(self, request: gr.Request, run: str) -> dict[str, Any]:
        """Ask a run to save a checkpoint and stop."""
        self.engine.access.require(request, "stop", run)
        run_requests.stop_run(self.engine.settings, run)
        return run_view(self.engine.home, run).to_dict()

    def status(self, request: gr.Request, run: str) -> dict[str, Any]:
        """Where a run is: state, step, losses, speed, time left."""
        run_requests.find_run(self.engine.settings, run)
        is_owner = self.engine.access.of(request).allowed
        return hidden_unless(is_owner, run_view(self.engine.home, run).to_dict())

    def generate(
        self,
        request: gr.Request,
        prompt: str,
        revision: str = "newest",
        max_new_tokens: int = 64,
        temperature: float = 0.6,
        top_p: float = 0.95,
        top_k: int = 0,
        seed: int = 0,
        samples: int = 1,
    ) -> dict[str, Any]:
        """Complete a prompt with a pushed revision."""
        sampling = Sampling(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            samples=samples,
        )
        return self.engine.generator.generate(
            choose(self.engine.settings, revision),
            prompt,
            sampling,
            visitor=self.engine.visitor_key(request),
            asked_by=self.engine.page_key(request),
        )

    def revisions(self) -> list[dict[str, Any]]:
        """Every pushed revision, newest first."""
        return [revision.to_dict() for revision in self.engine.registry.revisions()]

    def examples(self, page: int = 1) -> list[dict[str, Any]]:
        """One page of the kept examples, newest first: at most 24; an empty list after the last page."""
        require(type(page) is int and page >= 1, "page", str(page)[:20], "give a whole number, 1 or more")
        found = self.engine.examples.page(page)
        return [example.to_dict() for example in found.examples] if found.number == page else []


def for_people(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`, in a thread of its own, with arguments of the types it names; its errors meant for people reach the caller as
    they are.
    """
    hints = {
        name: TypeAdapter(hint) for name, hint in get_type_hints(call).items() if name not in ("request", "return")
    }
    parameters = signature(call)

    @wraps(call)
    async def told(*args: Any, **kwargs: Any) -> Any:
        try:
            given = parameters.bind(*args, **kwargs).arguments
            return await wait_for(call, **{name: _checked(hints, name, value) for name, value in given.items()})
        except PipelineError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return told


def _checked(hints: dict[str, TypeAdapter[Any]], name: str, value: Any) -> Any:
    """`value` as the type that the endpoint names. Raises InputError when it is none."""
    if name not in hints:
        return value
    try:
        return hints[name].validate_python(value)
    except ValidationError as error:
        told = str(value)[:MOST_SHOWN]
        raise InputError(f"{name} is {told!r}; {error.errors()[0]['msg'].lower()}.") from error
