"""One worker process of the local engine: `python -m pipeline.data.execution.worker DESCRIPTOR PARENT`.

Reads pickled (function, task) from the socket DESCRIPTOR and replies with None or the exception of the function. Exits
when the socket is closed, and even in the middle of a task when the process PARENT has ended.
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

from pipeline.core.confinement import limit_memory
from pipeline.data.execution.tasks import never, outcome

LOOK_EVERY_SECONDS = 0.5
MAX_BYTES = 4 * 2**30
"""Ten times what filtering or encoding a shard takes. A file that needs more costs its task, not the machine."""


def main(descriptor: int, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_exit_when_orphaned, args=(parent,), daemon=True).start()
    limit_memory(MAX_BYTES)
    os.set_inheritable(descriptor, False)  # otherwise a process that the function starts would keep it open
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


def _exit_when_orphaned(parent: int) -> None:
    """End this process, whatever its main thread does, once `parent` is no longer its parent."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
