"""The gallery's buttons for visitors and for the owner. Access does not rely on hidden buttons."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import InputError
from pipeline.core.settings import Settings
from pipeline.gallery.example import Example
from pipeline.ui.gallery.tab import GalleryTab, View
from pipeline.ui.generate.answers import Result
from pipeline.ui.generate.tab import GenerateTab
from pipeline.ui.server.api import Api
from pipeline.ui.shared.engine import Engine
from tests.ui.conftest import OWNER_KEY

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
DECISIONS = ("hide", "show", "pin", "unpin", "delete", "sort")


def asked(host: str, address: str) -> gr.Request:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"host", host.encode())],
        "client": (address, 40_000),
    }
    return gr.Request(request=Request(scope), session_hash=address)


OWNER = asked("127.0.0.1:7860", "127.0.0.1")
VISITOR = asked("example.org", "203.0.113.7")
OTHER = asked("example.org", "203.0.113.8")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> GalleryTab:
    """Shared, because building a page takes longer than any of these tests."""
    generate = GenerateTab(Engine(Settings(home=tmp_path_factory.mktemp("unused"))))
    tab = GalleryTab(generate.engine, generate)
    with gr.Blocks() as page:
        with gr.Tabs() as tabs, gr.Tab() as front:
            generate.build()
            tab.build()
        generate.connect(page, tabs, front)
        tab.connect(page, front, gr.Button())
    return tab


@pytest.fixture
def tab(built: GalleryTab, settings: Settings) -> GalleryTab:
    """The tab with a home folder of its own."""
    built.engine = built.generate.engine = built.generate.choice.engine = Engine(settings)
    return built


def keep(tab: GalleryTab, number: int = 0, **changes: Any) -> Example:
    result = {"prompt": f"# {number}\n", "settings": {"temperature": 0.6}, "seed": number, "texts": ["x = 1"]}
    return tab.engine.examples.keep(**{"revision": REVISION, "kept_by": "", **result, **changes}).example


def press(tab: GalleryTab, button: str, request: gr.Request, view: View | None = None) -> dict[Any, Any]:
    return tab.take(view or View(), SimpleNamespace(value=button), request)  # type: ignore[arg-type]


def ids(markup: str) -> list[str]:
    return re.findall(r'<article data-id="([a-z0-9]{8})"', markup)


def buttons(markup: str) -> set[str]:
    """Actions of the buttons, without their example or page."""
    return {button.split()[0] for button in re.findall(r'data-example="([^"]+)"', markup)}


# ---- pages ----


def test_one_page_of_24_is_sent_and_the_pager_shows_another(tab: GalleryTab) -> None:
    kept = [keep(tab, number).id for number in range(50)]
    first = tab.show(View(), VISITOR)
    assert ids(first) == kept[:25:-1]
    assert "page 1 of 3" in first
    updates = press(tab, "page 3", VISITOR)
    assert (ids(updates[tab.shelf]), updates[tab.view].number) == (kept[1::-1], 3)
    assert "page 3 of 3" in updates[tab.shelf]


@pytest.mark.parametrize("number", ["x", "-1", "9" * 5_000, "", "٣٣٣٣٣٣٣٣٣٣٣"])
def test_an_invalid_page_number_shows_the_first_page(tab: GalleryTab, number: str) -> None:
    for seed in range(30):
        keep(tab, seed)
    assert "page 1 of 2" in press(tab, f"page {number}", VISITOR)[tab.shelf]


def test_a_full_page_of_the_largest_examples_is_small(tab: GalleryTab) -> None:
    """It was 9.5 MB before cards were limited."""
    for number in range(30):
        keep(tab, number, prompt="'' " * 2_600 + str(number), texts=["'' " * 6_600] * 4, title="<" * 80)
    markup = tab.show(View(), OWNER)
    assert len(ids(markup)) == 24
    assert len(markup.encode()) < 500_000


def test_a_program_gets_a_page_at_a_time_and_nothing_after_the_last(tab: GalleryTab) -> None:
    kept = [keep(tab, number).id for number in range(30)]
    api = Api(tab.engine)
    assert [row["id"] for row in api.examples()] == kept[:5:-1]
    assert [row["id"] for row in api.examples(2)] == kept[5::-1]
    assert api.examples(3) == api.examples(10**9) == []


@pytest.mark.parametrize("page", [0, -1, "x" * 5_000, "1", 1.5, None, [1], True])
def test_a_program_that_asks_for_an_invalid_page_gets_one_sentence(tab: GalleryTab, page: Any) -> None:
    with pytest.raises(InputError, match=r"^page is '.{1,20}'; give a whole number, 1 or more\.$"):
        Api(tab.engine).examples(page)


def test_a_program_gets_no_hidden_example(tab: GalleryTab) -> None:
    example, other = keep(tab, 1), keep(tab, 2)
    tab.engine.examples.hide(example.id)
    assert [row["id"] for row in Api(tab.engine).examples()] == [other.id]


# ---- who may do what ----


def test_a_visitor_sees_only_a_visitors_buttons(tab: GalleryTab) -> None:
    example = keep(tab)
    tab.engine.examples.report(example.id, "somebody")
    visitor, owner = tab.show(View(), VISITOR), tab.show(View(), OWNER)
    assert buttons(visitor) == {"open", "remix", "report"}
    assert buttons(owner) == {"open", "remix", "hide", "show", "pin", "delete", "sort"}
    assert "1 report" in owner
    assert "1 report" not in visitor


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_visitor_who_sends_an_action_of_the_owner_is_refused(tab: GalleryTab, decision: str) -> None:
    example = keep(tab)
    before = tab.engine.examples.page(1, include_hidden=True)
    for view in (View(), View(doubtful=example.id)):
        updates = press(tab, f"{decision} {example.id}", VISITOR, view)
        assert "Nobody may do that here" in updates[tab.shelf]
        assert updates[tab.view] == view
    assert tab.engine.examples.page(1, include_hidden=True) == before


def test_an_unknown_button_does_nothing(tab: GalleryTab) -> None:
    example = keep(tab)
    for button in ("", "drop everything", "__class__ x", f"keep {example.id}"):
        assert ids(press(tab, button, OWNER)[tab.shelf]) == [example.id]


# ---- the owner ----


def test_a_hidden_example_is_gone_for_visitors_and_marked_for_the_owner(tab: GalleryTab) -> None:
    example, other = keep(tab, 1), keep(tab, 2)
    updates = press(tab, f"hide {example.id}", OWNER)
    assert "pill hidden" in updates[tab.shelf]
    assert ids(tab.show(View(), OWNER)) == [other.id, example.id]
    assert ids(tab.show(View(), VISITOR)) == [other.id]
    assert "pill hidden" not in tab.show(View(), VISITOR)
    press(tab, f"show {example.id}", OWNER)
    assert ids(tab.show(View(), VISITOR)) == [other.id, example.id]


@pytest.mark.parametrize("button", ["open", "remix", "report"])
def test_a_visitor_gets_nothing_of_a_hidden_example(tab: GalleryTab, button: str) -> None:
    example = keep(tab, prompt="# a secret prompt\n", texts=["a secret text"], title="a secret title")
    tab.engine.examples.hide(example.id)
    answer = str(list(press(tab, f"{button} {example.id}", VISITOR).values()))
    assert "was hidden by the owner of this page" in answer
    assert "secret" not in answer


def test_the_owner_opens_a_hidden_example_and_is_told_that_it_is_hidden(tab: GalleryTab) -> None:
    example = keep(tab)
    tab.engine.examples.hide(example.id)
    updates = press(tab, f"open {example.id}", OWNER)
    assert updates[tab.generate.prompt] == example.prompt
    assert "is hidden: only you" in updates[tab.generate.link]


def test_deleting_takes_two_presses_on_the_same_example(tab: GalleryTab) -> None:
    example, other = keep(tab, 1), keep(tab, 2)
    first = press(tab, f"delete {example.id}", OWNER)
    assert "Delete this example?" in first[tab.shelf]
    second = press(tab, f"delete {other.id}", OWNER, first[tab.view])
    assert tab.engine.examples.page(1).num_examples == 2
    taken_back = press(tab, "page 1", OWNER, second[tab.view])
    assert "Delete this example?" not in taken_back[tab.shelf]
    assert taken_back[tab.view].doubtful == ""
    third = press(tab, f"delete {other.id}", OWNER, second[tab.view])
    assert ids(third[tab.shelf]) == [example.id]
    assert f"Example {other.id} was deleted." in third[tab.shelf]


def test_reported_examples_come_first_when_the_owner_asks(tab: GalleryTab) -> None:
    example, other = keep(tab, 1), keep(tab, 2)
    press(tab, f"report {example.id}", VISITOR)
    view = press(tab, "sort", OWNER)[tab.view]
    assert ids(tab.show(view, OWNER)) == [example.id, other.id]
    assert ids(tab.show(view, VISITOR)) == [other.id, example.id]
    assert press(tab, "sort", OWNER, view)[tab.view] == View()


def test_the_last_example_of_the_last_page_can_be_deleted(tab: GalleryTab) -> None:
    oldest = keep(tab, 0)
    for number in range(1, 25):
        keep(tab, number)
    view = View(number=2, doubtful=oldest.id)
    assert len(ids(press(tab, f"delete {oldest.id}", OWNER, view)[tab.shelf])) == 24


# ---- visitors ----


def test_a_report_is_acknowledged_once_and_counted_by_address(tab: GalleryTab) -> None:
    example = keep(tab)
    assert "Reported. The owner" in press(tab, f"report {example.id}", VISITOR)[tab.shelf]
    assert "already reported from your address" in press(tab, f"report {example.id}", VISITOR)[tab.shelf]
    press(tab, f"report {example.id}", OTHER)
    assert "2 reports" in tab.show(View(), OWNER)


def result(seed: int) -> Result:
    return Result("# a frame\n", {"temperature": 0.6, "seed": seed}, REVISION, ["x = 1"])


def test_a_visitor_keeps_ten_examples_an_hour_and_the_owner_more(tab: GalleryTab) -> None:
    answers = [tab.generate.keep_example(result(seed), "", VISITOR) for seed in range(12)]
    assert ["Kept as example" in answer for answer in answers] == [True] * 10 + [False] * 2
    assert "Examples kept from your address in the last hour: 10" in answers[10]
    assert "Kept as example" in tab.generate.keep_example(result(20), "", OTHER)
    for seed in range(30, 50):
        assert "Kept as example" in tab.generate.keep_example(result(seed), "", OWNER)


def test_a_completion_that_is_kept_already_gives_its_link(tab: GalleryTab) -> None:
    first = tab.generate.keep_example(result(1), "", VISITOR)
    again = tab.generate.keep_example(result(1), "", OTHER)
    link = re.compile(r'value="([^"]*\?example=[a-z0-9]{8})"')
    assert link.findall(first) == link.findall(again) != []
    assert "was kept before" in again


def test_a_request_without_an_address_has_a_quota_too(settings: Settings) -> None:
    engine = Engine(replace(settings, server_name="0.0.0.0", owner_key=OWNER_KEY))
    nobody = gr.Request(request=Request({"type": "http", "headers": [(b"host", b"example.org")]}))
    assert engine.visitor_key(nobody) == "unknown"
    assert engine.visitor_key(VISITOR) == "203.0.113.7"


def test_a_damaged_moderation_file_is_reported_on_the_page(tab: GalleryTab) -> None:
    example = keep(tab)
    (tab.engine.examples.folder / "moderation.json").write_text("{")
    markup = tab.show(View(), VISITOR)
    assert "moderation.json, cannot be read" in markup
    assert "x = 1" not in markup
    assert str(tab.engine.settings.home) not in markup, "visitors see no path of this machine"
    with pytest.raises(InputError):
        tab.generate.example("nowhere0", VISITOR)
    assert "moderation.json, cannot be read" in str(list(press(tab, f"open {example.id}", VISITOR).values()))
