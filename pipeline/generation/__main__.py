"""The generator process: `python -m pipeline.generation [--exact]`, started by `pipeline.generation.process`.

Reads one JSON object per line on stdin, writes one per line on stdout, and ends when stdin does:

    {"id": 1, "visitor": "...", "revision_path": "...",                      ->  {"id": 1, "chunk": {...}} ...
     "prompt": "...", "sampling": {...}}                                         {"id": 1, "done": true}
    {"id": 2, ..., "prompt": "...", "read": {"written":   ->  {"id": 2, "done": true, "reading": {...}}, or with "at"
     [3, 14], "at": null, "num_guesses": 5}}                   its index, "inside": {...}
    {"stop": 1}                                                              or  {"id": 1, "error": "...", "exit_status": 2}
    {"threads": 1}

Before the first answer comes {"device": "cuda"} or {"device": "cpu"}: where its models will be.
Requests are answered together, a token of each per step. `visitor` is used only to group the requests of one visitor.
`threads` is how many CPU threads may be used from the next step on; before that, one for each core.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from queue import SimpleQueue
from typing import Any, BinaryIO

from pipeline.core.imports import collector_paused
from pipeline.generation.server import Server


class RequestReader:
    """Reads messages in a thread of its own.

    When stdin ends, which also happens when the parent dies, the process exits at once: it has nothing to save.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.messages: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._stream = stream
        threading.Thread(target=self._read, name="request-reader", daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._stream:
                self.messages.put(json.loads(line))
        except ValueError:
            traceback.print_exc()
        finally:
            os._exit(0)


class ResponseWriter:
    """Writes answers to the process's stdout. All other output to stdout is redirected to stderr."""

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
            os._exit(0)  # the parent is gone, so nobody reads the answers


def main() -> None:
    responses = ResponseWriter()
    requests = RequestReader(sys.stdin.buffer)  # before the slow import of torch: the parent may die during it
    with collector_paused():
        import torch

    responses.send({"device": "cuda" if torch.cuda.is_available() else "cpu"})
    server = Server(responses.send, exact="--exact" in sys.argv[1:])
    try:
        while True:
            message = requests.messages.get()
            if "stop" in message:
                server.stop(message["stop"])
            elif "threads" in message:
                server.threads = message["threads"]
            else:
                server.open(message)
    except Exception:
        traceback.print_exc()
        os._exit(1)  # a normal exit would wait for the thread that reads stdin, and abort


if __name__ == "__main__":
    main()
