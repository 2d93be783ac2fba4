"""The Data tab: a look at a source, filtered by keywords, and the files that were kept."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipeline.config import COURSE_KEPT_RATE, COURSE_KEYWORDS, MATCHES, DataConfig
from pipeline.errors import PipelineError
from pipeline.ui import setups
from pipeline.ui.engine import Engine
from pipeline.ui.highlight import first_hit, shortened
from pipeline.ui.markup import blank, notice, render
from pipeline.ui.parts import QUIET, ask, card, head, html
from pipeline.ui.scans import Question
from pipeline.ui.texts import t

if TYPE_CHECKING:
    from pipeline.data.scan import Scan

SOURCES = ("installed", "files", "hub")
MOST_LOOKS_AT_ONCE = 16

Updates = dict[Any, Any]


class DataTab:
    """Layout and handlers. What is shown comes from `engine.scans`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # ---- layout ----

    def build(self) -> None:
        """The source card; inside the side column."""
        limits = self.engine.settings.limits
        with card("form-card", "fold"):
            head(t("data.source"), fold=True)
            self.kind = ask(
                gr.Radio,
                [(t(f"data.source.{kind}"), kind) for kind in SOURCES],
                value="installed",
                label=t("data.source"),
                show_label=False,
                elem_classes="segments",
            )
            self.path = ask(gr.Textbox, label=t("data.path"), info=t("data.path.info"), visible=False, max_lines=1)
            self.repo = ask(
                gr.Dropdown,
                [t("data.repo.course"), t("data.repo.all")],
                value=t("data.repo.course"),
                label=t("data.repo"),
                allow_custom_value=True,
                visible=False,
            )
            self.keywords = ask(
                gr.CheckboxGroup,
                list(COURSE_KEYWORDS),
                value=list(COURSE_KEYWORDS),
                label=t("data.keywords"),
                elem_classes="chips",
            )
            self.own = ask(
                gr.Textbox, label=t("data.own"), placeholder=t("data.own.example"), max_lines=1, elem_id="own-keywords"
            )
            self.choices = gr.State(list(COURSE_KEYWORDS))
            self.match = ask(
                gr.Radio,
                [(t(f"data.match.{match}"), match) for match in MATCHES],
                value=DataConfig.match,
                label=t("data.match"),
                info=t("data.match.info"),
                elem_id="match",
                elem_classes="segments",
            )
            self.rows = ask(
                gr.Slider,
                min(1_000, limits.preview_rows),
                limits.preview_rows,
                value=limits.preview_rows,
                step=1_000,
                label=t("data.rows"),
                buttons=[],
            )
            with gr.Row(elem_classes="actions"):
                self.scan_button = gr.Button(t("data.scan"), variant="primary", elem_id="scan")
                self.cancel_button = gr.Button(t("data.cancel"), elem_id="cancel-scan")

    def build_main(self) -> None:
        """What was found; inside the main column."""
        self.scan = gr.State(None)
        self.index = gr.State(0)
        with card("flush"):
            self.progress = html(elem_id="scan-progress")
            self.figures = html(blank(t("data.blank"), t("data.blank.more")), elem_id="scan-figures")
        with gr.Row(elem_classes="pair"):
            with card():
                self.hits = html(elem_id="hits")
            with card():
                self.overlap = html()
        with gr.Row(elem_classes="pair"):
            with card():
                self.largest = html(elem_id="largest")
            with card():
                self.lengths = html(elem_id="lengths")
        with card(elem_id="bad-rows"):
            self.bad = html()
        with card("flush", elem_id="samples"):
            with gr.Row(elem_classes="toolbar"):
                html(render("section", title=t("data.kept_files")))
                self.only = ask(
                    gr.Dropdown,
                    [(t("data.only.any"), "")],
                    value="",
                    show_label=False,
                    container=False,
                    label=t("data.only"),
                    elem_id="only",
                    filterable=False,
                    min_width=0,
                )
                self.previous = gr.Button(t("data.previous"), size="sm")
                self.random = gr.Button(t("data.random"), size="sm")
                self.next = gr.Button(t("data.next"), size="sm")
            self.sample = html(blank(t("data.no_sample"), t("data.no_sample.more")), elem_id="sample")

    def connect(self, page: gr.Blocks) -> None:
        inputs = [self.kind, self.path, self.repo, self.keywords, self.own, self.match, self.rows]
        shown = [
            self.scan,
            self.index,
            self.progress,
            self.figures,
            self.hits,
            self.overlap,
            self.largest,
            self.lengths,
            self.bad,
            self.only,
            self.sample,
        ]
        # "multiple": a new look may begin while another one goes on, which then ends.
        looks: dict[str, Any] = {**QUIET, "concurrency_limit": MOST_LOOKS_AT_ONCE, "trigger_mode": "multiple"}
        gr.on([page.load, self.scan_button.click, self.match.input], self.look, inputs, shown, **looks)
        chips = [self.choices, self.keywords, self.own]
        self.own.submit(self.add_keyword, chips, chips, queue=False, **QUIET).then(self.look, inputs, shown, **looks)
        self.cancel_button.click(self.cancel, None, None, queue=False, **QUIET)
        self.kind.change(self.show_source, self.kind, [self.path, self.repo], queue=False, **QUIET)
        for button, move in ((self.previous, -1), (self.next, 1), (self.random, 0)):
            turn = partial(self.turn, move=move)
            button.click(turn, [self.scan, self.index, self.only], [self.index, self.sample], queue=False, **QUIET)
        self.only.input(
            lambda scan, only: self.turn(scan, 0, only, move=None),
            [self.scan, self.only],
            [self.index, self.sample],
            queue=False,
            **QUIET,
        )

    # ---- handlers ----

    def look(
        self,
        kind: str,
        path: str,
        repo: str,
        keywords: list[str],
        own: str,
        match: str,
        rows: float,
        request: gr.Request,
    ) -> Iterator[Updates]:
        """Scan, showing what is found as it goes on."""

        with self.engine.scans.question(request.session_hash or "") as question:
            try:
                yield from self._look(
                    question, kind, path, repo, setups.keyword_list(keywords, own), match, rows, request
                )
            except PipelineError as error:
                yield {self.progress: notice(str(error))}
            # Gradio sends the last update once more at the end, over what a newer question may show by then.
            yield {self.progress: gr.skip()}

    def _look(
        self,
        question: Question,
        kind: str,
        path: str,
        repo: str,
        words: tuple[str, ...],
        match: str,
        rows: float,
        request: gr.Request,
    ) -> Iterator[Updates]:
        yield {self.progress: render("scan_progress", scan=None, limit=0)}
        if kind == "files":
            self.engine.access.require(request)
        spec = setups.source_spec(kind, path, repo)
        DataConfig(source=spec, keywords=words, match=match)  # refuses keywords that cannot be
        from pipeline.data.sources import open_source

        most = self.engine.settings.limits.preview_rows
        note, limit = open_source(spec).note, min(int(rows or most), most)
        scan, has_sample = None, False
        for scan in self.engine.scans.watch(spec, words, limit, question, match=match):
            updates = self.found(scan, limit, note)
            if not has_sample:
                only = gr.Dropdown([(t("data.only.any"), ""), *((word, word) for word in words)], value="")
                updates |= {self.index: 0, self.only: only, self.sample: self.sample_view(scan, 0)}
                has_sample = bool(scan.samples)
            yield updates
        if question.is_stopped:
            yield {self.progress: render("scan_cancelled", scan=scan)}

    def found(self, scan: Scan, limit: int, note: str) -> Updates:
        """Everything but the sample, of one state of a scan."""
        report = scan.report
        return {
            self.scan: scan,
            self.progress: render("scan_progress", scan=scan, limit=limit),
            self.figures: render("scan_figures", report=report, course_rate=COURSE_KEPT_RATE),
            self.hits: render("keyword_hits", report=report),
            self.overlap: render("overlap", report=report),
            self.largest: render("largest", report=report, concentration=setups.concentration(report)),
            self.lengths: render("lengths", report=report),
            self.bad: render("bad_rows", report=report, note=note),
        }

    def sample_view(self, scan: Scan | None, index: int, only: str = "") -> str:
        """One kept file, of those that have the keyword `only`; empty: of all. It begins a little before the first hit, if
        that is not among the first lines.
        """
        samples = setups.samples_with(scan, only)
        if not samples:
            return blank(t("data.no_sample"), t("data.no_sample.more"))
        sample = samples[index % len(samples)]
        hit = first_hit(sample.content, [only] if only else sample.keywords)
        code, first, num_hidden = shortened(sample.content, hit)
        return render(
            "sample",
            sample=sample,
            code=code,
            first=first,
            hit=hit,
            num_hidden=num_hidden,
            place=index % len(samples) + 1,
            num_samples=len(samples),
            num_kept=scan.report["kept"] if scan else 0,
        )

    def turn(self, scan: Scan | None, index: int, only: str, move: int | None) -> Updates:
        """The sample before, after, at random (`move` 0), or the first (None)."""
        num_samples = len(setups.samples_with(scan, only))
        if not num_samples:
            return {self.index: 0, self.sample: self.sample_view(scan, 0, only)}
        index = 0 if move is None else (index + move if move else random.randrange(num_samples)) % num_samples
        return {self.index: index, self.sample: self.sample_view(scan, index, only)}

    def add_keyword(self, choices: list[str], chosen: list[str], own: str) -> Updates:
        """What was typed becomes chips, ticked."""
        words = list(setups.keyword_list(None, own))
        choices = list(dict.fromkeys([*choices, *words]))
        chips = gr.CheckboxGroup(choices, value=list(dict.fromkeys([*chosen, *words])))
        return {self.choices: choices, self.keywords: chips, self.own: ""}

    def cancel(self, request: gr.Request) -> None:
        self.engine.scans.stop(request.session_hash or "")

    def show_source(self, kind: str) -> tuple[gr.Textbox, gr.Dropdown]:
        return gr.Textbox(visible=kind == "files"), gr.Dropdown(visible=kind == "hub")
