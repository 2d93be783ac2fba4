"""The same work without a browser: `python -m pipeline COMMAND`. Knows nothing of the page.

Every command takes --json and then prints one JSON document and nothing else on stdout. Errors are one sentence on
stderr; exit status 2 for what the caller can fix, 1 otherwise.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from pipeline import config as configuration
from pipeline import recipes
from pipeline.config import COURSE_KEPT_RATE, COURSE_KEYWORDS, DataConfig, Workforce
from pipeline.console import Console
from pipeline.errors import InputError, PipelineError, require
from pipeline.folders import Home
from pipeline.generation.settings import Sampling
from pipeline.jobs import corpus_requests, run_requests, views
from pipeline.jobs.state import ACTIVE
from pipeline.quality import quality_config
from pipeline.settings import Settings

app = typer.Typer(
    name="pipeline",
    help="Look at code, train a GPT-2 on it from scratch, use the model.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return at once; the work goes on by itself.")]
Queue = Annotated[bool, typer.Option("--queue", help="Wait in the queue when another run trains.")]
SourceOption = Annotated[str, typer.Option("--source", help="installed, files:PATH or hub:REPO.")]
Keywords = Annotated[
    list[str] | None, typer.Option("--keyword", help="Keep files that contain it; the course's four unless given.")
]
MatchOption = Annotated[
    str, typer.Option("--match", help="substring, identifier (a whole name) or import (a line imports it).")
]
Run = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run.")]

LIST_OPTIONS = ("--keyword", "--set", "--quality")
"""Options that take several values after one name, as in `--keyword pandas numpy`."""


@app.command()
def preview(
    source: SourceOption = DataConfig.source,
    keyword: Keywords = None,
    match: MatchOption = DataConfig.match,
    limit: Annotated[int, typer.Option(help="Rows to scan.")] = 2_000,
    json: Json = False,
) -> None:
    """Scan the first rows of a source and show how many are kept, and samples of them."""
    from pipeline.data.scan import scan
    from pipeline.data.sources import open_source

    console = Console(as_json=json)
    require(limit >= 1, "limit", limit, "scan 1 row or more")
    data = DataConfig(source=source, keywords=tuple(keyword or COURSE_KEYWORDS), match=match)
    for look in scan(open_source(data.source), data.keywords, match=data.match, limit=limit):
        console.progress(f"{look.report['scanned']:,} files scanned, {look.report['kept']:,} kept")
        last = look
    report, extent = last.report, last.extent
    if extent is not None:
        size = f", {extent.num_bytes / 1e6:,.1f} MB" if extent.num_bytes else ""
        console.line(f"{data.source}: {extent.num_files:,} files{size}")
    console.line(f"kept rate {report['keep_rate']:.2%} (the course's: {COURSE_KEPT_RATE:.2%})")
    console.table(
        ("keyword", "files", "rate"),
        [(k, f"{v['files']:,}", f"{v['rate']:.2%}") for k, v in report["keywords"].items()],
    )
    for reason, count in report["bad_rows"].items():
        console.line(f"not read: {count:,} x {reason}")
    for sample in last.samples[:5]:
        console.line(f"kept: {sample.repo_name} {sample.path} ({sample.license}; {', '.join(sample.keywords)})")
    console.document({**report, "samples": [sample.to_dict() for sample in last.samples]})


@app.command()
def prepare(
    source: SourceOption = DataConfig.source,
    keyword: Keywords = None,
    match: MatchOption = DataConfig.match,
    corpus: Annotated[str, typer.Option(help="Id of the corpus to make.")] = configuration.DEFAULT_CORPUS,
    validation_source: Annotated[
        str | None, typer.Option(help="Another source, all held out; else a share of the kept files is.")
    ] = None,
    max_files: Annotated[int | None, typer.Option(help="Stop after this many kept files.")] = None,
    max_validation_files: Annotated[
        int | None, typer.Option(help="The same for the files of --validation-source.")
    ] = None,
    as_codeparrot: Annotated[
        bool, typer.Option("--as-codeparrot", help="Remove duplicates and poor files as CodeParrot did.")
    ] = False,
    quality: Annotated[
        list[str] | None, typer.Option("--quality", help="key=value: a rule that removes files; see QualityConfig.")
    ] = None,
    windows: Annotated[
        str, typer.Option(help="join: nothing is lost; drop: the course's windows.")
    ] = DataConfig.windows,
    tokenizer: Annotated[str | None, typer.Option(help="A tokenizer's folder or Hub id; else one is trained.")] = None,
    vocab_size: Annotated[int, typer.Option(help="Size of the vocabulary that is trained.")] = DataConfig.vocab_size,
    workers: Annotated[int, typer.Option(help="Processes that filter and tokenize.")] = Workforce.workers,
    engine: Annotated[str, typer.Option(help="local: of this machine; ray: of a Ray cluster.")] = Workforce.engine,
    parts: Annotated[
        str | None, typer.Option(help="Folder that every worker sees, a path or s3://...; else the corpus's own.")
    ] = None,
    only_scan: Annotated[
        bool, typer.Option("--only-scan", help="Only filter and report; a later prepare goes on from there.")
    ] = False,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Filter a source, train a tokenizer on what is kept, and turn it into tokens."""
    from pipeline.jobs.follow import follow_corpus

    settings, console = Settings.from_environment(), Console(as_json=json)
    data = DataConfig(
        source=source,
        keywords=tuple(keyword or COURSE_KEYWORDS),
        match=match,
        validation_source=validation_source,
        max_files=max_files,
        max_validation_files=max_validation_files,
        quality=quality_config(_changes("--quality", quality or []), as_codeparrot=as_codeparrot),
        windows=windows,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
    )
    workforce = Workforce(engine=engine, workers=workers, parts=parts)
    corpus_requests.start_preparing(settings, config=data, corpus_id=corpus, workforce=workforce, only_scan=only_scan)
    if not detach:
        with console.stop_on_signal(lambda: corpus_requests.stop_corpus(settings, corpus)):
            follow_corpus(settings, corpus, console.show_corpus)
    home = Home(settings.home)
    view = views.corpus_view(home, corpus)
    _check_ended(view)
    console.document({**view.to_dict(), "report": views.report(home.corpus(corpus))} if only_scan else view.to_dict())


