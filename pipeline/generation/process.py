"""Streams text from a pushed revision out of a generator process, so that the page itself never imports torch.

The process starts with the first request, keeps the last used models in memory, and is restarted after a crash. Does
not depend on gradio.
"""

from __future__ import annotations

import atexit
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pipeline.core.environment import num_cores
from pipeline.core.errors import InputError, PipelineError, require
from pipeline.core.paths import DryRunFolder, Home
from pipeline.core.settings import Settings
from pipeline.generation.reading import MAX_READ_TOKENS, NUM_GUESSES, Inside, TokenReading
from pipeline.generation.settings import Sampling, check_prompt, check_sampling
from pipeline.generation.subprocess_client import Child, Request
from pipeline.generation.text_chunk import TextChunk, joined
from pipeline.hub.revision_store import RevisionStore

if TYPE_CHECKING:
    from pipeline.artifacts.revision import Revision

SILENCE_SECONDS = 120.0
"""Max time without a message from the generator, including the import of torch and loading a model from a slow disk."""
POLL_SECONDS = 1.0
"""Time between two looks for a run that has started. A run imports torch before it measures the free memory of a GPU,
which takes it longer."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """The run, or dry run, that trains now, as far as the generator must know it."""

    request_id: str
    """Differs between two starts of one run."""
    run: str
    device: str | None
    """`cuda` or `cpu`; None while it is not known: the run takes a GPU if there is one."""


class Generator:
    """Completes prompts, many together. Thread-safe; one page needs one instance.

    It makes way for `training`, which tells what trains now. When a run starts on the GPU that the process uses, the
    process is ended, also while it writes: the run chooses its batch by the memory that is free. Until the run ends, a
    new process writes on the CPU; after that, the next request starts one on the GPU again. When a run starts on the
    CPU and the process writes nothing, it is ended too, as it holds memory and no result; one that writes is left to
    it, because it takes one thread and the run does not choose its batch by free memory.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        silence_seconds: float = SILENCE_SECONDS,
        training: Callable[[], Training | None] = lambda: None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._limits = settings.limits
        self._exact = settings.exact
        self._log = Home(settings.home).generator_log
        self._silence_seconds = silence_seconds
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._training = training
        self._poll_seconds = poll_seconds
        self._has_gpu: bool | None = None
        """Whether this machine has a GPU; None until a process has said so."""
        self._unloaded_for = ""
        """The run that the last process was ended for; "" once another process was started."""
        self._note = ""
        """Message for visitors about the present process (`_taken_note`)."""
        atexit.register(self.close)

    def stream(
        self, revision: Revision, prompt: str, sampling: Sampling, *, visitor: str = "", asked_by: str = ""
    ) -> Iterator[TextChunk]:
        """The chunks of `batches`, one by one."""
        for chunks in self.batches(revision, prompt, sampling, visitor=visitor, asked_by=asked_by):
            yield from chunks

    def batches(
        self, revision: Revision, prompt: str, sampling: Sampling, *, visitor: str = "", asked_by: str = ""
    ) -> Iterator[list[TextChunk]]:
        """Yield the completions of `prompt` as they are generated, all samples together; each ends with a `done`
        chunk. While the request is queued, chunks without text report its place in the queue. Each list has all that
        arrived since the last one, so a reader that reads seldom gets few, long chunks. The first list is empty: from
        then on the request is open, and `stop` ends it.

        Shares and quotas are counted per `visitor`; "" is the owner. Closing the iterator stops generation within a
        token, and so does `stop(asked_by)` from another thread; then the samples end with finish `stopped`. Raises
        InputError for an invalid prompt or sampling, BusyError when too many requests are open, PipelineError with the
        message of DamagedError when the revision is damaged, PipelineError when the generator ended.
        """
        check_prompt(prompt, self._limits)
        check_sampling(sampling, self._limits)
        child = self._running_child()
        question = {"revision_path": str(revision.path), "prompt": prompt, "sampling": sampling.to_dict()}
        request = child.ask(question, visitor, asked_by or secrets.token_hex())  # a random key, which no `stop` matches
        try:
            yield []
            if note := self._taken_note(child):
                yield [TextChunk(sample=0, note=note)]
            yield from _batches(child, request, sampling.samples)
        finally:
            child.forget(request)

    def generate(
        self, revision: Revision, prompt: str, sampling: Sampling, *, visitor: str = "", asked_by: str = ""
    ) -> dict[str, Any]:
        """Run `stream` to its end. Returns the samples, the revision, the throughput and how each sample ended."""
        texts = [""] * sampling.samples
        ends = []
        for chunk in self.stream(revision, prompt, sampling, visitor=visitor, asked_by=asked_by):
            texts[chunk.sample] += chunk.text
            ends += [chunk] if chunk.done else []
        seconds = max((chunk.seconds for chunk in ends), default=0)
        return {
            "samples": texts,
            "repo": revision.repo,
            "revision": revision.revision,
            "run": revision.run,
            "step": revision.step,
            "tokens_per_second": round(sum(chunk.tokens for chunk in ends) / seconds, 1) if seconds else None,
            "engine": ends[0].engine,
            "finish": [chunk.finish for chunk in ends],
            "note": ends[0].note,
        }

    def read(
        self, revision: Revision, prompt: str, written: Sequence[int] = (), *, visitor: str = "", asked_by: str = ""
    ) -> TokenReading:
        """How the revision reads `prompt` and the tokens that were `written` after it. Raises the errors of `batches`, and
        InputError when there are too many tokens.
        """
        return TokenReading.from_dict(self._read(revision, prompt, written, None, visitor, asked_by)["reading"])

    def look_inside(
        self, revision: Revision, prompt: str, written: Sequence[int], at: int, *, visitor: str = "", asked_by: str = ""
    ) -> Inside:
        """How the token with the index `at` came to be expected. Raises the errors of `read`."""
        return Inside.from_dict(self._read(revision, prompt, written, at, visitor, asked_by)["inside"])

    def _read(
        self, revision: Revision, prompt: str, written: Sequence[int], at: int | None, visitor: str, asked_by: str
    ) -> dict[str, Any]:
        check_prompt(prompt, self._limits)
        require(len(written) <= MAX_READ_TOKENS, "written", len(written), f"read at most {MAX_READ_TOKENS:,} tokens")
        child = self._running_child()
        what = {"written": list(written), "at": at, "num_guesses": NUM_GUESSES}
        question = {"revision_path": str(revision.path), "prompt": prompt, "read": what}
        request = child.ask(question, visitor, asked_by or secrets.token_hex())
        try:
            while True:
                for answer in child.answers(request):
                    if "chunk" in answer:  # its place in the queue
                        continue
                    if "error" in answer:
                        raise _error_of(answer)
                    if not answer.keys() & {"reading", "inside"}:
                        raise InputError("The reading was stopped before it was done; ask again.")
                    return answer
        finally:
            child.forget(request)

    def stop(self, asked_by: str) -> None:
        """Stop the requests of `asked_by`, whether queued or running; "" matches none."""
        with self._lock:
            if self._child is not None and asked_by:
                self._child.stop(asked_by)

    def unload(self) -> None:
        """End the process, and the requests that it works on; the next request starts it again."""
        with self._lock:
            child = self._child
        if child is not None:
            self._end(child, "it was unloaded")

    def close(self) -> None:
        """End the process for good."""
        atexit.unregister(self.close)
        self.unload()

    def _running_child(self) -> Child:
        with self._lock:
            child = self._child
            if child is None or child.has_ended or self._may_return_to_gpu(child):
                if child is not None:
                    child.end("it was unloaded")
                self._child = child = self._started()
            return child

    def _taken_note(self, child: Child) -> str:
        """What the visitor should know: always of a process without the GPU, else only of the one that loads again."""
        with self._lock:
            note, self._note = self._note, self._note if child.without_gpu else ""
            return note

    def _may_return_to_gpu(self, child: Child) -> bool:
        if not child.without_gpu or child.is_writing or self._has_gpu is False:
            return False
        training = self._training()
        return training is None or training.device == "cpu"

    def _started(self) -> Child:
        training = self._training()
        without_gpu = training is not None and training.device != "cpu"
        child = Child(self._log, self._silence_seconds, without_gpu=without_gpu, exact=self._exact)
        self._note = ""
        if child.without_gpu and training is not None and (self._has_gpu or training.device == "cuda"):
            self._note = (
                f"{_named(training.run).capitalize()} trains on the GPU, so this is written on the CPU, more slowly."
            )
        elif self._unloaded_for:
            self._note = f"The model was unloaded when {_named(self._unloaded_for)} started, and is loaded again."
        self._unloaded_for = ""
        watch = threading.Thread(target=self._make_way, args=(child, training), name="generator-watch", daemon=True)
        watch.start()
        return child

    def _make_way(self, child: Child, seen: Training | None) -> None:
        """While `child` lives, wait for the start of runs; `seen` was there when it started."""
        while not child.has_ended:
            time.sleep(self._poll_seconds)
            if child.device is not None and not child.without_gpu:
                self._has_gpu = child.device == "cuda"
            training = self._training()
            # More would stall on each other while a run trains on the same cores (benchmarks/generator_threads.py).
            is_shared = training is not None and (training.device == "cpu" or not self._has_gpu)
            child.use_threads(1 if is_shared else num_cores())
            is_new = training is not None and (seen is None or training.request_id != seen.request_id)
            if training is None or not is_new or child.device is None:  # its device is known within seconds
                continue
            seen = training
            if self._is_in_the_way(child, training):
                self._unloaded_for = training.run
                place = "its GPU" if child.device == "cuda" else "this machine"
                self._end(child, f"run {training.run} started on {place}")

    def _is_in_the_way(self, child: Child, training: Training) -> bool:
        if child.device == "cuda":
            return training.device != "cpu"
        return not child.is_writing and not child.without_gpu

    def _end(self, child: Child, reason: str) -> None:
        with self._lock:
            if self._child is child:
                self._child = None
        child.end(reason)


