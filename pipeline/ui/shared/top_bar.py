"""The top bar: brand, the visitor's role, Lock for the owner, and the theme switch, on one line with the tabs.

page.js fills in what depends on the browser's cookie: it sends GET /studio/who. When the response changes, it presses a
hidden button, so that each tab at once shows what this visitor may now see. It polls GET /studio/changes too, and
presses the button of the tab that is shown when its figures may have changed.
"""

from __future__ import annotations

import gradio as gr

from pipeline.ui.shared.components import html, page_script
from pipeline.ui.shared.markup import render


class TopBar:
    def build(self) -> None:
        html(render("top_bar"), elem_id="top-bar", js_on_load=page_script())
        self.owner_changed = gr.Button("", elem_id="owner-changed")
        self.changed = {tab: gr.Button("", elem_id=f"{tab}-changed") for tab in ("data", "train")}
