"""After a wipe, the page lists the runs, revisions and examples that the commands print, in the same order."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio_client
import pytest

from pipeline.artifacts.revision import BEST, NEWEST, Registry
from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from pipeline.ui.shared.formats import loss, whole
from tests.hub import test_wiped_disk
from tests.hub.test_wiped_disk import REPO, SMALL, Space, has_state
from tests.page import Page
from tests.posts import config_of, post
from tests.waiting import eventually

pytestmark = pytest.mark.slow

space = test_wiped_disk.space
Row = dict[str, Any]
ROW = re.compile(
    r'data-run="(?P<run>[^"]+)".*?class="pill (?P<state>\w+)".*?class="num">(?P<step>[\d,]+)<span class="quiet"> / '
    r'(?P<of>[\d,]+)<.*?class="num">(?P<loss>[^<]+)<'
)
"""A row of the page's table of runs."""


def train(space: Space, run: str, max_steps: int, *options: str) -> None:
    space.run("train", "--corpus", "mine", "--run-id", run, "--max-steps", str(max_steps), *options, "--set", *SMALL.split())  # fmt: skip


def keep_examples(home: Home) -> None:
    """One example that visitors see of each revision, a pinned one among them, and a hidden one."""
    gallery, revisions = Examples(home.gallery), Registry(home, REPO).revisions()
    kept = [
        gallery.keep(prompt=prompt, settings={}, seed=1, revision=revision, texts=["x"], kept_by="").example.id
        for prompt, revision in zip(("first", "second", "hidden", "last"), revisions, strict=False)
    ]
    gallery.pin(kept[1])
    gallery.hide(kept[2])


@dataclass(frozen=True)
class Before:
    """What was listed before the disk was lost."""

    finished: Row
    """The run that had finished, as `runs` printed it."""
    revisions: list[Row]
    """Those of the runs that had ended, without the superseded ones, which no Hub has."""
    examples: list[str]
    """Ids of the examples that visitors saw."""


@pytest.fixture
def before(space: Space) -> Before:
    """Leaves a Space that lost its disk: two runs had ended, of which one was stopped, and the third one trained."""
    train(space, "macaw", 120)
    train(space, "kea", 120_000, "--detach")
    eventually(lambda: len(space.hub.titles(REPO)) >= 5, "pushes of the second run")
    space.run("stop", "kea")
    keep_examples(space.home)
    space.run("publish")
    finished = next(row for row in space.shown("runs") if row["run"] == "macaw")
    revisions = [row for row in space.shown("revisions") if row["commit"]]
    examples = [example.id for example in Examples(space.home.gallery).page(1).examples]
    train(space, "parrot", 120_000, "--detach")
    eventually(lambda: any("(run parrot)" in title for title in space.hub.titles(REPO)), "a push of the third run")
    eventually(lambda: has_state(space.hub), "its training state")
    space.wipe()
    return Before(finished, revisions, examples)


@pytest.fixture
def page(space: Space, before: Before) -> Iterator[Page]:
    """The page on the wiped disk, for its owner."""
    variables = {name: value for name, value in space.environment().items() if name not in os.environ}
    started = Page(space.home.path, **variables)
    started.start()
    yield started
    started.kill()


def shown(page: Page, event: str) -> dict[str, Any]:
    """What the page's event `event` sends to a browser that has just opened it, by element id."""
    config = config_of(page)
    blocks = {block["id"]: block["props"] for block in config["components"]}
    found = next(found for found in config["dependencies"] if found["api_name"] == event)
    values = [blocks[number].get("value") for number in found["inputs"]]
    asked = {"data": values, "fn_index": found["id"], "session_hash": secrets.token_hex(6), "trigger_id": None}
    status, text = post(page, "/gradio_api/run/predict", asked)
    assert status == 200, text
    return {blocks[n].get("elem_id"): v for n, v in zip(found["outputs"], json.loads(text)["data"], strict=True)}


def runs_on(page: Page) -> list[Row]:
    return [found.groupdict() for found in ROW.finditer(shown(page, "poll_runs")["runs"].replace("\n", ""))]


def revisions_on(page: Page) -> list[tuple[str, str]]:
    """Label and id of each choice, without those that name the newest and the best, and the starter, which is the last."""
    choices = shown(page, "open_page")["revision"]["choices"]
    *pushed, (last, _) = [(label, value) for label, value in choices if value not in (NEWEST, BEST)]
    assert last == "starter model", choices
    return pushed


def examples_on(page: Page) -> list[str]:
    return re.findall(r'<article data-id="(\w+)"', shown(page, "show")["gallery"])


def test_the_page_lists_what_the_commands_print(space: Space, before: Before, page: Page) -> None:
    """The commands in the same home, and in a second one that is restored by itself."""
    elsewhere = Space(space.folder, space.hub)
    elsewhere.home = Home(space.folder / "elsewhere")
    eventually(lambda: len(runs_on(page)) == 3 and revisions_on(page), "the runs")
    client = gradio_client.Client(page.url, verbose=False)
    for place in (space, elsewhere):
        runs, revisions = place.shown("runs"), place.shown("revisions")
        assert [row["run"] for row in runs] == ["parrot", "kea", "macaw"]
        assert (runs[0]["state"], runs[2]["state"]) == ("interrupted", "finished")
        assert runs[1]["state"] in ("stopped", "interrupted"), "as the trainer had said when its last step was pushed"
        assert runs_on(page) == [
            {
                "run": row["run"],
                "state": row["state"],
                "step": whole(row["step"]),
                "of": whole(row["max_steps"]),
                "loss": loss(row["eval_loss"]),
            }
            for row in runs
        ]
        assert [client.predict(row["run"], api_name="/status") for row in runs] == runs
        assert client.predict(api_name="/revisions") == revisions
        assert revisions_on(page) == [
            (f"step {whole(r['step'])} · loss {loss(r['eval_loss'])} · {r['run']} · {r['revision']}", r["revision"])
            for r in revisions
        ]
        kept = [example.id for example in Examples(place.home.gallery).page(1).examples]
        assert examples_on(page) == [row["id"] for row in client.predict(api_name="/examples")] == kept
        assert kept == before.examples and len(kept) == 3
        assert [row for row in revisions if row["run"] != "parrot"] == before.revisions
        assert {**runs[2], "updated_at": None} == {**before.finished, "updated_at": None}
