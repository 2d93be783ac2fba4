"""Writes the open requests at the same time, each in a thread of its own, token by token in turns. Knows nothing of pipes.

Started by `pipeline.generation.__main__`; what it needs of torch is imported when the first request comes.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError, ResourceError
from pipeline.generation.loaded import LoadedModel, LoadedModels
from pipeline.generation.seats import SEATS, in_order
from pipeline.generation.settings import Sampling
from pipeline.generation.text_chunk import TextChunk
from pipeline.generation.turns import Turn, Turns

Send = Callable[[dict[str, Any]], None]


class OpenRequest:
    """One request until its last answer."""

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
        """In the queue, as it was sent last."""

    @property
    def is_started(self) -> bool:
        return self.model is not None


class Server:
    """All open requests. Any thread may call it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lock = threading.RLock()
        self._visitors: dict[str, list[OpenRequest]] = {}
        """Each visitor's open requests; a visitor whose request has ended goes to the end."""
        self._models = LoadedModels()
        self._turns = Turns(_random_state, _set_random_state)

    def open(self, question: Mapping[str, Any]) -> None:
        request = OpenRequest(question)
        with self._lock:
            self._visitors.setdefault(request.visitor, []).append(request)
            self._arrange()

    def stop(self, request_id: int) -> None:
        """End this request within a token; one that has ended already is none."""
        with self._lock:
            for request in self._requests():
                if request.id == request_id:
                    request.is_stopped = True
                    if not request.is_started:
                        self._answer_unwritten(request)
                        self._close(request)
                    self._turns.pause(request.turn, False)

    def _requests(self) -> list[OpenRequest]:
        return [request for requests in self._visitors.values() for request in requests]

    def _arrange(self) -> None:
        """Who has a seat: begins those that can be, pauses those that lost theirs, and tells the others their place."""
        self._models.plan()
        num_seated = num_waiting = 0
        for request in in_order(self._visitors.values()):
            has_seat = num_seated < SEATS and (request.is_started or self._start(request))
            num_seated += has_seat
            if request.is_started:
                self._turns.pause(request.turn, not has_seat and not request.is_stopped)
            else:
                num_waiting += 1
                self._tell_place(request, num_waiting)

    def _start(self, request: OpenRequest) -> bool:
        request.model = self._models.reserve(request.path)
        if request.model is not None:
            threading.Thread(target=self._write, args=(request, request.model), daemon=True).start()
        return request.is_started

    def _tell_place(self, request: OpenRequest, place: int) -> None:
        if place != request.place:
            request.place = place
            self._send({"id": request.id, "piece": TextChunk(sample=0, place=place).to_dict()})

    def _close(self, request: OpenRequest) -> None:
        with self._lock:
            if request.model is not None:
                self._models.release(request.model)
            left = self._visitors.pop(request.visitor)
            left.remove(request)
            if left:
                self._visitors[request.visitor] = left
            self._arrange()

    # ---- one request, in its thread ----

    def _write(self, request: OpenRequest, model: LoadedModel) -> None:
        try:
            parts = self._parts(request, model)
            if parts is None:
                return
            self._complete(request, *parts)
            answer: dict[str, Any] = {"done": True}
        except PipelineError as error:
            answer = {"error": str(error), "exit_status": error.exit_status}
        except BaseException as error:  # a panic of the tokenizers' Rust is no Exception
            self._fail(request, error)
            return
        self._send({"id": request.id, **answer})
        self._close(request)

    def _parts(self, request: OpenRequest, model: LoadedModel) -> tuple[Any, Any] | None:
        """Model and tokenizer; None when they fit only alone, so that the request waits again.

        Reading holds no turn: the others are written meanwhile.
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
                self._arrange()
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
                on_text=lambda piece: self._send({"id": request.id, "piece": piece.to_dict()}),
                should_stop=is_stopped,
            )

    def _answer_unwritten(self, request: OpenRequest) -> None:
        for piece in _nothing(request.sampling.get("samples", 1)):
            self._send({"id": request.id, "piece": piece.to_dict()})
        self._send({"id": request.id, "done": True})

    def _fail(self, request: OpenRequest, error: BaseException) -> None:
        """End the process: after a CUDA assert every later call fails; the next request starts it afresh."""
        traceback.print_exc()
        with self._lock:
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            for other in self._requests():
                cause = f"({reason})" if other is request else "while it wrote for somebody else"
                sentence = f"The generator failed {cause}; ask again, it is started afresh."
                self._send({"id": other.id, "error": sentence, "exit_status": PipelineError.exit_status})
            os._exit(1)  # a plain exit would wait for the thread that reads stdin, and abort


def _nothing(num_samples: int) -> Iterator[TextChunk]:
    return (TextChunk(sample=sample, done=True, finish="stopped") for sample in range(num_samples))


def _random_state() -> tuple[Any, Any]:
    """Of torch on the CPU, and on the GPU where there is one."""
    import torch

    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _set_random_state(state: tuple[Any, Any]) -> None:
    import torch

    on_cpu, on_gpu = state
    torch.set_rng_state(on_cpu)
    if on_gpu is not None:
        torch.cuda.set_rng_state(on_gpu)
