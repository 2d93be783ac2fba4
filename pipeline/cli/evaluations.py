"""The command evaluate: how much of what a revision writes parses, runs and is right."""

from __future__ import annotations

import hashlib
import json as json_module
from typing import Annotated, Any

import typer

from pipeline.artifacts.corpus import Corpus
from pipeline.artifacts.revision import Revision, window_of
from pipeline.cli.console import Console
from pipeline.cli.options import Json, rounded
from pipeline.cli.restored import restore_archive_if_due
from pipeline.core.atomic_io import readable_json, write_json
from pipeline.core.errors import InputError, require
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.evaluation.tasks import CodeTask, tasks

MAX_SAMPLES = 100
STANDARD_WINDOW = 128
"""Of a model that does not tell what it was trained on."""


def evaluate(
    revision: Annotated[
        list[str] | None, typer.Option(help="newest, best, or a revision; may be repeated. Without it: newest.")
    ] = None,
    run: Annotated[str | None, typer.Option(help="Every pushed revision of this run, instead.")] = None,
    corpus: Annotated[
        str | None, typer.Option(help="Read the held-out files of this corpus, for a model with another or none.")
    ] = None,
    samples: Annotated[int, typer.Option(help="Completions of each task.")] = 10,
    again: Annotated[bool, typer.Option("--again", help="Also what was evaluated before.")] = False,
    json: Json = False,
) -> None:
    """Complete the tasks with a revision, run what it wrote in a sandbox, and read held-out files.

    The results stay in evaluations/ of the home folder; a revision is evaluated once.
    """
    from pipeline.evaluation.evaluate import evaluate as evaluate_revision
    from pipeline.evaluation.sandbox import Sandbox

    settings, console = Settings.from_environment(), Console(as_json=json)
    require(1 <= samples <= MAX_SAMPLES, "samples", samples, f"set 1 to {MAX_SAMPLES}")
    restore_archive_if_due(settings, console)
    home, suite = Home(settings.home), tasks()
    if corpus is not None:
        Corpus.open(home.corpus(corpus))
    names = _settings_of(suite, samples, exact=settings.exact)
    found: list[dict[str, Any]] = []
    with Sandbox() as sandbox:
        for chosen in _chosen(settings, revision or [], run):
            other = corpus if corpus != chosen.corpus else None
            path = home.evaluation(chosen.revision, other)
            kept = readable_json(path)
            reads = other or chosen.corpus
            is_complete = bool(kept.get("held_out")) or not (reads and home.corpus(reads).is_ready)
            if again or not is_complete or any(kept.get(name) != value for name, value in names.items()):
                console.line(f"revision {chosen.revision} (run {chosen.run}, step {chosen.step:,})")
                result = evaluate_revision(
                    home,
                    chosen,
                    suite,
                    sandbox,
                    num_samples=samples,
                    window=window_of(chosen) or STANDARD_WINDOW,
                    corpus=other,
                    exact=settings.exact,
                    show=lambda what, done, total: console.progress(*_progress(what, done, total)),
                )
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, kept := {**names, **result})
            found.append(kept)
    console.table(
        ("revision", "step", "validation", "parses", "runs", "pass@1", "pass@10", "next line", "by heart", "bits/byte"),
        [_row(result) for result in found],
    )
    console.document(found)


def _chosen(settings: Settings, names: list[str], run: str | None) -> list[Revision]:
    """The revisions to evaluate, with their files. Raises InputError for an unknown one and for a run without any."""
    from pipeline.hub.revision_store import RevisionStore

    store = RevisionStore(settings)
    if run is None:
        return [store.choose(name) for name in names or ["newest"]]
    if names:
        raise InputError("--run takes all revisions of a run; leave out --revision, or --run.")
    of_run = [revision for revision in store.revisions() if revision.run == run]
    if not of_run:
        raise InputError(f"Run {run} has no pushed revision; see `python -m pipeline revisions`.")
    return [store.fetch(revision) for revision in sorted(of_run, key=lambda revision: revision.step)]


def _settings_of(suite: tuple[CodeTask, ...], samples: int, *, exact: bool) -> dict[str, Any]:
    """What a result depends on, besides the revision and the versions of the libraries."""
    from pipeline.evaluation import held_out, memorising
    from pipeline.evaluation.evaluate import LINE_TOKENS, TEMPERATURE, TOP_P

    how = [TEMPERATURE, TOP_P, LINE_TOKENS, held_out.MAX_TOKENS, held_out.NUM_LINES, held_out.LINE_TOKENS]
    how += [memorising.GIVEN_TOKENS, memorising.CONTINUED_TOKENS, memorising.NUM_FILES]
    text = json_module.dumps([how, *([task.name, task.prompt, task.check, task.max_lines] for task in suite)])
    return {"suite": hashlib.sha256(text.encode()).hexdigest()[:12], "samples": samples, "exact": exact}


def _progress(what: str, done: int, total: int) -> tuple[str, object]:
    """A line for each tenth."""
    words = {"write": "tasks completed", "run": "programs run"}
    return f"{done:,} of {total:,} {words[what]}", (what, 10 * done // total)


def _row(result: dict[str, Any]) -> tuple[Any, ...]:
    scored, held_out = result["tasks"], result["held_out"] or {}
    right, of_ten = scored["pass@1"], scored.get("pass@10")
    return (
        result["revision"],
        result["step"],
        rounded(result["eval_loss"]),
        _percent(scored["parses"]["value"]),
        _percent(scored["runs"]["value"]),
        f"{_percent(right['value'])} ({_percent(right['low'])} to {_percent(right['high'])})",
        _percent(of_ten["value"]) if of_ten else None,
        _percent(held_out["next_line"]["exact"]) if held_out else None,
        _percent(held_out["by_heart"]["train"]["share"]) if held_out.get("by_heart") else None,
        rounded(held_out.get("bits_per_byte")),
    )


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.1f} %"
