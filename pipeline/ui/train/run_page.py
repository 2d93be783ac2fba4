"""One run as HTML: the strip, the heads of the charts, the prompt through time, runs, pushes, log. Read from disk.

Knows nothing of Gradio: page load, timer and a second browser all get the same text from the same files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pipeline.core.paths import Home, RunFolder
from pipeline.jobs import views
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.views import CorpusView, RunView
from pipeline.ui.shared.formats import loss, perplexity, rate, whole
from pipeline.ui.shared.markup import notice, render
from pipeline.ui.shared.privacy import corpus_for_visitors, hidden_unless, run_for_visitors
from pipeline.ui.shared.texts import t
from pipeline.ui.train import charts

MOST_SAMPLES = 8
MOST_LOG_LINES = 120
PUSHED = ("registered", "uploading", "pushed", "retrying")
"""States of a push in which its revision can already be used here."""


@dataclass(frozen=True)
class RunPage:
    """The run that a page shows, and everything its figures are made of."""

    view: RunView | None
    runs: list[RunView]
    corpora: list[CorpusView]
    metrics: list[dict[str, Any]]
    pushes: list[dict[str, Any]]
    folder: RunFolder | None
    is_owner: bool

    @classmethod
    def of(cls, home: Home, chosen: str | None, *, is_owner: bool) -> RunPage:
        """The run that was chosen, else the one that trains or waits, else the newest. Visitors see no path of this machine."""
        runs = [run for run in views.run_views(home) if not run.hidden]
        corpora = views.corpus_views(home)
        if not is_owner:
            runs, corpora = [*map(run_for_visitors, runs)], [*map(corpus_for_visitors, corpora)]
        view = next((run for run in runs if run.run == chosen), None)
        view = view or next((run for run in reversed(runs) if run.state in ACTIVE), None) or next(iter(runs), None)
        folder = home.run(view.run) if view else None
        return cls(
            view=view,
            runs=runs,
            corpora=corpora,
            metrics=views.metrics(folder) if folder else [],
            pushes=hidden_unless(is_owner, views.latest_pushes(folder) if folder else []),
            folder=folder,
            is_owner=is_owner,
        )

    @property
    def corpus(self) -> CorpusView | None:
        """The corpus of the run."""
        return next((c for c in self.corpora if self.view and c.corpus == self.view.corpus), None)

    @property
    def is_busy(self) -> bool:
        """Whether anything changes by itself."""
        states = [*(run.state for run in self.runs), *(corpus.state for corpus in self.corpora)]
        is_pushing = any(row["state"] in ("uploading", "retrying") for row in self.pushes)
        return is_pushing or any(state in ACTIVE for state in states)

    @property
    def newest_push(self) -> dict[str, Any] | None:
        return next((row for row in self.pushes if row["state"] in PUSHED and row.get("revision")), None)


def strip(watched: RunPage) -> str:
    """What a person wants to know each second."""
    return render(
        "strip",
        is_owner=watched.is_owner,
        view=watched.view,
        has_metrics=bool(watched.metrics),
        push=watched.newest_push,
        corpus=watched.corpus,
        newest_evaluation=next((row for row in reversed(watched.metrics) if row.get("eval_loss") is not None), None),
    )


def problem(watched: RunPage) -> str:
    """Why the run stopped by itself, what is safe and what to press; empty when nothing is wrong."""
    view = watched.view
    if view is None or not view.error:
        return ""
    push = watched.newest_push
    safe = t("train.safe", step=whole(push["step"])) if push else t("train.nothing_safe")
    return notice(
        f"{view.error} {safe}", title=t("train.problem", state=t(f"state.{view.state}"), step=whole(view.step))
    )


def chart_heads(watched: RunPage) -> dict[str, str]:
    """Title, legend and newest values of each chart, by its name."""
    newest: dict[str, float] = {}
    for row in watched.metrics:
        newest |= {name: value for name, value in row.items() if value is not None}
    train, validation = newest.get("train_loss"), newest.get("eval_loss")
    top = charts.ceiling(watched.metrics)
    series = {
        "loss": [("train", loss(train)), ("val", loss(validation))],
        "perplexity": [("train", perplexity(_exp(train))), ("val", perplexity(_exp(validation)))],
        "rate": [("rate", rate(newest.get("learning_rate")))],
        "speed": [("speed", whole(newest.get("tokens_per_second")))],
    }
    return {
        name: render(
            "chart_head",
            name=name,
            series=values,
            note=t("chart.ceiling", most=whole(top)) if name == "perplexity" and top else "",
        )
        for name, values in series.items()
    }


def story(watched: RunPage) -> str:
    """What the model made of the same prompt at each evaluation."""
    rows = views.samples(watched.folder) if watched.folder else []
    if not rows:
        return render("story_blank")
    first = rows[0]["prompt_name"]
    rows = evenly([row for row in rows if row["prompt_name"] == first], MOST_SAMPLES)
    losses = {row["step"]: row["eval_loss"] for row in watched.metrics if row.get("eval_loss") is not None}
    return render("story", name=first, rows=rows, losses=losses)


def runs_table(watched: RunPage) -> str:
    return render("runs", runs=watched.runs, shown=watched.view.run if watched.view else None)


def pushes_table(watched: RunPage, repo: str | None) -> str:
    return render("pushes", pushes=watched.pushes, repo=repo)


def log(watched: RunPage) -> str:
    lines = views.log(watched.folder, MOST_LOG_LINES) if watched.folder and watched.is_owner else []
    return render("log", lines=lines, is_owner=watched.is_owner)


def evenly(rows: list[Any], most: int) -> list[Any]:
    """At most `most` of `rows`, evenly spread, the first and the last among them."""
    if len(rows) <= most:
        return rows
    return [rows[round(number * (len(rows) - 1) / (most - 1))] for number in range(most)]


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(min(value, 700))
