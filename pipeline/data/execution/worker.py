"""One worker process of the local engine: `python -m pipeline.data.execution.worker DESCRIPTOR PARENT`.

Reads pickled (function, task) from the socket DESCRIPTOR and answers None or what the function raised. It leaves when
the socket is closed, and also in the middle of a task when the process PARENT is gone.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from functools import partial
from multiprocessing.connection import Connection

from pipeline.data.execution.tasks import never, outcome

LOOK_EVERY_SECONDS = 0.5


def main(descriptor: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_leave_without, args=(parent,), daemon=True).start()
    os.set_inheritable(descriptor, False)  # or a process that the function starts would keep the socket open
    with Connection(descriptor) as connection:
        while True:
            try:
                call = connection.recv_bytes()
            except (EOFError, OSError):
                return
            connection.send(outcome(partial(_run, call)))


def _run(call: bytes) -> None:
    function, task = pickle.loads(call)
    function(task, never)


def _leave_without(parent: int) -> None:
    """End this process, whatever its main thread does, once another process has adopted it."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
