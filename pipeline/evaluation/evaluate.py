"""Evaluates a revision: writes completions for all tasks, runs them in the sandbox, and reads held-out files."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Any

import torch

from pipeline.artifacts.corpus import Corpus
from pipeline.artifacts.revision import Revision
from pipeline.core.environment import num_cores
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import Home
from pipeline.evaluation import held_out, memorising
from pipeline.evaluation.corpus_files import drawn_files
from pipeline.evaluation.memorising import known_by_heart
from pipeline.evaluation.passing import mean_share, pass_at
from pipeline.evaluation.sandbox import Program, ProgramResult, Sandbox
from pipeline.evaluation.tasks import CodeTask
from pipeline.evaluation.writing import Wanted, write_all
from pipeline.generation.decoder import Decoder, for_writing
from pipeline.generation.loading import load
from pipeline.generation.settings import Sampling
from pipeline.generation.tokenizer_file import read_tokenizer

LINE_TOKENS = 40
"""Max tokens for each line of a task's completion."""
TEMPERATURE, TOP_P = 0.6, 0.95
Show = Callable[[str, int, int], None]
"""Called with what is done (`write`, `run`, or `read`: held-out files), how many of it, and of how many."""


class _UpToItsLines:
    """Ends a completion with what is run of it."""

    def __init__(self, task: CodeTask) -> None:
        self._task = task

    def shown(self, text: str) -> tuple[str, bool]:
        kept = self._task.cut(text)
        is_full = text.endswith("\n") and sum(bool(line.strip()) for line in kept.split("\n")) >= self._task.max_lines
        return kept, is_full or len(kept) < len(text.rstrip("\n"))


def evaluate(
    home: Home,
    revision: Revision,
    tasks: Sequence[CodeTask],
    sandbox: Sandbox,
    *,
    num_samples: int,
    window: int,
    corpus: str | None = None,
    exact: bool = False,
    show: Show = lambda what, done, total: None,
) -> dict[str, Any]:
    """All figures of a revision, whose files are on this disk. `corpus`: whose held-out files are read, if not those of
    its own. Raises the errors of `loading.load`, and InputError when there is no such corpus.
    """
    began = time.monotonic()
    model, tokenizer = load(revision.path)
    decoder = for_writing(model, exact_only=exact)
    torch.set_num_threads(decoder.num_threads(num_cores()))
    completions: list[list[str]] = []
    for texts in write_all(decoder, tokenizer, [_wanted(task, num_samples) for task in tasks]):
        completions.append(texts)
        show("write", len(completions), len(tasks))
    programs = [
        Program(task.program(text), task.check)
        for task, texts in zip(tasks, completions, strict=True)
        for text in texts
    ]
    outcomes = []
    with closing(sandbox.run(programs)) as running:  # an exception here must leave no program waiting
        for outcome in running:
            outcomes.append(outcome)
            show("run", len(outcomes), len(programs))
    show("read", 0, 1)
    by_task = [outcomes[at : at + num_samples] for at in range(0, len(outcomes), num_samples)]
    return {
        "revision": revision.revision,
        "repo": revision.repo,
        "commit": revision.commit,
        "run": revision.run,
        "run_uid": revision.run_uid,
        "step": revision.step,
        "eval_loss": revision.eval_loss,
        "engine": decoder.engine(num_cores()),
        "samples": num_samples,
        "temperature": TEMPERATURE,
        "top_p": TOP_P,
        "tasks": task_figures(tasks, by_task, num_samples),
        "held_out": _held_out(home, revision, corpus, decoder, tokenizer, window),
        "seconds": round(time.monotonic() - began, 1),
    }


def task_figures(
    tasks: Sequence[CodeTask], by_task: Sequence[Sequence[ProgramResult]], num_samples: int
) -> dict[str, Any]:
    """The shares that parse, run and are right, with their intervals; pass@k; and each task's counts."""
    counts: list[dict[str, Any]] = [
        {
            "task": task.name,
            "parses": sum(outcome.parses for outcome in outcomes),
            "runs": sum(outcome.runs for outcome in outcomes),
            "right": sum(outcome.is_right for outcome in outcomes),
        }
        for task, outcomes in zip(tasks, by_task, strict=True)
    ]
    found: dict[str, Any] = {"count": len(tasks)}
    for name in ("parses", "runs"):
        found[name] = asdict(mean_share([row[name] / num_samples for row in counts]))
    for k in (1, 10):
        if k <= num_samples:
            found[f"pass@{k}"] = asdict(mean_share([pass_at(k, num_samples, row["right"]) for row in counts]))
    libraries: dict[str, list[float]] = defaultdict(list)
    for task, row in zip(tasks, counts, strict=True):
        libraries[task.library].append(row["right"] / num_samples)
    found["pass@1_by_library"] = {name: sum(values) / len(values) for name, values in libraries.items()}
    found["each"] = counts
    return found


def _wanted(task: CodeTask, num_samples: int) -> Wanted:
    sampling = Sampling(
        max_new_tokens=LINE_TOKENS * task.max_lines, temperature=TEMPERATURE, top_p=TOP_P, samples=num_samples
    )
    return Wanted(task.prompt, sampling, _UpToItsLines(task))


def _held_out(
    home: Home, revision: Revision, other: str | None, decoder: Decoder, tokenizer: Any, window: int
) -> dict[str, Any] | None:
    """None when the corpus that it was trained on is not on this disk; `other`: which is read instead."""
    is_own = other is None or other == revision.corpus
    try:
        corpus = Corpus.open(home.corpus(other or revision.corpus))
        reading = tokenizer if is_own else _tokenizer_of(corpus)
        texts = drawn_files(corpus, "validation", reading, max_tokens=held_out.MAX_TOKENS)
        by_split = {
            split: drawn_files(corpus, split, tokenizer, max_tokens=memorising.MAX_TOKENS)
            for split in (("train", "validation") if is_own else ())
        }
    except (InputError, DamagedError, OSError):
        if other is not None:
            raise
        return None
    found = held_out.figures(decoder, tokenizer, texts, window=window)
    lines = held_out.next_lines(texts)
    return {
        "corpus": corpus.id,
        **found,
        "next_line": held_out.guessed(decoder, tokenizer, lines, window=window),
        "by_heart": {name: known_by_heart(decoder, tokenizer, files) for name, files in by_split.items()},
    }


def _tokenizer_of(corpus: Corpus) -> Any:
    """Which reads its token files back, whatever the tokenizer of the model is."""
    try:
        return read_tokenizer(corpus.tokenizer_path, corpus.vocab_size)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The tokenizer of corpus {corpus.id} cannot be read ({error}); choose another.") from error
