from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import InputError
from pipeline.core.settings import Settings
from pipeline.generation.process import generate
from pipeline.generation.settings import Sampling
from pipeline.hub import revision_store
from pipeline.hub.revision_store import RevisionStore, merged
from tests.generation.models import push


def test_the_newest_is_taken_unless_another_is_named(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    first, second = push(settings, 10), push(settings, 20)
    assert RevisionStore(settings).choose() == RevisionStore(settings).choose("newest") == second
    assert RevisionStore(settings).choose(first.revision) == RevisionStore(settings).choose(first.revision[:6]) == first


def test_without_a_push_the_starter_answers(tmp_path: Path) -> None:
    store = RevisionStore(Settings(home=tmp_path))
    assert [row.repo for row in store.revisions()] == [row.repo for row in store.known()] == ["starter"]
    own = store.choose()
    assert own == store.choose("starter") == store.choose(own.revision) and own.path.is_dir()
    pushed = push(Settings(home=tmp_path), 10)
    assert store.revisions() == [pushed] and store.choose() == pushed
    assert store.choose("starter") == own, "for comparison"


def test_an_installation_without_the_starter_says_to_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision_store, "starter", lambda: None)
    with pytest.raises(InputError, match=r"^No checkpoint has been pushed yet; train a model first, or wait"):
        RevisionStore(Settings(home=tmp_path)).choose("abcd1234")


def test_an_unknown_name_is_answered_with_what_there_is(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    pushed = push(settings, 10)
    with pytest.raises(InputError, match=pushed.revision):
        RevisionStore(settings).choose("ffff0000ffff")


@pytest.mark.slow
def test_a_pushed_revision_generates(tmp_path: Path) -> None:
    """Through all layers that the command line uses: registry, process, model."""
    settings = Settings(home=tmp_path)
    push(settings, 10)
    pushed = push(settings, 20)
    answer = generate(settings, "import pandas", sampling=Sampling(max_new_tokens=4, samples=2))
    assert (answer["revision"], answer["run"], answer["step"]) == (pushed.revision, "small-otter", 20)
    assert len(answer["samples"]) == 2


def known(name: str, pushed_at: str, *, commit: str | None = None, loss: float | None = None) -> Revision:
    facts = {"repo": "me/parrot", "revision": name, "run": "a", "step": 1, "corpus": "c", "eval_loss": loss}
    return Revision.from_facts({**facts, "pushed_at": pushed_at}, commit=commit, path=Path(name))


def test_a_revision_on_disk_and_hub_is_listed_once_with_its_commit() -> None:
    local = [known("b", "2026-01-02T00:00:00+00:00")]
    remote = [
        known("c", "2026-01-03T00:00:00+00:00", commit="33"),
        known("b", "2026-01-02T00:00:00+00:00", commit="22"),
    ]
    assert [(r.revision, r.commit) for r in merged(local, remote)] == [("c", "33"), ("b", "22")]
