"""Responses of the endpoints for programs; test_guards tests access to them."""

from __future__ import annotations

import asyncio
import html
import inspect
import math
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from pipeline.core.atomic_io import write_json
from pipeline.core.paths import Home
from pipeline.core.settings import Limits, Settings
from pipeline.jobs import evaluations as evaluation_requests
from pipeline.jobs import worker
from pipeline.ui.server.api import ENDPOINTS, Api, for_people
from pipeline.ui.shared.engine import Engine
from tests.artifacts.test_evaluation import result
from tests.generation.models import push
from tests.homes import write_run
from tests.ui.conftest import request_of

HERE: Any = request_of("127.0.0.1:7860")


def preview(folder: Path, limits: Limits) -> dict[str, Any]:
    engine = Engine(Settings(home=folder / "home", limits=limits))
    return Api(engine).preview(HERE, f"files:{folder}/code", ["pandas"])  # type: ignore[arg-type]


def test_a_preview_says_why_it_ended_early(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    for number in range(600):
        (tmp_path / "code" / f"{number}.py").write_text("import pandas\n")
    early = preview(tmp_path, Limits(preview_bytes=1_000))
    assert "may read 1.0 kB of text" in early["ended"]
    assert 0 < early["scanned"] < 600
    assert early["samples"]
    late = preview(tmp_path, Limits(preview_seconds=0))
    assert "may take" in late["ended"]
    whole = preview(tmp_path, Limits())
    assert (whole["ended"], whole["scanned"]) == (None, 600)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("preview", {"limit": "many"}, "limit is 'many'; input should be a valid integer"),
        ("preview", {"limit": 0}, "limit is 0; scan 1 to 20,000 rows."),
        ("preview", {"limit": -1}, "limit is -1; scan 1 to 20,000 rows."),
        ("preview", {"limit": 20_001}, "limit is 20001; scan 1 to 20,000 rows."),
        ("preview", {"keywords": [{"a": 1}]}, "keywords is"),
        ("generate", {"prompt": ["x"]}, "prompt is"),
        ("score", {"text": {}}, "text is"),
        ("score", {"text": " "}, "The prompt is empty"),
        ("status", {"run": {"path": "/etc/passwd"}}, "run is"),
    ],
)
def test_an_argument_of_another_type_is_one_sentence(
    tmp_path: Path, name: str, arguments: dict[str, Any], message: str
) -> None:
    call = for_people(getattr(Api(Engine(Settings(home=tmp_path))), name))
    with pytest.raises(gr.Error) as refused:
        asyncio.run(call(request=HERE, **arguments))
    assert html.unescape(str(refused.value.message)).startswith(message)
    assert refused.value.print_exception is False


@pytest.mark.slow
def test_a_text_is_scored_token_by_token(tmp_path: Path) -> None:
    engine = Engine(Settings(home=tmp_path))
    try:
        score = for_people(Api(engine).score)
        found = asyncio.run(score(request=HERE, text="import pandas as pd\n"))
        assert "".join(token["text"] for token in found["tokens"]) == "import pandas as pd\n"
        chances = [token["probability"] for token in found["tokens"]]
        assert chances[0] is None and all(0 < chance < 1 for chance in chances[1:])
        assert found["loss"] == pytest.approx(-sum(map(math.log, chances[1:])) / len(chances[1:]))
        assert (found["run"], found["repo"]) == ("starter", "starter")
        with pytest.raises(gr.Error, match="give at least two tokens"):
            asyncio.run(score(request=HERE, text="import"))
    finally:
        engine.generator.close()


def ended(call: Any, **arguments: Any) -> Any:
    return asyncio.run(for_people(call)(request=HERE, **arguments))


def test_an_evaluation_is_started_once_and_its_figures_are_read_by_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "wake", lambda settings: None)
    monkeypatch.setattr(evaluation_requests, "check_possible", lambda: None)
    api = Api(Engine(Settings(home=tmp_path)))
    home = Home(tmp_path)
    write_run(home, "small-otter")
    revision = push(Settings(home=tmp_path), 20)
    started = ended(api.evaluate, run="small-otter", request_id="one")
    assert (started["state"], started["run"], started["count"]) == ("queued", "small-otter", 1)
    request = home.evaluating.request.read_bytes()
    assert ended(api.evaluate, run="small-otter", request_id="one") == started
    assert home.evaluating.request.read_bytes() == request
    assert ended(api.stop_evaluation)["state"] == "stopped"
    assert ended(api.evaluate, revision=revision.revision[:6], samples=1)["run"] is None
    for wrong in ({}, {"run": "small-otter", "revision": "newest"}):
        with pytest.raises(gr.Error, match="name either a run or a revision"):
            ended(api.evaluate, **wrong)
    home.evaluations.mkdir()
    write_json(home.evaluation(revision.revision), result(20, run="small-otter", run_uid=None))
    write_json(home.evaluating.status, {"request_id": "x"})
    stranger: Any = request_of("example.org")
    found = asyncio.run(for_people(api.evaluations)(request=stranger, run="small-otter"))
    assert [row["right"] for row in found["evaluations"]] == [0.5]
    assert found["job"]["state"] == "failed" and str(tmp_path) not in str(found["job"])
    with pytest.raises(gr.Error, match="There is no run"):
        ended(api.evaluations, run="nobody")


@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_argument_of_an_endpoint_is_described(name: str) -> None:
    """Programs and models read them in the description of the API."""
    method = getattr(Api, name)
    text, described, _ = gr.utils.get_function_description(method)
    own = set(inspect.signature(method).parameters) - {"self", "request"}
    assert text and {name for name, words in described.items() if words} == own
