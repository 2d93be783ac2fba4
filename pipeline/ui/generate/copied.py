"""What a completion has in common with the training files of its run. Does not depend on Gradio."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from pipeline.artifacts.corpus import Corpus
from pipeline.artifacts.revision import Revision
from pipeline.config.source_spec import reads_index
from pipeline.core.errors import BusyError, InputError
from pipeline.core.paths import Home
from pipeline.core.repo_names import is_owned
from pipeline.data.verbatim.origins import Origin, Snippet, TrainingFiles
from pipeline.data.verbatim.search import Common, CopiedRun
from pipeline.jobs.job_files import readable_run_config
from pipeline.ui.generate.readings import tokenizer_of
from pipeline.ui.shared.texts import t

MAX_SOURCES = 12
"""Longest runs whose file is told."""
MAX_GIVEN, MAX_NEW = 512, 1_024
"""Tokens at the end of the prompt and at the beginning of the completion that are looked for."""
MAX_WAITING = 4
"""Visitors whose texts are looked for or wait: each takes a thread of `ui.shared.threads`."""


@dataclass(frozen=True, kw_only=True)
class MarkedText:
    """Consecutive characters of the text."""

    text: str
    source: int | None
    """Number of the source that they stand in."""
    is_given: bool


@dataclass(frozen=True, kw_only=True)
class CopySource:
    """Where one run of tokens stands."""

    number: int
    num_tokens: int
    num_places: int
    origin: Origin
    """The first of its places."""
    url: str


@dataclass(frozen=True, kw_only=True)
class Nearest:
    snippet: Snippet
    num_shared: int
    """Sequences of tokens that it shares with the text."""
    url: str


@dataclass(frozen=True, kw_only=True)
class Copied:
    """Everything that the card shows."""

    corpus: str
    parts: Sequence[MarkedText]
    sources: Sequence[CopySource]
    nearest: Sequence[Nearest]
    num_new: int
    """Tokens of the completion."""
    num_copied: int
    """Those of them that are in a run."""


class TrainingFilesOf:
    """The training files of revisions. Those of the last corpus stay open. One search at a time."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._opened: TrainingFiles | None = None
        self._counting = threading.Lock()
        self._waiting: set[str] = set()

    def corpus(self, revision: Revision) -> Corpus:
        """The corpus that the revision was trained on. Raises InputError when it is not on this disk, or is another one."""
        try:
            corpus = Corpus.open(self._home.corpus(revision.corpus))
        except InputError as error:
            raise InputError(
                t("copied.no_corpus", corpus=revision.corpus or "–", revision=revision.revision)
            ) from error
        # The tokens are known of a run that is on this disk too, the tokenizer of every revision.
        run = readable_run_config(self._home.run(revision.run)) if revision.run else {}
        trained_on = run.get("tokens_sha256") if run.get("run_uid") == revision.run_uid else None
        is_other = trained_on is not None and trained_on != corpus.manifest["sha256"]
        if is_other or corpus.manifest["tokenizer_sha256"] != tokenizer_of(revision):
            raise InputError(t("copied.other_corpus", corpus=corpus.id, revision=revision.revision))
        return corpus

    def copied(self, corpus: Corpus, prompt: str, token_ids: Sequence[int], text: str, *, visitor: str = "") -> Copied:
        """Look for a completion: its tokens, or its `text` where those are not known. Raises BusyError while another text
        of the `visitor` is looked for, or too many wait, and the errors of `TrainingFiles`.
        """
        with self._turn(visitor), self._lock:
            if self._opened is None or self._opened.corpus != corpus:
                self._opened = TrainingFiles.open(corpus)
            files = self._opened
            given = files.encode(prompt)
            ids = [*given, *token_ids] if token_ids else files.encode(prompt + text)
            num_given = min(len(given), len(ids))
            first = max(0, num_given - MAX_GIVEN)
            ids = ids[first : num_given + MAX_NEW]
            return _copied(files, ids, num_given - first, files.search(ids))

    @contextmanager
    def _turn(self, visitor: str) -> Iterator[None]:
        with self._counting:
            if visitor in self._waiting or len(self._waiting) >= MAX_WAITING:
                raise BusyError(t("copied.busy"))
            self._waiting.add(visitor)
        try:
            yield
        finally:
            with self._counting:
                self._waiting.discard(visitor)


def _copied(files: TrainingFiles, ids: list[int], num_given: int, common: Common) -> Copied:
    new = sorted((run for run in common.runs if run.end > num_given), key=lambda run: run.start - run.end)
    longest = list(dict.fromkeys(run.places for run in new))[:MAX_SOURCES]
    runs = [run for run in common.runs if run in new and run.places in longest]
    numbers: dict[tuple[int, ...], int] = {}
    for run in runs:
        numbers.setdefault(run.places, len(numbers) + 1)
    source = files.corpus.manifest["config"]["source"]
    blank = {run.places: _num_blank(files, ids[run.start : run.end]) for run in reversed(runs)}
    origin_of = {places: files.origin(places[0] + blank[places]) for places in numbers}
    snippets = [(files.snippet(near.place), near.num_shared) for near in common.nearest]
    return Copied(
        corpus=files.corpus.id,
        parts=_parts(files, ids, num_given, [(run, numbers[run.places]) for run in runs]),
        sources=[
            CopySource(
                number=number,
                num_tokens=max(run.end - run.start for run in runs if run.places == places),
                num_places=len(places),
                origin=origin_of[places],
                url=url_of(source, origin_of[places]),
            )
            for places, number in numbers.items()
        ],
        nearest=[
            Nearest(snippet=snippet, num_shared=num_shared, url=url_of(source, snippet.origin))
            for snippet, num_shared in snippets
        ],
        num_new=len(ids) - num_given,
        num_copied=int(common.is_copied(len(ids))[num_given:].sum()),
    )


def _num_blank(files: TrainingFiles, ids: list[int]) -> int:
    """Tokens before the first that is more than white space: the line of that one is told."""
    return next((at for at, token in enumerate(ids) if files.decode([token]).strip()), 0)


def _parts(
    files: TrainingFiles, ids: list[int], num_given: int, runs: Sequence[tuple[CopiedRun, int]]
) -> list[MarkedText]:
    """The text in parts. A token that several runs cover belongs to the longest of them."""
    source: list[int | None] = [None] * len(ids)
    for run, number in sorted(runs, key=lambda one: one[0].end - one[0].start):
        source[run.start : run.end] = [number] * (run.end - run.start)
    text, parts, start = files.decode(ids), [], 0
    changes = [at for at in range(1, len(ids)) if at == num_given or source[at] != source[at - 1]]
    for first, end in itertools.pairwise([0, *changes, len(ids)]):
        # A character that a boundary cuts belongs to the part after it.
        stop = len(text) if end == len(ids) else len(files.decode(ids[:end]).rstrip("\ufffd"))
        if first < end:
            parts.append(MarkedText(text=text[start:stop], source=source[first], is_given=first < num_given))
        start = stop
    return parts


def url_of(source: str, origin: Origin) -> str:
    """Where the file can be seen today; "" where that is not known."""
    if source.startswith("hub:") and is_owned(origin.repo):
        return f"https://github.com/{origin.repo}/blob/HEAD/{quote(origin.path)}"
    return f"https://pypi.org/project/{quote(origin.repo, safe='')}/" if reads_index(source) and origin.repo else ""
