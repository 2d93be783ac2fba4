"""A session keeps its states, and not the values shown in its components."""

from __future__ import annotations

import gradio as gr

from pipeline.ui.server.session_states import LeanStates


def states() -> tuple[LeanStates, gr.State, gr.HTML]:
    with gr.Blocks() as page:
        state, shown = gr.State([1]), gr.HTML("first")
    holder = LeanStates()
    holder.set_blocks(page)
    return holder, state, shown


def test_each_session_has_states_of_its_own() -> None:
    holder, state, _ = states()
    holder["one"][state._id] = [2]
    assert (holder["one"][state._id], holder["two"][state._id]) == ([2], [1])
    assert "one" in holder


def test_shown_values_are_not_kept() -> None:
    holder, state, shown = states()
    session = holder["one"]
    session[shown._id] = gr.HTML("second")
    session[state._id] = [2]
    session._update_value_in_config(shown._id, "x" * 1_000)
    session._update_config(shown._id)
    assert session.config_values == {}
    assert session[shown._id].value == "second", "but the session's own component is kept"
