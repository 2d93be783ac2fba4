"""One generator process and the pipe to it. Knows nothing of revisions, prompts or pages, and nothing of torch."""

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

from pipeline.core.environment import child_environment
from pipeline.core.errors import BusyError, PipelineError
from pipeline.generation.unread import Unread

MODULE = "pipeline.generation"
JOIN_SECONDS = 5.0
"""How long the reader may take to hand out the last answers of a process that has ended."""
MOST_REQUESTS = 64
"""Open at once, of all visitors."""
OWNER_RESERVE = 8
"""More that only the owner, who is no visitor, may open."""
MOST_OF_EACH = 4
"""Open at once, of one visitor."""


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the generator may see of `environ`. It reads this disk only."""
    return {
        **child_environment(environ),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
    }


class Request:
    """One question to the process and the answers that came back and were not read yet."""

    def __init__(self, request_id: int, visitor: str, asked_by: str) -> None:
        self.id = request_id
        self.visitor = visitor
        self.asked_by = asked_by
        self.answers = Unread()
        self.is_answered = False
        """Whether the process has said its last word on it."""


class Child:
    """A running generator. A thread reads its answers and hands each to the request it belongs to.

    The process ends when this one does, however that happens: its stdin ends.
    """

    def __init__(self, log: Path, silence_seconds: float) -> None:
        self._silence_seconds = silence_seconds
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._requests: dict[int, Request] = {}
        self._ended_because = ""
        self._heard_at = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            process = subprocess.Popen(
                # -P: a folder named `pipeline` where the page was started must not be taken for ours.
                [sys.executable, "-P", "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
                start_new_session=True,  # Ctrl-C in the terminal is the page's; this process ends with it
            )
        assert process.stdin is not None and process.stdout is not None
        self._process, self._stdin, self._stdout = process, process.stdin, process.stdout
        self._reader = threading.Thread(target=self._read, name="generator-reader", daemon=True)
        self._reader.start()

    @property
    def has_ended(self) -> bool:
        return bool(self._ended_because)

    def ask(self, question: Mapping[str, Any], visitor: str, asked_by: str) -> Request:
        """Send one request of `visitor`, "" for the owner; `stop(asked_by)` ends it. Raises BusyError when too many are
        open.
        """
        with self._lock:
            self._check_room(visitor)
            if not self._requests:
                self._heard_at = time.monotonic()  # it had nothing to say until now
            request = Request(next(self._ids), visitor, asked_by)
            self._requests[request.id] = request
            if self.has_ended:
                request.answers.put(self._obituary())
            else:
                self._write({"id": request.id, "visitor": visitor, **question})
            return request

    def _check_room(self, visitor: str) -> None:
        most = MOST_REQUESTS if visitor else MOST_REQUESTS + OWNER_RESERVE
        if len(self._requests) >= most:
            raise BusyError(f"The generator has {most} requests already; try again when one of them is done.")
        num_own = sum(request.visitor == visitor for request in self._requests.values())
        if visitor and num_own >= MOST_OF_EACH:
            raise BusyError(
                f"{MOST_OF_EACH} of your requests are being written already, the most for one visitor; "
                "stop one of them, or try again when one is done."
            )

    def answers(self, request: Request) -> list[dict[str, Any]]:
        """Every answer to `request` that has come since the last call; waits for at least one.

        A process that says nothing to anybody for too long is ended, and that is the answer.
        """
        while True:
            patience = self._heard_at + self._silence_seconds - time.monotonic()
            if found := request.answers.take(max(0.0, patience)):
                return found
            if time.monotonic() >= self._heard_at + self._silence_seconds:
                self.end(f"it said nothing for {self._silence_seconds:g} seconds")
                return [self._obituary()]

    def stop(self, asked_by: str) -> None:
        """Stop the requests of `asked_by`. Their readers learn it at once, the process within a token."""
        with self._lock:
            for request in self._requests.values():
                if request.asked_by == asked_by:
                    self._write({"stop": request.id})
                    request.answers.put({"stopped": True})

    def forget(self, request: Request) -> None:
        """Nobody reads the answers to `request` any more: what is left of it need not be written."""
        with self._lock:
            del self._requests[request.id]
            if not request.is_answered:
                self._write({"stop": request.id})

    def end(self, reason: str) -> None:
        """Kill the process, which has nothing to save, and wait until it is gone. Open requests fail with `reason`.

        Takes no lock: whoever holds it may be waiting for the process to read.
        """
        self._ended_because = self._ended_because or reason
        self._process.kill()
        self._process.wait()
        # Python stops daemon threads at its exit wherever they are; one that held the lock would keep the page from ending.
        self._reader.join(JOIN_SECONDS)

    def _read(self) -> None:
        with self._stdout as lines:
            for line in lines:
                self._heard_at = time.monotonic()
                message = json.loads(line)
                with self._lock:
                    request = self._requests.get(message["id"])
                if request is not None:
                    request.is_answered = "piece" not in message
                    request.answers.put(message)
        self._ended_because = self._ended_because or _cause(self._process.wait())
        with self._lock:
            for request in self._requests.values():
                request.answers.put(self._obituary())
            with contextlib.suppress(OSError):  # what could not be sent
                self._stdin.close()

    def _write(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError, ValueError):  # it has ended: the reader thread sees that too and says so
            self._stdin.write(json.dumps(message).encode() + b"\n")
            self._stdin.flush()

    def _obituary(self) -> dict[str, Any]:
        sentence = f"The generator ended ({self._ended_because}). Ask again: it is started afresh."
        return {"error": sentence, "exit_status": PipelineError.exit_status}


def _cause(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
