"""Commands about pushed revisions, and pushing: revisions, generate, score, publish."""

from __future__ import annotations

import re
import sys
import time
from typing import Annotated

import typer

from pipeline.artifacts.starter import STARTER
from pipeline.cli.console import Console, push_fault
from pipeline.cli.options import Json, check_ended, rounded, text_of
from pipeline.cli.restored import restore_archive_if_due
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.generation.settings import Sampling
from pipeline.hub import push_status
from pipeline.jobs import run_pushes, views
from pipeline.jobs.corpora import find_corpus, start_pushing
from pipeline.jobs.follow import follow
from pipeline.jobs.job import stop_job

WAIT_SECONDS = 0.5
FRACTION = re.compile(r"\.\d+")
"""Of a second, in a time."""


def revisions(json: Json = False) -> None:
    """List every pushed revision, newest first."""
    from pipeline.hub.revision_store import RevisionStore

    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_archive_if_due(settings, console)
    store = RevisionStore(settings)
    found = store.revisions()
    if store.fault:
        print(f"Only what is on this disk: {store.fault}", file=sys.stderr)
    console.table(
        ("revision", "run", "step", "validation", "corpus", "pushed", "repo"),
        [
            (r.revision, r.run, r.step, rounded(r.eval_loss), r.corpus, FRACTION.sub("", r.pushed_at), r.repo)
            for r in found
        ],
    )
    console.document([revision.to_dict() for revision in found])


def generate(
    prompt: Annotated[str, typer.Argument(help="The text to complete, or a file with it; - for standard input.")],
    revision: Annotated[
        str,
        typer.Option(
            help="newest, best, starter, or a revision by its first digits, at least 4; or OWNER/NAME[@REVISION]: a GPT-2 on the Hub."
        ),
    ] = "newest",
    max_new_tokens: Annotated[int, typer.Option(help="Maximum number of tokens to add.")] = Sampling.max_new_tokens,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token each time.")] = Sampling.temperature,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens that sum to this.")] = Sampling.top_p,
    top_k: Annotated[int, typer.Option(help="Sample from this many likeliest tokens; 0: from all.")] = Sampling.top_k,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = Sampling.seed,
    samples: Annotated[int, typer.Option(help="Completions to write.")] = Sampling.samples,
    stop_at: Annotated[
        str, typer.Option(help="Where a completion ends: line, function, or length: at its tokens.")
    ] = Sampling.stop_at,
    json: Json = False,
) -> None:
    """Complete a prompt with a pushed revision."""
    from pipeline.generation.process import generate as write

    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_archive_if_due(settings, console)
    sampling = Sampling(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        seed=seed,
        samples=samples,
        stop_at=stop_at,
    )
    prompt = text_of(prompt)
    answer = write(settings, prompt, revision=revision, sampling=sampling)
    for text in answer["samples"]:
        console.line(prompt + text)
        console.line()
    writer = f"run {answer['run']}, step {answer['step']:,}" if answer["run"] else answer["repo"]
    console.line(f"written by {answer['revision']} ({writer})")
    if answer["repo"] == STARTER:
        console.line(
            "That is the starter model, which comes with the program; train your own: `python -m pipeline train`."
        )
    console.document(answer)


def score(
    text: Annotated[str, typer.Argument(help="The text to score, or a file with it; - for standard input.")],
    revision: Annotated[
        str,
        typer.Option(
            help="newest, best, starter, or a revision by its first digits, at least 4; or OWNER/NAME[@REVISION]: a GPT-2 on the Hub."
        ),
    ] = "newest",
    json: Json = False,
) -> None:
    """Show how well a pushed revision predicts a text: loss per token and perplexity."""
    from pipeline.hub.revision_store import RevisionStore

    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_archive_if_due(settings, console)
    text = text_of(text)
    chosen = RevisionStore(settings).choose(revision)
    from pipeline.generation.decoder import exact
    from pipeline.generation.loading import load
    from pipeline.generation.scoring import score as score_text

    model, tokenizer = load(chosen.path)
    figures = score_text(exact(model), tokenizer, text)
    console.line(
        f"loss {figures['loss']:.3f} per token, perplexity {figures['perplexity']:.2f}, {figures['tokens']:,} tokens"
    )
    writer = f"run {chosen.run}, step {chosen.step:,}" if chosen.run else chosen.repo
    console.line(f"scored by {chosen.revision} ({writer})")
    console.document({**figures, "revision": chosen.revision, "run": chosen.run, "step": chosen.step})


def publish(
    corpus: Annotated[str | None, typer.Option(help="Id of a corpus to push as a dataset, with --dataset.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="The dataset on the Hub.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the dataset private if there is none yet.")] = False,
    json: Json = False,
) -> None:
    """Add every complete checkpoint to the registry and, with PIPELINE_HUB_REPO set, to the Hub; retry refused ones.

    With --corpus and --dataset: push that corpus to the Hub as a dataset instead.
    """
    settings, console = Settings.from_environment(), Console(as_json=json)
    if corpus is not None and dataset is not None:
        return _publish_corpus(settings, console, corpus, dataset, private=private)
    for option, is_given in (
        ("--corpus", corpus is not None),
        ("--dataset", dataset is not None),
        ("--private", private),
    ):
        if is_given:
            raise InputError(
                f"{option} pushes a corpus; give both --corpus ID and --dataset OWNER/NAME, or leave it out."
            )
    _publish_checkpoints(settings, console)


def _publish_corpus(settings: Settings, console: Console, corpus: str, dataset: str, *, private: bool) -> None:
    from pipeline.hub.dataset import Pushed

    start_pushing(settings, corpus_id=corpus, repo=dataset, private=private)
    folder = find_corpus(settings, corpus)
    with console.stop_on_signal(lambda: stop_job(settings, folder.push)):
        view = follow(settings, lambda: views.push_view(folder.push), console.show_push)
    check_ended(view)
    if view.pushed is None:
        raise PipelineError(f"The push of corpus {corpus} is {view.state}; push it again.")
    console.line(str(Pushed(**view.pushed)))
    console.document(view.pushed)


def _publish_checkpoints(settings: Settings, console: Console) -> None:
    from pipeline.hub.publisher import Publisher, pending

    home = Home(settings.home)
    push_status.request_retry(home, settings.repo)
    while not Publisher(settings).run():  # another one is at work, which reads the request too
        if not pending(settings):
            break
        time.sleep(WAIT_SECONDS)
    rows = [{"run": folder.id, **row} for folder in home.runs() for row in run_pushes.latest_pushes(folder)]
    console.table(
        ("run", "step", "state", "revision", "error"),
        [(row["run"], row["step"], row["state"], row.get("revision"), row.get("error")) for row in rows],
    )
    console.document(rows)
    faults = [
        fault
        for folder in home.runs()
        if (fault := run_pushes.push_fault(home, run_pushes.latest_pushes(folder))) is not None
    ]
    if faults:
        raise PipelineError(push_fault(faults[-1]))
