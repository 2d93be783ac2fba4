"""What Gradio keeps of each session: the values of its states, and no more.

Gradio also keeps a copy of every component's configuration and of whatever was shown in it, to make deep links of. This page
has none; the copies are 0.4 MB a session and more, with nobody to read them.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder


class LeanState(SessionState):
    def __init__(self, blocks: gr.Blocks) -> None:
        super().__init__(blocks)
        self.config_values = {}

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        """Not kept."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Not kept."""


class LeanStates(StateHolder):
    """Of all sessions of one page."""

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = LeanState(self.blocks)
        return super().__getitem__(session_id)
