from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import re
import stat
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.settings import Limits
from pipeline.gallery import examples
from pipeline.gallery.example import Example, read_example
from pipeline.gallery.examples import Examples, HiddenError, Kept
from pipeline.gallery.quota import QuotaError

PROMPT = "import pandas as pd\n\n# create dataframe from x and y\n\n"
REVISION = Revision(
    repo="local",
    revision="0123456789ab",
    run="bold-kea",
    step=600,
    corpus="python",
    pushed_at="2026-01-01T00:00:00+00:00",
    eval_loss=2.5,
    commit=None,
    path=Path("registry/local/0123456789ab"),
)


@pytest.fixture
def gallery(tmp_path: Path) -> Examples:
    return Examples(tmp_path / "gallery")


seeds = itertools.count()


def try_to_keep(gallery: Examples, **changes: Any) -> Kept:
    """Save a result with a new seed as the owner; `changes` override its values."""
    result = {"prompt": PROMPT, "settings": {"temperature": 0.6}, "revision": REVISION, "texts": ["df = 1"]}
    return gallery.keep(**{**result, "seed": next(seeds), "kept_by": "", **changes})


def keep(gallery: Examples, **changes: Any) -> Example:
    kept = try_to_keep(gallery, **changes)
    assert kept.is_new
    return kept.example


def every(gallery: Examples) -> list[Example]:
    """The examples of all pages, newest first, including hidden ones."""
    first = gallery.page(1, include_hidden=True)
    others = [gallery.page(number, include_hidden=True) for number in range(2, first.num_pages + 1)]
    return [example for page in [first, *others] for example in page.examples]


def test_an_example_is_kept_as_it_was(gallery: Examples) -> None:
    kept = keep(gallery, seed=7, texts=["df = pd.DataFrame()", "\ttab, ünicode, \x00 and 😀\n"], title="  a   frame ")
    again = Examples(gallery.folder).get(kept.id)
    assert again == kept
    assert again.texts == ["df = pd.DataFrame()", "\ttab, ünicode, \x00 and 😀\n"]
    assert (again.prompt, again.settings, again.seed, again.title) == (PROMPT, {"temperature": 0.6}, 7, "a frame")
    assert (again.revision, again.repo, again.run, again.step, again.eval_loss) == (
        "0123456789ab",
        "local",
        "bold-kea",
        600,
        2.5,
    )
    assert again.created_at.endswith("+00:00")


def test_an_id_is_short_and_fit_for_a_link(gallery: Examples) -> None:
    ids = {keep(gallery).id for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch("[a-z0-9]{8}", found) for found in ids)


