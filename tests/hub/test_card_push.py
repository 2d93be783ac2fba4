"""The card of the pushed revision gets the figures of its evaluation, and keeps what its owner wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from pipeline.artifacts.revision import Registry
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.paths import Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.hub.publisher import Publisher, pending
from tests.artifacts.test_evaluation import held_out, result
from tests.checkpoints import write_checkpoint
from tests.hub.conftest import REPO, Publishers
from tests.hub.test_cards import trained
from tests.loopback_hub import LoopbackHub

pytestmark = pytest.mark.slow
__all__ = ["trained"]


def evaluate(home: Home, revision: str, right: float) -> None:
    share = {"value": right, "low": right - 0.05, "high": right + 0.05}
    tasks = {**result(1)["tasks"], "pass@1": share, "pass@10": {**share, "value": right + 0.02}}
    home.evaluations.mkdir(exist_ok=True)
    found = result(500, run="alpha", run_uid=None, tasks=tasks, held_out=held_out(bits_per_byte=1.25))
    write_json(home.evaluation(revision), found)


def again(home: Home) -> None:
    path = home.pushed_card(REPO)
    write_json(path, {**(read_json(path) or {}), "tried_at": 0})


def card(hub: LoopbackHub) -> str:
    return hub.commits(REPO)[-1].files["README.md"].content.decode()


def metrics(text: str) -> dict[str, Any]:
    front = yaml.safe_load(text.split("---\n")[1])
    return {row["type"]: row["value"] for one in front["model-index"][0]["results"] for row in one["metrics"]}


def newest(home: Home) -> str:
    found = Registry(home, REPO).newest()
    assert found is not None
    return found.revision


def test_an_evaluation_after_the_push_renews_the_card_and_nothing_else(
    home: Home, trained: RunFolder, hub: LoopbackHub, publishers: Publishers
) -> None:
    write_checkpoint(trained, 500, eval_loss=2.5)
    publishers.finish()
    assert set(metrics(card(hub))) == {"loss", "perplexity"}
    assert not pending(Settings(home=home.path, hub_repo=REPO))
    hub.edit(REPO, "README.md", card(hub).replace("## How to use", "## How I use it"))
    evaluate(home, newest(home), 0.25)
    assert pending(Settings(home=home.path, hub_repo=REPO))
    num_titles = len(hub.titles(REPO))
    publishers.finish()
    assert hub.titles(REPO)[num_titles:] == ["Update README.md"]
    assert metrics(card(hub)) == {
        "loss": 2.5, "perplexity": pytest.approx(12.18), "bits_per_byte": 1.25, "pass@1": 0.25, "pass@10": 0.27,
    }  # fmt: skip
    assert "25.0 % right (pass@1; 20.0 % to 30.0 %), 27.0 % with one of ten right" in card(hub)
    assert "## How I use it" in card(hub), "what its owner wrote stays"
    again(home)
    publishers.finish()
    assert len(hub.titles(REPO)) == num_titles + 1, "nothing has changed"
    evaluate(home, newest(home), 0.5)
    again(home)
    publishers.finish()
    assert metrics(card(hub))["pass@1"] == 0.5


def archived(hub: LoopbackHub) -> dict[str, float]:
    """Of each evaluated revision in the repo, the share that is right."""
    content = hub.commits(REPO)[-1].files["runs/alpha/evaluations.jsonl"].content.decode()
    return {row["file"]: row["tasks"]["pass@1"]["value"] for row in map(json.loads, content.splitlines())}


def test_the_figures_of_every_pushed_revision_are_kept_in_the_repo(
    home: Home, trained: RunFolder, hub: LoopbackHub, publishers: Publishers
) -> None:
    """So that they come back to a disk that was wiped (test_restore)."""
    write_checkpoint(trained, 500, eval_loss=2.5)
    publishers.finish()
    first = newest(home)
    write_checkpoint(trained, 600, eval_loss=2.25)
    publishers.finish()
    num_titles = len(hub.titles(REPO))
    evaluate(home, first, 0.25)  # the card is that of the other one
    publishers.finish()
    assert hub.titles(REPO)[num_titles:] == ["Update evaluations.jsonl"]
    assert archived(hub) == {first: 0.25}
    evaluate(home, newest(home), 0.5)
    again(home)
    publishers.finish()
    assert hub.titles(REPO)[num_titles + 1 :] == ["Update README.md"]
    assert archived(hub) == {first: 0.25, newest(home): 0.5}


def test_the_figures_that_another_home_has_put_there_stay(
    home: Home, trained: RunFolder, hub: LoopbackHub, publishers: Publishers
) -> None:
    write_checkpoint(trained, 500, eval_loss=2.5)
    publishers.finish()
    evaluate(home, newest(home), 0.25)
    publishers.finish()
    name = "runs/alpha/evaluations.jsonl"
    (row,) = hub.commits(REPO)[-1].files[name].content.decode().splitlines()
    theirs = {**json.loads(row), "file": "b" * 12}
    hub.edit(REPO, name, f"{json.dumps(theirs)}\n" + '{"file": "cccccccccccc"}\n')
    evaluate(home, newest(home), 0.5)
    again(home)
    publishers.finish()
    assert archived(hub) == {"b" * 12: 0.25, newest(home): 0.5}


@pytest.mark.parametrize("odd", [float("nan"), "\ud800"])
def test_a_file_that_cannot_be_sent_on_stops_no_push(
    home: Home, trained: RunFolder, hub: LoopbackHub, publishers: Publishers, odd: object
) -> None:
    write_checkpoint(trained, 500, eval_loss=2.5)
    publishers.finish()
    home.evaluations.mkdir()
    path = home.evaluation(newest(home), "other")
    path.write_text(json.dumps(result(500, run="alpha", run_uid=None, odd=odd)))
    first = newest(home)
    evaluate(home, first, 0.5)
    write_checkpoint(trained, 600)
    publishers.finish()
    assert archived(hub) == {first: 0.5}
    assert "step 600" in " ".join(hub.titles(REPO))


def test_the_figures_of_another_run_are_not_on_the_card(
    home: Home, trained: RunFolder, hub: LoopbackHub, publishers: Publishers
) -> None:
    write_checkpoint(trained, 500, eval_loss=2.5)
    publishers.finish()
    evaluate(home, newest(home), 1.0)
    found = read_json(home.evaluation(newest(home))) or {}
    write_json(home.evaluation(newest(home)), {**found, "run": "crow"})
    publishers.finish()
    assert "pass@1" not in metrics(card(hub))


def test_an_evaluation_before_the_push_is_on_its_card_and_the_next_revision_has_its_own(
    home: Home, trained: RunFolder, hub: LoopbackHub, publishers: Publishers
) -> None:
    write_checkpoint(trained, 500)
    Publisher(Settings(home=home.path, hub_repo=REPO)).registry.add(trained.checkpoint(500))
    evaluate(home, newest(home), 0.25)
    publishers.finish()
    assert metrics(card(hub))["pass@1"] == 0.25
    assert "Update README.md" not in hub.titles(REPO), "it was on the card already"
    write_checkpoint(trained, 600)
    again(home)
    publishers.finish()
    assert "pass@1" not in metrics(card(hub)), "the newest revision was not evaluated"
