"""The examples of docs/programs.md are run as they stand there, and its table names every endpoint and argument."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pipeline.core.paths import ROOT
from pipeline.ui.server.api import ENDPOINTS, Api
from tests.page import Page

TEXT = (ROOT / "docs" / "programs.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
URL = "http://127.0.0.1:7860"


def test_the_table_names_every_endpoint_with_its_arguments() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `/")]
    named = {name: row for row in rows for name in re.findall(r"`/(\w+)`", row.split("|")[1])}
    assert set(named) == set(ENDPOINTS)
    for name, row in named.items():
        arguments = [one for one in inspect.signature(getattr(Api, name)).parameters if one not in ("self", "request")]
        assert [one for one in arguments if f"`{one}`" not in row] == [], name


@pytest.fixture(scope="module")
def empty_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page on which nothing was trained yet: the starter answers."""
    try:
        import mcp  # noqa: F401
    except ImportError:
        page = Page(tmp_path_factory.mktemp("programs") / "home")
    else:
        page = Page(tmp_path_factory.mktemp("programs") / "home", PIPELINE_MCP="1")
    page.start()
    yield page
    page.kill()


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=["gradio_client", "mcp"])
def test_the_examples_work_as_they_stand(empty_page: Page, example: str) -> None:
    assert URL in example
    program = example.replace(URL, empty_page.url)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env={**os.environ}, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    lines = done.stdout.splitlines()
    if "mcp" in example:
        assert lines[0] == str(list(ENDPOINTS)) and len(lines) > 1
    else:
        assert lines[-1].startswith("starter ") and any(re.fullmatch(r"\d+\.\d+", line) for line in lines)
