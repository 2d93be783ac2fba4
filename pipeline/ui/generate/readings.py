"""Reads a completion again, token by token: with which tokens, by which revisions. Does not depend on the layout."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from pipeline.artifacts import manifest
from pipeline.artifacts.revision import NAME, Revision
from pipeline.core.atomic_io import readable_json
from pipeline.core.errors import InputError
from pipeline.gallery.example import Example
from pipeline.generation.reading import Inside, TokenReading
from pipeline.ui.generate.answers import Completion
from pipeline.ui.shared.engine import Engine


@dataclass(frozen=True)
class Written:
    """A finished completion, as far as it can be read again."""

    prompt: str
    texts: list[str]
    token_ids: list[list[int]] | None
    """The tokens of each text; None for a kept example, of which the text alone is known."""
    revision: Revision | Example
    """What wrote it."""
    sampling: dict[str, Any] = field(default_factory=dict)
    """How it was written."""
    other: Revision | None = None
    """The revision to compare with."""

    @classmethod
    def of(cls, completion: Completion) -> Written | None:
        """What its first revision wrote; None when that has not ended, or wrote nothing."""
        answers = completion.answers
        if completion.is_live or not answers or not any(answers[0].texts):
            return None
        first = answers[0]
        token_ids = [first.token_ids.get(sample, []) for sample in range(len(first.texts))]
        other = next((answer.revision for answer in answers[1:] if isinstance(answer.revision, Revision)), None)
        return cls(
            prompt=completion.prompt,
            texts=first.texts,
            token_ids=None if completion.example else token_ids,
            revision=first.revision,
            sampling=completion.sampling,
            other=other,
        )


@dataclass(frozen=True)
class Asked:
    """What the page asks to see: which sample, as which revision reads it, and which token to look into."""

    sample: int
    revision: str
    at: int | None

    @classmethod
    def of(cls, value: object) -> Asked:
        """From `SAMPLE REVISION [INDEX]`. Raises InputError for anything else: the browser sends it."""
        parts = str(value)[:80].split()
        numbers = [part for part in (*parts[:1], *parts[2:]) if part.isascii() and part.isdigit() and len(part) < 7]
        if len(parts) not in (2, 3) or len(numbers) != len(parts) - 1 or not NAME.fullmatch(parts[1]):
            raise InputError("The page asked for something that is not a token; open it again.")
        return cls(int(parts[0]), parts[1], int(parts[2]) if len(parts) == 3 else None)


class Readings:
    """The readings of one completion that one page asks for."""

    def __init__(self, engine: Engine, written: Written, request: gr.Request) -> None:
        self._engine = engine
        self._written = written
        self._request = request
        self.asker = {"visitor": engine.visitor_key(request), "asked_by": engine.page_key(request)}
        """Who asks the generator."""

    def of(self, sample: int, revision: Revision) -> TokenReading:
        """How a revision reads a sample. Raises the errors of `Generator.read`, and InputError for an unknown sample."""
        prompt, token_ids = self.text(sample, revision)
        return self._engine.generator.read(revision, prompt, token_ids, **self.asker)

    def inside(self, sample: int, revision: Revision, at: int) -> Inside:
        """How the token `at` came to be expected. Raises the errors of `of`."""
        prompt, token_ids = self.text(sample, revision)
        return self._engine.generator.look_inside(revision, prompt, token_ids, at, **self.asker)

    def writer(self) -> Revision:
        """The revision that has written, with its files. Raises the errors of `RevisionStore.choose`."""
        writer = self._written.revision
        if isinstance(writer, Revision):
            return writer
        is_own = "/" not in writer.repo or writer.repo == self._engine.settings.repo
        name = writer.revision if is_own else f"{writer.repo}@{writer.revision}"
        return self._engine.revisions.choose(self._engine.check_model(self._request, name))

    def revision(self, name: str) -> Revision:
        """One of the run whose revision has written, with its files. Raises InputError for any other."""
        writer = self.writer()
        if name == writer.revision:
            return writer
        found = next((revision for revision in self.run(writer) if revision.revision == name), None)
        if found is None:
            raise InputError(f"Revision {name} is none of run {writer.run}; complete the prompt with it first.")
        return self._engine.revisions.fetch(found)

    def run(self, revision: Revision) -> list[Revision]:
        """The revisions of its run, first step first."""
        known = [other for other in self._engine.revisions.known() if other.is_of_same_run(revision)]
        return sorted(known, key=lambda other: other.step)

    def text(self, sample: int, revision: Revision) -> tuple[str, list[int]]:
        """What a revision reads: the prompt and the very tokens that were written, if its tokenizer is the same, else the
        text of both. Raises InputError for an unknown sample.
        """
        written = self._written
        if sample >= len(written.texts):
            raise InputError("There is no such sample; complete the prompt again.")
        writer = written.revision
        if written.token_ids is None or not isinstance(writer, Revision):
            return written.prompt + written.texts[sample], []
        if revision != writer and tokenizer_of(revision) != tokenizer_of(writer):
            return written.prompt + written.texts[sample], []
        return written.prompt, written.token_ids[sample]


def tokenizer_of(revision: Revision) -> str:
    """SHA-256 of its tokenizer.json; the revision's own name where its manifest does not tell."""
    entries = manifest.entries_of(readable_json(revision.path / manifest.NAME)) or {}
    return str((entries.get("tokenizer.json") or {}).get("sha256", revision.revision))
