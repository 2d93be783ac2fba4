"""The protocol of the generator process, tested directly, line by line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.generation.seats import MAX_BEGUN_TEXTS
from pipeline.generation.settings import Sampling
from pipeline.generation.subprocess_client import environment
from tests.generation.conftest import LONG
from tests.generation.conversation import Conversation, is_final
from tests.generation.models import tiny_model, write_revision

pytestmark = pytest.mark.slow

ENDLESS = Sampling(max_new_tokens=LONG - 64)


def heard_of(talk: Conversation, count: int) -> dict[int, list[dict[str, Any]]]:
    """All answers by request id, until `count` requests have ended."""
    answers: dict[int, list[dict[str, Any]]] = {}
    num_ended = 0
    while num_ended < count:
        answer = talk.hear()
        answers.setdefault(answer["id"], []).append(answer)
        num_ended += is_final(answer)
    return answers


def test_it_answers_every_request_and_stays_after_an_error(
    talk: Conversation, revision: Revision, tmp_path: Path
) -> None:
    talk.ask(1, revision.path)
    talk.ask(2, tmp_path / "nowhere")
    talk.ask(3, revision.path, prompt="")
    talk.ask(4, revision.path)
    answers = heard_of(talk, 4)
    assert answers[1][-1] == {"id": 1, "done": True}
    assert answers[2][-1]["exit_status"] == 2 and "nowhere is not a revision" in answers[2][-1]["error"]
    assert answers[3][-1]["exit_status"] == 2 and "prompt" in answers[3][-1]["error"]
    texts = ["".join(answer["chunk"]["text"] for answer in answers[number][:-1]) for number in (1, 4)]
    assert texts[0] == texts[1] != ""


def test_two_requests_are_written_in_turns(talk: Conversation, endless: Revision) -> None:
    talk.ask(1, endless.path, sampling=ENDLESS)
    talk.hear_past_the_queue()
    talk.ask(2, endless.path, sampling=Sampling(max_new_tokens=50))
    order = [answer["id"] for answer in talk.hear_until(lambda answer: "done" in answer)]
    theirs = order[order.index(2) :]
    assert abs(theirs.count(1) - theirs.count(2)) <= 3


def test_a_revision_that_was_refused_does_not_stay_loaded(talk: Conversation, revision: Revision, copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"")
    ends = []
    for request_id, path in enumerate((revision.path, copy, copy, revision.path), start=1):
        talk.ask(request_id, path)
        ends.append(talk.hear_until(is_final)[-1])
    assert ["error" in end for end in ends] == [False, True, True, False]
    assert ends[1]["exit_status"] == 1


def test_it_loads_the_revision_that_is_asked_for(talk: Conversation, revision: Revision, tmp_path: Path) -> None:
    other = write_revision(tmp_path / "other", tiny_model(seed=1))
    greedy = Sampling(max_new_tokens=8, temperature=0)
    texts = []
    for request_id, path in enumerate((revision.path, other.path, revision.path), start=1):
        talk.ask(request_id, path, sampling=greedy)
        texts.append("".join(answer["chunk"]["text"] for answer in talk.hear_until(is_final)[:-1]))
    assert texts[0] == texts[2] != texts[1]


def test_a_stop_ends_the_request_it_names_in_mid_stream(talk: Conversation, endless: Revision) -> None:
    talk.ask(1, endless.path, sampling=ENDLESS)
    assert talk.hear_past_the_queue()["chunk"]["tokens"] == 1
    talk.say({"stop": 1})
    chunks = [answer["chunk"] for answer in talk.hear_until(is_final) if "chunk" in answer]
    assert chunks[-1]["finish"] == "stopped"
    assert chunks[-1]["tokens"] < ENDLESS.max_new_tokens


def test_a_stop_of_another_request_does_not(talk: Conversation, endless: Revision) -> None:
    """The control of the test above."""
    talk.ask(1, endless.path, sampling=Sampling(max_new_tokens=200))
    talk.hear_past_the_queue()
    talk.say({"stop": 2})
    chunks = [answer["chunk"] for answer in talk.hear_until(is_final) if "chunk" in answer]
    assert (chunks[-1]["finish"], chunks[-1]["tokens"]) == ("length", 200)


def test_a_request_that_is_stopped_in_the_queue_generates_nothing(talk: Conversation, endless: Revision) -> None:
    for number in range(MAX_BEGUN_TEXTS + 1):
        talk.ask(number, endless.path, sampling=Sampling(max_new_tokens=LONG - 64, seed=number))
    waiting = [talk.hear_until(lambda answer: answer["id"] == MAX_BEGUN_TEXTS)[-1]]
    talk.say({"stop": MAX_BEGUN_TEXTS})
    while not is_final(waiting[-1]):
        waiting.append(talk.hear_until(lambda answer: answer["id"] == MAX_BEGUN_TEXTS)[-1])
    chunks = [answer["chunk"] for answer in waiting[:-1]]
    assert [(chunk["place"], chunk["finish"], chunk["tokens"]) for chunk in chunks] == [
        (1, None, 0),
        (None, "stopped", 0),
    ]


def test_it_ends_with_its_stdin_even_while_it_writes(talk: Conversation, endless: Revision) -> None:
    talk.ask(1, endless.path, sampling=ENDLESS)
    talk.hear_past_the_queue()
    assert talk.process.poll() is None
    assert talk.process.stdin is not None
    talk.process.stdin.close()
    assert talk.process.wait(60) == 0


def test_an_unexpected_error_is_one_sentence_and_ends_it_with_the_traceback_in_the_log(
    talk: Conversation, revision: Revision
) -> None:
    """Such an error may have left the GPU unusable, so the client restarts the process."""
    talk.say({"id": 1, "revision_path": str(revision.path), "prompt": "x", "sampling": {"warmth": 1}})
    answer = talk.hear_past_the_queue()
    assert answer["exit_status"] == 1
    assert answer["error"].startswith("The generator failed (TypeError: ") and "\n" not in answer["error"]
    assert talk.process.wait(60) == 1
    assert "Traceback" in talk.log.read_text()


def test_an_unexpected_error_is_sent_to_every_open_request(talk: Conversation, endless: Revision) -> None:
    talk.ask(1, endless.path, sampling=ENDLESS)
    talk.hear_past_the_queue()
    talk.say({"id": 2, "revision_path": str(endless.path), "prompt": "x", "sampling": {"warmth": 1}})
    ends = {answer["id"]: answer for answer in (talk.hear_until(is_final)[-1] for _ in range(2))}
    assert "TypeError" in ends[2]["error"] and "TypeError" not in ends[1]["error"]
    assert ends[1]["error"].startswith("The generator failed while it wrote for somebody else; ask again")
    assert talk.process.wait(60) == 1


def test_what_libraries_print_does_not_reach_the_answers(revision: Revision, tmp_path: Path) -> None:
    """Neither prints from Python nor writes to file descriptor 1."""
    code = (
        "import os, sys, runpy\n"
        "from pipeline.generation import loading\n"
        "load = loading.load\n"
        "def loud(path):\n"
        "    print('from Python', flush=True); os.write(1, b'from below\\n')\n"
        "    return load(path)\n"
        "loading.load = loud\n"
        "from pipeline.generation.__main__ import main\n"
        "main()\n"
    )
    question = {"id": 1, "revision_path": str(revision.path), "prompt": "x", "sampling": {"max_new_tokens": 1}}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    with process:
        process.stdin.write(json.dumps(question) + "\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(4)]  # the device first
        process.stdin.close()
        noise = process.stderr.read()
    assert answers[-1] == {"id": 1, "done": True}
    assert "from Python" in noise and "from below" in noise
