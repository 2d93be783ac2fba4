"""What the inputs of the page mean: a look at data, a corpus to prepare, a run to start and what it will take.

Knows nothing of Gradio: values come in as a browser sends them, empty fields as None.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.config.recipes import PRESETS, RECIPES, run_config
from pipeline.config.schema import DEFAULT_CORPUS, DataConfig, RunConfig
from pipeline.core.atomic_io import read_json
from pipeline.core.errors import require
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs import corpus_requests, run_requests
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.views import run_view, run_views
from pipeline.planning import Plan, plan_run

FIRST_CORPUS = DEFAULT_CORPUS
"""The corpus that the page offers to prepare before the first run."""
UNKNOWN_TOKENS = 10**9
"""Stands for the size of a corpus that is not prepared yet."""
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
    """The source as the engine names it: `installed`, `files:PATH` or `hub:REPO`."""
    named = {"files": (path or "").strip(), "hub": (repo or "").strip()}
    return f"{kind}:{named[kind]}" if kind in named else kind


def keyword_list(chosen: Sequence[object] | None) -> tuple[str, ...]:
    """The keywords of the chips, which may hold several between commas; each once."""
    typed = [word.strip() for text in chosen or () for word in str(text).split(",")]
    return tuple(dict.fromkeys(filter(None, typed)))


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One run as it is set up on the page. An empty corpus: prepare the first one, then train on it."""

    corpus: str
    preset: str
    recipe: str
    changes: dict[str, Any]

    @classmethod
    def of_inputs(cls, corpus: str | None, preset: str, recipe: str, *values: Any) -> Setup:
        changes = {name: value for name, value in zip(CHANGES, values, strict=True) if value not in (None, "")}
        return cls(corpus=corpus or "", preset=preset, recipe=recipe, changes=changes)

    def request_ids(self, session: str) -> Iterator[str]:
        """Ids of this set-up, as that page asks for it, for the first time, the second time and so on."""
        text = json.dumps([session, asdict(self)], sort_keys=True)
        for number in itertools.count(1):
            yield hashlib.sha256(f"{number} {text}".encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Forecast:
    """What a set-up will take."""

    config: RunConfig
    plan: Plan
    is_corpus_known: bool
    """Whether the corpus is there to be measured."""
    seconds: float | None
    """How long it will take, by the pace of `like`; None when no such run was seen."""
    like: str | None
    """The newest run here with the same preset that measured its pace."""


def start(settings: Settings, setup: Setup, session: str) -> str:
    """Start the run, after its corpus if there is none yet; returns its id.

    Asked again while the run that this very set-up made on this page is active, it returns that run and starts none.
    """
    home = Home(settings.home)
    corpus = setup.corpus
    if not corpus:
        corpus = FIRST_CORPUS
        folder = home.corpus(corpus)
        if not folder.is_ready and not folder.request.exists():
            config = DataConfig(vocab_size=PRESETS[setup.preset].vocab_size)
            request_id = f"corpus-{next(setup.request_ids(session))}"  # not the run's: a request id names one job
            corpus_requests.start_preparing(settings, config=config, corpus_id=corpus, request_id=request_id)
    for request_id in setup.request_ids(session):
        run = run_requests.start_training(
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
    """Raises InputError for a value out of range."""
    manifest = read_json(home.corpus(setup.corpus).manifest) if setup.corpus else None
    require(setup.preset in PRESETS, "preset", setup.preset, f"choose one of {', '.join(PRESETS)}")
    tokens = manifest["tokens_train"] if manifest else UNKNOWN_TOKENS
    config = run_config(
        corpus=setup.corpus or FIRST_CORPUS,
        preset=setup.preset,
        recipe=setup.recipe,
        vocab_size=manifest["vocab_size"] if manifest else PRESETS[setup.preset].vocab_size,
        train_tokens=tokens,
        changes=setup.changes,
    )
    plan = plan_run(config, train_tokens=tokens, home=home.path)
    like = next((view for view in run_views(home) if view.preset == setup.preset and view.tokens_per_second), None)
    seconds = plan.tokens / like.tokens_per_second if like and like.tokens_per_second else None
    return Forecast(config, plan, manifest is not None, seconds, like.name if like else None)


def course_figures(recipe: str) -> dict[str, Any]:
    """The recipe's own figures, which the table scales to a short run."""
    figures = RECIPES[recipe]
    return {
        "is_courses": figures.is_courses,
        "batch_size": figures.batch_size,
        "learning_rate": figures.learning_rate,
        "warmup_steps": figures.warmup_steps,
        "every_steps": figures.every_steps,
    }
