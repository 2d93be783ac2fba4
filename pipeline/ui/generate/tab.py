"""The Generate tab: completes a prompt with a pushed revision and a seed; a result can be kept as an example."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from dataclasses import replace
from functools import partial
from typing import Any

import gradio as gr
from markupsafe import Markup

from pipeline.artifacts.revision import NEWEST, Revision
from pipeline.config.prompts import course_prompts
from pipeline.core.errors import PipelineError
from pipeline.gallery.example import TITLE_CHARACTERS, Example
from pipeline.generation.ending import STOPS
from pipeline.generation.settings import Sampling
from pipeline.ui.generate.answers import Answer, Completion, Result
from pipeline.ui.generate.browser_run import browser_run
from pipeline.ui.generate.copied_card import CopiedCard
from pipeline.ui.generate.growth_card import GrowthCard
from pipeline.ui.generate.linked_prompt import MAX_LINKED_CHARACTERS, linked_prompt
from pipeline.ui.generate.readings import Written
from pipeline.ui.generate.revision_choice import RevisionChoice
from pipeline.ui.generate.token_card import TokenCard
from pipeline.ui.generate.tools import revision_of, tools
from pipeline.ui.generate.writing import CardTurns, written
from pipeline.ui.shared.components import QUIET, ask, card, editor, head, html, picks, tells
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.field_errors import Field, notice_of
from pipeline.ui.shared.links import permalink
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import stream

SAMPLING = ("temperature", "top_p", "top_k", "samples", "seed", "stop_at")
"""Settings of the form, besides `max_new_tokens`, whose key in the catalogue is `length`."""
RETURN_PROMPT = "setTimeout(() => document.dispatchEvent(new Event('studio-prompt')));"
"""Once the form is there, page.js fills in what this browser's tab had as its prompt before a reload."""
Updates = dict[Any, Any]