@app.command()
def corpora(json: Json = False) -> None:
    """List every corpus, newest first, and the disk it takes."""
    console = Console(as_json=json)
    found = views.corpus_views(Home(Settings.from_environment().home))
    console.table(
        ("corpus", "state", "files", "training tokens", "MB", "source"),
        [(v.corpus, v.state, v.files, v.tokens_train, f"{v.bytes_on_disk / 1e6:.1f}", v.source) for v in found],
    )
    console.document([view.to_dict() for view in found])


@app.command()
def delete(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help="Id of a corpus.")], json: Json = False
) -> None:
    """Delete a corpus: its kept files, tokenizer and tokens."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    freed = views.corpus_bytes(corpus_requests.find_corpus(settings, corpus))
    corpus_requests.delete_corpus(settings, corpus)
    console.line(f"Corpus {corpus} is deleted; {freed / 1e6:.1f} MB are free again.")
    console.document({"corpus": corpus, "bytes": freed})


@app.command()
def train(
    corpus: Annotated[str, typer.Option(help="Id of a prepared corpus.")] = configuration.DEFAULT_CORPUS,
    preset: Annotated[str, typer.Option(help=f"One of {', '.join(recipes.PRESETS)}.")] = "tiny",
    recipe: Annotated[str, typer.Option(help=f"One of {', '.join(recipes.RECIPES)}.")] = "accelerate",
    run_id: Annotated[str | None, typer.Option(help="Id of the run; a name is made up unless given.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value: a field of the model or training.")
    ] = None,
    processes: Annotated[int, typer.Option(help="Processes that share the batch; on CUDA one for each GPU.")] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Two updates, evaluate, save, load, generate; and what it all will take.")
    ] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Start nothing: you start it, by torchrun.")] = False,
    detach: Detach = False,
    queue: Queue = False,
    json: Json = False,
) -> None:
    """Train a GPT-2 from scratch; stays until the last checkpoint is in the registry."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    changes = _changes("--set", set_ or [])
    if max_steps is not None:
        changes["max_steps"] = max_steps
    if dry_run:
        _rehearse(settings, console, corpus=corpus, preset=preset, recipe=recipe, changes=changes)
        return
    run = run_requests.start_training(
        settings,
        corpus=corpus,
        preset=preset,
        recipe=recipe,
        run_id=run_id,
        changes=changes,
        queue=queue,
        processes=processes,
        hold=hold,
    )
    _stay(settings, console, run, detach=detach or hold)


