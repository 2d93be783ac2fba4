"""Generates for all open requests concurrently, each in its own thread, one token per turn. Does not depend on pipes.

Started by `pipeline.generation.__main__`. Imports torch when the first request arrives.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError, ResourceError
from pipeline.core.text import without_errno
from pipeline.generation.loaded import LoadedModel, LoadedModels
from pipeline.generation.seats import SEATS, in_order
from pipeline.generation.settings import Sampling
from pipeline.generation.text_chunk import TextChunk
from pipeline.generation.turns import Turn, Turns

Send = Callable[[dict[str, Any]], None]


class OpenRequest:
    """One request, from its arrival until its final answer."""

    def __init__(self, question: Mapping[str, Any]) -> None:
        self.id: int = question["id"]
        self.visitor: str = question.get("visitor", "")
        self.path = Path(question["revision_path"])
        self.prompt: str = question["prompt"]
        self.sampling: dict[str, Any] = question["sampling"]
        self.turn = Turn(self.visitor)
        self.model: LoadedModel | None = None
        self.is_stopped = False
        self.place: int | None = None
        """Place in the queue that was last sent to the client."""

    @property
    def is_started(self) -> bool:
        return self.model is not None


class Server:
    """Schedules and runs all open requests. Thread-safe."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = threading.RLock()
        self._visitors: dict[str, list[OpenRequest]] = {}
        """Each visitor's open requests. A visitor moves to the end when one of its requests ends."""
        self._models = LoadedModels()
        self._turns = Turns(_random_state, _set_random_state)

    def open(self, question: Mapping[str, Any]) -> None:
        request = OpenRequest(question)
        with self._lock:
            self._visitors.setdefault(request.visitor, []).append(request)
            self._schedule()

    def stop(self, request_id: int) -> None:
        """Stop this request within a token. A request that has already ended is ignored."""
        with self._lock:
            for request in self._requests():
                if request.id == request_id:
                    request.is_stopped = True
                    if not request.is_started:
                        self._answer_unstarted(request)
                        self._close(request)
                    self._turns.pause(request.turn, False)

    def _requests(self) -> list[OpenRequest]:
        return [request for requests in self._visitors.values() for request in requests]

    def _schedule(self) -> None:
        """Assign seats: start the requests that can start, pause those that lost theirs, send the rest their place."""
        self._models.plan()
        num_seated = num_waiting = 0
        for request in in_order(self._visitors.values()):
            has_seat = num_seated < SEATS and (request.is_started or self._start(request))
            num_seated += has_seat
            if request.is_started:
                self._turns.pause(request.turn, not has_seat and not request.is_stopped)
            else:
                num_waiting += 1
                self._send_place(request, num_waiting)

    def _start(self, request: OpenRequest) -> bool:
        request.model = self._models.reserve(request.path)
        if request.model is not None:
            threading.Thread(target=self._run, args=(request, request.model), daemon=True).start()
        return request.is_started

    def _send_place(self, request: OpenRequest, place: int) -> None:
        if place != request.place:
            request.place = place
            self._send({"id": request.id, "chunk": TextChunk(sample=0, place=place).to_dict()})

    def _close(self, request: OpenRequest) -> None:
        with self._lock:
            if request.model is not None:
                self._models.release(request.model)
            remaining = self._visitors.pop(request.visitor)
            remaining.remove(request)
            if remaining:
                self._visitors[request.visitor] = remaining
            self._schedule()

    # ---- one request, in its thread ----

    def _run(self, request: OpenRequest, model: LoadedModel) -> None:
        try:
            parts = self._load_model(request, model)
            if parts is None:
                return
            self._complete(request, *parts)
            answer: dict[str, Any] = {"done": True}
        except PipelineError as error:
            answer = {"error": str(error), "exit_status": error.exit_status}
        except BaseException as error:  # a Rust panic in tokenizers is not an Exception
            self._fail(request, error)
            return
        self._send({"id": request.id, **answer})
        self._close(request)

    def _load_model(self, request: OpenRequest, model: LoadedModel) -> tuple[Any, Any] | None:
        """Model and tokenizer; None when two models do not fit into memory, in which case the request is queued again.

        Loading takes no turn, so the other requests continue meanwhile. Raises ResourceError when the model alone does
        not fit.
        """
        import torch

        try:
            return self._models.read(model)
        except (MemoryError, torch.OutOfMemoryError) as error:
            with self._lock:
                if not self._models.shrink():
                    raise ResourceError(
                        f"{request.path} does not fit into memory; choose a revision of a smaller model."
                    ) from error
                self._models.release(model)
                request.model = None
                self._schedule()
                return None

    def _complete(self, request: OpenRequest, model: Any, tokenizer: Any) -> None:
        from pipeline.generation.sampling import complete

        def is_stopped() -> bool:
            self._turns.pass_on(request.turn)
            return request.is_stopped

        with self._turns.taken(request.turn):
            complete(
                model,
                tokenizer,
                request.prompt,
                Sampling(**request.sampling),
                on_text=lambda chunk: self._send({"id": request.id, "chunk": chunk.to_dict()}),
                should_stop=is_stopped,
            )

    def _answer_unstarted(self, request: OpenRequest) -> None:
        for chunk in _stopped_chunks(request.sampling.get("samples", 1)):
            self._send({"id": request.id, "chunk": chunk.to_dict()})
        self._send({"id": request.id, "done": True})

    def _fail(self, request: OpenRequest, error: BaseException) -> None:
        """Fail all open requests and end the process: every call after a CUDA assert fails. The client restarts it."""
        traceback.print_exc()
        with self._lock:
            reason = f"{type(error).__name__}: {without_errno(str(error)).partition(chr(10))[0]}"
            for other in self._requests():
                cause = f"({reason})" if other is request else "while it wrote for somebody else"
                sentence = f"The generator failed {cause}; ask again, it is started afresh."
                self._send({"id": other.id, "error": sentence, "exit_status": PipelineError.exit_status})
            os._exit(1)  # a normal exit would wait for the thread that reads stdin, and abort


def _stopped_chunks(num_samples: int) -> Iterator[TextChunk]:
    return (TextChunk(sample=sample, done=True, finish="stopped") for sample in range(num_samples))


def _random_state() -> tuple[Any, Any]:
    """The random state of torch on the CPU, and on the GPU if there is one."""
    import torch

    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _set_random_state(state: tuple[Any, Any]) -> None:
    import torch

    on_cpu, on_gpu = state
    torch.set_rng_state(on_cpu)
    if on_gpu is not None:
        torch.cuda.set_rng_state(on_gpu)
