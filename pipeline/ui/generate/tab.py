"""The Generate tab: completes a prompt with a pushed revision and a seed; a result can be kept as an example."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any

import gradio as gr
from markupsafe import Markup

from pipeline.artifacts.revision import NEWEST, newest_of
from pipeline.artifacts.starter import STARTER
from pipeline.config.prompts import course_prompts
from pipeline.core.errors import PipelineError
from pipeline.gallery.example import TITLE_CHARACTERS, Example
from pipeline.generation.ending import STOPS
from pipeline.generation.settings import Sampling
from pipeline.hub.other_models import find_model
from pipeline.ui.generate.answers import Answer, Completion, Result
from pipeline.ui.generate.writing import CardTurns, written
from pipeline.ui.shared.components import QUIET, ask, card, editor, head, html, picks
from pipeline.ui.shared.engine import FIRST_ANSWER_SECONDS, Engine
from pipeline.ui.shared.field_errors import Field, notice_of
from pipeline.ui.shared.formats import loss, size, whole
from pipeline.ui.shared.links import permalink
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import stream

NOTHING = ""
SAMPLING = ("temperature", "top_p", "top_k", "samples", "seed", "stop_at")
"""Settings of the form, besides `max_new_tokens`, whose key in the catalogue is `length`."""

MODEL_CHARACTERS = 240
"""Of the name of a model on the Hub, with its revision."""
Updates = dict[Any, Any]


class GenerateTab:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.turns = CardTurns()

    # ---- layout ----

    def build(self) -> None:
        self.result = gr.State(None)
        first = course_prompts()[0]
        with gr.Row(elem_classes=["split", "right"]):
            with gr.Column(elem_classes="main", min_width=0):
                self.cards = picks(self._cards(first.text), attribute="prompt", is_strip=True, elem_id="prompts")
                with card("flush", "editor"):
                    self.prompt = editor(first.text, label=t("generate.prompt"), elem_id="prompt")
                    with gr.Row(elem_classes="toolbar"):
                        html(render("hint", text=t("generate.hint")))
                        self.stop = gr.Button(t("generate.stop"), variant="stop", visible=False, elem_id="stop-writing")
                        self.complete = gr.Button(t("generate.complete"), variant="primary", elem_id="complete")
                with card("flush"):
                    self.written = html(render("completion_blank"), elem_id="completion")
            with gr.Column(elem_classes="side", min_width=0):
                self._build_settings()
                self._build_keep()

    def _build_settings(self) -> None:
        limits, default = self.engine.settings.limits, Sampling()
        with card("form-card", "fold"):
            head(t("generate.settings"), fold=True)
            self.revision = ask(gr.Dropdown, [], label=t("generate.revision"), filterable=False, elem_id="revision")
            self.other = ask(gr.Dropdown, [], label=t("generate.other"), filterable=False, elem_id="other")
            with gr.Column(elem_classes=["owners", "add-model"], min_width=0):
                self.model = ask(
                    gr.Textbox,
                    label=t("generate.model_name"),
                    placeholder=t("generate.model_name.form"),
                    max_lines=1,
                    max_length=MODEL_CHARACTERS,
                    elem_id="model-name",
                )
                self.add = gr.Button(t("generate.add_model"), size="sm", elem_id="add-model")
                self.added = html(elem_id="model-answer")
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
        inputs = [self.prompt, self.revision, self.other, *sampling]
        writes: dict[str, Any] = {**QUIET, "concurrency_limit": None}
        self.complete.click(
            self.write, inputs, [self.written, self.result, self.link, self.stop, self.complete], **writes
        ).then(self.rest, None, [self.stop, self.complete], queue=False, **QUIET)
        self.stop.click(self.halt, None, None, queue=False, **QUIET)
        self.cards.click(self.pick, None, self.prompt, queue=False, **QUIET)
        self.prompt.change(self._cards, self.prompt, self.cards, queue=False, trigger_mode="always_last", **QUIET)
        self.keep.click(self.keep_example, [self.result, self.title], self.link, queue=False, **QUIET)
        choices = [self.revision, self.other]
        for add in (self.add.click, self.model.submit):
            add(self.add_model, [self.model, *choices], [self.added, self.model, *choices], queue=False, **QUIET)
        self.shows = [tabs, self.prompt, self.written, self.result, self.link, *choices, *sampling]
        page.load(self.open_page, None, self.shows, queue=False, **QUIET)
        tab.select(self.list_revisions, choices, choices, queue=False, **QUIET)

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
            yield {self.written: failed(error), self.result: None, self.link: ""}
            return
        updates: Updates = {
            self.stop: gr.update(visible=True),
            self.complete: gr.update(visible=False),
            self.result: None,
            self.link: "",
        }
        turn = self.turns.begin(asked_by)
        for completion in written(
            self.engine.generator, revisions, prompt, sampling, visitor=visitor, asked_by=asked_by
        ):
            if self.turns.is_over(asked_by, turn):
                return
            if not completion.is_live:
                updates[self.result] = Result.of(completion, revisions[0])
            yield {self.written: shown(completion), **updates}
            updates = {}

    def rest(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The buttons' state while nothing is being generated."""
        return gr.update(visible=False), gr.update(visible=True)

    def halt(self, request: gr.Request) -> None:
        """Stop this page's generation. A request without a session has the key "", which stops nothing."""
        self.engine.generator.stop(self.engine.page_key(request))

    # ---- handlers: prompts, revisions, examples ----

    def pick(self, event: gr.EventData) -> str:
        return next(
            (prompt.text for prompt in course_prompts() if prompt.name == event.value), course_prompts()[0].text
        )

    def _cards(self, prompt: str) -> str:
        return render("prompts", prompts=course_prompts(), current=prompt)

    def list_revisions(self, revision: str | None, other: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """The registry's revisions as choices; the selected ones stay selected. A selection that is still a choice is not
        sent: the answer may come after somebody has made another one.
        """
        self.engine.models.known(wait_seconds=FIRST_ANSWER_SECONDS)
        fields = self._fields(revision, other)
        for field, value in zip(fields, (revision, other), strict=True):
            if field["value"] == value:
                del field["value"]
        return fields

    def add_model(
        self, name: str, revision: str | None, other: str | None, request: gr.Request
    ) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Offer a model on the Hub as a choice, and select it. Nothing is downloaded before it completes a prompt."""
        try:
            self.engine.access.require(request, "model", name)
            model = find_model(name)
        except PipelineError as error:
            fields = {"revision": Field(t("generate.model_name"), "model-name")}
            return notice_of(error, fields, default="revision"), gr.update(), gr.update(), gr.update()
        self.engine.models.add(model)
        added = t("generate.model_added", repo=model.repo, size=size(model.num_bytes))
        return notice(added, kind="good"), gr.update(value=""), *self._fields(model.name, other)

    def _fields(self, revision: str | None, other: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Updates of both fields of revisions: their choices, and these selected where there are such choices."""
        revisions = self.engine.revisions.known()
        # Losses on two corpora cannot be compared, so that of each is named.
        text = "generate.revision.of_corpus" if len({r.corpus for r in revisions}) > 1 else "generate.revision.choice"
        choices = [
            (
                t(
                    text,
                    step=whole(r.step),
                    loss=loss(r.eval_loss),
                    run=r.run,
                    corpus=r.corpus,
                    revision=r.revision,
                ),
                r.revision,
            )
            for r in revisions
        ]
        models = self.engine.models.known()
        choices += [(t("generate.model", repo=model.repo, size=size(model.num_bytes)), model.name) for model in models]
        first = newest_of(revisions)
        newest = t("generate.newest", step=whole(first.step), run=first.run) if first else t("generate.none")
        if first and first.repo == STARTER:
            newest, choices = t("generate.starter"), choices[1:]
        values = {value for _, value in choices}
        return (
            gr.update(choices=[(newest, NEWEST), *choices], value=revision if revision in values else NEWEST),
            gr.update(
                choices=[(t("generate.no_other"), NOTHING), *choices], value=other if other in values else NOTHING
            ),
        )

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
                kept_by=self.engine.visitor_key(request),
            )
        except PipelineError as error:
            return notice_of(error, {"title": Field(t("keep.name"), "example-title")})
        return self._link(kept.example, t("keep.kept" if kept.is_new else "keep.already", id=kept.example.id), request)

    def open_page(self, request: gr.Request) -> Updates:
        """Show the kept example that the URL names, or an empty page."""
        revision, other = self._fields(None, None)
        updates: Updates = {self.revision: revision, self.other: other}
        if example_id := request.query_params.get("example"):
            updates |= self.open_example(example_id, request)
        return updates

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
            self.written: shown(completion),
            self.link: self._link(example, t("keep.hidden" if is_hidden else "keep.kept", id=example.id), request),
        }

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
        revision, other = self._fields(example.revision, None)
        return {
            self.written: render("completion_blank"),
            self.result: None,
            self.link: "",
            self.shows[0]: gr.Tabs(selected="generate"),
            self.prompt: example.prompt,
            self.revision: revision,
            self.other: other,
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


def shown(completion: Completion) -> str:
    """The HTML of the completion card. Text is highlighted at the end only: until then each update would replace all
    of its elements.
    """
    if completion.error and not completion.has_text:
        return failed(completion.error)
    return render("completion", completion=completion)


def _sampling_of(example: Example) -> dict[str, Any]:
    """How the example was sampled; settings that an older example lacks have their defaults."""
    known = Sampling().to_dict()
    found = {**known, **example.settings, "seed": example.seed}
    return found if found["stop_at"] in STOPS else {**found, "stop_at": known["stop_at"]}
