"""A conversation with the generator process, line by line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.generation.settings import Sampling
from pipeline.generation.subprocess_client import environment


class Conversation:
    def __init__(self, log: Path) -> None:
        self.log = log
        self.open: set[int] = set()
        """Ids of the requests that `ask` sent and whose last answer was not heard."""
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.generation"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment(),
                cwd=log.parent,
                text=True,
            )

    def say(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((message if isinstance(message, str) else json.dumps(message)) + "\n")
        self.process.stdin.flush()

    def ask(self, request_id: int, path: Path, prompt: str = "import pandas", sampling: Sampling | None = None) -> None:
        self.open.add(request_id)
        values = (sampling or Sampling(max_new_tokens=4)).to_dict()
        self.say({"id": request_id, "revision_path": str(path), "prompt": prompt, "sampling": values})

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        message = json.loads(self.process.stdout.readline())
        if "device" in message:  # before the first answer
            return self.hear()
        if is_final(message):
            self.open.discard(message["id"])
        return message

    def hear_past_the_queue(self) -> dict[str, Any]:
        """The next answer that is not a place in the queue: the models of what was stopped just before may be in use."""
        return self.hear_until(lambda answer: is_final(answer) or not answer["chunk"]["place"])[-1]

    def hear_until(self, is_last: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        heard = [self.hear()]
        while not is_last(heard[-1]):
            heard.append(self.hear())
        return heard


def is_final(message: dict[str, Any]) -> bool:
    return "chunk" not in message
