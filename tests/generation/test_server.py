"""The server in this process with real models: two at once, a third, and one that fits into memory only alone."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.generation import loading
from pipeline.generation.server import Server
from pipeline.generation.settings import Sampling
from tests.generation.models import tiny_model, write_revision

WAIT_SECONDS = 60


class Client:
    def __init__(self) -> None:
        self.answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.server = Server(self.answers.put)

    def ask(self, number: int, path: Path, tokens: int = 4, visitor: str = "") -> None:
        sampling = Sampling(max_new_tokens=tokens, temperature=0).to_dict()
        question = {
            "id": number,
            "visitor": visitor,
            "revision_path": str(path),
            "prompt": "import",
            "sampling": sampling,
        }
        self.server.open(question)

    def hear_end_of(self, number: int) -> dict[str, Any]:
        while True:
            answer = self.answers.get(timeout=WAIT_SECONDS)
            if answer["id"] == number and "chunk" not in answer:
                return answer

    def hear_first_of(self, number: int) -> dict[str, Any]:
        while True:
            answer = self.answers.get(timeout=WAIT_SECONDS)
            if answer["id"] == number:
                return answer


@pytest.fixture
def others(tmp_path: Path) -> list[Path]:
    return [write_revision(tmp_path / str(seed), tiny_model(seed=seed, n_positions=256)).path for seed in (1, 2)]


def test_two_revisions_generate_concurrently_and_a_third_waits(endless: Revision, others: list[Path]) -> None:
    client = Client()
    client.ask(1, endless.path, 10_000)
    assert client.hear_first_of(1)["chunk"]["text"]
    client.ask(2, others[0])
    assert client.hear_end_of(2) == {"id": 2, "done": True}, "another revision is loaded and completed meanwhile"
    client.ask(3, others[1])
    assert client.hear_end_of(3) == {"id": 3, "done": True}, "the unused model is evicted"
    client.ask(4, others[1], 200)
    client.hear_first_of(4)
    client.ask(5, others[0])
    assert client.hear_first_of(5)["chunk"]["place"] == 1
    assert client.hear_end_of(5) == {"id": 5, "done": True}
    client.server.stop(1)
    client.hear_end_of(1)


def test_a_model_that_does_not_fit_beside_another_waits_and_is_loaded_alone(
    revision: Revision, others: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, read = Client(), loading.load

    def load(path: Path) -> Any:
        if path == others[0] and len(client.server._models._models) > 1:
            raise MemoryError
        return read(path)

    monkeypatch.setattr(loading, "load", load)
    client.ask(1, revision.path, 200)
    client.hear_first_of(1)
    client.ask(2, others[0])
    assert client.hear_end_of(2) == {"id": 2, "done": True}
    assert list(client.server._models._models) == [others[0]]


def test_a_model_that_does_not_fit_alone_is_one_sentence(revision: Revision, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Path) -> Any:
        raise MemoryError

    client = Client()
    monkeypatch.setattr(loading, "load", load)
    client.ask(1, revision.path)
    assert "does not fit into memory; choose a revision of a smaller model" in client.hear_end_of(1)["error"]
    monkeypatch.undo()
    client.ask(2, revision.path)
    assert client.hear_end_of(2) == {"id": 2, "done": True}


def test_a_visitor_with_many_requests_loses_a_seat_to_a_new_visitor(endless: Revision) -> None:
    client = Client()
    for number in range(8):
        client.ask(number, endless.path, 10_000, visitor="many")
    client.hear_first_of(7)
    client.ask(9, endless.path, visitor="one")
    assert client.hear_end_of(9) == {"id": 9, "done": True}
    for number in range(8):
        client.server.stop(number)
    ended: set[int] = set()
    while len(ended) < 8:
        answer = client.answers.get(timeout=WAIT_SECONDS)
        ended |= {answer["id"]} if "done" in answer else set()