class GenerateTab:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.choice = RevisionChoice(engine)
        self.tokens = TokenCard(engine)
        self.growth = GrowthCard(engine)
        self.copied = CopiedCard(engine)
        self.turns = CardTurns()

    # ---- layout ----

    def build(self) -> None:
        self.result = gr.State(None)
        self.remixed = gr.State(None)
        first = course_prompts()[0]
        with gr.Row(elem_classes=["split", "right"]):
            with gr.Column(elem_classes="main", min_width=0):
                self.cards = picks(
                    self._cards(first.text), attribute="prompt", is_strip=True, elem_id="prompts", js_more=RETURN_PROMPT
                )
                with card("flush", "editor"):
                    self.prompt = editor(first.text, label=t("generate.prompt"), elem_id="prompt")
                    with gr.Row(elem_classes="toolbar"):
                        html(render("hint", text=t("generate.hint")))
                        html(render("prompt_link", most=MAX_LINKED_CHARACTERS), elem_id="prompt-link")
                        self.stop = gr.Button(t("generate.stop"), variant="stop", visible=False, elem_id="stop-writing")
                        self.complete = gr.Button(t("generate.complete"), variant="primary", elem_id="complete")
                with card("flush"):
                    self.written = picks(
                        render("completion_blank"),
                        attribute="remix",
                        elem_id="completion",
                        js_more=tells("studio-shown"),
                    )
                self.tokens.build()
                self.growth.build()
                self.copied.build()
            with gr.Column(elem_classes="side", min_width=0):
                self._build_settings()
                self._build_keep()

    def _build_settings(self) -> None:
        limits, default = self.engine.settings.limits, Sampling()
        with card("form-card", "fold"):
            head(t("generate.settings"), fold=True)
            self.choice.build()
            self.temperature = ask(
                gr.Slider,
                0,
                1.5,
                default.temperature,
                step=0.05,
                label=t("generate.temperature"),
                buttons=[],
                elem_id="completion-temperature",
            )
            self.top_p = ask(
                gr.Slider,
                0.05,
                1,
                default.top_p,
                step=0.05,
                label=t("generate.top_p"),
                buttons=[],
                elem_id="completion-top_p",
            )
            self.top_k = ask(
                gr.Slider,
                0,
                100,
                default.top_k,
                step=1,
                label=t("generate.top_k"),
                buttons=[],
                elem_id="completion-top_k",
            )
            self.length = ask(
                gr.Slider,
                8,
                limits.new_tokens,
                default.max_new_tokens,
                step=8,
                label=t("generate.length"),
                buttons=[],
                elem_id="completion-length",
            )
            self.stop_at = ask(
                gr.Radio,
                [(t(f"generate.stop_at.{stop}"), stop) for stop in STOPS],
                value=default.stop_at,
                label=t("generate.stop_at"),
                elem_classes="segments",
                elem_id="completion-stop_at",
            )
            self.samples = ask(
                gr.Slider,
                1,
                limits.samples,
                default.samples,
                step=1,
                label=t("generate.samples"),
                buttons=[],
                elem_id="completion-samples",
            )
            self.seed = ask(gr.Number, default.seed, label=t("generate.seed"), precision=0, elem_id="completion-seed")

    def _build_keep(self) -> None:
        with card("form-card", elem_id="keep-card"):
            head(t("keep.title"))
            html(render("aside", text=t("keep.what")))
            self.title = ask(
                gr.Textbox, label=t("keep.name"), max_lines=1, max_length=TITLE_CHARACTERS, elem_id="example-title"
            )
            self.keep = gr.Button(t("keep.button"), elem_id="keep")
            self.link = html(elem_id="permalink")

    def connect(self, page: gr.Blocks, tabs: gr.Tabs, tab: gr.Tab) -> None:
        sampling = [self.temperature, self.top_p, self.top_k, self.length, self.samples, self.seed, self.stop_at]
        choices = [self.choice.revision, self.choice.other]
        inputs = [self.prompt, *choices, *sampling, self.remixed]
        tokens = [self.tokens.written, self.tokens.view, self.tokens.inside, self.growth.view, self.copied.view]
        writes: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        self.complete.click(
            self.write, inputs, [self.written, self.result, self.link, self.stop, self.complete, *tokens], **writes
        ).then(self.rest, None, [self.stop, self.complete], queue=False, **QUIET)
        self.stop.click(self.halt, None, None, queue=False, **QUIET)
        self.cards.click(self.pick, None, self.prompt, queue=False, **QUIET)
        self.written.click(self.end_remix, self.result, [self.remixed, self.result], queue=False, **QUIET)
        self.prompt.change(self._cards, self.prompt, self.cards, queue=False, trigger_mode="always_last", **QUIET)
        self.keep.click(self.keep_example, [self.result, self.title], self.link, queue=False, **QUIET)
        self.shows = [
            tabs, self.prompt, self.written, self.result, self.remixed, self.link, *choices, *sampling, *tokens,
        ]  # fmt: skip
        page.load(self.open_page, None, self.shows, queue=False, **QUIET)
        self.choice.connect(tab)
        self.tokens.connect()
        self.growth.connect(self.tokens.written)
        self.copied.connect(self.tokens.written)

    # ---- handlers: writing ----

    async def write(self, request: gr.Request, *form: Any) -> AsyncIterator[Updates]:
        """Stream the completions of one revision, or of two in sequence. `form`: the values that `_write` takes."""
        async for updates in stream(self._write(request, *form)):
            yield updates

    def _write(
        self,
        request: gr.Request,
        prompt: str,
        revision: str,
        other: str,
        temperature: float,
        top_p: float,
        top_k: int,
        length: int,
        samples: int,
        seed: int,
        stop_at: str,
        remixed: Example | None = None,
    ) -> Generator[Updates, None, None]:
        visitor, asked_by = self.engine.visitor_key(request), self.engine.page_key(request)
        try:
            sampling = Sampling(
                max_new_tokens=length,
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
                seed=seed,
                samples=samples,
                stop_at=stop_at,
            )
            names = [revision or NEWEST, *([other] if other else [])]
            revisions = []
            for name in [self.engine.check_model(request, name) for name in names]:
                if model := self.engine.revisions.to_download(name):
                    yield {self.written: render("completion_fetching", model=model)}
                revisions.append(self.engine.revisions.choose(model.name if model else name))
        except PipelineError as error:
            yield {self.written: failed(error), self.result: None, self.link: "", **self._cards_of(None, request)}
            return
        updates: Updates = {
            self.stop: gr.update(visible=True),
            self.complete: gr.update(visible=False),
            self.result: None,
            self.link: "",
            **self._cards_of(None, request),
        }
        turn = self.turns.begin(asked_by)
        for completion in written(
            self.engine.generator, revisions, prompt, sampling, visitor=visitor, asked_by=asked_by
        ):
            if self.turns.is_over(asked_by, turn):
                return
            completion.remixed = remixed
            if not completion.is_live:
                updates |= {
                    self.result: Result.of(completion, revisions[0]),
                    **self._cards_of(Written.of(completion), request),
                }
            more = "" if completion.is_live else self._tools(completion, revisions, request)
            yield {self.written: self.card_of(completion) + more, **updates}
            updates = {}

    def _tools(self, completion: Completion, known: list[Revision], request: gr.Request) -> str:
        """`known`: the revisions that may have written it."""
        if not completion.answers:
            return ""
        revision = revision_of(completion.answers[0].revision, known)
        return tools(completion, revision, is_owner=self.engine.access.of(request).allowed)

    def _cards_of(self, written: Written | None, request: gr.Request) -> Updates:
        """What the cards below offer to show of a completion."""
        cards = (self.tokens, self.growth, self.copied)
        return {component: value for card in cards for component, value in card.updates(written, request).items()}

    def card_of(self, completion: Completion) -> str:
        """The HTML of the completion card."""
        return shown(completion, self.engine.settings.pyodide_url)

    def rest(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The buttons' state while nothing is being generated."""
        return gr.update(visible=False), gr.update(visible=True)

    def halt(self, request: gr.Request) -> None:
        """Stop this page's generation. A request without a session has the key "", which stops nothing."""
        self.engine.generator.stop(self.engine.page_key(request))

    # ---- handlers: prompts, examples ----

    def pick(self, event: gr.EventData) -> str:
        return next(
            (prompt.text for prompt in course_prompts() if prompt.name == event.value), course_prompts()[0].text
        )

    def _cards(self, prompt: str) -> str:
        return render("prompts", prompts=course_prompts(), current=prompt)

    def keep_example(self, result: Result | None, title: str, request: gr.Request) -> str:
        """Keep the last completion of this page. Its texts come from the server's memory, not from the browser."""
        try:
            if result is None:
                return notice(t("keep.nothing"), kind="warn")
            kept = self.engine.examples.keep(
                prompt=result.prompt,
                settings=result.sampling,
                seed=result.sampling["seed"],
                revision=result.revision,
                texts=result.texts,
                title=(title or "").strip(),
                remix_of=result.remix_of,
                kept_by=self.engine.visitor_key(request),
            )
        except PipelineError as error:
            return notice_of(error, {"title": Field(t("keep.name"), "example-title")})
        told = t("keep.kept" if kept.is_new else "keep.already", id=kept.example.id)
        if result.beside:
            told += " " + t("keep.beside", revision=result.beside)
        return self._link(kept.example, told, request)

    def open_page(self, request: gr.Request) -> Updates:
        """Show the kept example that the URL names, fill in the prompt and choose the revision that it names, or show an
        empty page. A link never starts a completion.
        """
        updates: Updates = dict(
            zip((self.choice.revision, self.choice.other), self.choice.updates(None, None), strict=True)
        )
        if example_id := request.query_params.get("example"):
            return updates | self.open_example(example_id, request)
        try:
            prompt, revision = linked_prompt(request), self.choice.linked_revision(request)
        except PipelineError as error:
            return updates | {self.shows[0]: gr.Tabs(selected="generate"), self.written: failed(error)}
        if prompt is not None:
            updates |= {self.prompt: prompt}
        if revision is not None:
            updates |= {self.choice.revision: self.choice.updates(revision, None)[0]}
        is_linked = prompt is not None or revision is not None
        return updates | ({self.shows[0]: gr.Tabs(selected="generate")} if is_linked else {})

    def open_example(self, example_id: str, request: gr.Request) -> Updates:
        """Show an example's prompt, settings, seed, revision and text; a hidden one only to the owner."""
        try:
            example = self.example(example_id, request)
            is_hidden = self.engine.examples.state(example_id).is_hidden
        except PipelineError as error:
            return {
                self.shows[0]: gr.Tabs(selected="generate"),
                self.written: failed(error),
            }
        completion = Completion(
            example.prompt, _sampling_of(example), [Answer(example, example.texts)], "finished", example=example
        )
        return {
            **self.fill(example, request),
            self.written: self.card_of(completion) + self._tools(completion, self.engine.revisions.known(), request),
            **self._cards_of(Written.of(completion), request),
            self.link: self._link(example, t("keep.hidden" if is_hidden else "keep.kept", id=example.id), request),
        }

    def remix(self, example_id: str, request: gr.Request) -> Updates:
        """Fill the inputs with an example's values, and show its answer, beside which the next one will stand."""
        example = self.example(example_id, request)
        blank = Completion(example.prompt, _sampling_of(example), state="finished", remixed=example)
        return {**self.fill(example, request), self.remixed: example, self.written: self.card_of(blank)}

    def end_remix(self, result: Result | None) -> Updates:
        """What is written from now on is no remix; page.js takes the old answer away."""
        return {self.remixed: None, self.result: replace(result, remix_of="") if result else None}

    def example(self, example_id: str, request: gr.Request) -> Example:
        """Raises InputError when there is no such example or the requester may not see it."""
        return self.engine.examples.get(example_id, include_hidden=self.engine.access.of(request).allowed)

    def _link(self, example: Example, note: str, request: gr.Request) -> str:
        link = permalink(self.engine.settings, request, example.id)
        return render("permalink", link=link, note=note, example=example)

    def fill(self, example: Example, request: gr.Request) -> Updates:
        """Fill the inputs with an example's values, stop and clear what another prompt writes, and select the Generate
        tab.
        """
        page_key = self.engine.page_key(request)
        self.turns.begin(page_key)
        if "generator" in vars(self.engine):
            self.engine.generator.stop(page_key)
        values = _sampling_of(example)
        revision, other = self.choice.updates(example.revision, None)
        return {
            self.written: render("completion_blank"),
            self.result: None,
            self.remixed: None,
            **self._cards_of(None, request),
            self.link: "",
            self.shows[0]: gr.Tabs(selected="generate"),
            self.prompt: example.prompt,
            self.choice.revision: revision,
            self.choice.other: other,
            self.temperature: values["temperature"],
            self.top_p: values["top_p"],
            self.top_k: values["top_k"],
            self.length: values["max_new_tokens"],
            self.samples: values["samples"],
            self.seed: values["seed"],
            self.stop_at: values["stop_at"],
        }


def failed(error: PipelineError) -> str:
    """The completion card with the reason why there is none."""
    keys = {**{key: key for key in SAMPLING}, "max_new_tokens": "length"}
    fields = {name: Field(t(f"generate.{key}"), f"completion-{key}") for name, key in keys.items()}
    fields["prompt"] = Field(t("generate.prompt"), "prompt")
    return render("completion_failed", notice=Markup(notice_of(error, fields)))


def shown(completion: Completion, pyodide_url: str | None) -> str:
    """The HTML of the completion card. Text is highlighted at the end only: until then each update would replace all
    of its elements. `pyodide_url`: where a browser gets the interpreter to run a completion that draws.
    """
    if completion.error and not completion.has_text:
        return failed(completion.error)
    return render("completion", completion=completion, browser_run=partial(browser_run, pyodide_url, completion.prompt))


def _sampling_of(example: Example) -> dict[str, Any]:
    """How the example was sampled; settings that an older example lacks have their defaults."""
    known = Sampling().to_dict()
    found = {**known, **example.settings, "seed": example.seed}
    return found if found["stop_at"] in STOPS else {**found, "stop_at": known["stop_at"]}
