"""The generator process: `python -m pipeline.generation`, started by `pipeline.generation.process`.

Reads one JSON object per line on stdin, writes one per line on stdout, and ends when stdin does:

    {"id": 1, "visitor": "...", "revision_path": "...",                      ->  {"id": 1, "piece": {...}} ...
     "prompt": "...", "sampling": {...}}                                         {"id": 1, "done": true}
    {"stop": 1}                                                              or  {"id": 1, "error": "...", "exit_status": 2}

Requests are answered at the same time, token by token in turns. Of visitors it knows only which requests are of the same.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from queue import SimpleQueue
from typing import Any, BinaryIO

from pipeline.generation.server import Server

THREADS = 1
"""On the CPU. The last bits of a sum depend on their number, so with a fixed one a seed decides the text; and threads
that wait for each other stand still while a run trains on the same cores (benchmarks/generator_threads.py)."""


class RequestReader:
    """Reads messages in a thread of its own.

    The end of stdin, which is also the death of the parent, ends the process at once: it has nothing to save.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.messages: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._stream = stream
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._stream:
                self.messages.put(json.loads(line))
        except ValueError:
            traceback.print_exc()
        finally:
            os._exit(0)


class ResponseWriter:
    """The process's stdout, kept for answers alone: whatever else is printed goes to stderr."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        self._lock = threading.Lock()
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(self, message: dict[str, Any]) -> None:
        line = json.dumps(message, allow_nan=False).encode() + b"\n"
        try:
            with self._lock:
                self._stream.write(line)
                self._stream.flush()
        except BrokenPipeError:
            os._exit(0)  # the parent is gone; nobody reads this


def main() -> None:
    outbox = ResponseWriter()
    inbox = RequestReader(sys.stdin.buffer)  # before torch is imported: the parent may die while that takes its time
    import torch

    torch.set_num_threads(THREADS)
    server = Server(outbox.send)
    try:
        while True:
            message = inbox.messages.get()
            if "stop" in message:
                server.stop(message["stop"])
            else:
                server.open(message)
    except Exception:
        traceback.print_exc()
        os._exit(1)  # a plain exit would wait for the thread that reads stdin, and abort


if __name__ == "__main__":
    main()
