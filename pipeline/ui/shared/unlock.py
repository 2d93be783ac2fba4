"""The card that asks for the owner's key; hidden where the page is open without one.

It is a plain form, not a Gradio input: page.js posts the key to /studio/unlock, so no event or queue contains it.
"""

from __future__ import annotations

from pipeline.core.settings import Settings
from pipeline.ui.shared.components import card, head, html
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.texts import t


class Unlock:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def build(self) -> None:
        state = "closed" if self.settings.owner_key is None else "locked"
        with card("form-card", "unlock"):
            head(t("access.title"))
            html(
                render("unlock", state=state, message=t(f"access.card.{state}"), space_host=self.settings.space_host),
                elem_id="access",
            )
