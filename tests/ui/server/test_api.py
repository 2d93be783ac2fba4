"""Responses of the endpoints for programs; test_guards tests access to them."""

from __future__ import annotations

import asyncio
import html
import math
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from pipeline.core.settings import Limits, Settings
from pipeline.ui.server.api import Api, for_people
from pipeline.ui.shared.engine import Engine
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
