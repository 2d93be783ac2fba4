"""The gallery's buttons for visitors and for the owner. Access does not rely on hidden buttons."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import gradio as gr
import pytest
from starlette.requests import Request

from pipeline.artifacts.revision import Revision
from pipeline.config.prompts import course_prompts
from pipeline.core.errors import InputError
from pipeline.core.settings import Settings
from pipeline.gallery.example import Example
from pipeline.gallery.search import prompt_key
from pipeline.ui.gallery.tab import GalleryTab, View
from pipeline.ui.generate.answers import Answer, Completion, Result
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
DECISIONS = ("hide", "show", "pin", "unpin", "approve", "disapprove", "delete", "sort")


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
        tab.connect(page, tabs, front, gr.Button())
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


def shelf_of(tab: GalleryTab, view: View, request: gr.Request) -> str:
    markup: str = tab.show(view, request)[tab.shelf]
    return markup


def ids(markup: str) -> list[str]:
    return re.findall(r'<article data-id="([a-z0-9]{8})"', markup)


def buttons(markup: str) -> set[str]:
    """Actions of the buttons, without their example or page."""
    return {button.split()[0] for button in re.findall(r'data-example="([^"]+)"', markup)}


# ---- pages ----


def test_one_page_of_24_is_sent_and_the_pager_shows_another(tab: GalleryTab) -> None:
    kept = [keep(tab, number).id for number in range(50)]
    first = shelf_of(tab, View(), VISITOR)
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
    markup = shelf_of(tab, View(), OWNER)
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
    visitor, owner = shelf_of(tab, View(), VISITOR), shelf_of(tab, View(), OWNER)
    assert buttons(visitor) == {"open", "remix", "report", "prompt", "run"}
    assert buttons(owner) == {"open", "remix", "prompt", "run", "hide", "show", "pin", "delete", "sort"}
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
    assert ids(shelf_of(tab, View(), OWNER)) == [other.id, example.id]
    assert ids(shelf_of(tab, View(), VISITOR)) == [other.id]
    assert "pill hidden" not in shelf_of(tab, View(), VISITOR)
    press(tab, f"show {example.id}", OWNER)
    assert ids(shelf_of(tab, View(), VISITOR)) == [other.id, example.id]


@pytest.mark.parametrize("button", ["open", "remix", "report", "prompt", "run"])
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
    assert ids(shelf_of(tab, view, OWNER)) == [example.id, other.id]
    assert ids(shelf_of(tab, view, VISITOR)) == [other.id, example.id]
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
    assert "2 reports" in shelf_of(tab, View(), OWNER)


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
    markup = shelf_of(tab, View(), VISITOR)
    assert "moderation.json, cannot be read" in markup
    assert "x = 1" not in markup
    assert str(tab.engine.settings.home) not in markup, "visitors see no path of this machine"
    with pytest.raises(InputError):
        tab.generate.example("nowhere0", VISITOR)
    assert "moderation.json, cannot be read" in str(list(press(tab, f"open {example.id}", VISITOR).values()))


# ---- search ----


def asked_for(query: str, request: gr.Request = VISITOR) -> gr.Request:
    assert request.request is not None
    scope = {**request.request.scope, "query_string": query.encode()}
    return gr.Request(request=Request(scope), session_hash=request.session_hash)


def searched(tab: GalleryTab, request: gr.Request = VISITOR, **form: Any) -> dict[Any, Any]:
    value = json.dumps({"words": "", "run": "", "prompt_key": "", **form})
    return tab.search(View(number=3), SimpleNamespace(value=value), request)  # type: ignore[arg-type]


def test_a_search_shows_the_first_page_of_what_it_finds_and_leaves_the_form_alone(tab: GalleryTab) -> None:
    kept = [keep(tab, number, title="find odd" if number % 2 else "find").id for number in range(60)]
    updates = searched(tab, words="FIND oDD")
    assert ids(updates[tab.shelf]) == kept[:11:-2]
    assert "30 examples found" in updates[tab.shelf] and 'data-shown="gallery=1&amp;q=FIND+oDD"' in updates[tab.shelf]
    assert tab.bar not in updates
    second = press(tab, "page 2", VISITOR, updates[tab.view])
    assert ids(second[tab.shelf]) == kept[11::-2]
    assert ids(press(tab, "all", VISITOR, updates[tab.view])[tab.shelf]) == kept[:35:-1]


def test_an_empty_result_says_what_to_do(tab: GalleryTab) -> None:
    keep(tab)
    markup = searched(tab, words="nowhere")[tab.shelf]
    assert "No example has all of this" in markup and 'data-example="all"' in markup


def test_a_link_opens_the_same_page_of_the_same_search(tab: GalleryTab) -> None:
    kept = [keep(tab, number, prompt=f"# {number % 2}\n", title="find").id for number in range(60)]
    view = press(tab, f"prompt {kept[0]}", VISITOR)[tab.view]
    view = press(tab, f"run {kept[0]}", VISITOR, view)[tab.view]
    shown = press(tab, "page 2", VISITOR, replace(view, query=replace(view.query, words="find")))
    address = re.findall(r'class="shelf-head" data-shown="([^"]*)"', shown[tab.shelf])[0].replace("&amp;", "&")
    opened = tab.open_gallery(asked_for(address))
    assert ids(opened[tab.shelf]) == ids(shown[tab.shelf]) == kept[10::-2]
    assert opened[tab.tabs].selected == "gallery"
    assert 'value="find"' in opened[tab.bar] and "# 0" in opened[tab.bar] and 'bold-kea" selected' in opened[tab.bar]


def test_without_a_link_no_tab_is_chosen(tab: GalleryTab) -> None:
    assert tab.tabs not in tab.open_gallery(asked_for("__theme=dark"))


def test_a_link_that_is_too_long_says_so(tab: GalleryTab) -> None:
    opened = tab.open_gallery(asked_for("gallery=1&q=" + "x" * 201))
    assert "keep it to 200" in opened[tab.shelf] and opened[tab.tabs].selected == "gallery"


@pytest.mark.parametrize("value", ["", "[]", "{}", '{"words": 1, "run": "", "prompt_key": ""}', "[" * 50_000])
def test_a_form_that_no_page_sends_gets_one_sentence(tab: GalleryTab, value: str) -> None:
    updates = tab.search(View(), SimpleNamespace(value=value), VISITOR)  # type: ignore[arg-type]
    assert "This search cannot be read" in updates[tab.shelf]


def test_a_visitor_finds_nothing_hidden_by_any_way(tab: GalleryTab) -> None:
    example, other = keep(tab, 1, prompt="# secret\n"), keep(tab, 2)
    tab.engine.examples.hide(example.id)
    key = prompt_key("# secret\n")
    for markup in (
        searched(tab, words="secret")[tab.shelf],
        searched(tab, prompt_key=key)[tab.shelf],
        *map(str, tab.open_gallery(asked_for(f"gallery=1&of_prompt={key}")).values()),
    ):
        assert example.id not in markup and "# secret" not in markup
    assert ids(searched(tab, OWNER, words="secret")[tab.shelf]) == [example.id]
    assert ids(searched(tab)[tab.shelf]) == [other.id]


# ---- remix ----


def test_a_remix_shows_the_old_answer_and_is_kept_with_its_origin(tab: GalleryTab) -> None:
    example = keep(tab, texts=["old_answer = 1"])
    updates = press(tab, f"remix {example.id}", VISITOR)
    generate = tab.generate
    assert "old_answer" in updates[generate.written] and updates[generate.prompt] == example.prompt
    completion = Completion("# new\n", {}, [Answer(REVISION, ["x = 2"])], "finished", remixed=updates[generate.remixed])
    completion.answers[0].finishes[0] = "length"
    done = Result.of(completion, REVISION)
    assert done is not None and done.remix_of == example.id
    answer = generate.keep_example(replace(done, sampling={"seed": 1}), "", VISITOR)
    kept = tab.engine.examples.page(1).examples[0]
    assert kept.remix_of == example.id and kept.id in answer
    assert f'data-example="open {example.id}">Remix of {example.id}' in shelf_of(tab, View(), VISITOR)
    assert generate.end_remix(done)[generate.result].remix_of == ""


def test_an_opened_example_ends_a_remix(tab: GalleryTab) -> None:
    example = keep(tab)
    assert press(tab, f"open {example.id}", VISITOR)[tab.generate.remixed] is None


# ---- links to revisions and prompts ----


def opened(tab: GalleryTab, query: str) -> dict[Any, Any]:
    return tab.generate.open_page(asked_for(query))


def test_a_link_fills_in_a_prompt_and_completes_nothing(tab: GalleryTab) -> None:
    first = course_prompts()[1]
    for query, text in (
        (f"prompt={quote(first.name)}", first.text),
        ("text=%23%20a%0Ax%20%3D%20%3Cb%3E", "# a\nx = <b>"),
    ):
        updates = opened(tab, query)
        assert updates[tab.generate.prompt] == text and updates[tab.generate.shows[0]].selected == "generate"
        assert tab.generate.written not in updates
    assert tab.generate.prompt not in opened(tab, "text=")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("prompt=Nothing<script>", "The course has no prompt called Nothing&lt;script&gt;; its prompts are "),
        ("text=" + "x" * 2_001, "has 2,001 characters; a link holds up to 2,000."),
        ("revision=0123456789xx", "There is no revision 0123456789xx here"),
        ("revision=some/body", "some/body is not among the models of this page"),
        ("revision=" + "x" * 5_000, "There is no revision " + "x" * 40 + " here"),
    ],
)
def test_a_wrong_link_says_what_is_wrong(tab: GalleryTab, query: str, told: str) -> None:
    updates = opened(tab, query)
    assert told in updates[tab.generate.written] and updates[tab.generate.shows[0]].selected == "generate"


def test_a_link_chooses_a_revision(tab: GalleryTab) -> None:
    tab.engine.__dict__["revisions"] = SimpleNamespace(known=lambda: [REVISION])
    for name in ("0123456789ab", "newest"):
        assert opened(tab, f"revision={name}")[tab.generate.choice.revision]["value"] == name
    model = SimpleNamespace(repo="some/body", name="some/body@" + "0" * 40, num_bytes=1)
    tab.engine.__dict__["models"] = SimpleNamespace(known=lambda wait_seconds=0: [model])
    for name in (model.repo, model.name):
        assert opened(tab, f"revision={name}")[tab.generate.choice.revision]["value"] == model.name


def test_the_owner_approves_where_a_dataset_is_set_and_takes_out_everywhere(
    tab: GalleryTab, settings: Settings
) -> None:
    example = keep(tab)
    assert "approve" not in buttons(shelf_of(tab, View(), OWNER))
    tab.engine = Engine(replace(settings, gallery_repo="me/gallery"))
    assert "approve" in buttons(shelf_of(tab, View(), OWNER)) - buttons(shelf_of(tab, View(), VISITOR))
    markup = press(tab, f"approve {example.id}", OWNER)[tab.shelf]
    assert "In the dataset" in markup and tab.engine.examples.state(example.id).is_approved
    assert "In the dataset" not in shelf_of(tab, View(), VISITOR)
    tab.engine = tab.generate.engine
    press(tab, f"disapprove {example.id}", OWNER)
    assert not tab.engine.examples.state(example.id).is_approved
