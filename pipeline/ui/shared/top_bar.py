"""Brand, what this visitor may do, Lock for the owner, and the theme switch; the tabs share its line.

page.js fills in what only the browser's cookie tells: it asks GET /studio/who. When the answer is another one than before, it
presses a button that nobody sees, so that each tab shows at once what this visitor may see now.
"""

from __future__ import annotations

import gradio as gr

from pipeline.ui.shared.components import html, page_script
from pipeline.ui.shared.markup import render


class TopBar:
    def build(self) -> None:
        html(render("top_bar"), elem_id="top-bar", js_on_load=page_script())
        self.owner_changed = gr.Button("", elem_id="owner-changed")
