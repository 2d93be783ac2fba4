"""The Data tab: a look at a source, filtered by keywords, and the files that were kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from pipeline.config.schema import COURSE_KEPT_RATE, COURSE_KEYWORDS, MATCHES, DataConfig
from pipeline.core.errors import PipelineError
from pipeline.ui.data import report_view
from pipeline.ui.data.sample_view import Seen, keyword_choices, moved, sample_html
from pipeline.ui.data.scans import Key, Subscription
from pipeline.ui.shared import form_values
from pipeline.ui.shared.components import QUIET, ask, card, head, html
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.markup import blank, notice, render
from pipeline.ui.shared.privacy import scan_for_visitors
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import stream

if TYPE_CHECKING:
    from pipeline.data.preview.scan import Scan

SOURCES = ("installed", "files", "hub")

Updates = dict[Any, Any]
Asked = tuple[str, int]
"""A source and how many of its rows: what other keywords are counted in."""


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
                info=t("data.repo.info"),
                allow_custom_value=True,
                visible=False,
            )
            # Without choices: Enter would take the first one that contains what was typed, "matplotlib" for "plot".
            self.keywords = ask(
                gr.Dropdown,
                [],
                value=list(COURSE_KEYWORDS),
                label=t("data.keywords"),
                info=t("data.keywords.info"),
                multiselect=True,
                allow_custom_value=True,
                elem_classes="chips",
                elem_id="keywords",
            )
            self.course = gr.Button(t("data.keywords.course"), size="sm", elem_classes="quiet-button", elem_id="course")
            self.match = ask(
                gr.Radio,
                [(t(f"data.match.{match}"), match) for match in MATCHES],
                value=MATCHES[0],
                label=t("data.match"),
                elem_classes="segments",
                elem_id="match",
            )
            self.match_info = html(render("hint", text=t(f"data.match.{MATCHES[0]}.info")), elem_classes="under")
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
        self.key = gr.State(None)
        self.asked = gr.State(None)
        self.index = gr.State(0)
        with card("flush"):
            self.progress = html(elem_id="scan-progress")
            self.figures = html(blank(t("data.blank"), t("data.blank.more")), elem_id="scan-figures")
        with gr.Row(elem_classes="pair"):
            with card():
                self.hits = html(elem_id="hits")
            with card():
                self.overlap = html(elem_id="overlap")
        self._build_samples()
        with gr.Row(elem_classes="pair"):
            with card():
                self.lengths = html(elem_id="lengths")
            with card():
                self.largest = html(elem_id="largest")
        with card():
            self.bad = html(elem_id="bad-rows")

    def _build_samples(self) -> None:
        with card("flush", elem_id="samples"):
            with gr.Row(elem_classes="toolbar"):
                html(render("card_head", title=t("data.kept_files"), note=t("data.kept_files.note"), fold=False))
                self.filter = ask(
                    gr.Dropdown,
                    [(t("data.any_keyword"), "")],
                    value="",
                    label=t("data.filter"),
                    show_label=False,
                    container=False,
                    filterable=False,
                    min_width=0,
                    elem_id="filter",
                )
                self.previous = gr.Button(t("data.previous"), size="sm")
                self.random = gr.Button(t("data.random"), size="sm")
                self.next = gr.Button(t("data.next"), size="sm")
            self.sample = html(blank(t("data.no_sample"), t("data.no_sample.more")), elem_id="sample")

    def connect(self, page: gr.Blocks) -> None:
        """Sets `looked`: the events after which a scan has said its last word."""
        inputs = [self.kind, self.path, self.repo, self.keywords, self.match, self.rows]
        reports = [self.progress, self.figures, self.hits, self.overlap, self.lengths, self.largest, self.bad]
        shown = [self.asked, self.key, self.index, self.filter, self.sample, *reports]
        # "multiple": a new look may begin while another one goes on, which then ends.
        looks: dict[str, Any] = {**QUIET, "concurrency_limit": None, "trigger_mode": "multiple"}
        first = gr.on([page.load, self.scan_button.click], self.look, [self.asked, *inputs], shown, **looks)
        again = gr.on([self.keywords.change, self.match.change], self.recount, [self.asked, *inputs], shown, **looks)
        self.looked = first, again
        self.cancel_button.click(self.cancel, None, None, queue=False, **QUIET)
        self.course.click(lambda: list(COURSE_KEYWORDS), None, self.keywords, queue=False, **QUIET)
        self.match.change(self.show_match, self.match, self.match_info, queue=False, **QUIET)
        self.kind.change(self.show_source, self.kind, [self.path, self.repo], queue=False, **QUIET)
        place, turned = [self.key, self.filter, self.index], [self.index, self.sample]
        for button, move in ((self.previous, -1), (self.next, 1), (self.random, 0)):
            button.click(partial(self.turn, move=move), place, turned, queue=False, **QUIET)
        self.filter.input(self.choose, [self.key, self.filter], turned, queue=False, **QUIET)

    # ---- handlers ----

    async def look(
        self,
        asked: Asked | None,
        kind: str,
        path: str,
        repo: str,
        keywords: list[str],
        match: str,
        rows: float,
        request: gr.Request,
    ) -> AsyncIterator[Updates]:
        """Scan, showing what is found as it goes on."""
        most = self.engine.settings.limits.preview_rows
        limit = max(1, min(int(rows or most), most))
        async for updates in stream(self._answer(asked, kind, path, repo, keywords, match, limit, request)):
            yield updates

    async def recount(
        self,
        asked: Asked | None,
        kind: str,
        path: str,
        repo: str,
        keywords: list[str],
        match: str,
        rows: float,
        request: gr.Request,
    ) -> AsyncIterator[Updates]:
        """Count other keywords, or in another way, in what was read already; nothing when the source is another one."""
        if asked is None or asked[0] != form_values.source_spec(kind, path, repo):
            yield {self.progress: gr.skip()}
            return
        async for updates in stream(self._answer(asked, kind, path, repo, keywords, match, asked[1], request)):
            yield updates

    def _answer(
        self,
        before: Asked | None,
        kind: str,
        path: str,
        repo: str,
        keywords: list[str],
        match: str,
        limit: int,
        request: gr.Request,
    ) -> Generator[Updates, None, None]:
        visitor = self.engine.visitor_key(request) or None
        with self.engine.scans.question(request.session_hash or "", visitor) as question:
            try:
                yield {self.progress: render("scan_progress", scan=None)}
                words = form_values.keyword_list(keywords)
                spec = form_values.source_spec(kind, path, repo)
                is_owner = self.engine.reading.check(request, spec)
                DataConfig(source=spec, keywords=words, match=match)  # refuses keywords that cannot be
                yield from self._watch(question, Key.of(spec, words, match, limit, is_owner), is_owner=is_owner)
            except PipelineError as error:
                yield {self.asked: before, self.progress: notice(" ".join([str(error), *still_shown(before)]))}
            # Gradio sends the last update once more at the end, over what a newer question may show by then.
            yield {self.progress: gr.skip()}

    def _watch(self, question: Subscription, key: Key, *, is_owner: bool) -> Generator[Updates, None, None]:
        yield {self.asked: (key.source, key.limit)}
        scan, has_sample = None, False
        for scan in self.engine.scans.watch(key, question):
            seen = Seen(scan)
            updates = {self.key: key, **self.found(scan if is_owner else scan_for_visitors(scan), key.limit)}
            if not has_sample:
                choices = gr.Dropdown(keyword_choices(seen), value="")
                updates |= {self.filter: choices, self.index: 0, self.sample: sample_html(seen, "", 0)}
                has_sample = bool(scan.samples)
            yield updates
        num_rows = report_view.num_rows(scan.report) if scan else 0
        # Other keywords are then counted in just these.
        if scan and scan.ended:
            yield {self.asked: (key.source, num_rows or key.limit)}
        if question.is_stopped:
            yield {
                self.asked: (key.source, num_rows or key.limit),
                self.progress: render("scan_cancelled", rows=num_rows),
            }

    def found(self, scan: Scan, limit: int) -> Updates:
        """Everything but the sample, of one state of a scan."""
        report = scan.report
        return {
            self.progress: progress_html(scan, limit),
            self.figures: figures_html(scan),
            self.hits: render("keyword_hits", report=report, match=scan.match),
            self.overlap: render("overlap", report=report),
            self.lengths: render(
                "lengths", columns=report_view.length_columns(report), words=report_view.length_words(report)
            ),
            self.largest: render("largest", report=report),
            self.bad: render("bad_rows", reasons=report_view.bad_rows(report), skipped=report["skipped"]),
        }

    def turn(self, key: Key | None, keyword: str, index: int, move: int) -> Updates:
        """The sample before, after, or at random (`move` 0)."""
        seen = self._seen(key)
        index = moved(seen.samples(keyword), index, move) if seen else 0
        return {self.index: index, self.sample: sample_html(seen, keyword, index, is_gone=key is not None)}

    def choose(self, key: Key | None, keyword: str) -> Updates:
        """The first sample that has `keyword`."""
        return {self.index: 0, self.sample: sample_html(self._seen(key), keyword, 0, is_gone=key is not None)}

    def _seen(self, key: Key | None) -> Seen | None:
        scan = self.engine.scans.found(key)
        return Seen(scan) if scan else None

    def cancel(self, request: gr.Request) -> None:
        self.engine.scans.stop(request.session_hash or "")

    def show_match(self, match: str) -> str:
        return render("hint", text=t(f"data.match.{match}.info") if match in MATCHES else "")

    def show_source(self, kind: str) -> tuple[dict[str, Any], gr.Dropdown]:
        return gr.update(visible=kind == "files"), gr.Dropdown(visible=kind == "hub")


def still_shown(before: Asked | None) -> list[str]:
    """What a person must know who reads an error above the figures of an older scan."""
    return [t("data.before", source=before[0])] if before else []


def progress_html(scan: Scan, limit: int) -> str:
    """How far a scan is, or how it ended."""
    return render(
        "scan_progress",
        scan=scan,
        rows=report_view.num_rows(scan.report),
        limit=limit,
        share=report_view.share_done(scan, limit),
        left=report_view.seconds_left(scan, limit),
        ended=report_view.ended(scan),
    )


def figures_html(scan: Scan) -> str:
    """The four figures, the kept rate beside the course's, and what they hide."""
    report = scan.report
    return render(
        "scan_figures",
        report=report,
        course_rate=COURSE_KEPT_RATE,
        axis=report_view.RateAxis.of(report),
        warnings=report_view.warnings(report, scan.note),
        is_recount=scan.num_remembered > 0 and scan.num_remembered == report_view.num_rows(report),
    )
