"""One run as HTML, read from disk: status strip, charts, sample completions by step, runs, pushes, log.

Does not depend on Gradio: page load, refresh and a second browser all get the same text from the same files.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from pipeline.artifacts import evaluation
from pipeline.core.atomic_io import cached_lines, readable_json, tail
from pipeline.core.paths import Home, RunFolder
from pipeline.hub import push_log
from pipeline.hub.commits import PUBLIC_HUB, commit_url
from pipeline.jobs import views
from pipeline.jobs.run_pushes import latest_pushes
from pipeline.jobs.state import ACTIVE, RUNNING
from pipeline.jobs.view_types import CorpusView, EvaluationView, HomeView, RunView
from pipeline.ui.shared import charts
from pipeline.ui.shared.charts import Drawing
from pipeline.ui.shared.formats import whole
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.privacy import corpus_for_visitors, evaluation_for_visitors, push_for_visitors, run_for_visitors
from pipeline.ui.shared.texts import t

MAX_SAMPLES = 8
MAX_LOG_LINES = 120
PUSHED = ("registered", "uploading", "pushed", "retrying")
"""Push states in which the revision can already be used on this machine."""


@dataclass(frozen=True)
class RunPage:
    """The run that a page shows, with all data that it is rendered from."""

    view: RunView | None
    runs: list[RunView]
    corpora: list[CorpusView]
    metrics: list[dict[str, Any]]
    pushes: list[dict[str, Any]]
    folder: RunFolder | None
    is_owner: bool
    evaluations: list[dict[str, Any]]
    """As `artifacts.evaluation.of_run`."""
    reference: dict[str, Any] | None = None
    """As `artifacts.evaluation.reference_of` the last of these."""
    evaluating: EvaluationView | None = None
    """The newest evaluation, of whatever run."""
    restoring: str | None = None
    """What is being brought back from the Hub."""
    restore_fault: str | None = None
    """Why that is not possible now."""

    @classmethod
    def of(cls, home: Home, chosen: str | None, *, is_owner: bool, seen: HomeView | None = None) -> RunPage:
        """The chosen run, else the oldest active one, else the newest. Visitors see no path of this machine. `seen`:
        the jobs, when they have been read.
        """
        seen = seen or views.home_view(home)
        runs, corpora = seen.runs, seen.corpora
        if not is_owner:
            runs, corpora = [*map(run_for_visitors, runs)], [*map(corpus_for_visitors, corpora)]
        view = next((run for run in runs if run.run == chosen), None)
        view = view or next((run for run in reversed(runs) if run.state in ACTIVE), None) or next(iter(runs), None)
        folder = home.run(view.run) if view else None
        pushes = latest_pushes(folder) if folder else []
        run_uid = readable_json(folder.config).get("run_uid") if folder else None
        evaluations = evaluation.of_run(home, folder.id, run_uid) if folder else []
        return cls(
            view=view,
            runs=runs,
            corpora=corpora,
            metrics=list(cached_lines(folder.metrics)) if folder else [],
            pushes=pushes if is_owner else [*map(push_for_visitors, pushes)],
            folder=folder,
            is_owner=is_owner,
            evaluations=evaluations,
            reference=evaluation.reference_of(home, evaluations[-1]) if evaluations else None,
            evaluating=seen.evaluation if is_owner else seen.evaluation and evaluation_for_visitors(seen.evaluation),
            restoring=None if seen.is_restore_fault else seen.restoring,
            restore_fault=(seen.restoring if is_owner else t("fault.for_owner")) if seen.is_restore_fault else None,
        )

    @property
    def corpus(self) -> CorpusView | None:
        """The corpus that the run trains on; None when it is gone or there is no run."""
        return next((c for c in self.corpora if self.view and c.corpus == self.view.corpus), None)

    @property
    def newest_push(self) -> dict[str, Any] | None:
        return next((row for row in self.pushes if row["state"] in PUSHED and row.get("revision")), None)

    @property
    def on_hub(self) -> dict[str, Any] | None:
        """The newest checkpoint that is on the Hub, with the URL of its commit; visitors learn no address but that of
        the public Hub.
        """
        row = next((row for row in self.pushes if row["state"] == push_log.PUSHED and row.get("commit")), None)
        if row is None:
            return None
        url = commit_url(row["repo"], row["commit"])
        return {**row, "url": url if self.is_owner or url.startswith(PUBLIC_HUB) else None}


def strip(page: RunPage) -> str:
    """The status line: state, step, losses and newest pushed revision."""
    return render(
        "strip",
        is_owner=page.is_owner,
        view=page.view,
        has_metrics=bool(page.metrics),
        push=page.newest_push,
        on_hub=page.on_hub,
        corpus=page.corpus,
        newest_evaluation=next((row for row in reversed(page.metrics) if row.get("eval_loss") is not None), None),
    )


def problem(page: RunPage) -> str:
    """What keeps the run from being what somebody expects: why it failed, which step is saved, and which button to
    press; why it does not use the GPU; why its newest checkpoint is not on the Hub; which run waits for its end. Empty
    when nothing does.
    """
    view, notices = page.view, []
    if page.restoring:
        notices.append(notice(page.restoring, kind="good"))
    if page.restore_fault:
        notices.append(notice(page.restore_fault, kind="warn"))
    if view is None:
        return "".join(notices)
    if view.error:
        notices.append(_failure(page, view))
    if view.gpu_problem and view.state in ACTIVE:
        notices.append(notice(view.gpu_problem, kind="warn"))
    if view.push_fault:
        notices.append(render("push_fault", fault=view.push_fault, now=time.time()))
    if view.state in RUNNING:
        queued = [run.run for run in reversed(page.runs) if run.state == "queued"]
        notices += [notice(t("train.queued", run=run, other=view.run), kind="good") for run in queued[:1]]
    return "".join(notices)


def _failure(page: RunPage, view: RunView) -> str:
    push = page.newest_push
    if not view.can_resume:
        safe = t("train.safe_model", step=whole(push["step"])) if push else ""
    else:
        safe = t("train.safe", step=whole(push["step"])) if push else t("train.nothing_safe")
    return notice(
        f"{view.error} {safe}".strip(), title=t("train.problem", state=t(f"state.{view.state}"), step=whole(view.step))
    )


def drawings(page: RunPage) -> dict[str, Drawing]:
    """The charts of the run's metrics, by name."""
    return {chart.name: charts.drawing(chart, page.metrics) for chart in charts.CHARTS}


