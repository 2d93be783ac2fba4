"""The Data tab: previews a source filtered by keywords, with the files that were kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from pipeline.config.schema import COURSE_KEPT_RATE, COURSE_KEYWORDS, MATCHES, DataConfig
from pipeline.core.errors import PipelineError
from pipeline.ui.data import report_view
from pipeline.ui.data.sample_view import ShownScan, keyword_choices, moved, sample_html
from pipeline.ui.data.scans import Key, Subscription
from pipeline.ui.data.source_fields import FIRST_KIND, KINDS, repo_field, source_fields
from pipeline.ui.shared import form_values
from pipeline.ui.shared.components import QUIET, ask, card, head, html
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import notice_of
from pipeline.ui.shared.markup import blank, render
from pipeline.ui.shared.privacy import scan_for_visitors
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import stream

if TYPE_CHECKING:
    from pipeline.data.preview.scan import Scan

Updates = dict[Any, Any]
Asked = tuple[str, int]
"""A source and a number of its rows: those that other keywords are counted in."""

TIDY = r"""(chips) => {
  const typed = chips.flatMap((text) => text.split(/[,\r\n]/)).map((word) => word.trim()).filter(Boolean);
  const words = [...new Set(typed)];
  return [JSON.stringify(words) === JSON.stringify(chips) ? { __type__: 'update' } : words]; // the same again would be a change without end
}"""
"""JavaScript function that gives the chips as they are counted, like `form_values.keyword_list`: one keyword each, none
twice.
"""


class DataTab:
    """Layout and handlers. The data shown comes from `engine.scans`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # ---- layout ----

    def build(self) -> None:
        """Build the source card, inside the side column."""
        limits = self.engine.settings.limits
        with card("form-card", "fold"):
            head(t("data.source"), fold=True)
            self.kind = ask(
                gr.Radio,
                [(t(f"data.source.{kind}"), kind) for kind in KINDS],
                value=FIRST_KIND,
                label=t("data.source"),
                show_label=False,
                elem_classes="segments",
                elem_id="source-kind",
            )
            self.path = ask(
                gr.Textbox,
                label=t("data.path"),
                info=t("data.path.info"),
                visible=False,
                max_lines=1,
                elem_id="source-path",
            )
            self.repo = ask(
                gr.Dropdown,
                **repo_field("hub"),
                allow_custom_value=True,
                visible=False,
                elem_id="source-repo",
            )
            # No choices: Enter would select the first choice that contains the typed text, "matplotlib" for "plot".
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
                self.cancel_button = gr.Button(t("data.cancel"), interactive=False, elem_id="cancel-scan")

    def build_main(self) -> None:
        """Build the results, inside the main column."""
        self.key = gr.State(None)
        self.asked = gr.State(None)
        self.index = gr.State(0)
        self.sample_key = gr.State("")
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
        """Sets `looked`, the events that run a scan; a `.then` on them runs after its last update."""
        inputs = [self.kind, self.path, self.repo, self.keywords, self.match, self.rows]
        reports = [self.progress, self.figures, self.hits, self.overlap, self.lengths, self.largest, self.bad]
        shown = [
            self.asked,
            self.key,
            self.index,
            self.sample_key,
            self.filter,
            self.sample,
            self.cancel_button,
            *reports,
        ]
        # "multiple": a new scan may start while another one runs; that one then ends.
        scan_settings: dict[str, Any] = {**QUIET, "concurrency_limit": None, "trigger_mode": "multiple"}
        scan: dict[str, Any] = {
            "fn": self.look,
            "inputs": [self.asked, self.key, *inputs],
            "outputs": shown,
            **scan_settings,
        }
        opened = page.load(self.offer, None, [self.kind, self.repo], queue=False, **QUIET).then(**scan)
        first = gr.on([self.scan_button.click, self.path.submit], **scan)
        again = gr.on(
            [self.keywords.change, self.match.change],
            self.recount,
            [self.asked, self.key, *inputs],
            shown,
            **scan_settings,
        )
        self.looked = opened, first, again
        self.cancel_button.click(self.cancel, None, None, queue=False, **QUIET)
        # In the browser: an answer of the server would undo what was typed meanwhile.
        self.keywords.change(None, self.keywords, self.keywords, js=TIDY, queue=False, **QUIET)
        self.course.click(lambda: list(COURSE_KEYWORDS), None, self.keywords, queue=False, **QUIET)
        self.match.change(self.show_match, self.match, self.match_info, queue=False, **QUIET)
        self.kind.change(self.show_source, [self.kind, self.repo], [self.path, self.repo], queue=False, **QUIET)
        position, sample_outputs = [self.key, self.filter, self.index], [self.index, self.sample_key, self.sample]
        for event in self.looked:
            event.then(self.settle, [self.key, self.filter, self.sample_key], sample_outputs, queue=False, **QUIET)
        for button, move in ((self.previous, -1), (self.next, 1), (self.random, 0)):
            button.click(partial(self.turn, move=move), position, sample_outputs, queue=False, **QUIET)
        self.filter.input(self.choose, [self.key, self.filter], sample_outputs, queue=False, **QUIET)

    # ---- handlers ----

    async def look(
        self,
        asked: Asked | None,
        seen: Key | None,
        kind: str,
        path: str,
        repo: str,
        keywords: list[str],
        match: str,
        rows: float,
        request: gr.Request,
    ) -> AsyncIterator[Updates]:
        """Scan, showing results while the scan runs."""
        max_rows = self.engine.settings.limits.preview_rows
        limit = max(1, min(int(rows or max_rows), max_rows))
        async for updates in stream(self._answer(asked, seen, kind, path, repo, keywords, match, limit, request)):
            yield updates

    async def recount(
        self,
        asked: Asked | None,
        seen: Key | None,
        kind: str,
        path: str,
        repo: str,
        keywords: list[str],
        match: str,
        rows: float,
        request: gr.Request,
    ) -> AsyncIterator[Updates]:
        """Count other keywords, or match in another way, in the rows already read. Does nothing for another source."""
        if asked is None or asked[0] != form_values.source_spec(kind, path, repo):
            yield {self.progress: gr.skip()}
            return
        async for updates in stream(self._answer(asked, seen, kind, path, repo, keywords, match, asked[1], request)):
            yield updates

    def _answer(
        self,
        previous: Asked | None,
        seen: Key | None,
        kind: str,
        path: str,
        repo: str,
        keywords: list[str],
        match: str,
        limit: int,
        request: gr.Request,
    ) -> Generator[Updates, None, None]:
        visitor = self.engine.visitor_key(request) or None
        source = form_values.source_spec(kind, path, repo)
        is_older_below = seen is not None and seen.source != source
        has_figures = False
        with self.engine.scans.question(request.session_hash or "", visitor) as question:
            try:
                yield {
                    self.progress: render(
                        "scan_progress",
                        scan=None,
                        source=source,
                        is_older_below=is_older_below,
                    ),
                    self.cancel_button: gr.update(interactive=True),
                }
                words = form_values.keyword_list(keywords)
                spec = form_values.checked_source(kind, path, repo)
                is_owner = self.engine.reading.check(request, spec)
                DataConfig(source=spec, keywords=words, match=match)  # raises InputError for invalid keywords
                key = Key.of(spec, words, match, limit, is_owner)
                for updates in self._watch(question, key, is_older_below, is_owner=is_owner):
                    has_figures = has_figures or self.key in updates
                    yield updates
            except PipelineError as error:
                older = None if has_figures else seen
                message = notice_of(error, source_fields(kind), default="source", more=still_shown(older))
                yield {self.progress: render("scan_failed", notice=Markup(message), is_older_below=older is not None)}
            if not has_figures:
                yield {self.asked: previous}  # other keywords are counted in what is shown
            if not question.is_superseded:  # else the button belongs to the newer question
                yield {self.cancel_button: gr.update(interactive=False)}
            # Gradio repeats the last update at the end, which could overwrite what a newer scan already shows.
            yield {self.progress: gr.skip()}

    def _watch(
        self, question: Subscription, key: Key, is_older_below: bool, *, is_owner: bool
    ) -> Generator[Updates, None, None]:
        yield {self.asked: (key.source, key.limit)}
        scan, has_sample = None, False
        for scan in self.engine.scans.watch(key, question):
            seen = ShownScan(scan)
            updates = {self.key: key, **self.found(scan if is_owner else scan_for_visitors(scan), key)}
            if not has_sample:
                choices = gr.Dropdown(keyword_choices(seen), value="")
                updates |= {self.filter: choices, **self._sample(seen, key, "", 0)}
                has_sample = bool(scan.samples)
            yield updates
        num_rows = report_view.num_rows(scan.report) if scan else 0
        # Other keywords are then counted in exactly these rows.
        if scan and scan.ended:
            yield {self.asked: (key.source, num_rows or key.limit)}
        if question.is_stopped:
            yield {
                self.asked: (key.source, num_rows or key.limit),
                self.progress: render(
                    "scan_cancelled", rows=num_rows, source=key.source, is_older_below=is_older_below and not num_rows
                ),
            }

    def found(self, scan: Scan, key: Key) -> Updates:
        """Updates of everything but the sample, for one state of a scan."""
        report = scan.report
        return {
            self.progress: progress_html(scan, key),
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
        """Show the previous (`move` -1), the next (1) or a random (0) sample."""
        seen = self._shown_scan(key)
        return self._sample(seen, key, keyword, moved(seen.samples(keyword), index, move) if seen else 0)

    def choose(self, key: Key | None, keyword: str) -> Updates:
        """Show the first sample that contains `keyword`."""
        return self._sample(self._shown_scan(key), key, keyword, 0)

    def settle(self, key: Key | None, keyword: str, sample_key: str) -> Updates:
        """Show the same sample with its place among all samples of the scan, which has ended; among the first ones the
        place was another.
        """
        seen = self._shown_scan(key)
        keys = [sample.hash_key for sample in seen.samples(keyword)] if seen else []
        if not keys:
            return {self.sample: gr.skip()}
        return self._sample(seen, key, keyword, keys.index(sample_key) if sample_key in keys else 0)

    def _sample(self, seen: ShownScan | None, key: Key | None, keyword: str, index: int) -> Updates:
        samples = seen.samples(keyword) if seen else []
        return {
            self.index: index,
            self.sample_key: samples[index].hash_key if samples else "",
            self.sample: sample_html(seen, keyword, index, is_gone=key is not None),
        }

    def _shown_scan(self, key: Key | None) -> ShownScan | None:
        scan = self.engine.scans.found(key)
        return ShownScan(scan) if scan else None

    def cancel(self, request: gr.Request) -> None:
        self.engine.scans.stop(request.session_hash or "")

    def show_match(self, match: str) -> str:
        return render("hint", text=t(f"data.match.{match}.info") if match in MATCHES else "")

    def offer(self) -> tuple[Any, Any]:
        """The source that the page opens with. Nothing is sent when it is the one that is there: the answer may come
        after somebody has chosen another.
        """
        kind = self.engine.offer.wait()
        return (gr.skip(), gr.skip()) if kind == FIRST_KIND else (kind, self.show_source(kind, None)[1])

    def show_source(self, kind: str, repo: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Shows the field that the kind of source needs. One field is for datasets, whose names have a slash, and for
        projects, whose names have none: what is written there stays only if it is of this kind.
        """
        field = repo_field(kind)
        if repo and ("/" in repo) == (kind == "hub"):
            field.pop("value")
        return gr.update(visible=kind == "files"), gr.update(visible=kind in ("hub", "pypi"), **field)


def still_shown(older: Key | None) -> str:
    """Names the source of the older scan whose figures are still shown below an error; empty without one."""
    return t("data.before", source=older.source) if older else ""


def progress_html(scan: Scan, key: Key) -> str:
    """The progress of a scan, or how it ended."""
    limit = key.limit
    return render(
        "scan_progress",
        scan=scan,
        source=key.source,
        rows=report_view.num_rows(scan.report),
        limit=limit,
        share=report_view.share_done(scan, limit),
        left=report_view.seconds_left(scan, limit),
        ended=report_view.ended(scan),
    )


def figures_html(scan: Scan) -> str:
    """The four figures, the kept rate beside the course's, and the warnings."""
    report = scan.report
    return render(
        "scan_figures",
        report=report,
        course_rate=COURSE_KEPT_RATE,
        axis=report_view.RateAxis.of(report),
        warnings=report_view.warnings(report, scan.note),
        is_recount=scan.num_from_memory > 0 and scan.num_from_memory == report_view.num_rows(report),
    )
