"""What is written or read once for everybody who asks for it: the same prompt, settings and revision. Does not depend on
torch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.generation.text_chunk import TextChunk, joined

if TYPE_CHECKING:
    from pipeline.generation.batch import Text
    from pipeline.generation.loaded import LoadedModel

Send = Callable[[dict[str, Any]], None]
Key = str


def key_of(question: Mapping[str, Any]) -> Key:
    """Equal for requests whose answers are the same."""
    return json.dumps(
        [question["revision_path"], question["prompt"], question.get("sampling"), question.get("read")], sort_keys=True
    )


class Task:
    """From the first request for it until its answer is complete, or until nobody wants it any more."""

    def __init__(self, question: Mapping[str, Any], send: Send) -> None:
        self.key = key_of(question)
        self.visitor: str = question.get("visitor", "")
        """Who asked for it first, whose share it counts in."""
        self.path = Path(question["revision_path"])
        self.prompt: str = question["prompt"]
        self.sampling: dict[str, Any] = question.get("sampling", {})
        self.read: dict[str, Any] | None = question.get("read")
        """What to read after the prompt, of a task that writes nothing."""
        self.model: LoadedModel | None = None
        self.texts: list[Text] | None = None
        """Its samples, once the model is loaded."""
        self.num_read = 0
        """Tokens that were read for it, of its prompt and of its texts."""
        self.has_caches = False
        """Whether its texts may have key/value caches, or have them."""
        self.heard = [TextChunk(sample=sample) for sample in range(int(self.sampling.get("samples", 1)))]
        """All chunks of each sample so far, as one."""
        self._send = send
        self._requests: list[int] = []

    @property
    def is_started(self) -> bool:
        return self.model is not None

    @property
    def is_stopped(self) -> bool:
        """Whether nobody waits for it any more."""
        return not self._requests

    @property
    def unfinished(self) -> list[Text]:
        return [text for text in self.texts or () if not text.is_done]

    @property
    def num_texts(self) -> int:
        return len(self.unfinished) if self.texts is not None else len(self.heard)

    @property
    def cache_bytes(self) -> int:
        """What the caches of its texts take, once these are known."""
        return sum(text.prompt.cache_bytes for text in self.unfinished)

    def forget_place(self) -> None:
        """It no longer waits in the queue, whoever comes later."""
        self.heard[0] = dataclasses.replace(self.heard[0], place=None)

    def add(self, request_id: int) -> None:
        """Send this request, too, what is written; first all that was written so far."""
        self._requests.append(request_id)
        for chunk in self.heard:
            if chunk.tokens or chunk.place:
                self._send({"id": request_id, "chunk": chunk.to_dict()})

    def tell(self, chunk: TextChunk) -> None:
        (self.heard[chunk.sample],) = joined([self.heard[chunk.sample], chunk])
        for request_id in self._requests:
            self._send({"id": request_id, "chunk": chunk.to_dict()})

    def tell_place(self, place: int) -> None:
        if place != self.heard[0].place:
            self.tell(TextChunk(sample=0, place=place))

    def end(self, answer: Mapping[str, Any]) -> None:
        """The final answer to all its requests."""
        for request_id in self._requests:
            self._send({"id": request_id, **answer})

    def stop(self, request_id: int) -> bool:
        """Answer this request, if it is one of its own, that its samples were stopped; the others go on."""
        if request_id not in self._requests:
            return False
        self._requests.remove(request_id)
        for chunk in self.heard:
            if not chunk.done:
                stopped = dataclasses.replace(chunk, text="", token_ids=(), place=None, done=True, finish="stopped")
                self._send({"id": request_id, "chunk": stopped.to_dict()})
        self._send({"id": request_id, "done": True})
        return True