@app.command()
def resume(run: Run, detach: Detach = False, queue: Queue = False, json: Json = False) -> None:
    """Go on with a run that stopped, failed or was interrupted, from its newest checkpoint."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    run_requests.resume_run(settings, run, queue=queue)
    _stay(settings, console, run, detach=detach)


@app.command()
def runs(json: Json = False) -> None:
    """List every run, newest first."""
    console = Console(as_json=json)
    found = views.run_views(Home(Settings.from_environment().home))
    console.table(
        ("run", "state", "step", "of", "validation", "preset", "recipe", "corpus"),
        [(v.run, v.state, v.step, v.max_steps, _rounded(v.eval_loss), v.preset, v.recipe, v.corpus) for v in found],
    )
    console.document([view.to_dict() for view in found])


@app.command()
def status(run: Run, json: Json = False) -> None:
    """Show what one run is doing."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    run_requests.find_run(settings, run)
    view = views.run_view(Home(settings.home), run)
    console.show_run(view)
    if view.error:
        console.line(view.error)
    console.document(view.to_dict())


@app.command()
def stop(run: Run, detach: Detach = False, json: Json = False) -> None:
    """Ask a run to save a checkpoint and stop; stays until it has."""
    from pipeline.jobs.follow import wait_until_ended

    settings, console = Settings.from_environment(), Console(as_json=json)
    run_requests.stop_run(settings, run)
    view = views.run_view(Home(settings.home), run) if detach else wait_until_ended(settings, run)
    console.line(f"Run {run} is {view.state} at step {view.step:,}.")
    console.document(view.to_dict())


@app.command()
def logs(run: Run, lines: Annotated[int, typer.Option(help="Newest lines to show.")] = 50, json: Json = False) -> None:
    """Show the newest lines of a run's log."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    require(lines >= 1, "lines", lines, "show 1 line or more")
    found = views.log(run_requests.find_run(settings, run), lines)
    for line in found:
        console.line(line)
    console.document({"run": run, "lines": found})


@app.command()
def revisions(json: Json = False) -> None:
    """List every pushed revision, newest first."""
    from pipeline.hub.archive import open_registry

    settings, console = Settings.from_environment(), Console(as_json=json)
    found = open_registry(settings).revisions()
    console.table(
        ("revision", "run", "step", "validation", "corpus", "pushed", "repo"),
        [(r.revision, r.run, r.step, _rounded(r.eval_loss), r.corpus, r.pushed_at, r.repo) for r in found],
    )
    console.document([revision.to_dict() for revision in found])


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="The text to go on with.")],
    revision: Annotated[str, typer.Option(help="A revision, or the first letters of one.")] = "newest",
    max_new_tokens: Annotated[int, typer.Option(help="Most tokens to add.")] = Sampling.max_new_tokens,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token each time.")] = Sampling.temperature,
    top_p: Annotated[float, typer.Option(help="Sample from the likeliest tokens that sum to this.")] = Sampling.top_p,
    top_k: Annotated[int, typer.Option(help="Sample from this many likeliest tokens; 0: from all.")] = Sampling.top_k,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = Sampling.seed,
    samples: Annotated[int, typer.Option(help="Completions to write.")] = Sampling.samples,
    json: Json = False,
) -> None:
    """Complete a prompt with a pushed revision."""
    from pipeline.generation.process import generate as write

    settings, console = Settings.from_environment(), Console(as_json=json)
    sampling = Sampling(
        max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, top_k=top_k, seed=seed, samples=samples
    )
    answer = write(settings, prompt, revision=revision, sampling=sampling)
    for text in answer["samples"]:
        console.line(prompt + text)
        console.line()
    console.line(f"written by {answer['revision']} (run {answer['run']}, step {answer['step']:,})")
    console.document(answer)


@app.command()
def score(
    text: Annotated[str, typer.Argument(help="The text to score; - reads it from standard input.")],
    revision: Annotated[str, typer.Option(help="A revision, or the first letters of one.")] = "newest",
    json: Json = False,
) -> None:
    """Say how well a pushed revision foresees a text: loss per token and perplexity."""
    from pipeline.generation.choose import choose

    settings, console = Settings.from_environment(), Console(as_json=json)
    chosen = choose(settings, revision)
    text = sys.stdin.read() if text == "-" else text
    from pipeline.generation.loading import load
    from pipeline.generation.scoring import score as score_text

    figures = score_text(*load(chosen.path), text)
    console.line(
        f"loss {figures['loss']:.3f} per token, perplexity {figures['perplexity']:.2f}, {figures['tokens']:,} tokens"
    )
    console.line(f"scored by {chosen.revision} (run {chosen.run}, step {chosen.step:,})")
    console.document({**figures, "revision": chosen.revision, "run": chosen.run, "step": chosen.step})


@app.command()
def publish(
    corpus: Annotated[str | None, typer.Option(help="Id of a corpus to push as a dataset, with --dataset.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="OWNER/NAME", help="The dataset on the Hub.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the dataset private if there is none yet.")] = False,
    json: Json = False,
) -> None:
    """Put every complete checkpoint into the registry and, with PIPELINE_HUB_REPO set, onto the Hub, what it refused before too.

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


