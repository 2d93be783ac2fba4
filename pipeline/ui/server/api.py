"""The page's actions as endpoints for programs: each method of Api but `connect`.

Call `gradio_client.Client(URL, download_files=False).predict(..., api_name="/status")`. The same access function as on
the page decides; where the page requires its owner, send the key in the header `X-Owner-Key`.
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
from pipeline.generation.settings import Sampling
from pipeline.jobs.evaluations import SAMPLES, revisions_of, start_evaluating, stop_evaluating
from pipeline.jobs.job import stop_job
from pipeline.jobs.runs import find_run, retry_push, start_training
from pipeline.jobs.views import evaluation_view, run_view
from pipeline.ui.data.report_view import ended
from pipeline.ui.data.scans import Key
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.privacy import hidden, run_for_visitors, scan_for_visitors
from pipeline.ui.shared.threads import wait_for
from pipeline.ui.train.run_page import RunPage

ENDPOINTS = (
    *("preview", "start", "stop", "retry", "status", "generate", "score", "revisions", "examples"),
    *("evaluate", "stop_evaluation", "evaluations"),
)
MAX_SHOWN = 80
"""Characters of a wrong value that its error quotes."""


class Api:
    """One method per endpoint. A PipelineError becomes a gr.Error in plain text: the page itself calls no endpoint."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def connect(self) -> None:
        for name in ENDPOINTS:
            gr.api(for_people(getattr(self, name)), api_name=name, concurrency_limit=None)

    def preview(
        self,
        request: gr.Request,
        source: str = "installed",
        keywords: list[str] = list(COURSE_KEYWORDS),  # noqa: B006 - Gradio reads the default, and nothing changes it
        limit: int = 2_000,
        match: str = DataConfig.match,
    ) -> dict[str, Any]:
        """Scan up to `limit` rows of a source. Returns how many files are kept, in total and per keyword, and some of
        them; `ended` says why fewer rows were counted, if the scan reached one of the server's limits.

        Args:
            source: installed, pypi, pypi:NAME,NAME or hub:OWNER/NAME; the owner may name files:PATH as well.
            keywords: Files that contain one of them are kept.
            limit: Rows to scan at most, 1 to 20,000.
            match: substring, identifier (a whole name) or import (a line imports it).
        """
        is_owner = self.engine.reading.check(request, source)
        max_rows = self.engine.settings.limits.preview_rows
        require(1 <= limit <= max_rows, "limit", limit, f"scan 1 to {max_rows:,} rows")
        last = None
        config = DataConfig(source=source, keywords=tuple(keywords), match=match)
        visitor = self.engine.visitor_key(request) or None
        with self.engine.scans.question(request.session_hash or "", visitor) as question:
            for scan in self.engine.scans.watch(Key.of(source, config.keywords, match, limit, is_owner), question):
                last = scan
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
        """Start a training run, or queue it behind the running one. For the owner.

        Args:
            corpus: Id of a corpus that is prepared, or is being prepared.
            preset: Size of the model: tiny, small or course.
            recipe: How it is trained, such as accelerate or fast.
            changes: Fields of the model or of training that override preset and recipe, such as max_steps.
            run: Id of the run; a name is made up for an empty one.
            request_id: The same one again starts nothing and returns the first run.
        """
        self.engine.access.require(request, "start", corpus)
        run_id = start_training(
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
        """Ask a run to save a checkpoint and stop. For the owner.

        Args:
            run: Id of the run.
        """
        self.engine.access.require(request, "stop", run)
        stop_job(self.engine.settings, find_run(self.engine.settings, run))
        return run_view(self.engine.home, run).to_dict()

    def retry(self, request: gr.Request, run: str) -> dict[str, Any]:
        """Have the newest checkpoint of a run, which was refused or waits, pushed again now. For the owner.

        Args:
            run: Id of the run.
        """
        self.engine.access.require(request, "retry push", run)
        retry_push(self.engine.settings, run)
        return run_view(self.engine.home, run).to_dict()

    def status(self, request: gr.Request, run: str) -> dict[str, Any]:
        """Progress of a run: state, step, losses, throughput, time left.

        Args:
            run: Id of the run.
        """
        find_run(self.engine.settings, run)
        view = run_view(self.engine.home, run)
        return view.to_dict() if self.engine.access.of(request).allowed else hidden(run_for_visitors(view).to_dict())

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
        stop_at: str = "length",
    ) -> dict[str, Any]:
        """Complete a prompt of Python code with a model that was trained here, or with one on the Hub.

        Args:
            prompt: The text to complete, 8,000 characters at most.
            revision: newest, best, the id of a pushed revision, or OWNER/NAME or OWNER/NAME@REVISION of a GPT-2 on the Hub.
            max_new_tokens: Tokens of a completion at most.
            temperature: 0 takes the likeliest token each time.
            top_p: Share of the probability that tokens are drawn from.
            top_k: Tokens are drawn from so many likeliest ones; 0 from all.
            seed: The same seed, settings and revision give the same text.
            samples: Number of completions.
            stop_at: Where a completion ends: line, function, or length (at its tokens).
        """
        revision = self.engine.check_model(request, revision)
        sampling = Sampling(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            samples=samples,
            stop_at=stop_at,
        )
        return self.engine.generator.generate(
            self.engine.revisions.choose(revision),
            prompt,
            sampling,
            visitor=self.engine.visitor_key(request),
            asked_by=self.engine.page_key(request),
        )

    def score(self, request: gr.Request, text: str, revision: str = "newest") -> dict[str, Any]:
        """How well a revision, named as in `generate`, predicts a text of at most 2,048 tokens: the mean loss in nats of all
        tokens but the first, the perplexity, and each token with its probability, which the first one does not have.

        Args:
            text: The text to read.
            revision: As of generate.
        """
        chosen = self.engine.revisions.choose(self.engine.check_model(request, revision))
        reading = self.engine.generator.read(
            chosen, text, visitor=self.engine.visitor_key(request), asked_by=self.engine.page_key(request)
        )
        require(len(reading.tokens) > 1, "text", text, "give at least two tokens of it")
        return {
            "loss": reading.loss,
            "perplexity": reading.perplexity,
            "tokens": [{"text": token.text, "probability": token.probability} for token in reading.tokens],
            "engine": reading.engine,
            **{name: getattr(chosen, name) for name in ("repo", "revision", "run", "step")},
        }

    def revisions(self) -> list[dict[str, Any]]:
        """Every pushed revision, newest first."""
        return [revision.to_dict() for revision in self.engine.revisions.revisions()]

    def examples(self, page: int = 1) -> list[dict[str, Any]]:
        """One page of the saved examples, newest first: at most 24; an empty list after the last page.

        Args:
            page: Its number, from 1.
        """
        require(type(page) is int and page >= 1, "page", str(page)[:20], "give a whole number, 1 or more")
        found = self.engine.examples.page(page)
        return [example.to_dict() for example in found.examples] if found.number == page else []

    def evaluate(
        self,
        request: gr.Request,
        run: str = "",
        which: str = "newest",
        revision: str = "",
        corpus: str = "",
        samples: int = SAMPLES,
        request_id: str = "",
    ) -> dict[str, Any]:
        """Evaluate revisions of a run, or one revision, as a job: how much of what it writes for 180 tasks parses, runs and
        is right, and how well it knows held-out files. For the owner. Returns the job; `evaluations` has its figures.

        Args:
            run: Id of the run whose revisions are evaluated.
            which: newest, best or all of them.
            revision: Instead of a run: newest, best, an id, or OWNER/NAME of a GPT-2 on the Hub.
            corpus: Whose held-out files are read, if not those of the revision's own corpus.
            samples: Completions of each task, 1 to 100.
            request_id: The same one again starts nothing.
        """
        self.engine.access.require(request, "evaluate", run or revision)
        require(bool(run) != bool(revision), "run", run, "name either a run or a revision")
        store = self.engine.revisions
        chosen = revisions_of(self.engine.home, store, run, which) if run else [store.choose(revision)]
        start_evaluating(
            self.engine.settings,
            chosen,
            run=run or None,
            corpus=corpus or None,
            samples=samples,
            request_id=request_id or None,
        )
        return evaluation_view(self.engine.home).to_dict()

    def stop_evaluation(self, request: gr.Request) -> dict[str, Any]:
        """Stop the evaluation that is queued or runs; the figures of complete revisions stay. For the owner."""
        self.engine.access.require(request, "stop_evaluation")
        stop_evaluating(self.engine.settings)
        return evaluation_view(self.engine.home).to_dict()

    def evaluations(self, request: gr.Request, run: str) -> dict[str, Any]:
        """The figures of the evaluated revisions of a run, first step first: shares of completions that parse, run and are
        right, and the figures of each library. `job` is the newest evaluation, of whatever run, or null. `reference` has
        the figures of another model that was evaluated in the same way, or is null.

        Args:
            run: Id of the run.
        """
        find_run(self.engine.settings, run)
        page = RunPage.of(self.engine.home, run, is_owner=self.engine.access.of(request).allowed)
        return {
            "run": run,
            "evaluations": page.evaluations,
            "reference": page.reference,
            "job": page.evaluating.to_dict() if page.evaluating else None,
        }


def for_people(call: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `call` as an endpoint: check its arguments against its type hints and run it in a thread of its own.

    A PipelineError becomes a gr.Error with the same text.
    """
    hints = {
        name: TypeAdapter(hint) for name, hint in get_type_hints(call).items() if name not in ("request", "return")
    }
    parameters = signature(call)

    @wraps(call)
    async def endpoint(*args: Any, **kwargs: Any) -> Any:
        try:
            arguments = parameters.bind(*args, **kwargs).arguments
            return await wait_for(call, **{name: _validated(hints, name, value) for name, value in arguments.items()})
        except PipelineError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return endpoint


def _validated(hints: dict[str, TypeAdapter[Any]], name: str, value: Any) -> Any:
    """`value` as the type that the endpoint declares. Raises InputError when it has another type."""
    if name not in hints:
        return value
    try:
        return hints[name].validate_python(value)
    except ValidationError as error:
        shown = str(value)[:MAX_SHOWN]
        raise InputError(f"{name} is {shown!r}; {error.errors()[0]['msg'].lower()}.") from error
