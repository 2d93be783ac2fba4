"""Downloads and the snippet below a completion."""

from __future__ import annotations

import ast
import base64
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.generation.settings import Sampling
from pipeline.ui.generate.answers import Answer, Completion
from pipeline.ui.generate.tools import revision_of, tools
from tests.ui.gallery.test_tab import REVISION
from tests.ui.generate.test_tab import EXAMPLE

PUSHED = replace(REVISION, repo="me/parrot", commit="c" * 40)
PROMPT = '# \'"\\\n"""; x\n'


def completion(revision: Revision) -> Completion:
    return Completion(PROMPT, Sampling(seed=3).to_dict(), [Answer(revision, ["x = 1"])], "finished")


def snippet(markup: str) -> str:
    found = re.search(r"<details.*?<pre>(.*?)</pre>", markup, re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", "", found[1])) if found else ""


def test_a_finished_completion_is_downloaded_from_the_page() -> None:
    markup = tools(completion(PUSHED), PUSHED, is_owner=False)
    data = re.findall(r'href="data:text/x-python;base64,([^"]+)" download="codeparrot-completion.py"', markup)
    assert base64.b64decode(data[0]).decode().endswith(f"{PROMPT}x = 1\n")
    assert 'download="codeparrot-completion.ipynb"' in markup


def test_a_kept_example_is_downloaded_from_the_server() -> None:
    shown = replace(completion(PUSHED), example=EXAMPLE)
    assert f'href="studio/example/{EXAMPLE.id}.py"' in tools(shown, None, is_owner=False)


def test_the_snippet_names_repo_and_commit_and_any_prompt_stays_a_string() -> None:
    code = snippet(tools(completion(PUSHED), PUSHED, is_owner=False))
    tree = ast.parse(code)
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {PROMPT, "me/parrot", "c" * 40, 3, 0.6} <= strings


@pytest.mark.parametrize(("is_owner", "shown"), [(True, True), (False, False)])
def test_only_the_owner_learns_the_path_of_a_local_model(is_owner: bool, shown: bool) -> None:
    local = replace(REVISION, path=Path("/home/of/the/owner"))
    assert ("/home/of/the/owner" in tools(completion(local), local, is_owner=is_owner)) == shown


def test_odd_settings_of_an_example_give_no_snippet() -> None:
    odd = replace(completion(PUSHED), sampling={**Sampling().to_dict(), "temperature": "<b>", "more": 1})
    assert snippet(tools(odd, PUSHED, is_owner=True)) == ""


def test_the_revision_of_an_example_is_found_by_its_name() -> None:
    example = replace(EXAMPLE, repo="me/parrot", revision=PUSHED.revision)
    assert revision_of(example, [REVISION, PUSHED]) is PUSHED
    assert revision_of(example, [REVISION]) is None
