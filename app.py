"""The Gradio page: `python app.py`. Composes the tabs and serves them; everything else is in pipeline/."""

from __future__ import annotations

import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C during the imports, which take seconds: no traceback

from pipeline.core.environment import home_folder, keep_downloads_in_home
from pipeline.core.imports import collector_paused
from pipeline.ui.gradio_import import skip_stubs

keep_downloads_in_home()  # before Gradio imports the Hub's client
skip_stubs()

with collector_paused():
    import gradio as gr

from pipeline.core.credentials import protect_secrets
from pipeline.core.errors import PipelineError, home_errors
from pipeline.core.settings import Settings
from pipeline.hub.owner import complete_repo
from pipeline.ui.data.prepare_card import PrepareCard
from pipeline.ui.data.tab import DataTab
from pipeline.ui.gallery.tab import GalleryTab
from pipeline.ui.generate.tab import GenerateTab
from pipeline.ui.server.api import Api
from pipeline.ui.server.launch import serve
from pipeline.ui.shared.blocks import StudioBlocks
from pipeline.ui.shared.components import tab_title
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.top_bar import TopBar
from pipeline.ui.train.tab import TrainTab


def build(engine: Engine) -> gr.Blocks:
    """The whole page, with every tab connected to `engine`."""
    bar, data, train, generate = TopBar(), DataTab(engine), TrainTab(engine), GenerateTab(engine)
    prepare, gallery = PrepareCard(engine, data), GalleryTab(engine, generate)
    with StudioBlocks(title=t("brand"), fill_width=True, analytics_enabled=False) as page:
        bar.build()
        with gr.Tabs(elem_id="tabs") as tabs:
            with gr.Tab(t("tab.data"), id="data"):
                tab_title(t("tab.data"))
                prepare.build_guide()
                with gr.Row(elem_classes=["split", "data-split"]):
                    with gr.Column(elem_classes="side", min_width=0):
                        data.build()
                        prepare.build()
                    with gr.Column(elem_classes="main", min_width=0):
                        data.build_main()
                        prepare.build_list()
            with gr.Tab(t("tab.train"), id="train"):
                tab_title(t("tab.train"))
                train.build()
            with gr.Tab(t("tab.generate"), id="generate") as generate_tab:
                tab_title(t("tab.generate"))
                generate.build()
            with gr.Tab(t("tab.gallery"), id="gallery") as gallery_tab:
                gallery.build()
        train.connect(page, bar, tabs)
        data.connect(page)
        prepare.connect(page, bar)
        generate.connect(page, tabs, generate_tab)
        gallery.connect(page, tabs, gallery_tab, bar.owner_changed)
        Api(engine).connect()
    return page


def main() -> int:
    try:
        with home_errors(home_folder()):
            complete_repo()
            settings = Settings.from_environment()
            protect_secrets()
            engine = Engine(settings)
            page = build(engine)
            if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
                signal.signal(signal.SIGINT, signal.default_int_handler)  # `serve` ends in order
            serve(page, engine)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
