"""The Generate tab: a prompt, a pushed revision and a seed become text; a result can be kept as an example."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator
from typing import Any

import gradio as gr

from pipeline.config.prompts import course_prompts
from pipeline.core.errors import PipelineError
from pipeline.gallery.example import TITLE_CHARACTERS, Example
from pipeline.generation.choose import choose
from pipeline.generation.settings import Sampling
from pipeline.ui.generate.answers import Answer, Result
from pipeline.ui.shared.components import QUIET, ask, card, editor, head, html, picks
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.formats import loss, whole
from pipeline.ui.shared.links import permalink
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import stream

NEWEST = "newest"
NOTHING = ""
FRAME_SECONDS = 0.08
"""Text is sent to the browser at most this often."""

Updates = dict[Any, Any]


class GenerateTab:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    # ---- layout ----

    def build(self) -> None:
        self.result = gr.State(None)
        first = course_prompts()[0]
        with gr.Row(elem_classes=["split", "right"]):
            with gr.Column(elem_classes="main", min_width=0):
                self.cards = picks(self._cards(first.text), attribute="prompt", elem_id="prompts")
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
        limits, usual = self.engine.settings.limits, Sampling()
        with card("form-card", "fold"):
            head(t("generate.settings"), fold=True)
            self.revision = ask(gr.Dropdown, [], label=t("generate.revision"), filterable=False, elem_id="revision")
            self.other = ask(gr.Dropdown, [], label=t("generate.other"), filterable=False, elem_id="other")
            self.temperature = ask(
                gr.Slider, 0, 1.5, usual.temperature, step=0.05, label=t("generate.temperature"), buttons=[]
            )
            self.top_p = ask(gr.Slider, 0.05, 1, usual.top_p, step=0.05, label=t("generate.top_p"), buttons=[])
            self.top_k = ask(gr.Slider, 0, 100, usual.top_k, step=1, label=t("generate.top_k"), buttons=[])
            self.length = ask(
                gr.Slider, 8, limits.new_tokens, usual.max_new_tokens, step=8, label=t("generate.length"), buttons=[]
            )
            self.samples = ask(
                gr.Slider, 1, limits.samples, usual.samples, step=1, label=t("generate.samples"), buttons=[]
            )
            self.seed = ask(gr.Number, usual.seed, label=t("generate.seed"), precision=0, elem_id="completion-seed")

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
        sampling = [self.temperature, self.top_p, self.top_k, self.length, self.samples, self.seed]
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
        self.shows = [tabs, self.prompt, self.written, self.result, self.link, *choices, *sampling]
        page.load(self.open_page, None, self.shows, queue=False, **QUIET)
        tab.select(self.list_revisions, choices, choices, queue=False, **QUIET)

    # ---- handlers: writing ----

    async def write(
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
    ) -> AsyncIterator[Updates]:
        """Stream the completions of one revision, or of two one after the other."""
        sampled = (temperature, top_p, top_k, length, samples, seed)
        async for updates in stream(self._write(request, prompt, revision, other, *sampled)):
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
    ) -> Generator[Updates, None, None]:
        answers: list[Answer] = []
        visitor, asked_by = self.engine.visitor_key(request), self.engine.page_key(request)
        try:
            sampling = Sampling(
                max_new_tokens=length, temperature=temperature, top_p=top_p, top_k=top_k, seed=seed, samples=samples
            )
            names = [revision or NEWEST, *([other] if other else [])]
            revisions = [choose(self.engine.settings, name) for name in names]
            busy = {self.stop: gr.update(visible=True), self.complete: gr.update(visible=False), self.link: ""}
            yield {self.written: self.completion(prompt, sampling.to_dict(), []), **busy}
            for chosen in revisions:
                answers.append(Answer(chosen, [""] * sampling.samples))
                due = 0.0
                for piece in self.engine.generator.stream(chosen, prompt, sampling, visitor=visitor, asked_by=asked_by):
                    answers[-1].note = t("completion.place", place=piece.place) if piece.place else ""
                    answers[-1].add(piece)
                    if time.monotonic() >= due:
                        yield {self.written: self.completion(prompt, sampling.to_dict(), answers)}
                        due = time.monotonic() + FRAME_SECONDS
                answers[-1].is_live = False
        except PipelineError as error:
            yield {self.written: render("completion_failed", message=str(error))}
            return
        result = Result(prompt, sampling.to_dict(), revisions[0], answers[0].texts)
        yield {self.written: self.completion(prompt, sampling.to_dict(), answers), self.result: result}

    def rest(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The buttons as they are while nothing is written."""
        return gr.update(visible=False), gr.update(visible=True)

    def halt(self, request: gr.Request) -> None:
        """Stop what this page has asked for; whoever has no page has asked for nothing."""
        self.engine.generator.stop(self.engine.page_key(request))

    def completion(
        self, prompt: str, sampling: dict[str, Any], answers: list[Answer], example: Example | None = None
    ) -> str:
        return render("completion", prompt=prompt, sampling=sampling, answers=answers, example=example)

    # ---- handlers: prompts, revisions, examples ----

    def pick(self, event: gr.EventData) -> str:
        return next(
            (prompt.text for prompt in course_prompts() if prompt.name == event.value), course_prompts()[0].text
        )

    def _cards(self, prompt: str) -> str:
        return render("prompts", prompts=course_prompts(), current=prompt)

    def list_revisions(self, revision: str | None, other: str | None) -> tuple[gr.Dropdown, gr.Dropdown]:
        """The choices as the registry has them; what was chosen stays chosen."""
        revisions = self.engine.registry.revisions()
        named = [
            (
                t(
                    "generate.revision.choice",
                    step=whole(r.step),
                    loss=loss(r.eval_loss),
                    run=r.run,
                    revision=r.revision,
                ),
                r.revision,
            )
            for r in revisions
        ]
        newest = t("generate.newest", step=whole(revisions[0].step)) if revisions else t("generate.none")
        known = {value for _, value in named}
        return (
            gr.Dropdown([(newest, NEWEST), *named], value=revision if revision in known else NEWEST),
            gr.Dropdown([(t("generate.no_other"), NOTHING), *named], value=other if other in known else NOTHING),
        )

    def keep_example(self, result: Result | None, title: str, request: gr.Request) -> str:
        """Keep what was written last on this page; the texts come from the server's own memory, not from the browser."""
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
            return notice(str(error))
        return self._link(kept.example, t("keep.kept" if kept.is_new else "keep.already", id=kept.example.id), request)

    def open_page(self, request: gr.Request) -> Updates:
        """The kept example that the address asks for, or an empty page."""
        revision, other = self.list_revisions(None, None)
        updates: Updates = {self.revision: revision, self.other: other}
        if wanted := request.query_params.get("example"):
            updates |= self.open_example(wanted, request)
        return updates

    def open_example(self, example_id: str, request: gr.Request) -> Updates:
        """Prompt, settings, seed, revision and text as they were; what is hidden, for the owner alone."""
        try:
            example = self.example(example_id, request)
            is_hidden = self.engine.examples.state(example_id).is_hidden
        except PipelineError as error:
            return {
                self.shows[0]: gr.Tabs(selected="generate"),
                self.written: render("completion_failed", message=str(error)),
            }
        answer = Answer(example, example.texts, is_live=False)
        return {
            **self.fill(example),
            self.written: self.completion(example.prompt, _sampling_of(example), [answer], example),
            self.result: None,
            self.link: self._link(example, t("keep.hidden" if is_hidden else "keep.kept", id=example.id), request),
        }

    def example(self, example_id: str, request: gr.Request) -> Example:
        """Raises InputError when there is none that whoever asks may see."""
        return self.engine.examples.get(example_id, include_hidden=self.engine.access.of(request).allowed)

    def _link(self, example: Example, note: str, request: gr.Request) -> str:
        link = permalink(self.engine.settings, request, example.id)
        return render("permalink", link=link, note=note, example=example)

    def fill(self, example: Example) -> Updates:
        """The inputs of an example, with the Generate tab in front."""
        values = _sampling_of(example)
        revision, other = self.list_revisions(example.revision, None)
        return {
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
        }


def _sampling_of(example: Example) -> dict[str, Any]:
    """How the example was sampled; what an older one does not say is as usual."""
    return {**Sampling().to_dict(), **example.settings, "seed": example.seed}
