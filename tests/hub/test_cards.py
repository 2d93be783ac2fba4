from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipeline.files import read_json
from pipeline.folders import Home, RunFolder
from pipeline.hub.cards import model_card
from pipeline.hub.registry import Registry
from tests.checkpoints import write_checkpoint


def card(home: Home, run: RunFolder, **options: Any) -> str:
    revision = Registry(home, "me/parrot").add(write_checkpoint(run, 500, **options))
    return model_card(read_json(revision.path / "provenance.json") or {})


def test_the_front_matter_is_what_the_hub_reads(home: Home, run: RunFolder) -> None:
    _, front, _ = card(home, run).split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["library_name"] == "transformers"
    assert told["pipeline_tag"] == "text-generation"
    assert told["license"] == "other"
    assert told["license_name"]
    assert "code" in told["tags"]


def test_the_card_tells_run_step_loss_and_corpus(home: Home, run: RunFolder) -> None:
    text = card(home, run, eval_loss=2.5)
    for fact in ("`alpha`", "500 of 600", "2.5000", "12.18", "`python`", "4,242,432", 'model="me/parrot"', "2.13.0"):
        assert fact in text


@pytest.mark.parametrize(("final", "told"), [(False, "training in progress"), (True, "the run has ended")])
def test_the_card_says_whether_the_run_goes_on(home: Home, run: RunFolder, final: bool, told: str) -> None:
    assert told in card(home, run, final=final)


def test_what_was_not_measured_is_said_to_be_so(home: Home, run: RunFolder) -> None:
    text = card(home, run, eval_loss=None)
    assert text.count("not measured at this step") == 2
    assert "None" not in text


def test_the_same_revision_always_has_the_same_card(home: Home, run: RunFolder) -> None:
    assert card(home, run) == card(home, run)


def test_the_token_never_reaches_a_card(home: Home, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "accelerate" in card(home, run)
    monkeypatch.setenv("HF_TOKEN", "accelerate")
    assert "accelerate" not in card(home, run)
