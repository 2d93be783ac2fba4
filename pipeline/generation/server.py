"""Writes the texts of all open requests together, a token of each per step. Does not depend on pipes.

Started by `pipeline.generation.__main__`. Imports torch when the first request arrives.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.environment import num_cores
from pipeline.core.errors import PipelineError, ResourceError
from pipeline.core.text import without_errno
from pipeline.generation.loaded import LoadedModel, LoadedModels
from pipeline.generation.seats import CACHES, ROWS, fitting, in_order
from pipeline.generation.settings import Sampling
from pipeline.generation.text_chunk import TextChunk

if TYPE_CHECKING:
    from pipeline.generation.batch import Text

Send = Callable[[dict[str, Any]], None]


class OpenRequest:
    """One request, from its arrival until its final answer."""

    def __init__(self, question: Mapping[str, Any]) -> None:
        self.id: int = question["id"]
        self.visitor: str = question.get("visitor", "")
        self.path = Path(question["revision_path"])
        self.prompt: str = question["prompt"]
        self.sampling: dict[str, Any] = question["sampling"]
        self.model: LoadedModel | None = None
        self.texts: list[Text] | None = None
        """Its samples, once the model is loaded."""
        self.is_stopped = False
        self.place: int | None = None
        """Place in the queue that was last sent to the client."""

    @property
    def is_started(self) -> bool:
        return self.model is not None

    @property
    def unfinished(self) -> list[Text]:
        return [text for text in self.texts or () if not text.is_done]

    @property
    def num_texts(self) -> int:
        return len(self.unfinished) if self.texts is not None else int(self.sampling.get("samples", 1))


class Server:
    """Schedules and writes all open requests. Thread-safe."""

    def __init__(self, send: Send, *, exact: bool = False) -> None:
        """`exact`: never use int8."""
        self.threads = num_cores()
        """CPU threads of the next step."""
        self._send = send
        self._changed = threading.Condition(threading.RLock())
        """Held for every use of what follows; notified when there may be something to write."""
        self._visitors: dict[str, list[OpenRequest]] = {}
        """Each visitor's open requests, oldest first."""
        self._written: Counter[str] = Counter()
        """Tokens written for each of these visitors."""
        self._models = LoadedModels(exact=exact)
        threading.Thread(target=self._write, name="writer", daemon=True).start()

    def open(self, question: Mapping[str, Any]) -> None:
        request = OpenRequest(question)
        with self._changed:
            if request.visitor not in self._visitors:  # whoever comes later does not make up for the time before
                self._written[request.visitor] = min(self._written.values(), default=0)
            self._visitors.setdefault(request.visitor, []).append(request)
            self._schedule()

    def stop(self, request_id: int) -> None:
        """Stop this request within a token. A request that has already ended is ignored."""
        with self._changed:
            for request in self._requests():
                if request.id == request_id:
                    request.is_stopped = True
                    if not request.is_started:
                        self._answer_unstarted(request)
                        self._close(request)
                    self._changed.notify()

    def _requests(self) -> list[OpenRequest]:
        return [request for requests in self._visitors.values() for request in requests]

    def _schedule(self) -> None:
        """Start the requests that can start, and send the rest their place."""
        self._models.plan()
        num_begun = sum(request.num_texts for request in self._requests() if request.is_started)
        num_waiting = 0
        for request in in_order(self._visitors, self._written):
            if request.is_started:
                continue
            if num_begun < CACHES and self._start(request):
                num_begun += request.num_texts
            else:
                num_waiting += 1
                self._send_place(request, num_waiting)

    def _start(self, request: OpenRequest) -> bool:
        request.model = self._models.reserve(request.path)
        if request.model is not None:
            threading.Thread(target=self._prepare, args=(request, request.model), daemon=True).start()
        return request.is_started

    def _send_place(self, request: OpenRequest, place: int) -> None:
        if place != request.place:
            request.place = place
            self._send({"id": request.id, "chunk": TextChunk(sample=0, place=place).to_dict()})

    def _close(self, request: OpenRequest) -> None:
        with self._changed:
            if request.model is not None:
                self._models.release(request.model)
            self._visitors[request.visitor].remove(request)
            if not self._visitors[request.visitor]:
                del self._visitors[request.visitor], self._written[request.visitor]
            self._schedule()

    # ---- before its first token, each request in a thread of its own ----

    def _prepare(self, request: OpenRequest, model: LoadedModel) -> None:
        """Load its model, while the other requests go on, and begin its texts."""
        try:
            texts = self._begun(request, model)
        except PipelineError as error:
            self._answer_failed(request, error)
        except BaseException as error:  # a Rust panic in tokenizers is not an Exception
            self._fail([request], error)
        else:
            with self._changed:
                if texts is None:
                    self._schedule()
                request.texts = texts
                self._changed.notify()

    def _begun(self, request: OpenRequest, model: LoadedModel) -> list[Text] | None:
        """None when two models do not fit into memory, in which case the request is queued again. Raises ResourceError
        when the model alone does not fit.
        """
        import torch

        from pipeline.generation.sampling import begin

        try:
            decoder, tokenizer = self._models.read(model)
        except (MemoryError, torch.OutOfMemoryError) as error:
            with self._changed:
                if not self._models.shrink():
                    raise ResourceError(
                        f"{request.path} does not fit into memory; choose a revision of a smaller model."
                    ) from error
                self._models.release(model)
                request.model = None
                return None
        return begin(
            decoder,
            tokenizer,
            request.prompt,
            Sampling(**request.sampling),
            on_text=lambda chunk: self._send({"id": request.id, "chunk": chunk.to_dict()}),
            engine=decoder.engine(self.threads),
        )

    # ---- all texts, in one thread ----

    def _write(self) -> None:
        while True:
            with self._changed:
                while not (chosen := self._chosen()):
                    self._changed.wait()
            try:
                by_model: dict[LoadedModel, list[OpenRequest]] = {}
                for request in chosen:
                    if request.is_stopped:
                        self._end_stopped(request)
                    elif request.model is not None:
                        by_model.setdefault(request.model, []).append(request)
                for model, requests in by_model.items():
                    self._step(model, requests)
            except BaseException as error:
                self._fail(chosen, error)

    def _chosen(self) -> list[OpenRequest]:
        """The requests that the next step writes, and those that it ends because they were stopped."""
        ready = {visitor: [r for r in requests if r.texts is not None] for visitor, requests in self._visitors.items()}
        order = in_order({visitor: requests for visitor, requests in ready.items() if requests}, self._written)
        stopped = [request for request in order if request.is_stopped]
        return stopped + fitting([request for request in order if not request.is_stopped], ROWS)

    def _step(self, model: LoadedModel, requests: Sequence[OpenRequest]) -> None:
        import torch

        from pipeline.generation.batch import not_finite, step

        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        assert model.parts is not None  # it is loaded before a request is ready
        texts = [text for request in requests for text in request.unfinished]
        broken = step(*model.parts, texts)
        with self._changed:
            for request in requests:
                self._written[request.visitor] += request.num_texts
        for request in requests:
            if any(text in broken for text in request.unfinished):
                self._answer_failed(request, not_finite())
            elif not request.unfinished:
                self._answer_done(request)

    # ---- answers ----

    def _end_stopped(self, request: OpenRequest) -> None:
        for text in request.unfinished:
            text.finish("stopped")
        self._answer_done(request)

    def _answer_done(self, request: OpenRequest) -> None:
        self._send({"id": request.id, "done": True})
        self._close(request)

    def _answer_failed(self, request: OpenRequest, error: PipelineError) -> None:
        self._send({"id": request.id, "error": str(error), "exit_status": error.exit_status})
        self._close(request)

    def _answer_unstarted(self, request: OpenRequest) -> None:
        for chunk in _stopped_chunks(request.sampling.get("samples", 1)):
            self._send({"id": request.id, "chunk": chunk.to_dict()})
        self._send({"id": request.id, "done": True})

    def _fail(self, requests: Sequence[OpenRequest], error: BaseException) -> None:
        """Fail all open requests and end the process: every call after a CUDA assert fails. The client restarts it."""
        traceback.print_exc()
        with self._changed:
            reason = f"{type(error).__name__}: {without_errno(str(error)).partition(chr(10))[0]}"
            for other in self._requests():
                cause = f"({reason})" if other in requests else "while it wrote for somebody else"
                sentence = f"The generator failed {cause}; ask again, it is started afresh."
                self._send({"id": other.id, "error": sentence, "exit_status": PipelineError.exit_status})
            os._exit(1)  # a normal exit would wait for the thread that reads stdin, and abort


def _stopped_chunks(num_samples: int) -> Iterator[TextChunk]:
    return (TextChunk(sample=sample, done=True, finish="stopped") for sample in range(num_samples))