@app.command()
def demo(json: Json = False) -> None:
    """The whole way on this machine's own files: look, prepare, train, publish, generate. Needs no network."""
    from pipeline.demo import run_demo

    settings, console = Settings.from_environment(), Console(as_json=json)
    console.document(run_demo(settings, console))


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors meant for people become one sentence on stderr."""
    try:
        result = app(
            _repeat_lists(sys.argv[1:] if arguments is None else arguments), standalone_mode=False, prog_name="pipeline"
        )
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except TyperException as error:
        print(f"{error.format_message().rstrip('.')}; see `python -m pipeline --help`.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # what a shell says of a command ended by Ctrl-C
    return result if isinstance(result, int) else 0


def _repeat_lists(arguments: list[str]) -> list[str]:
    """`--keyword a b` as `--keyword a --keyword b`, which is what typer reads."""
    spread: list[str] = []
    current = ""
    for argument in arguments:
        if argument.startswith("--"):
            current = argument if argument in LIST_OPTIONS else ""
        elif current and spread[-1] != current:
            spread.append(current)
        spread.append(argument)
    return spread


def _changes(option: str, pairs: list[str]) -> dict[str, Any]:
    changes = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{option} is {pair!r}; write it as key=value, with the name of a field before the sign.")
        changes[name.strip()] = value
    return changes


def _stay(settings: Settings, console: Console, run: str, *, detach: bool) -> None:
    """Follow a run that was just asked for, unless it is to go on by itself."""
    from pipeline.jobs.follow import follow_run

    if detach:
        view = views.run_view(Home(settings.home), run)
        told = f"Run {run} goes on by itself; look at it with `status {run}`."
        console.line(
            told
            if view.state in ACTIVE
            else f"Run {run} is not started; its folder is {Home(settings.home).run(run).path}."
        )
    else:
        with console.stop_on_signal(lambda: run_requests.stop_run(settings, run)):
            view = follow_run(settings, run, console.show_run)
        _check_ended(view)
    console.document(view.to_dict())


def _rehearse(settings: Settings, console: Console, **asked: Any) -> None:
    from pipeline.jobs.rehearsal import rehearse

    found = rehearse(settings, **asked)
    measured, plan = found.measured, found.plan
    console.line(
        "Two updates, an evaluation, a checkpoint, the model loaded and asked: all of it works. "
        f"{measured['device']}, {measured['precision']}, micro-batches of {measured['micro_batch_size']} windows."
    )
    console.table(
        ("what", "each", "times"),
        [
            ("step", f"{measured['step_seconds']:.2f} s", f"{plan.steps:,}"),
            ("evaluation", f"{measured['eval_seconds']:.1f} s", f"{plan.evaluations:,}"),
            ("checkpoint", f"{measured['save_seconds']:.1f} s", f"{plan.checkpoints:,}"),
        ],
    )
    console.line(
        f"All of it: {found.seconds / 3600:.1f} h, {plan.memory_bytes / 1e9:.1f} GB of memory, "
        f"{plan.disk_bytes / 1e9:.1f} GB of disk, {plan.tokens:,} tokens ({plan.epochs:.2f} times the corpus)."
    )
    for warning in plan.warnings:
        console.line(f"Note: {warning}")
    console.document(found.to_dict())


def _publish_corpus(settings: Settings, console: Console, corpus: str, dataset: str, *, private: bool) -> None:
    from pipeline.hub.dataset import push_corpus

    corpus_requests.find_corpus(settings, corpus)
    pushed = push_corpus(settings, corpus, dataset, private=private, say=console.progress)
    console.line(str(pushed))
    console.document(pushed.to_dict())


def _publish_checkpoints(settings: Settings, console: Console) -> None:
    from pipeline.hub.publisher import Publisher

    Publisher(settings, again=True).run()
    home = Home(settings.home)
    rows = [{"run": folder.id, **row} for folder in home.runs() for row in views.latest_pushes(folder)]
    console.table(
        ("run", "step", "state", "revision", "error"),
        [(row["run"], row["step"], row["state"], row.get("revision"), row.get("error")) for row in rows],
    )
    console.document(rows)


def _check_ended(view: views.RunView | views.CorpusView) -> None:
    """A job that failed ends its command as if it had failed there."""
    if view.state in ("failed", "interrupted"):
        kind = InputError if view.is_callers_mistake else PipelineError
        raise kind(view.error or f"The job is {view.state}; see its log.")


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"