def test_an_id_that_is_taken_is_not_given_again(gallery: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = iter("a" * 8 + "a" * 8 + "b" * 8)
    monkeypatch.setattr(examples.secrets, "choice", lambda alphabet: next(letters))
    assert [keep(gallery).id, keep(gallery).id] == ["aaaaaaaa", "bbbbbbbb"]


def test_without_a_title_it_is_the_last_non_blank_line(gallery: Examples) -> None:
    assert keep(gallery).title == "# create dataframe from x and y"
    assert keep(gallery, prompt="x = " + "1" * 200).title == "x = " + "1" * 75 + "…"


def test_examples_come_newest_first(gallery: Examples) -> None:
    kept = [keep(gallery, title=str(number)) for number in range(5)]
    assert every(gallery) == kept[::-1]


def test_an_empty_gallery_lists_nothing_and_creates_nothing(gallery: Examples) -> None:
    assert every(gallery) == []
    assert gallery.page(1).num_damaged == 0
    assert not gallery.folder.exists()


@pytest.mark.parametrize("example_id", ["zzzzzzzz", "", "../../etc/passwd", "ABCDEFGH", "x" * 10_000, "aaaaaaaa\n"])
def test_an_unknown_id_gets_one_sentence(gallery: Examples, example_id: str) -> None:
    keep(gallery)
    with pytest.raises(InputError, match=r"There is no example .*; the Gallery lists those there are\.") as error:
        gallery.get(example_id)
    assert len(str(error.value)) < 120


def _damage(gallery: Examples) -> list[str]:
    """Save one intact example and several damaged ones. Returns the ids of the damaged ones."""
    whole = keep(gallery).to_dict()
    nested: dict[str, Any] = {}
    for _ in range(600):
        nested = {"x": nested}
    damaged = {
        "aaaaaaa1": b"",
        "aaaaaaa2": b"{",
        "aaaaaaa3": b"[]",
        "aaaaaaa4": b"\xff\xfe",
        "aaaaaaa5": b"{}",
        "aaaaaaa6": json.dumps({**whole, "id": "aaaaaaa6", "texts": [1]}).encode(),
        "aaaaaaa7": json.dumps({**whole, "id": "aaaaaaa7", "step": "600"}).encode(),
        "aaaaaaa8": json.dumps({**whole, "id": "other"}).encode(),
        "aaaaaaa9": json.dumps({**whole, "id": "aaaaaaa9"}).encode()[:-20],
        "aaaaaac1": json.dumps({**whole, "id": "aaaaaac1", "title": "\ud800"}).encode(),
        "aaaaaac2": json.dumps({**whole, "id": "aaaaaac2", "texts": ["x", "half \udfff"]}).encode(),
        "aaaaaac3": json.dumps({**whole, "id": "aaaaaac3", "settings": {"\ud800": 1}}).encode(),
        "aaaaaac4": json.dumps({**whole, "id": "aaaaaac4", "texts": ["x"] * 20_000}).encode(),
        "aaaaaac5": json.dumps({**whole, "id": "aaaaaac5", "step": 10**400}).encode(),
        "aaaaaac6": json.dumps({**whole, "id": "aaaaaac6", "settings": nested}).encode(),
    }
    for name, content in damaged.items():
        (gallery.folder / f"{name}.json").write_bytes(content)
    (gallery.folder / "aaaaaab1.json").mkdir()
    return [*damaged, "aaaaaab1"]


def test_damaged_files_are_left_out_and_counted(gallery: Examples) -> None:
    damaged = _damage(gallery)
    assert len(every(gallery)) == 1
    assert gallery.page(1).num_damaged == len(damaged)
    assert keep(gallery) in every(gallery)


def test_the_texts_of_two_revisions_are_not_too_many(gallery: Examples) -> None:
    whole = keep(gallery).to_dict()
    for number, is_readable in ((2 * Limits.samples, True), (2 * Limits.samples + 1, False)):
        path = gallery.folder / f"aaaaaaa{number}.json"
        path.write_text(json.dumps({**whole, "id": path.stem, "texts": ["x"] * number}))
        assert (read_example(path) is not None) is is_readable


def test_a_damaged_example_says_so(gallery: Examples) -> None:
    for name in _damage(gallery):
        with pytest.raises(DamagedError, match=f"Example {name} cannot be read"):
            gallery.get(name)


def test_other_files_in_the_folder_are_ignored(gallery: Examples) -> None:
    keep(gallery)
    (gallery.folder / ".aaaaaaaa.json.1234.tmp").write_text("{")
    (gallery.folder / "notes.json").write_text("{")
    assert len(every(gallery)) == 1
    assert gallery.page(1).num_damaged == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": "x" * 8_001}, "prompt is '8,001 characters'; keep it to 8,000"),
        ({"texts": []}, "texts"),
        ({"texts": ["x"] * 5}, "texts is 5"),
        ({"texts": ["x" * 20_001]}, "text is '20,001 characters'"),
        ({"title": "x" * 81}, "title"),
        ({"settings": {"x": "y" * 2_000}}, "settings"),
        ({"prompt": "half \ud83d"}, "prompt is 'not valid Unicode'"),
        ({"texts": ["half \ud83d"]}, "text is 'not valid Unicode'"),
    ],
)
def test_invalid_or_too_large_input_is_refused_and_nothing_is_written(
    gallery: Examples, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        keep(gallery, **changes)
    assert not gallery.folder.exists()


def test_the_limits_are_those_of_the_instance(tmp_path: Path) -> None:
    small = Examples(tmp_path, Limits(prompt_characters=10, samples=1))
    with pytest.raises(InputError, match="keep it to 10"):
        keep(small)
    assert keep(small, prompt="short").title == "short"


def test_an_unmeasured_loss_is_kept_as_none(gallery: Examples) -> None:
    kept = keep(gallery, revision=replace(REVISION, eval_loss=None))
    assert gallery.get(kept.id).eval_loss is None


# ---- quota and duplicates ----


def test_five_thousand_keeps_of_one_visitor_leave_ten(gallery: Examples) -> None:
    refused = 0
    for _ in range(5_000):
        try:
            keep(gallery, kept_by="203.0.113.7")
        except QuotaError:
            refused += 1
    assert (len(every(gallery)), refused) == (10, 4_990)


def test_a_refusal_says_how_many_and_when_the_next_is_possible(gallery: Examples) -> None:
    for _ in range(10):
        keep(gallery, kept_by="203.0.113.7")
    with pytest.raises(
        QuotaError, match=r"^Examples kept from your address in the last hour: 10, .* in \d+ min, after"
    ):
        keep(gallery, kept_by="203.0.113.7")


def test_another_visitor_and_the_owner_may_still_keep(gallery: Examples) -> None:
    for _ in range(10):
        keep(gallery, kept_by="203.0.113.7")
    keep(gallery, kept_by="203.0.113.8")
    for _ in range(40):
        keep(gallery, kept_by="")
    assert len(every(gallery)) == 51


def test_a_restart_does_not_renew_the_quota(gallery: Examples) -> None:
    for _ in range(10):
        keep(Examples(gallery.folder), kept_by="203.0.113.7")
    with pytest.raises(QuotaError):
        keep(Examples(gallery.folder), kept_by="203.0.113.7")


def test_the_folder_never_says_who_kept(gallery: Examples) -> None:
    example = keep(gallery, kept_by="203.0.113.7")
    gallery.report(example.id, "203.0.113.8")
    content = b"".join(path.read_bytes() for path in gallery.folder.iterdir())
    assert b"203.0.113" not in content
    assert stat.S_IMODE((gallery.folder / "visitors.salt").stat().st_mode) == 0o600


def test_refused_input_does_not_count_toward_the_quota(gallery: Examples) -> None:
    for _ in range(12):
        with pytest.raises(InputError, match="prompt"):
            keep(gallery, prompt=" ", kept_by="203.0.113.7")
    keep(gallery, kept_by="203.0.113.7")


def test_the_same_result_is_kept_once_and_costs_once(gallery: Examples) -> None:
    first = keep(gallery, seed=7, kept_by="203.0.113.7")
    for _ in range(20):
        again = try_to_keep(Examples(gallery.folder), seed=7, title="Another name", kept_by="203.0.113.7")
        assert (again.example, again.is_new) == (first, False)
    keep(gallery, kept_by="203.0.113.7")
    assert len(every(gallery)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "x = 1"},
        {"settings": {"temperature": 0.7}},
        {"seed": 8},
        {"revision": replace(REVISION, revision="ba9876543210")},
        {"texts": ["df = 2"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_result_that_differs_in_one_thing_is_another(gallery: Examples, change: dict[str, Any]) -> None:
    keep(gallery, seed=7)
    assert try_to_keep(gallery, **{"seed": 7, **change}).is_new


def test_what_the_owner_hid_is_not_kept_again_by_a_visitor(gallery: Examples) -> None:
    example = keep(gallery, seed=7)
    gallery.hide(example.id)
    with pytest.raises(HiddenError, match="hidden by the owner"):
        try_to_keep(gallery, seed=7, kept_by="203.0.113.7")
    assert try_to_keep(gallery, seed=7).example == example


# ---- a full gallery ----


@pytest.fixture
def of_three(gallery: Examples, monkeypatch: pytest.MonkeyPatch) -> list[Example]:
    """The three examples of a full gallery, oldest first."""
    monkeypatch.setattr(examples, "MAX_EXAMPLES", 3)
    return [keep(gallery, title=f"{number}") for number in range(3)]


def test_the_oldest_example_makes_room(gallery: Examples, of_three: list[Example]) -> None:
    newest = keep(gallery)
    assert every(gallery) == [newest, of_three[2], of_three[1]]


def test_pinned_and_reported_examples_make_no_room(gallery: Examples, of_three: list[Example]) -> None:
    gallery.pin(of_three[0].id)
    gallery.report(of_three[1].id, "203.0.113.7")
    newest = keep(gallery)
    assert every(gallery) == [newest, of_three[1], of_three[0]]


def test_a_gallery_of_pinned_and_reported_examples_refuses_and_charges_nobody(
    gallery: Examples, of_three: list[Example]
) -> None:
    gallery.pin(of_three[0].id)
    gallery.pin(of_three[1].id)
    gallery.report(of_three[2].id, "203.0.113.7")
    for _ in range(12):
        with pytest.raises(InputError, match="has to delete or unpin some first"):
            keep(gallery, kept_by="203.0.113.7")
    assert every(gallery) == of_three[::-1]
    gallery.unpin(of_three[0].id)
    assert keep(gallery, kept_by="203.0.113.7") in every(gallery)


def test_an_answered_report_protects_no_longer(gallery: Examples, of_three: list[Example]) -> None:
    gallery.report(of_three[0].id, "203.0.113.7")
    gallery.show(of_three[0].id)
    keep(gallery)
    assert of_three[0] not in every(gallery)


def test_a_gallery_that_holds_too_many_loses_one_for_each_new_one(
    gallery: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = [keep(gallery) for _ in range(6)]
    monkeypatch.setattr(examples, "MAX_EXAMPLES", 3)
    assert every(gallery) == kept[::-1]
    newest = keep(gallery)
    assert every(gallery) == [newest, *kept[:0:-1]], "only as many as were added"


# ---- moderation ----


def test_what_is_hidden_is_only_for_the_owner(gallery: Examples) -> None:
    shown, hidden = keep(gallery), keep(gallery)
    before = (gallery.folder / f"{hidden.id}.json").read_bytes()
    gallery.hide(hidden.id)
    assert gallery.page(1).examples == [shown]
    with pytest.raises(HiddenError, match=f"Example {hidden.id} was hidden by the owner of this page"):
        gallery.get(hidden.id)
    page = gallery.page(1, include_hidden=True)
    assert page.examples == [hidden, shown]
    assert (page.states[hidden.id].is_hidden, page.states[shown.id].is_hidden) == (True, False)
    assert gallery.get(hidden.id, include_hidden=True) == hidden
    assert Examples(gallery.folder).page(1).examples == [shown], "another process, or the page after a restart"
    assert (gallery.folder / f"{hidden.id}.json").read_bytes() == before
    gallery.show(hidden.id)
    assert gallery.page(1).examples == [hidden, shown]


def test_a_deleted_example_is_gone_with_its_moderation_state(gallery: Examples) -> None:
    example, other = keep(gallery), keep(gallery)
    gallery.hide(example.id)
    gallery.delete(example.id)
    assert every(gallery) == [other]
    assert example.id not in (gallery.folder / "moderation.json").read_text()
    with pytest.raises(InputError, match="There is no example"):
        gallery.get(example.id, include_hidden=True)


def test_each_visitor_reports_an_example_once_and_it_stays_in_sight(gallery: Examples) -> None:
    example = keep(gallery)
    assert gallery.report(example.id, "203.0.113.7")
    assert not gallery.report(example.id, "203.0.113.7")
    assert gallery.report(example.id, "203.0.113.8")
    page = gallery.page(1)
    assert page.examples == [example]
    assert (page.states[example.id].num_reports, page.num_reported) == (2, 1)


def test_a_visitor_reports_at_most_twenty_within_an_hour(gallery: Examples) -> None:
    kept = [keep(gallery) for _ in range(21)]
    for example in kept[:20]:
        gallery.report(example.id, "203.0.113.7")
        gallery.report(example.id, "203.0.113.7")  # the repeated report does not count
    with pytest.raises(QuotaError, match="Reports from your address in the last hour: 20"):
        gallery.report(kept[20].id, "203.0.113.7")


def test_the_owners_answer_settles_reports_and_nobody_repeats_one(gallery: Examples) -> None:
    example = keep(gallery)
    gallery.report(example.id, "203.0.113.7")
    gallery.show(example.id)
    assert gallery.page(1).num_reported == 0
    assert not gallery.report(example.id, "203.0.113.7")
    assert gallery.page(1).num_reported == 0
    gallery.report(example.id, "203.0.113.8")
    assert gallery.page(1).num_reported == 1


def test_reported_examples_can_come_first(gallery: Examples) -> None:
    kept = [keep(gallery) for _ in range(30)]
    gallery.report(kept[2].id, "203.0.113.7")
    gallery.report(kept[2].id, "203.0.113.8")
    gallery.report(kept[20].id, "203.0.113.7")
    first = gallery.page(1, include_hidden=True, reported_first=True).examples
    assert first[:4] == [kept[2], kept[20], kept[29], kept[28]]


@pytest.mark.parametrize("deed", ["report", "hide", "show", "pin", "unpin", "delete"])
@pytest.mark.parametrize("example_id", ["zzzzzzzz", "../../etc/passwd", ""])
def test_nothing_is_decided_about_an_example_that_is_not_there(gallery: Examples, deed: str, example_id: str) -> None:
    arguments = [example_id, "203.0.113.7"] if deed == "report" else [example_id]
    with pytest.raises(InputError, match="There is no example"):
        getattr(gallery, deed)(*arguments)
    assert not gallery.folder.exists()


def test_a_visitor_cannot_report_what_is_hidden(gallery: Examples) -> None:
    example = keep(gallery)
    gallery.hide(example.id)
    with pytest.raises(HiddenError):
        gallery.report(example.id, "203.0.113.7")


def test_a_damaged_list_of_decisions_shows_nothing_that_was_hidden(gallery: Examples) -> None:
    example = keep(gallery)
    gallery.hide(example.id)
    for content in ("{", '{"x": 1}', json.dumps({example.id: {"is_hidden": False}})):
        (gallery.folder / "moderation.json").write_text(content)
        for read in (lambda: Examples(gallery.folder).page(1), lambda: Examples(gallery.folder).get(example.id)):
            with pytest.raises(DamagedError, match=r"moderation\.json"):
                read()


# ---- pages ----


def test_pages_hold_24_newest_first_and_every_example_once(gallery: Examples) -> None:
    kept = [keep(gallery) for _ in range(50)]
    pages = [gallery.page(number) for number in (1, 2, 3)]
    assert [len(page.examples) for page in pages] == [24, 24, 2]
    assert [example for page in pages for example in page.examples] == kept[::-1]
    assert {(page.num_pages, page.num_examples) for page in pages} == {(3, 50)}


@pytest.mark.parametrize(("asked", "given"), [(-1, 1), (0, 1), (1, 1), (2, 2), (3, 2), (10**12, 2)])
def test_a_page_that_is_not_there_is_the_nearest(gallery: Examples, asked: int, given: int) -> None:
    for _ in range(25):
        keep(gallery)
    assert gallery.page(asked).number == given


def test_an_empty_gallery_has_one_empty_page(gallery: Examples) -> None:
    page = gallery.page(1)
    assert (page.examples, page.number, page.num_pages, page.num_examples) == ([], 1, 1, 0)


def test_a_page_reads_no_more_files_than_it_shows(gallery: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(60):
        keep(gallery)
    gallery.page(1)
    read: list[Path] = []

    def counted(path: Path) -> dict[str, Any] | None:
        read.append(path)
        return read_json(path)

    read_json = atomic_io.read_json
    monkeypatch.setattr(atomic_io, "read_json", counted)
    gallery.page(2)
    assert len([path for path in read if path.name != "moderation.json"]) <= 24
    read.clear()
    gallery.page(2)
    assert [path for path in read if path.name != "moderation.json"] == []


def test_a_repaired_file_is_read_again(gallery: Examples) -> None:
    example = keep(gallery)
    path = gallery.folder / f"{example.id}.json"
    whole = path.read_bytes()
    path.write_bytes(b"{")
    assert Examples(gallery.folder).page(1).num_damaged == 1
    atomic_io.write_text(path, whole.decode())
    assert gallery.page(1).examples == [example]


# ---- several processes ----


def _keep_as_one(folder: Path, worker: int, together: Barrier) -> None:
    gallery = Examples(folder)
    together.wait()
    for number in range(20):
        with contextlib.suppress(QuotaError):
            try_to_keep(gallery, seed=1_000 * worker + number, kept_by="203.0.113.7")


def _report_all(folder: Path, worker: int, together: Barrier) -> None:
    gallery = Examples(folder)
    together.wait()
    for example in gallery.page(1).examples:
        gallery.report(example.id, f"visitor {worker}")


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [_keep_as_one, _report_all])
def test_one_quota_and_one_list_of_decisions_hold_over_several_processes(gallery: Examples, at_once: Any) -> None:
    there = [keep(gallery) for _ in range(10)]
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(4)
    processes = [context.Process(target=at_once, args=(gallery.folder, worker, together)) for worker in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0, 0]
    if at_once is _keep_as_one:
        assert len(every(gallery)) == 20
    else:
        states = gallery.page(1).states
        assert [states[example.id].num_reports for example in there] == [4] * 10
