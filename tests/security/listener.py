"""Another service on this machine, which the page must never be made to contact."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

from tests.waiting import eventually


class Listener:
    """Counts the connections to a loopback port, and answers none."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.num_connections = 0
        threading.Thread(target=self._run, daemon=True).start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def is_counting(self) -> bool:
        """Whether a connection is counted. Raises AssertionError when it is not."""
        before = self.num_connections
        socket.create_connection(("127.0.0.1", int(self.address.rpartition(":")[2]))).close()
        eventually(lambda: self.num_connections == before + 1, "the listener counts")
        return True

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.num_connections += 1
            connection.close()