def generate(
    settings: Settings, prompt: str, *, revision: str = "newest", sampling: Sampling | None = None
) -> dict[str, Any]:
    """Complete `prompt` once with a generator process of its own, for the command line."""
    check_prompt(prompt, settings.limits)
    with closing(Generator(settings)) as generator:
        return generator.generate(RevisionStore(settings).choose(revision), prompt, sampling or Sampling())


def _error_of(answer: Mapping[str, Any]) -> PipelineError:
    error_class = InputError if answer["exit_status"] == InputError.exit_status else PipelineError
    return error_class(answer["error"])


def _batches(child: Child, request: Request, num_samples: int) -> Iterator[list[TextChunk]]:
    """The answers to `request` as chunks, consecutive ones of a sample joined."""
    last = [TextChunk(sample=sample) for sample in range(num_samples)]
    while True:
        answers = child.answers(request)
        chunks = list(joined(TextChunk(**answer["chunk"]) for answer in answers if "chunk" in answer))
        for chunk in chunks:
            last[chunk.sample] = chunk
        final = next((answer for answer in answers if "chunk" not in answer), {})
        if "stopped" in final:
            chunks += [
                replace(chunk, text="", token_ids=(), done=True, finish="stopped") for chunk in last if not chunk.done
            ]
        if chunks:
            yield chunks
        if "error" in final:
            raise _error_of(final)
        if final:
            return


def _named(run: str) -> str:
    return "a dry run" if run == DryRunFolder.kind else f"run {run}"