def evaluations(page: RunPage) -> str:
    """How much of what its revisions write parses, runs and is right; empty before the first evaluation."""
    if not page.evaluations:
        is_offered = page.is_owner and page.newest_push is not None
        return render("evaluations_blank") if is_offered or _is_evaluated_now(page) else ""
    drawn = charts.drawing(charts.TASKS, page.evaluations, level=page.reference["right"] if page.reference else None)
    return render(
        "evaluations",
        drawing=drawn,
        newest=page.evaluations[-1],
        reference=page.reference,
        width=charts.WIDTH,
        height=charts.HEIGHT,
    )


def evaluating(page: RunPage) -> str:
    """What an evaluation is doing, or why the last one of this run ended early; empty when neither is to be said."""
    view = page.evaluating
    if view is None:
        return ""
    if view.state in ACTIVE:
        return render("evaluating", view=view)
    return notice(view.error) if view.error and _is_of_run(page) else ""


def _is_evaluated_now(page: RunPage) -> bool:
    return _is_of_run(page) and page.evaluating is not None and page.evaluating.state in ACTIVE


def _is_of_run(page: RunPage) -> bool:
    return page.evaluating is not None and page.view is not None and page.evaluating.run == page.view.run


def story(page: RunPage) -> str:
    """Completions of one prompt, from the first to the last evaluation."""
    rows = cached_lines(page.folder.samples) if page.folder else []
    if not rows:
        return render("story_blank")
    first = rows[0]["prompt_name"]
    rows = evenly([row for row in rows if row["prompt_name"] == first], MAX_SAMPLES)
    losses = {row["step"]: row["eval_loss"] for row in page.metrics if row.get("eval_loss") is not None}
    return render("story", name=first, prompt=rows[0].get("prompt") or "", rows=rows, losses=losses)


def runs_table(page: RunPage) -> str:
    return render("runs", runs=page.runs, shown=page.view.run if page.view else None)


def pushes_table(page: RunPage, repo: str | None) -> str:
    return render("pushes", pushes=page.pushes, repo=repo)


def log(page: RunPage) -> str:
    lines = tail(page.folder.log, MAX_LOG_LINES) if page.folder and page.is_owner else []
    return render("log", lines=lines, is_owner=page.is_owner)


def evenly(rows: list[Any], max_rows: int) -> list[Any]:
    """At most `max_rows` of `rows`, evenly spaced, always with the first and the last."""
    if len(rows) <= max_rows:
        return rows
    return [rows[round(number * (len(rows) - 1) / (max_rows - 1))] for number in range(max_rows)]
