"""The gallery outlives the disk: it is pushed to the model repo when it changes, and comes back."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.core.atomic_io import locked, read_json, write_json
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.gallery import examples
from pipeline.gallery.example import read_example
from pipeline.gallery.examples import Examples
from pipeline.hub.gallery_file import NAME, gallery_file, is_example, own_rows, restore_gallery, taken_away
from pipeline.hub.gallery_merge import REMOVED, note_known
from pipeline.hub.gallery_push import GalleryContent
from pipeline.hub.publisher import pending
from tests.hub.conftest import REPO, Publishers
from tests.hub.test_restore import listed
from tests.loopback_hub import TOKEN, LoopbackHub

REVISION = Revision(
    repo=REPO,
    revision="0123456789ab",
    run="alpha",
    step=20,
    corpus="mine",
    pushed_at="2026-01-01T00:00:00+00:00",
    eval_loss=3.5,
    commit=None,
    path=Path("nowhere"),
)


def keep(home: Home, prompt: str) -> str:
    gallery = Examples(home.gallery)
    return gallery.keep(prompt=prompt, settings={}, seed=1, revision=REVISION, texts=[" = 1"], kept_by="").example.id


def pushed(hub: LoopbackHub) -> list[dict[str, Any]]:
    return [json.loads(line) for line in hub.commits(REPO)[-1].files[NAME].content.splitlines()]


def again(home: Home) -> None:
    """Let the next push be due now."""
    path = home.pushed_gallery(REPO)
    write_json(path, {**(read_json(path) or {}), "tried_at": 0})


def test_a_gallery_is_pushed_without_what_visitors_may_not_see(
    home: Home, hub: LoopbackHub, publishers: Publishers
) -> None:
    ids = {prompt: keep(home, prompt) for prompt in ("seen", "hidden", "reported", "answered", "pinned")}
    gallery = Examples(home.gallery)
    gallery.hide(ids["hidden"])
    gallery.report(ids["reported"], "somebody")
    gallery.report(ids["answered"], "somebody")
    gallery.show(ids["answered"])
    gallery.pin(ids["pinned"])
    publishers.finish()
    assert hub.titles(REPO) == [f"Update {NAME}"]
    assert [(row["prompt"], row["pinned"]) for row in pushed(hub)] == [
        ("seen", False),
        ("answered", False),
        ("pinned", True),
    ]
    text = hub.commits(REPO)[-1].files[NAME].content.decode()
    assert "somebody" not in text and "reporters" not in text


def test_a_gallery_that_has_not_changed_is_not_pushed_again(
    home: Home, hub: LoopbackHub, publishers: Publishers
) -> None:
    first = keep(home, "x")
    publishers.finish()
    assert len(hub.titles(REPO)) == 1
    second = keep(home, "y")
    publishers.finish()
    assert len(hub.titles(REPO)) == 1, "not within ten minutes"
    again(home)
    publishers.finish()
    again(home)
    publishers.finish()
    assert len(hub.titles(REPO)) == 2
    assert [row["id"] for row in pushed(hub)] == [first, second]
    Examples(home.gallery).delete(first)
    again(home)
    publishers.finish()
    assert [row["id"] for row in pushed(hub)] == [second], "what was deleted here is gone there"


@pytest.mark.parametrize(("status", "is_due_after_a_minute"), [(503, True), (403, False)])
def test_after_a_fault_that_passes_it_is_tried_again_within_a_minute(
    home: Home, hub: LoopbackHub, publishers: Publishers, status: int, is_due_after_a_minute: bool
) -> None:
    hub.refuse(status)
    keep(home, "x")
    publishers.finish()
    hub.heal()
    assert not GalleryContent(home, REPO).is_due
    marker = read_json(home.pushed_gallery(REPO)) or {}
    write_json(home.pushed_gallery(REPO), {**marker, "tried_at": marker["tried_at"] - 60})
    assert GalleryContent(home, REPO).is_due == is_due_after_a_minute


def test_a_token_in_an_example_is_not_pushed(home: Home, hub: LoopbackHub, publishers: Publishers) -> None:
    keep(home, f"token = '{TOKEN}'")
    publishers.finish()
    assert pushed(hub)[0]["prompt"] == "token = '[token]'"


def test_a_reported_example_is_left_out_until_it_is_answered(
    home: Home, hub: LoopbackHub, publishers: Publishers
) -> None:
    example, other = keep(home, "x"), keep(home, "y")
    publishers.finish()
    Examples(home.gallery).report(example, "a stranger")
    again(home)
    publishers.finish()
    assert [row["id"] for row in pushed(hub)] == [other]
    assert REMOVED not in hub.commits(REPO)[-1].files
    Examples(home.gallery).show(example)
    again(home)
    publishers.finish()
    assert [row["id"] for row in pushed(hub)] == [example, other]


def test_only_what_the_owner_deleted_is_taken_away(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted, evicted = keep(home, "x"), keep(home, "y")
    Examples(home.gallery).delete(deleted)
    monkeypatch.setattr(examples, "MAX_EXAMPLES", 1)
    newest = keep(home, "z")
    assert [row["id"] for row in own_rows(home)] == [newest]
    assert taken_away(home, [deleted, evicted, newest]) == {deleted}


def test_a_gallery_takes_from_the_hub_what_it_has_room_for(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [keep(home, prompt) for prompt in "abcd"]
    source = tmp_path / NAME
    source.write_bytes(gallery_file(home))
    for example_id in ids[:3]:
        Examples(home.gallery).delete(example_id)
    for room, restored in ((0, 0), (2, 2)):
        monkeypatch.setattr("pipeline.hub.gallery_file.MAX_RESTORED", 1 + room)
        assert restore_gallery(home, source) == restored
    assert [example.prompt for example in Examples(home.gallery).page(1).examples] == ["d", "c", "b"], "the newest"


def test_only_what_a_restore_adds_is_approved(home: Home, tmp_path: Path) -> None:
    here, lacking = keep(home, "here"), keep(home, "lacking")
    Examples(home.gallery).pin(lacking)
    source = tmp_path / NAME
    source.write_bytes(gallery_file(home))
    (home.gallery / f"{lacking}.json").unlink()
    (home.gallery / "moderation.json").unlink()
    assert restore_gallery(home, source, are_approved=True) == 1
    gallery = Examples(home.gallery)
    assert not gallery.state(here).is_approved
    assert gallery.state(lacking).is_approved and gallery.state(lacking).is_pinned
    note_known(home, "me/gallery", "dataset", source)
    known = (read_json(home.gallery_ids("dataset", "me/gallery")) or {})["ids"]
    assert known == [lacking], "the other is there by another home, and this one does not take it away"


def test_what_came_from_the_model_repo_first_is_approved_by_the_dataset(home: Home, tmp_path: Path) -> None:
    """After a wipe; not what the owner has answered since."""
    first, second = keep(home, "x"), keep(home, "y")
    source = tmp_path / NAME
    source.write_bytes(gallery_file(home))
    shutil.rmtree(home.gallery)
    restore_gallery(home, source)
    gallery = Examples(home.gallery)
    gallery.hide(second)
    restore_gallery(home, source, are_approved=True)
    assert gallery.state(first).is_approved and not gallery.state(second).is_approved


def test_a_gallery_is_restored_under_its_lock(home: Home, tmp_path: Path) -> None:
    """Else a state that the owner sets meanwhile is lost."""
    Examples(home.gallery).pin(keep(home, "x"))
    source = tmp_path / NAME
    source.write_bytes(gallery_file(home))
    shutil.rmtree(home.gallery)
    thread = threading.Thread(target=restore_gallery, args=(home, source), daemon=True)
    with locked(home.gallery / ".lock"):
        thread.start()
        thread.join(0.3)
        assert thread.is_alive() and not (home.gallery / "moderation.json").exists()
    thread.join(30)
    assert (home.gallery / "moderation.json").exists()


def test_a_row_that_is_no_example_is_not_restored(home: Home, tmp_path: Path) -> None:
    """It would be a damaged file, which nothing evicts. The check is as strict as the reader."""
    keep(home, "x")
    good = next(own_rows(home))
    oddities = [None, 3, True, "", "text", [], [3], {}, float("nan"), float("inf")]
    for name in good.keys() - {"id", "pinned"}:
        without = {key: value for key, value in good.items() if key != name}
        for row in (without, *({**good, name: odd} for odd in oddities)):
            path = tmp_path / f"{good['id']}.json"
            path.write_text(json.dumps(row))
            assert is_example(row) == (read_example(path) is not None), (name, row.get(name))
    source = tmp_path / NAME
    source.write_text(json.dumps({**good, "id": "abcdefgh", "texts": 3}) + "\n")
    assert restore_gallery(home, source) == 0


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"x": found}
    return found


@pytest.mark.parametrize(
    "change",
    [{"texts": ["x"] * 20_000}, {"texts": ["x"] * 9}, {"title": "\ud800"}, {"settings": nested(600)}],
    ids=["20,000 texts", "9 texts", "surrogate", "nested"],
)
def test_a_row_that_the_page_cannot_show_is_not_restored(home: Home, tmp_path: Path, change: dict[str, Any]) -> None:
    keep(home, "x")
    row = {**next(own_rows(home)), "id": "abcdefgh"}
    source, path = tmp_path / NAME, tmp_path / "abcdefgh.json"
    path.write_text(json.dumps({**row, **change}))
    assert not is_example({**row, **change}) and read_example(path) is None
    source.write_text(json.dumps({**row, **change}) + "\n" + json.dumps({**row, "id": "hgfedcba"}) + "\n")
    assert restore_gallery(home, source) == 1 and (home.gallery / "hgfedcba.json").exists(), "the other row is whole"


def test_a_refused_gallery_is_tried_again_later(home: Home, hub: LoopbackHub, publishers: Publishers) -> None:
    keep(home, "x")
    hub.refuse(403, on="/commit/main")
    publishers.finish()
    assert "The gallery is not pushed: The token may not write to me/parrot" in publishers.log.read_text()
    assert not pending(Settings(home=home.path, hub_repo=REPO)), "it does not hammer"
    hub.heal()
    again(home)
    assert pending(Settings(home=home.path, hub_repo=REPO))
    publishers.finish()
    assert pushed(hub)


def test_a_repo_of_somebody_else_gets_no_gallery(home: Home, hub: LoopbackHub, publishers: Publishers) -> None:
    hub.commit(REPO, "init", {})
    hub.commit(REPO, "mine", {"notes.txt": "x"})
    keep(home, "x")
    publishers.finish()
    assert NAME not in hub.commits(REPO)[-1].files
    assert "holds notes.txt, not written by this program" in publishers.log.read_text()


def test_a_damaged_moderation_file_pushes_nothing(home: Home, hub: LoopbackHub, publishers: Publishers) -> None:
    keep(home, "x")
    (home.gallery / "moderation.json").write_text("{")
    publishers.finish()
    assert hub.titles(REPO) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("abcdefgh.json", '{"id": "abcdefgh", "prompt": "\\ud800"}'),
        ("abcdefgh.json", '{"id": "abcdefgh", "eval_loss": NaN}'),
        ("moderation.json", '{"abcdefgh": true}'),
        (
            "moderation.json",
            '{"abcdefgh": {"is_hidden": false, "is_pinned": false, "reporters": null, "num_settled": 0}}',
        ),
    ],
)
def test_an_odd_file_keeps_no_gallery_from_the_hub(
    home: Home, hub: LoopbackHub, publishers: Publishers, name: str, text: str
) -> None:
    """As somebody else may have put it into the archive."""
    kept = keep(home, "x")
    write_json(home.gallery / "abcdefgh.json", {"id": "abcdefgh", "prompt": "y"})
    (home.gallery / name).write_text(text)
    publishers.finish()
    assert [row["id"] for row in pushed(hub)] == [kept], "what nobody can read is not shown to everybody"


def test_a_wiped_gallery_comes_back_with_its_links(
    home: Home, hub: LoopbackHub, publishers: Publishers, tmp_path: Path
) -> None:
    first, second = keep(home, "x"), keep(home, "y")
    Examples(home.gallery).pin(second)
    publishers.finish()
    before = gallery_file(home)
    other = tmp_path / "other"
    listed(hub, other)
    restored = Examples((other / "home") / "gallery")
    assert restored.get(first).prompt == "x" and restored.state(second).is_pinned
    assert gallery_file(Home(other / "home")) == before
    shutil.rmtree(home.path)
    shutil.copytree(other / "home", home.path)
    again(home)
    publishers.finish()
    assert len(hub.titles(REPO)) == 1, "what came from the Hub is not pushed to it"


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "../../xx"}',
        '{"id": 3}',
        "[]",
        '{"id": "abcdefgh", "texts": 3}',
        '{"id": "ABCDEFGH"}',
        "{",
        "null",
        '{"id": "abcdefgh", "prompt": "\\ud800"}',
        f'{{"id": "abcdefgh", "eval_loss": {"9" * 400}}}',
        f'{{"id": "abcdefgh", "prompt": "{"x" * 200_000}"}}',
        "[" * 100000,
    ],
)
def test_rows_of_somebody_else_harm_nothing(home: Home, tmp_path: Path, line: str) -> None:
    keep(home, "x")
    good = gallery_file(home)
    shutil.rmtree(home.gallery)
    source = tmp_path / NAME
    source.write_bytes(line.encode() + b"\n" + good)
    restore_gallery(home, source)
    page = Examples(home.gallery).page(1)
    assert [example.prompt for example in page.examples] == ["x"]
    assert not list(tmp_path.glob("xx*"))


def test_what_this_disk_has_stays_and_what_it_lacks_is_added(home: Home, tmp_path: Path) -> None:
    """A visitor kept an example before the Hub could be read, or restoring was ended by a kill."""
    own = keep(home, "x")
    lacking = keep(home, "y")
    Examples(home.gallery).pin(lacking)
    good = gallery_file(home).replace(b'"x"', b'"another text"')
    Examples(home.gallery).delete(lacking)
    Examples(home.gallery).hide(own)
    source = tmp_path / NAME
    source.write_bytes(good)
    assert restore_gallery(home, source) == 1
    assert restore_gallery(home, source) == 0
    gallery = Examples(home.gallery)
    assert (gallery.get(own, include_hidden=True).prompt, gallery.state(own).is_hidden) == ("x", True)
    assert (gallery.get(lacking).prompt, gallery.state(lacking).is_pinned) == ("y", True)


def test_the_gallery_of_a_wiped_disk_does_not_replace_that_of_the_hub(
    home: Home, hub: LoopbackHub, publishers: Publishers, tmp_path: Path
) -> None:
    old = keep(home, "old")
    publishers.finish()
    shutil.rmtree(home.path)
    new = keep(home, "new")
    publishers.finish()
    assert {row["id"] for row in pushed(hub)} == {old, new}
    assert Examples(home.gallery).get(old).prompt == "old"


def test_a_repo_that_the_token_could_not_see_keeps_its_gallery(
    home: Home, hub: LoopbackHub, publishers: Publishers, tmp_path: Path
) -> None:
    """The disk was wiped, and the new token was given no access at first."""
    old = keep(home, "old")
    publishers.finish()
    shutil.rmtree(home.path)
    hub.refuse(404, on=f"GET /api/models/{REPO}$")
    assert listed(hub, tmp_path)[0] == []
    hub.heal()
    new = keep(home, "new")
    publishers.finish()
    assert {row["id"] for row in pushed(hub)} == {old, new}


def test_what_is_deleted_after_the_first_push_does_not_come_back(
    home: Home, hub: LoopbackHub, publishers: Publishers
) -> None:
    first, second = keep(home, "x"), keep(home, "y")
    publishers.finish()
    Examples(home.gallery).delete(first)
    again(home)
    publishers.finish()
    assert [row["id"] for row in pushed(hub)] == [second]
    assert [example.id for example in Examples(home.gallery).page(1).examples] == [second]
