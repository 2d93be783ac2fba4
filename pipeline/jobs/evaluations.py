"""Requests to evaluate revisions. One evaluation at a time is queued or running on a home; it waits behind other jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.artifacts.corpus import Corpus
from pipeline.artifacts.revision import BEST, NEWEST, Revision, best_of, newest_of
from pipeline.config.requests import EvaluateRequest
from pipeline.core.atomic_io import readable_json
from pipeline.core.errors import BusyError, InputError, require
from pipeline.core.paths import Home, check_id
from pipeline.core.program_needs import check_possible
from pipeline.core.settings import Settings
from pipeline.hub.revision_store import RevisionStore
from pipeline.jobs.job import find_by_request_id, request_lock, stop_job, submit
from pipeline.jobs.job_files import readable_request
from pipeline.jobs.state import job_state

ALL = "all"
WHICH = (NEWEST, BEST, ALL)
MAX_SAMPLES = 100
SAMPLES = 10
MAX_EARLIER_IDS = 100


def start_evaluating(
    settings: Settings,
    revisions: Sequence[Revision],
    *,
    run: str | None = None,
    corpus: str | None = None,
    samples: int = SAMPLES,
    again: bool = False,
    request_id: str | None = None,
) -> None:
    """Request an evaluation of these revisions, whose files are on this disk. The same request while it is queued or
    runs, and one with a `request_id` that was used before, request nothing.

    Raises InputError where programs cannot be confined, when a library of the tasks is missing, or there is no such
    corpus; BusyError while another evaluation is queued or runs.
    """
    check_possible()
    require(1 <= samples <= MAX_SAMPLES, "samples", samples, f"set 1 to {MAX_SAMPLES}")
    facts = [{**revision.to_dict(), "path": str(revision.path)} for revision in revisions]
    asked: dict[str, Any] = {"run": run, "corpus": corpus, "samples": samples, "exact": settings.exact, "again": again}
    with request_lock(settings) as home:
        if corpus is not None:
            Corpus.open(home.corpus(corpus))
        folder = home.evaluating
        if find_by_request_id([folder], request_id):
            return
        earlier = readable_request(folder)
        state = job_state(folder) if folder.request.exists() else None
        if state is not None and state.is_active:
            if state.state != "stopping" and _is_same(earlier, asked, facts):
                return
            what = f"of run {earlier['run']} " if earlier.get("run") else ""
            raise BusyError(f"An evaluation {what}is {state.state}; wait until it is over, or stop it first.")
        ids = [*(earlier.get("earlier_ids") or ()), *filter(None, [earlier.get("request_id")])][-MAX_EARLIER_IDS:]
        submit(
            folder,
            EvaluateRequest(request_id=request_id or "", earlier_ids=tuple(ids), revisions=tuple(facts), **asked),
        )


def _is_same(earlier: dict[str, Any], asked: dict[str, Any], facts: list[dict[str, Any]]) -> bool:
    names = [one.get("revision") for one in earlier.get("revisions") or () if isinstance(one, dict)]
    return names == [one["revision"] for one in facts] and all(earlier.get(name) == asked[name] for name in asked)


def stop_evaluating(settings: Settings) -> None:
    """Ask the evaluation to stop. Raises InputError when there is none to stop."""
    folder = Home(settings.home).evaluating
    if not folder.request.exists():
        raise InputError("Nothing is evaluated; there is nothing to stop.")
    stop_job(settings, folder)


def revisions_of(home: Home, store: RevisionStore, run: str, which: str = ALL) -> list[Revision]:
    """The newest or best revision of a run, or all, first step first, with their files on this disk. Raises InputError
    when there is none, HubError when the files cannot be fetched.
    """
    require(which in WHICH, "which", which, f"choose one of {', '.join(WHICH)}")
    config = readable_json(home.run(check_id(run, "run id")).config)
    of_run = [
        one for one in store.revisions() if one.run == run and (not config or one.run_uid == config.get("run_uid"))
    ]
    if not of_run:
        raise InputError(f"Run {run} has no pushed revision; see `python -m pipeline revisions`.")
    one = {NEWEST: newest_of, BEST: best_of}.get(which)
    chosen = sorted(of_run, key=lambda revision: revision.step) if one is None else [one(of_run)]
    found = [store.fetch(revision) for revision in chosen if revision is not None]
    if not found:
        raise InputError(f"No revision of run {run} has a validation loss; choose {NEWEST} or {ALL}.")
    return found
