"""Runs every stage with the default settings: prepare, train, publish, generate. `python -m pipeline demo`.

Reads the examples of data-science projects from the package index; where none can be reached, the installed packages.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from typing import Any

from pipeline.artifacts.revision import Registry
from pipeline.cli.console import Console
from pipeline.config.prompts import course_prompts
from pipeline.config.schema import DataConfig
from pipeline.config.source_spec import corpus_id_of
from pipeline.core.atomic_io import cached_lines
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.data.sources.first_source import first_source
from pipeline.generation.process import Generator
from pipeline.generation.settings import Sampling
from pipeline.jobs import views
from pipeline.jobs.corpora import find_corpus, start_preparing
from pipeline.jobs.follow import follow, follow_run
from pipeline.jobs.job import stop_job
from pipeline.jobs.runs import find_run, start_training

READING = {
    "pypi": "Reading the examples of data-science projects from the package index ...",
    "installed": "Reading the Python files of the packages installed here ...",
}


def run_demo(settings: Settings, console: Console) -> dict[str, Any]:
    """Run every stage and return its results. A corpus from an earlier demo is reused.

    Raises PipelineError when a stage fails, BusyError while another run trains.
    """
    started = time.monotonic()
    home = Home(settings.home)

    # ---- prepare ----
    first = first_source()
    if first.reason:
        console.line(first.reason)
    name = corpus_id_of(first.source)
    if not home.corpus(name).is_ready:
        console.line(READING[first.source])
        start_preparing(settings, config=DataConfig(source=first.source), corpus_id=name)
        with console.stop_on_signal(lambda: stop_job(settings, find_corpus(settings, name))):
            follow(settings, lambda: views.corpus_view(home, name), console.show_corpus)
    corpus = views.corpus_view(home, name)
    if corpus.state != "finished" or corpus.vocab_size is None:
        raise PipelineError(corpus.error or f"Corpus {corpus.corpus} is {corpus.state}; see its log.")
    console.line(
        f"{corpus.files:,} files, {corpus.tokens_train:,} training tokens, vocabulary {corpus.vocab_size:,}: "
        f"a model that knows nothing has a loss near ln({corpus.vocab_size:,}) = {math.log(corpus.vocab_size):.2f}"
    )

    # ---- train and publish ----
    run_id = start_training(settings, corpus=name, preset="tiny", recipe="accelerate")
    with console.stop_on_signal(lambda: stop_job(settings, find_run(settings, run_id))):
        run = follow_run(settings, run_id, console.show_run)
    if run.state != "finished":
        raise PipelineError(run.error or f"Run {run_id} is {run.state}; see `logs {run_id}`.")
    losses = [row["eval_loss"] for row in cached_lines(home.run(run_id).metrics) if row.get("eval_loss") is not None]
    revisions = [r for r in Registry(home, settings.repo).revisions() if r.run == run_id]
    console.line(f"validation loss {losses[0]:.3f} -> {losses[-1]:.3f} ({losses[-1] / losses[0]:.0%} of the first)")
    for revision in revisions:
        console.line(f"pushed {revision.revision}: step {revision.step:,}, validation loss {revision.eval_loss:.3f}")

    # ---- generate ----
    completions = []
    with closing(Generator(settings)) as generator:
        for prompt in course_prompts():
            answer = generator.generate(revisions[0], prompt.text, Sampling(max_new_tokens=40))
            text = answer["samples"][0]
            console.line(f"\n--- {prompt.name} ---\n{prompt.text}{text}")
            completions.append({"name": prompt.name, "prompt": prompt.text, "text": text})
    seconds = time.monotonic() - started
    console.line(f"\nAll of it took {seconds:.0f} s. Look at it on the page: `make run`.")
    return {
        "corpus": corpus.to_dict(),
        "run": run.to_dict(),
        "ln_vocab_size": math.log(corpus.vocab_size),
        "first_eval_loss": losses[0],
        "last_eval_loss": losses[-1],
        "revisions": [revision.to_dict() for revision in revisions],
        "completions": completions,
        "seconds": seconds,
    }
