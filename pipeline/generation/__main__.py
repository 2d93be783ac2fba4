"""The generator process: `python -m pipeline.generation`, started by `pipeline.generation.process`.

Reads one JSON object per line on stdin, writes one per line on stdout, and ends when stdin does:

    {"id": 1, "revision_path": "...", "prompt": "...", "sampling": {...}}    ->  {"id": 1, "piece": {...}} ...
    {"stop": 1}                                                                  {"id": 1, "done": true}
                                                                             or  {"id": 1, "error": "...", "exit_status": 2}

Requests are answered one after the other. Knows nothing of pages, visitors or queues.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

from pipeline.errors import PipelineError
from pipeline.generation.settings import Sampling

THREADS = 1
"""On the CPU. The last bits of a sum depend on their number, so with a fixed one a seed decides the text; and threads
that wait for each other stand still while a run trains on the same cores (benchmarks/generator_threads.py)."""


class Inbox:
    """Reads requests in a thread of its own, so that a stop is seen while a model writes.

    The end of stdin, which is also the death of the parent, ends the process at once: it has nothing to save.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.requests: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._stopped: set[int] = set()
        self._stream = stream
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def is_stopped(self, request_id: int) -> bool:
        return request_id in self._stopped

    def _read(self) -> None:
        try:
            for line in self._stream:
                message = json.loads(line)
                if "stop" in message:
                    self._stopped.add(message["stop"])
                else:
                    self.requests.put(message)
        except ValueError:
            traceback.print_exc()
        finally:
            os._exit(0)


class Outbox:
    """The process's stdout, kept for answers alone: whatever else is printed goes to stderr."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(self, message: dict[str, Any]) -> None:
        try:
            self._stream.write(json.dumps(message, allow_nan=False).encode() + b"\n")
            self._stream.flush()
        except BrokenPipeError:
            os._exit(0)  # the parent is gone; nobody reads this


class Desk:
    """Answers requests with the model of the last one, loading another only when another revision is asked for."""

    def __init__(self, inbox: Inbox, outbox: Outbox) -> None:
        self._inbox = inbox
        self._outbox = outbox
        self._path: Path | None = None
        self._model: Any = None
        self._tokenizer: Any = None

    def answer(self, request: dict[str, Any]) -> None:
        from pipeline.generation.sampling import complete

        request_id = request["id"]
        try:
            self._load(Path(request["revision_path"]))
            complete(
                self._model,
                self._tokenizer,
                request["prompt"],
                Sampling(**request["sampling"]),
                on_text=lambda piece: self._outbox.send({"id": request_id, "piece": piece.to_dict()}),
                should_stop=lambda: self._inbox.is_stopped(request_id),
            )
            self._outbox.send({"id": request_id, "done": True})
        except PipelineError as error:
            self._outbox.send({"id": request_id, "error": str(error), "exit_status": error.exit_status})

    def _load(self, path: Path) -> None:
        if path == self._path:
            return
        import torch

        from pipeline.generation.loading import load

        self._path = self._model = self._tokenizer = None  # make room first: two models need not fit
        model, self._tokenizer = load(path)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(device)  # type: ignore[arg-type]  # its wrapper hides the type
        self._path = path


def main() -> None:
    outbox = Outbox()
    inbox = Inbox(sys.stdin.buffer)  # before torch is imported: the parent may die while that takes its time
    import torch

    torch.set_num_threads(THREADS)
    desk = Desk(inbox, outbox)
    while True:
        request = inbox.requests.get()
        try:
            desk.answer(request)
        except Exception as error:
            # After a CUDA assert every later call fails, so the process ends; the next request starts it afresh.
            traceback.print_exc()
            reason = str(error).partition("\n")[0]
            sentence = f"The generator failed ({type(error).__name__}: {reason}); ask again, it is started afresh."
            outbox.send({"id": request["id"], "error": sentence, "exit_status": 1})
            os._exit(1)  # a plain exit would wait for the thread that reads stdin, and abort


if __name__ == "__main__":
    main()
