"""Interprets the inputs of the page: the source of a scan, a corpus to prepare, a run to start and its cost.

Does not depend on Gradio: values arrive as a browser sends them, empty fields as None.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.recipes import PRESETS, RECIPES, run_config
from pipeline.config.schema import DEFAULT_CORPUS, UNKNOWN_TRAIN_TOKENS, DataConfig, RunConfig
from pipeline.config.source_spec import corpus_id_of
from pipeline.core.errors import FieldError, require
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.corpora import start_preparing
from pipeline.jobs.job_files import read_manifest
from pipeline.jobs.runs import start_training
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.views import run_view, run_views
from pipeline.planning import Plan, plan_run

PROJECT_LISTS = {"#examples": "pypi", "#all": "pypi#all"}
"""Values of the field for projects that name none."""
CHANGES = (
    "max_steps",
    "learning_rate",
    "batch_size",
    "warmup_steps",
    "eval_every_steps",
    "checkpoint_every_steps",
    "seed",
)
"""Fields of the training configuration that the page offers, in the order of its inputs."""


def source_spec(kind: str, path: str | None, repo: str | None) -> str:
    """The source as the engine names it: `installed`, `pypi`, `pypi:NAME,NAME`, `files:PATH` or `hub:REPO`.

    `repo`: the dataset, or of the package index a list of projects, or one of PROJECT_LISTS.
    """
    if kind == "pypi":
        projects = (repo or "").strip()
        # The field shows a dataset until it has followed the choice of the kind; no project has a slash in its name.
        is_list = not projects or "/" in projects or projects in PROJECT_LISTS
        return PROJECT_LISTS.get(projects, kind) if is_list else f"pypi:{projects}"
    named = {"files": (path or "").strip(), "hub": (repo or "").strip()}
    return f"{kind}:{named[kind]}" if kind in named else kind


def checked_source(kind: str, path: str | None, repo: str | None) -> str:
    """As `source_spec`. Raises FieldError for an empty path, and for a dataset's name that the Hub cannot have."""
    spec = source_spec(kind, path, repo)
    if kind == "files":
        require(spec != "files:", "source", "", "write a path")
    if kind == "hub":
        from pipeline.data.sources.hub import HubSource

        try:
            HubSource(spec.removeprefix("hub:"))
        except FieldError as error:
            raise FieldError("source", spec.removeprefix("hub:"), error.remedy) from error
    return spec


def keyword_list(chosen: Sequence[object] | None) -> tuple[str, ...]:
    """The keywords of the chips, without duplicates. Commas and line breaks separate keywords; a space does not, because
    `import pandas` is one.
    """
    typed = [word.strip() for text in chosen or () for word in re.split(r"[,\r\n]", str(text))]
    return tuple(dict.fromkeys(filter(None, typed)))


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One run as it is set up on the page. With an empty corpus, the first one is prepared."""

    corpus: str
    preset: str
    recipe: str
    changes: dict[str, Any]

    @classmethod
    def of_inputs(cls, corpus: str | None, preset: str, recipe: str, *values: Any) -> Setup:
        changes = {name: value for name, value in zip(CHANGES, values, strict=True) if value not in (None, "")}
        return cls(corpus=corpus or "", preset=preset, recipe=recipe, changes=changes)

    def request_ids(self, session: str) -> Iterator[str]:
        """Request ids of this set-up from the page `session`: for its first start, its second start and so on."""
        text = json.dumps([session, asdict(self)], sort_keys=True)
        for number in itertools.count(1):
            yield hashlib.sha256(f"{number} {text}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Forecast:
    """The estimated cost of a set-up."""

    config: RunConfig
    plan: Plan
    is_corpus_known: bool
    """Whether the corpus exists, so that its tokens are counted."""
    seconds: float | None
    """Estimated duration at the throughput of `like`; None when there is no such run."""
    like: str | None
    """The newest run here with the same preset that measured its throughput."""


def start(settings: Settings, setup: Setup, session: str, source: str = DataConfig.source) -> str:
    """Start the run, after preparing a corpus of `source` if none is chosen; returns the run's id.

    While a run of the same set-up from the same page is active, returns that run and starts none.
    """
    home = Home(settings.home)
    corpus = setup.corpus
    if not corpus:
        corpus = corpus_id_of(source)
        folder = home.corpus(corpus)
        if not folder.is_ready and not folder.request.exists():
            config = DataConfig(source=source, vocab_size=PRESETS[setup.preset].vocab_size)
            request_id = f"corpus-{next(setup.request_ids(session))}"  # not the run's: a request id names one job
            start_preparing(settings, config=config, corpus_id=corpus, request_id=request_id)
    for request_id in setup.request_ids(session):
        run = start_training(
            settings,
            corpus=corpus,
            preset=setup.preset,
            recipe=setup.recipe,
            changes=setup.changes,
            request_id=request_id,
            queue=True,
        )
        if run_view(home, run).state in ACTIVE:
            return run
    raise AssertionError("request ids never end")


def forecast(home: Home, setup: Setup) -> Forecast:
    """The estimated cost of `setup`. Raises InputError for a value out of range."""
    manifest = read_manifest(home.corpus(setup.corpus)) if setup.corpus else None
    require(setup.preset in PRESETS, "preset", setup.preset, f"choose one of {', '.join(PRESETS)}")
    tokens = manifest["tokens_train"] if manifest else UNKNOWN_TRAIN_TOKENS
    config = run_config(
        corpus=setup.corpus or DEFAULT_CORPUS,
        preset=setup.preset,
        recipe=setup.recipe,
        vocab_size=manifest["vocab_size"] if manifest else PRESETS[setup.preset].vocab_size,
        train_tokens=tokens,
        validation_tokens=manifest.get("tokens_validation") if manifest else None,
        changes=setup.changes,
    )
    runs = run_views(home)
    is_idle = not any(view.state in ACTIVE for view in runs)
    plan = plan_run(config, train_tokens=tokens, manifest=manifest, home=home.path, is_idle=is_idle)
    like = next((view for view in runs if view.preset == setup.preset and view.tokens_per_second), None)
    seconds = plan.tokens / like.tokens_per_second if like and like.tokens_per_second else None
    return Forecast(config, plan, manifest is not None, seconds, like.run if like else None)


def course_figures(recipe: str) -> dict[str, Any]:
    """The recipe's own values, which the table scales to a short run."""
    figures = RECIPES[recipe]
    return {
        "is_courses": figures.is_courses,
        "batch_size": figures.batch_size,
        "learning_rate": figures.learning_rate,
        "warmup_steps": figures.warmup_steps,
        "every_steps": figures.every_steps,
    }
