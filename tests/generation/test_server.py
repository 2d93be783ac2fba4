"""The server in this process with real models: two at once, a third, and one that fits into memory only alone."""

from __future__ import annotations

import json
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.generation import loading, server
from pipeline.generation.server import Server
from pipeline.generation.settings import Sampling
from tests.generation.models import tiny_model, write_revision
from tests.waiting import eventually

WAIT_SECONDS = 300


class Client:
    def __init__(self) -> None:
        self.answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self.server = Server(self.answers.put)

    def ask(
        self,
        number: int,
        path: Path,
        tokens: int = 4,
        visitor: str = "",
        seed: int | None = None,
        samples: int = 1,
        prompt: str = "import",
    ) -> None:
        """By default no two requests are the same question: each has its number as the seed."""
        seed = number if seed is None else seed
        sampling = Sampling(max_new_tokens=tokens, temperature=0, seed=seed, samples=samples).to_dict()
        question = {
            "id": number,
            "visitor": visitor,
            "revision_path": str(path),
            "prompt": prompt,
            "sampling": sampling,
        }
        self.server.open(question)

    def hear_end_of(self, number: int) -> dict[str, Any]:
        while True:
            answer = self.answers.get(timeout=WAIT_SECONDS)
            if answer["id"] == number and "chunk" not in answer:
                return answer

    def hear_whole(self, number: int) -> tuple[str, list[str | None]]:
        """Text and finish reasons of a request, up to its end; answers to others are lost."""
        text, finishes = "", []
        while "chunk" in (answer := self.hear_of(number)):
            text += answer["chunk"]["text"]
            finishes += [answer["chunk"]["finish"]] if answer["chunk"]["done"] else []
        return text, finishes

    def hear_of(self, number: int) -> dict[str, Any]:
        while (answer := self.answers.get(timeout=WAIT_SECONDS))["id"] != number:
            pass
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


def test_what_is_asked_twice_is_written_once(endless: Revision) -> None:
    client = Client()
    client.ask(1, endless.path, 2_000, visitor="one", seed=5)
    client.hear_first_of(1)
    client.ask(2, endless.path, 2_000, visitor="two", seed=5)
    client.ask(3, endless.path, 2_000, visitor="two", seed=6)
    with client.server._changed:
        assert len(client.server._tasks()) == 2, "control: another seed is another question"
    assert client.hear_of(2)["chunk"]["tokens"] >= 1, "what was written before it came is sent at once"
    client.server.stop(3)
    assert client.hear_end_of(2) == {"id": 2, "done": True}


def test_whoever_comes_later_gets_all_of_it_and_a_stop_ends_only_ones_own(endless: Revision) -> None:
    client = Client()
    client.ask(1, endless.path, 300, seed=5)
    client.hear_first_of(1)
    client.ask(2, endless.path, 300, seed=5)
    client.server.stop(1)
    assert client.hear_whole(2) == (" the" * 300, ["length"])
    client.ask(3, endless.path, 300, seed=5)
    assert not client.server._tasks(), "the answer was kept"
    assert client.hear_whole(3) == (" the" * 300, ["length"])


def test_what_everybody_stopped_is_neither_written_on_nor_kept(endless: Revision) -> None:
    client = Client()
    for number in (1, 2):
        client.ask(number, endless.path, 10_000, seed=5)
    client.hear_first_of(2)
    for number in (1, 2):
        client.server.stop(number)
        assert client.hear_whole(number)[1] == ["stopped"]
    eventually(lambda: not client.server._tasks(), "the end of the writing")
    client.ask(3, endless.path, 10_000, seed=5)
    client.hear_first_of(3)
    assert client.server._tasks(), "it is written anew"
    client.server.stop(3)


def test_of_all_answers_only_the_last_asked_for_are_kept(endless: Revision, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_KEPT_ANSWERS", 3)
    client = Client()
    for number in range(5):
        client.ask(number, endless.path)
        client.hear_end_of(number)
    with client.server._changed:
        assert [json.loads(key)[2]["seed"] for key in client.server._answers] == [2, 3, 4]


def test_a_new_visitor_starts_although_all_that_may_begin_have_begun(endless: Revision) -> None:
    client = Client()
    for number in range(8):
        client.ask(number, endless.path, 10_000, visitor="one" if number < 4 else "two", samples=4)
    for number in range(8):  # also the last ones of a visitor get their share
        client.hear_first_of(number)
    client.ask(8, endless.path, 10_000, visitor="one", samples=4)
    assert client.hear_first_of(8)["chunk"]["place"] == 1, "control: these have as many as may begin"
    client.ask(9, endless.path, visitor="three")
    assert client.hear_end_of(9) == {"id": 9, "done": True}
    for number in range(9):
        client.server.stop(number)


def test_every_token_that_is_read_counts_in_a_visitors_share(endless: Revision) -> None:
    """Requests of one token each were free, and so were prompts."""
    client = Client()
    client.ask(0, endless.path, 10_000, visitor="long")
    client.hear_first_of(0)
    with client.server._changed:
        before = dict(client.server._written)
        for number in range(1, 9):
            client.ask(number, endless.path, 1, visitor="short", prompt="x = 1\n" * 20 * number)
        seen = client.server._written["short"]
    for number in range(1, 9):
        client.hear_of(number)
        with client.server._changed:
            seen = max(seen, client.server._written["short"])
    assert seen - before["long"] > 100
    client.server.stop(0)


def test_caches_are_bounded_in_bytes_and_one_request_is_always_written(
    endless: Revision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CACHE_BYTES", 1)
    client = Client()
    for number in range(4):
        client.ask(number, endless.path, 50, visitor=str(number))
    most = num_ended = 0
    while num_ended < 4:
        num_ended += "done" in client.answers.get(timeout=WAIT_SECONDS)
        with client.server._changed:
            most = max(most, sum(task.has_caches for task in client.server._tasks()))
    assert most == 1


def test_whoever_joins_a_request_waits_no_longer_than_for_ones_own(endless: Revision) -> None:
    client = Client()
    for number in range(4):
        client.ask(number, endless.path, 10_000, visitor="flooder", seed=number)
    client.hear_first_of(3)
    client.ask(9, endless.path, 10_000, visitor="class", seed=3)
    with client.server._changed:
        assert [len(client.server._visitors[visitor]) for visitor in ("flooder", "class")] == [3, 1]
    for number in (0, 1, 2, 3, 9):
        client.server.stop(number)
    eventually(lambda: not client.server._visitors and not client.server._written, "the end")


def test_a_reading_that_is_stopped_while_another_is_read_is_not_begun(endless: Revision) -> None:
    client = Client()
    read = {"written": [], "at": None, "num_guesses": 1}
    with client.server._one_reader:
        client.server.open({"id": 1, "revision_path": str(endless.path), "prompt": "import", "read": read})
        eventually(lambda: client.server._tasks()[0].is_started)
        client.server.stop(1)
        assert client.hear_end_of(1) == {"id": 1, "done": True}
    eventually(lambda: not client.server._tasks())
    client.server.open({"id": 2, "revision_path": str(endless.path), "prompt": "import", "read": read})
    assert client.hear_end_of(2)["reading"]["num_given"] > 0
    assert not client.server._answers, "a reading is not kept"
