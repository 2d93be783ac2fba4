"""Which revision writes, and which one beside it: the two fields, what to know of the first, and models on the Hub."""

from __future__ import annotations

from typing import Any

import gradio as gr

from pipeline.artifacts.revision import BEST, NEWEST, Revision, best_of, newest_of
from pipeline.artifacts.starter import STARTER, starter
from pipeline.core.errors import InputError, PipelineError
from pipeline.hub.other_models import find_model
from pipeline.ui.shared.components import QUIET, ask, html, picks
from pipeline.ui.shared.engine import FIRST_ANSWER_SECONDS, Engine
from pipeline.ui.shared.field_errors import Field, notice_of
from pipeline.ui.shared.formats import loss, size, whole
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.texts import t

NOTHING = ""
MODEL_CHARACTERS = 240
"""Of the name of a model on the Hub, with its revision."""
Update = dict[str, Any]


class RevisionChoice:
    """Layout and handlers."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def build(self) -> None:
        self.revision = ask(gr.Dropdown, [], label=t("generate.revision"), filterable=False, elem_id="revision")
        self.advice = picks(attribute="take", elem_id="revision-advice")
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

    def connect(self, tab: gr.Tab) -> None:
        fields = [self.revision, self.other]
        for add in (self.add.click, self.model.submit):
            add(self.add_model, [self.model, *fields], [self.added, self.model, *fields], queue=False, **QUIET)
        tab.select(self.list_revisions, fields, [*fields, self.advice], queue=False, **QUIET)
        self.revision.change(self.advise, self.revision, self.advice, queue=False, trigger_mode="always_last", **QUIET)
        self.advice.click(self.choose_best, None, self.revision, queue=False, **QUIET)

    def updates(self, revision: str | None, other: str | None) -> tuple[Update, Update]:
        """Updates of both fields: their choices, and these selected where there are such choices."""
        revisions = self.engine.revisions.known()
        # Losses on two corpora cannot be compared, so that of each is named.
        text = "generate.revision.of_corpus" if len({r.corpus for r in revisions}) > 1 else "generate.revision.choice"
        choices = [(t(text, **_named(r)) + _mark(r), r.revision) for r in revisions]
        models = self.engine.models.known()
        choices += [(t("generate.model", repo=model.repo, size=size(model.num_bytes)), model.name) for model in models]
        first, best = newest_of(revisions), best_of(revisions)
        newest = t("generate.newest", step=whole(first.step), run=first.run) if first else t("generate.none")
        if first and first.repo == STARTER:
            newest, choices = t("generate.starter"), choices[1:]
        elif own := starter():  # a run that was stopped early may write worse
            choices.append((t("generate.starter"), own.revision))
        if first is not None and best is not None and _is_better(best, first):
            choices = [(t("generate.best", **_named(best)), BEST), *choices]
        values = {value for _, value in choices}
        return (
            gr.update(choices=[(newest, NEWEST), *choices], value=revision if revision in values else NEWEST),
            gr.update(
                choices=[(t("generate.no_other"), NOTHING), *choices], value=other if other in values else NOTHING
            ),
        )

    def list_revisions(self, revision: str | None, other: str | None) -> tuple[Update, Update, str]:
        """The registry's revisions as choices; the selected ones stay selected. A selection that is still a choice is not
        sent: the answer may come after somebody has made another one.
        """
        self.engine.models.known(wait_seconds=FIRST_ANSWER_SECONDS)
        fields = self.updates(revision, other)
        for field, value in zip(fields, (revision, other), strict=True):
            if field["value"] == value:
                del field["value"]
        return *fields, self.advise(fields[0].get("value", revision))

    def advise(self, chosen: str | None) -> str:
        """What to know of the chosen revision: that it is young or has diverged, and which one is better; and its link."""
        revisions = self.engine.revisions.known()
        named = {NEWEST: newest_of(revisions), BEST: best_of(revisions), **{r.revision: r for r in revisions}}
        revision, best = named.get(chosen or NEWEST), named[BEST]
        if revision is None or revision.repo == STARTER:
            return render("revision_advice", chosen=chosen or NEWEST, revision=None, better=None)
        better = best if _is_better(best, revision) else None
        return render("revision_advice", chosen=chosen or NEWEST, revision=revision, better=better)

    def linked_revision(self, request: gr.Request) -> str | None:
        """The choice that the page's URL names. Raises InputError when there is no such revision, or the model is not
        offered here: nothing is looked up on the Hub for a link.
        """
        name = request.query_params.get("revision")
        if not name:
            return None
        if "/" in name:
            is_offered = name.partition("@")[0] in self.engine.settings.models
            models = self.engine.models.known(wait_seconds=FIRST_ANSWER_SECONDS if is_offered else 0)
            for model in models:
                if name in (model.name, model.repo):
                    return model.name
            raise InputError(t("link.no_model", name=name[:MODEL_CHARACTERS]))
        own = starter()
        known = [*self.engine.revisions.known(), *([own] if own else [])]
        if name in (NEWEST, BEST) or any(revision.revision == name for revision in known):
            return name
        raise InputError(t("link.no_revision", name=name[:40]))

    def choose_best(self) -> str:
        """Choose the better one, which the advice has named."""
        return BEST

    def add_model(
        self, name: str, revision: str | None, other: str | None, request: gr.Request
    ) -> tuple[str, Update, Update, Update]:
        """Offer a model on the Hub as a choice, and select it. Nothing is downloaded before it completes a prompt."""
        try:
            self.engine.access.require(request, "model", name)
            model = find_model(name)
        except PipelineError as error:
            fields = {"revision": Field(t("generate.model_name"), "model-name")}
            return notice_of(error, fields, default="revision"), gr.update(), gr.update(), gr.update()
        self.engine.models.add(model)
        added = t("generate.model_added", repo=model.repo, size=size(model.num_bytes))
        return notice(added, kind="good"), gr.update(value=""), *self.updates(model.name, other)


def _is_better(best: Revision | None, revision: Revision) -> bool:
    """Whether its validation loss is lower, on the same corpus."""
    if best is None or best.corpus != revision.corpus or best.eval_loss is None:
        return False
    return revision.eval_loss is None or revision.diverged or best.eval_loss < revision.eval_loss


def _named(revision: Revision) -> dict[str, str]:
    return {
        "step": whole(revision.step),
        "loss": loss(revision.eval_loss),
        "run": revision.run,
        "corpus": revision.corpus,
        "revision": revision.revision,
    }


def _mark(revision: Revision) -> str:
    return f" · {t('generate.revision.diverged')}" if revision.diverged else ""
