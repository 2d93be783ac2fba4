"""The whole way without a browser, on the embedded defaults: prepare, train, publish, generate. `python -m pipeline demo`.

Needs no network: the files are those of the packages installed here.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from typing import Any

from pipeline.artifacts.revision import Registry
from pipeline.cli.console import Console
from pipeline.config.prompts import course_prompts
from pipeline.config.schema import DEFAULT_CORPUS, DataConfig
from pipeline.core.errors import PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.generation.process import Generator
from pipeline.generation.settings import Sampling
from pipeline.jobs import corpus_requests, run_requests, views
from pipeline.jobs.follow import follow_corpus, follow_run


def run_demo(settings: Settings, console: Console) -> dict[str, Any]:
    """Go the whole way and return its figures. A corpus that is there from an earlier demo is used again.

    Raises PipelineError when a stage fails, BusyError while another run trains.
    """
    started = time.monotonic()
    home = Home(settings.home)

    # ---- look and prepare ----
    if not home.corpus(DEFAULT_CORPUS).is_ready:
        console.line("Reading the Python files of the packages installed here ...")
        corpus_requests.start_preparing(settings, config=DataConfig(), corpus_id=DEFAULT_CORPUS)
        with console.stop_on_signal(lambda: corpus_requests.stop_corpus(settings, DEFAULT_CORPUS)):
            follow_corpus(settings, DEFAULT_CORPUS, console.show_corpus)
    corpus = views.corpus_view(home, DEFAULT_CORPUS)
    if corpus.state != "finished" or corpus.vocab_size is None:
        raise PipelineError(corpus.error or f"Corpus {corpus.corpus} is {corpus.state}; see its log.")
    console.line(
        f"{corpus.files:,} files, {corpus.tokens_train:,} training tokens, vocabulary {corpus.vocab_size:,}: "
        f"a model that knows nothing has a loss near ln({corpus.vocab_size:,}) = {math.log(corpus.vocab_size):.2f}"
    )

    # ---- train and publish ----
    run_id = run_requests.start_training(settings, corpus=DEFAULT_CORPUS, preset="tiny", recipe="accelerate")
    with console.stop_on_signal(lambda: run_requests.stop_run(settings, run_id)):
        run = follow_run(settings, run_id, console.show_run)
    if run.state != "finished":
        raise PipelineError(run.error or f"Run {run_id} is {run.state}; see `logs {run_id}`.")
    losses = [row["eval_loss"] for row in views.metrics(home.run(run_id)) if row.get("eval_loss") is not None]
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
