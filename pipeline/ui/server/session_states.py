"""Session states that keep only the values of gr.State components.

Gradio's own also keep a copy of every component's configuration and last value, for deep links. This page has none; the
copies take 0.4 MB or more per session, and nothing reads them.
"""

from __future__ import annotations

from copy import copy
from datetime import datetime
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

CLOSED_SECONDS = 3_600
"""How long a state is kept after its page was closed."""


class LeanState(SessionState):
    def __init__(self, blocks: gr.Blocks) -> None:
        # Without Gradio's __init__, which copies the configuration of every component: 50 ms per session.
        self.blocks_config = copy(blocks.default_config)
        self.config_values = {}
        self.state_data: dict[int, Any] = {}
        self._state_ttl: dict[int, Any] = {}
        self.is_closed = False
        self.STATE_TTL_WHEN_CLOSED = CLOSED_SECONDS

    def __setitem__(self, key: int, value: Any) -> None:
        block = self.blocks_config.blocks.get(key)
        if isinstance(block, gr.State):
            self._state_ttl[key] = block.time_to_live, datetime.now()
            self.state_data[key] = value
        else:
            self.blocks_config.blocks[key] = value

    def _update_config(self, key: int) -> None:
        """Not kept."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Not kept."""


class LeanStates(StateHolder):
    """The states of all sessions of one page."""

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = LeanState(self.blocks)
        return super().__getitem__(session_id)
