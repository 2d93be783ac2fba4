"""StudioBlocks returns the same values as gr.Blocks, over several events of one session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState

from pipeline.ui.shared.blocks import StudioBlocks

Handler = Callable[..., Any]

SKIP = gr.skip()
SKIPPED_HTML = {"props": SKIP, **SKIP}
"""Gradio's response for a skipped gr.HTML: it sets a property that nothing reads."""


def build(kind: type[gr.Blocks], handler: Handler) -> gr.Blocks:
    with kind() as page:
        parts = [
            gr.State("first"),
            gr.Textbox("text"),
            gr.Dropdown(["a", "b"], value="a"),
            gr.HTML("<b>x</b>"),
            gr.Button("press"),
            gr.Number(1, precision=0),
            gr.Label(),
        ]
        gr.on(page.load, handler, parts[:6], parts, queue=False)
    return page


def answers(kind: type[gr.Blocks], handler: Handler, events: int = 2) -> list[Any]:
    """What each of `events` consecutive events sends, and what its handler receives."""
    given: list[Any] = []

    def recording(*values: Any) -> Any:
        given.append(values)
        return handler(*values)

    page = build(kind, recording)
    state = SessionState(page)
    [number] = page.fns

    async def run() -> list[Any]:
        sent = []
        for _ in range(events):
            inputs = [None, "typed", "b" if sent else "a", None, "press", 2]
            try:
                found = await page.process_api(page.fns[number], inputs, state=state)
            except gr.Error as error:
                sent.append(str(error).partition(";")[0])
            else:
                sent.append([SKIP if value == SKIPPED_HTML else value for value in found["data"]])
        return sent

    return [asyncio.run(run()), given]


CASES: dict[str, Handler] = {
    "values": lambda *_: ["state", "new", "b", "<i>y</i>", "label", 3, "a"],
    "nothing": lambda *_: gr.skip(),
    "some": lambda *_: [SKIP, "new", SKIP, SKIP, SKIP, SKIP, SKIP],
    "empty": lambda *_: [None] * 7,
    "updates": lambda *_: [
        gr.update(value=4),
        gr.update(value="new", placeholder="p"),
        gr.update(choices=["b", "c"], value="c"),
        gr.update(value="<i>y</i>"),
        gr.update(visible=False),
        gr.update(value=7),
        gr.update(visible=False),
    ],
    "components": lambda *_: [
        SKIP,
        gr.Textbox("new"),
        gr.Dropdown(["b", "c"], value="c"),
        SKIP,
        gr.Button("other", variant="primary"),
        SKIP,
        SKIP,
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_it_answers_as_gradio_does(name: str) -> None:
    ours, theirs = answers(StudioBlocks, CASES[name]), answers(gr.Blocks, CASES[name])
    assert len(theirs[1]) == 2, "control: the handler ran"
    assert ours == theirs


def test_a_choice_that_was_sent_in_an_update_is_taken_and_another_is_not() -> None:
    handler = CASES["updates"]
    _, given = answers(StudioBlocks, handler, events=3)
    assert len(given) == 3 and given[1][2] == "b"

    refused, _ = answers(StudioBlocks, lambda *_: [SKIP, SKIP, gr.update(choices=["z"], value="z"), *[SKIP] * 4])
    assert "Value: b is not in the list of choices" in refused[1]


def test_a_generator_that_ends_leaves_the_states_as_they_are() -> None:
    """At the end of a generator Gradio passes a marker of its own, which is not a value."""
    found = []
    for kind in (StudioBlocks, gr.Blocks):
        with kind() as page:
            kept, text = gr.State(), gr.Textbox()

            def count() -> Any:
                yield 1, "one"
                yield 2, "two"

            gr.on(page.load, count, None, [kept, text])
        state, [fn] = SessionState(page), page.fns.values()

        async def run(page: gr.Blocks = page, state: Any = state, fn: Any = fn) -> list[Any]:
            sent, iterator = [], None
            for _ in range(3):
                answer = await page.process_api(fn, [], state=state, iterator=iterator)
                iterator = answer["iterator"]
                sent.append(answer["data"])
            return sent

        found.append((asyncio.run(run()), state[kept._id]))
    assert found[0] == found[1]
    assert found[0][1] == 2


@pytest.mark.parametrize("answer", [gr.skip(), "new", {}])
def test_an_only_output_is_answered_as_gradio_does(answer: Any) -> None:
    found = []
    for kind in (StudioBlocks, gr.Blocks):
        with kind() as page:
            text = gr.Textbox()
            returned = {text: "new"} if answer == {} else answer
            gr.on(page.load, lambda returned=returned: returned, None, text, queue=False)
        [fn] = page.fns.values()
        found.append(asyncio.run(page.process_api(fn, [], state=SessionState(page)))["data"])
    assert found[0] == found[1] == [answer if answer == gr.skip() else "new"]


def test_a_handler_without_outputs_answers_nothing() -> None:
    with StudioBlocks() as page:
        gr.on(page.load, lambda: None, None, None, queue=False)
    [fn] = page.fns.values()
    assert asyncio.run(page.process_api(fn, [], state=SessionState(page)))["data"] == []


def differences(kind: type[gr.Blocks], *yielded: Any) -> list[Any]:
    """What a handler that yields these updates of one button sends after the first one."""
    with kind() as page:
        button = gr.Button()

        def steps() -> Any:
            yield from yielded

        gr.on(page.load, steps, None, button)
    state, [fn] = SessionState(page), page.fns.values()

    async def run() -> list[Any]:
        sent, iterator = [], None
        for _ in range(len(yielded) + 1):
            answer = await page.process_api(fn, [], state=state, iterator=iterator, session_hash="page", event_id="run")
            iterator = answer["iterator"]
            sent.append(answer["data"][0])
        return sent

    return asyncio.run(run())[1:]


def test_no_later_update_changes_an_earlier_one_that_the_browser_may_not_have_shown() -> None:
    shown, hidden = gr.update(visible=True, interactive=True), gr.update(visible=False)
    whole = [[["replace", [], SKIP]], [], [["replace", [], hidden]], hidden]
    assert differences(StudioBlocks, shown, SKIP, SKIP, hidden) == whole
    changed = [edit[0] for edits in differences(gr.Blocks, shown, SKIP, hidden)[:2] for edit in edits]
    assert changed == ["delete", "delete", "add"], "control: Gradio's differences are applied in place"
