"""One generator process and the pipe to it. Does not depend on revisions, prompts, pages or torch."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.environment import child_environment, num_cores
from pipeline.core.errors import BusyError, PipelineError
from pipeline.generation.text_chunk import TextChunk
from pipeline.generation.unread import Unread

MODULE = "pipeline.generation"
JOIN_SECONDS = 5.0
"""Time limit for the reader thread to deliver the last answers of a process that has ended."""
HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1", "THP_MEM_ALLOC_ENABLE": "1"}
"""The weights are read once for each token: in pages of 2 MB instead of 4 KB, the processor looks up fewer of them."""
NO_TILES = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}
"""Without Intel's matrix tiles (AMX), which wait longer for weights that other tenants of the machine have driven out of
the cache: a visitor alone gets a third more tokens a second in int8, and a long prompt is read somewhat later.
"""
MAX_REQUESTS = 64
"""Max open requests of all visitors together."""
OWNER_RESERVE = 8
"""Additional requests that only the owner, who is not a visitor, may open."""
MAX_OF_EACH = 4
"""Max open requests of one visitor."""


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The part of `environ` that is passed to the generator, which reads only the local disk."""
    return {
        **child_environment(environ),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        **HUGE_PAGES,
        **NO_TILES,
    }


class Request:
    """One request to the process, with a buffer of the answers that were not read yet."""

    def __init__(self, request_id: int, visitor: str, asked_by: str) -> None:
        self.id = request_id
        self.visitor = visitor
        self.asked_by = asked_by
        self.answers = Unread()
        self.is_answered = False
        """Whether the process has sent its final answer."""


class Child:
    """A running generator. A thread reads its answers and passes each to the request it belongs to.

    The process ends whenever this one does, even by a kill, because its stdin ends.
    """

    def __init__(self, log: Path, silence_seconds: float, *, without_gpu: bool = False, exact: bool = False) -> None:
        """`without_gpu`: hide the GPUs of this machine from it. `exact`: it never uses int8."""
        self.without_gpu = without_gpu
        self.device: str | None = None
        """`cuda` or `cpu`; None until the process has found out."""
        self._silence_seconds = silence_seconds
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._requests: dict[int, Request] = {}
        self._ended_because = ""
        self._threads = num_cores()
        self._last_answer_at = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            process = subprocess.Popen(
                # -P: do not import a folder named `pipeline` from the current directory.
                [sys.executable, "-P", "-m", MODULE, *(["--exact"] if exact else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**environment(), **({"CUDA_VISIBLE_DEVICES": ""} if without_gpu else {})},
                start_new_session=True,  # Ctrl-C in the terminal goes to the page alone, and the generator ends with it
            )
        assert process.stdin is not None and process.stdout is not None
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self._reader = threading.Thread(target=self._read, name="generator-reader", daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        return bool(self._ended_because)

    @property
    def is_writing(self) -> bool:
        return bool(self._requests)

    def ask(self, question: Mapping[str, Any], visitor: str, asked_by: str) -> Request:
        """Send one request of `visitor`, "" for the owner; `stop(asked_by)` stops it. Raises BusyError when too many
        requests are open.
        """
        with self._lock:
            self._check_capacity(visitor)
            if not self._requests:
                self._last_answer_at = time.monotonic()  # an idle process sends nothing, so its silence starts now
            request = Request(next(self._ids), visitor, asked_by)
            self._requests[request.id] = request
            if self.has_ended:
                request.answers.put(self._ended_answer())
            else:
                self._write({"id": request.id, "visitor": visitor, **question})
            return request

    def _check_capacity(self, visitor: str) -> None:
        limit = MAX_REQUESTS if visitor else MAX_REQUESTS + OWNER_RESERVE
        if len(self._requests) >= limit:
            raise BusyError(f"The generator has {limit} requests already; try again when one of them is done.")
        num_own = sum(request.visitor == visitor for request in self._requests.values())
        if visitor and num_own >= MAX_OF_EACH:
            raise BusyError(
                f"{MAX_OF_EACH} of your requests are being written already, the most for one visitor; "
                "stop one of them, or try again when one is done."
            )

    def answers(self, request: Request) -> list[dict[str, Any]]:
        """All answers to `request` that arrived since the last call; waits for at least one.

        A process that answers no request for `silence_seconds` is killed, and an error is returned as the answer.
        """
        while True:
            remaining_seconds = self._last_answer_at + self._silence_seconds - time.monotonic()
            if answers := request.answers.take(max(0.0, remaining_seconds)):
                return answers
            if time.monotonic() >= self._last_answer_at + self._silence_seconds:
                self.end(f"it said nothing for {self._silence_seconds:g} seconds")
                return [self._ended_answer()]

    def stop(self, asked_by: str) -> None:
        """Stop the requests of `asked_by`. Their readers are notified at once; the process stops within a token."""
        with self._lock:
            for request in self._requests.values():
                if request.asked_by == asked_by:
                    self._write({"stop": request.id})
                    request.answers.put({"stopped": True})

    def use_threads(self, number: int) -> None:
        """How many CPU threads it may use."""
        with self._lock:
            if number != self._threads:
                self._threads = number
                self._write({"threads": number})

    def forget(self, request: Request) -> None:
        """Drop `request`, whose answers nobody reads any more, and stop it in the process if it is still open."""
        with self._lock:
            del self._requests[request.id]
            if not request.is_answered:
                self._write({"stop": request.id})

    def end(self, reason: str) -> None:
        """Kill the process, which has nothing to save, and wait until it has ended. Open requests fail with `reason`.

        Takes no lock, because the thread that has it may be blocked until the process reads from the pipe.
        """
        self._ended_because = self._ended_because or reason
        self._process.kill()
        self._process.wait()
        # At exit Python stops daemon threads at any point. A reader stopped with the lock would keep the page alive.
        self._reader.join(JOIN_SECONDS)

    def _read(self) -> None:
        with self._stdout as lines:
            for line in lines:
                self._last_answer_at = time.monotonic()
                if not self._take(line):  # what follows it may belong to anything
                    self._ended_because = self._ended_because or "it wrote a line that is no answer"
                    self._process.kill()
                    break
        code = self._process.wait()
        self._ended_because = self._ended_because or _cause(code)
        with self._lock:
            for request in self._requests.values():
                request.answers.put(self._ended_answer())
            with contextlib.suppress(OSError):  # close flushes unsent messages into a broken pipe
                self._stdin.close()

    def _take(self, line: bytes) -> bool:
        """Pass an answer to its request. Returns False when `line` is not an answer."""
        message = _answer_of(line)
        if "device" in message:
            self.device = message["device"]
            return True
        with self._lock:
            request = self._requests.get(message.get("id", 0))
        if request is not None:
            request.is_answered = "chunk" not in message
            request.answers.put(message)
        return bool(message)

    def _write(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError):  # the process has ended; the reader thread reports that
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()

    def _ended_answer(self) -> dict[str, Any]:
        sentence = f"The generator ended ({self._ended_because}). Ask again: it is started afresh."
        return {"error": sentence, "exit_status": PipelineError.exit_status}


def _answer_of(line: bytes) -> dict[str, Any]:
    """The message in `line`; {} when it is none that the process is known to send."""
    try:
        message = json.loads(line)
        if isinstance(message.get("device"), str):
            return message
        is_final = "done" in message or {"error", "exit_status"} <= message.keys()
        is_chunk = "chunk" in message and isinstance(TextChunk(**message["chunk"]).sample, int)
        return message if isinstance(message.get("id"), int) and (is_final or is_chunk) else {}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _cause(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
