"""The approved examples as a dataset: what is pushed, what leaves with its history, and what comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.gallery.examples import Examples
from pipeline.hub.gallery_dataset import KIND, REMOVED, TAKE_AWAY, UPDATE
from pipeline.hub.gallery_file import NAME
from pipeline.hub.gallery_merge import fetched
from pipeline.hub.publisher import pending
from tests.hub.conftest import Publishers
from tests.hub.test_gallery_push import keep
from tests.loopback_hub import TOKEN, LoopbackHub

DATASET = "me/gallery"
REPO = f"datasets/{DATASET}"


class OfDataset(Publishers):
    """Publishers without a model repo."""

    def environment(self, token: str | None = None) -> dict[str, str]:
        named = {**super().environment(), "PIPELINE_GALLERY_REPO": DATASET}
        del named["PIPELINE_HUB_REPO"]
        return named

    def push(self, **options: Any) -> None:
        """Let the next push be due now, and push."""
        path = self.home.pushed_gallery(REPO)
        write_json(path, {**(read_json(path) or {}), "tried_at": 0})
        self.finish(**options)


@pytest.fixture
def publishers(home: Home, hub: LoopbackHub, tmp_path: Path) -> Any:
    started = OfDataset(home, hub, tmp_path)
    yield started
    started.close()


def approved(home: Home, prompt: str) -> str:
    example_id = keep(home, prompt)
    Examples(home.gallery).approve(example_id)
    return example_id


def rows(hub: LoopbackHub) -> list[dict[str, Any]]:
    return [json.loads(line) for line in hub.commits(REPO)[-1].files[NAME].content.splitlines()]


def everything(hub: LoopbackHub) -> bytes:
    """All files of all commits."""
    return b"".join(file.content for commit in hub.commits(REPO) for file in commit.files.values())


def test_only_what_is_approved_is_pushed_with_a_card(home: Home, hub: LoopbackHub, publishers: OfDataset) -> None:
    keep(home, "not approved")
    seen, hidden, reported = approved(home, "seen"), approved(home, "hidden"), approved(home, "reported")
    gallery = Examples(home.gallery)
    gallery.hide(hidden)
    gallery.report(reported, "somebody")
    publishers.push()
    assert [row["id"] for row in rows(hub)] == [seen]
    card = hub.commits(REPO)[-1].files["README.md"].content.decode()
    assert "path: gallery.jsonl" in card and "1 completion that" in card
    assert not pending(Settings(home=home.path, gallery_repo=DATASET))


def test_without_an_approved_example_no_repo_is_made(home: Home, hub: LoopbackHub, publishers: OfDataset) -> None:
    keep(home, "x")
    publishers.push()
    assert hub.commits(REPO) == []


@pytest.mark.parametrize("deed", ["delete", "hide", "disapprove"])
def test_what_is_taken_out_leaves_its_history(home: Home, hub: LoopbackHub, publishers: OfDataset, deed: str) -> None:
    secret, other = approved(home, "a secret prompt"), approved(home, "other")
    publishers.push()
    assert b"a secret prompt" in everything(hub)
    getattr(Examples(home.gallery), deed)(secret)
    publishers.push()
    assert [row["id"] for row in rows(hub)] == [other]
    assert b"a secret prompt" not in everything(hub)
    assert [commit.title for commit in hub.commits(REPO)] == [UPDATE]


def test_a_report_takes_nothing_out(home: Home, hub: LoopbackHub, publishers: OfDataset, tmp_path: Path) -> None:
    """Neither here nor on a page that restored the dataset."""
    example = approved(home, "x")
    publishers.push()
    Examples(home.gallery).report(example, "a stranger")
    publishers.push()
    (tmp_path / "two").mkdir()
    other_home = Home(tmp_path / "two" / "home")
    other = OfDataset(other_home, hub, tmp_path / "two")
    try:
        second = approved(other_home, "of two")
        other.push()
        Examples(other_home.gallery).report(example, "a stranger")
        other.push()
    finally:
        other.close()
    assert [row["id"] for row in rows(hub)] == [example, second]
    files = hub.commits(REPO)[-1].files
    assert REMOVED not in files
    assert hub.commits(REPO)[-1].title == UPDATE and len(hub.commits(REPO)) == 3, "no squash"
    Examples(home.gallery).hide(example)
    publishers.push()
    assert [row["id"] for row in rows(hub)] == [second]


@pytest.mark.parametrize("request_", ["commit/main", "super-squash/main"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_push_killed_around_a_request_is_finished_by_the_next(
    home: Home, hub: LoopbackHub, publishers: OfDataset, request_: str, when: str
) -> None:
    secret, other = approved(home, "a secret prompt"), approved(home, "other")
    publishers.push()
    Examples(home.gallery).delete(secret)
    call = {"commit/main": "create_commit", "super-squash/main": "super_squash_history"}[request_]
    kill = "os.kill(os.getpid(), signal.SIGKILL)"
    order = [kill, "answer = whole(*a, **k)"] if when == "before" else ["answer = whole(*a, **k)", kill]
    seam = "\n".join(
        [
            "import os, signal",
            "from huggingface_hub import HfApi",
            f"whole = HfApi.{call}",
            "def killed(*a, **k):",
            *(f"    {line}" for line in order),
            "    return answer",
            f"HfApi.{call} = killed",
        ]
    )
    publishers.push(attempt_seam=seam)
    assert other in {row["id"] for row in rows(hub)}, "the repo is valid"
    assert len(hub.commits(REPO)) > 1 or when == "after"
    publishers.push()
    assert [row["id"] for row in rows(hub)] == [other]
    assert b"a secret prompt" not in everything(hub)
    assert TAKE_AWAY not in [commit.title for commit in hub.commits(REPO)]


def test_a_kill_after_the_commit_and_the_old_state_again_is_pushed(
    home: Home, hub: LoopbackHub, publishers: OfDataset
) -> None:
    example = approved(home, "x")
    publishers.push()
    Examples(home.gallery).disapprove(example)
    publishers.push(attempt_seam="import os, signal\nfrom huggingface_hub import HfApi\n"
                    "HfApi.super_squash_history = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)")  # fmt: skip
    Examples(home.gallery).approve(example)
    publishers.push()
    assert [row["id"] for row in rows(hub)] == [example]
    assert TAKE_AWAY not in [commit.title for commit in hub.commits(REPO)]


def test_two_instances_keep_each_others_examples_and_their_removals(
    home: Home, hub: LoopbackHub, publishers: OfDataset, tmp_path: Path
) -> None:
    first = approved(home, "of one")
    publishers.push()
    (tmp_path / "two").mkdir()
    other_home = Home(tmp_path / "two" / "home")
    other = OfDataset(other_home, hub, tmp_path / "two")
    try:
        second = approved(other_home, "of two")
        other.push()
        assert {row["id"] for row in rows(hub)} == {first, second}
        assert Examples(other_home.gallery).state(first).is_approved, "it took what was there"
        third = approved(home, "of one again")
        publishers.push()
        assert {row["id"] for row in rows(hub)} == {first, second, third}
        Examples(home.gallery).delete(first)
        publishers.push()
        fourth = approved(other_home, "of two again")
        other.push()
        assert {row["id"] for row in rows(hub)} == {second, third, fourth}
        assert json.loads(hub.commits(REPO)[-1].files[REMOVED].content) == {"ids": [first]}
    finally:
        other.close()


def test_another_commit_in_between_is_not_overwritten(home: Home, hub: LoopbackHub, publishers: OfDataset) -> None:
    first = approved(home, "x")
    publishers.push()
    others = {**rows(hub)[0], "id": "othersid", "created_at": "2025"}
    second = approved(home, "y")

    def commit_first() -> None:
        hub.edit(REPO, NAME, "".join(f"{json.dumps(row)}\n" for row in [others, *rows(hub)]))

    hub.happens(commit_first, on=f"POST /api/datasets/{DATASET}/commit/main")
    publishers.push()
    publishers.push()
    assert {row["id"] for row in rows(hub)} == {first, second, "othersid"}


def test_a_wiped_gallery_comes_back_approved(home: Home, hub: LoopbackHub, publishers: OfDataset) -> None:
    first = approved(home, "x")
    publishers.push()
    shutil.rmtree(home.path)
    second = approved(home, "y")
    publishers.push()
    assert {row["id"] for row in rows(hub)} == {first, second}
    gallery = Examples(home.gallery)
    assert gallery.get(first).prompt == "x" and gallery.state(first).is_approved
    gallery.delete(first)
    publishers.push()
    assert {row["id"] for row in rows(hub)} == {second}
    assert b'"x"' not in everything(hub)


def test_a_file_that_is_too_large_is_not_downloaded(hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.commit(REPO, "large", {NAME: "{}\n" * 100})
    api = HfApi(endpoint=hub.url, token=TOKEN)
    monkeypatch.setattr(api, "hf_hub_download", lambda repo, name, **options: f"downloaded {name}")
    assert fetched(api, DATASET, NAME, "main", KIND) == Path(f"downloaded {NAME}"), "control"
    monkeypatch.setattr("pipeline.hub.gallery_merge.MAX_FILE_BYTES", 100)
    with pytest.raises(DamagedError, match="too large to be ours"):
        fetched(api, DATASET, NAME, "main", KIND)


def test_a_dataset_of_somebody_else_is_refused(home: Home, hub: LoopbackHub, publishers: OfDataset) -> None:
    hub.commit(REPO, "mine", {"data.csv": "x"})
    approved(home, "x")
    publishers.push()
    assert NAME not in hub.commits(REPO)[-1].files
    assert f"Dataset {DATASET} holds data.csv, not written by this program" in publishers.log.read_text()


def test_a_file_that_is_added_on_the_hub_stays_and_keeps_no_removal_back(
    home: Home, hub: LoopbackHub, publishers: OfDataset
) -> None:
    example = approved(home, "x")
    publishers.push()
    hub.edit(REPO, "LICENSE", "free")
    Examples(home.gallery).hide(example)
    publishers.push()
    assert rows(hub) == []
    assert hub.commits(REPO)[-1].files["LICENSE"].content == b"free"


def test_a_public_dataset_gets_nothing_that_shall_be_private(
    home: Home, hub: LoopbackHub, publishers: OfDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.commit(REPO, "init", {})
    approved(home, "x")
    monkeypatch.setenv("PIPELINE_HUB_PRIVATE", "1")
    publishers.push()
    assert NAME not in hub.commits(REPO)[-1].files
    assert f"Dataset {DATASET} is public, and PIPELINE_HUB_PRIVATE is 1" in publishers.log.read_text()
    hub.repos.private.add(REPO)
    publishers.push()
    assert len(rows(hub)) == 1


def test_a_state_of_an_older_file_is_read(home: Home) -> None:
    example = keep(home, "x")
    old = {"is_hidden": False, "is_pinned": True, "reporters": [], "num_settled": 0}
    write_json(home.gallery / "moderation.json", {example: old})
    state = Examples(home.gallery).state(example)
    assert (state.is_pinned, state.is_approved) == (True, False)
