"""Hides paths of this machine from visitors, who are shown no logs either. The owner sees everything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.core.text import without_paths
from pipeline.jobs.view_types import CorpusView, EvaluationView, RunView
from pipeline.ui.shared.texts import t

if TYPE_CHECKING:
    from pipeline.data.preview.scan import Scan

View = TypeVar("View", RunView, CorpusView)


def hidden(value: Any) -> Any:
    """`value`, a JSON value, with the paths in its strings replaced."""
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, dict):
        return {name: hidden(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [hidden(item) for item in value]
    return value


def hidden_unless(is_owner: bool, value: Any) -> Any:
    return value if is_owner else hidden(value)


def run_for_visitors(view: RunView) -> RunView:
    """Without paths, and without what the Hub says: it may name files of a private repo."""
    fault = view.push_fault and replace(view.push_fault, error=t("fault.for_owner"))
    return replace(
        view,
        error=hidden(view.error),
        message=hidden(view.message),
        config=hidden(view.config),
        gpu_problem=hidden(view.gpu_problem),
        push_fault=fault,
    )


def push_for_visitors(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a push log, without what the Hub says."""
    return {**row, "error": row.get("error") and t("fault.for_owner")}


def corpus_for_visitors(view: CorpusView) -> CorpusView:
    return replace(view, error=hidden(view.error), source=hidden(view.source), status=hidden(view.status))


def evaluation_for_visitors(view: EvaluationView) -> EvaluationView:
    return replace(view, error=hidden(view.error), message=hidden(view.message))


def scan_for_visitors(scan: Scan) -> Scan:
    """Hides the paths by which the scan names files that could not be read."""
    return replace(scan, report={**scan.report, "bad_examples": hidden(scan.report["bad_examples"])})
