"""What a push carries besides the model, so that a run outlives this disk: `runs/RUN/` on the repo's `main`.

    run.json                   request, status, corpus and the archived step (`RunRecord`)
    config.json                everything needed to repeat the run
    metrics.jsonl samples.jsonl train.log (its end)
    evaluations.jsonl          the figures of its evaluated revisions, each with the name of its file; by a commit of its own
    curve.png                  the losses, for the model card
    training/                  optimizer, schedule, random state and their manifest, to resume the run bit-identically

No file names a path of this machine, and none holds a token. `restore` is the way back.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.artifacts import evaluation, manifest
from pipeline.artifacts.checkpoint import STATE
from pipeline.artifacts.revision import Revision
from pipeline.config.parsing import known
from pipeline.config.requests import RunRequest
from pipeline.core import atomic_io
from pipeline.core.paths import Home, RunFolder
from pipeline.core.text import without_paths
from pipeline.hub import push_log
from pipeline.hub.card_facts import card_facts, corpus_of, rows_until
from pipeline.hub.curve_image import curve_image
from pipeline.hub.kept_states import link_state, state_folder
from pipeline.hub.token import redact

RUNS = "runs"
RECORD = "run.json"
CURVE = "curve.png"
EVALUATIONS = "evaluations.jsonl"
MAX_EVALUATIONS = 512
"""Of one run."""
FORMAT = 1
MAX_LOG_LINES = 200
SHOWN = (
    "request_id state step max_steps tokens train_loss eval_loss perplexity tokens_per_second device precision "
    "gpu_problem key_tokens error exit_status updated_at".split()
)
"""Fields of status.json that are archived."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """run.json."""

    format: int
    run: str
    run_uid: str | None
    step: int
    """The step that the push contains, and the newest whose training state may be beside it."""
    revision: str
    request: dict[str, Any]
    """As RunRequest."""
    status: dict[str, Any]
    corpus: dict[str, Any] = field(default_factory=dict)
    """`manifest`: that of the corpus; `dataset`: repo and commit of its push, if there was one."""


@dataclass(frozen=True, kw_only=True)
class RunArchive:
    """The additional files of one push."""

    folder: str
    """In the repo: `runs/RUN`."""
    contents: dict[str, bytes | Path]
    """Path in the repo -> content."""
    facts: dict[str, Any]
    """For the card, as `card_facts.card_facts`."""
    replaces_state: bool
    """Whether training state of an earlier push, beside that of this one, is no longer needed."""

    @property
    def state_folder(self) -> str:
        return f"{self.folder}/{STATE}".rstrip("/")

    def is_superseded(self, name: str) -> bool:
        """Whether the file `name` of the repo is training state of an earlier push."""
        return self.replaces_state and name.startswith(f"{self.state_folder}/") and name not in self.contents


@contextlib.contextmanager
def open_archive(home: Home, revision: Revision, *, with_state: bool) -> Iterator[RunArchive | None]:
    """The archive of the revision's run; None when its folder is gone, or now is another run of the same name.

    Without `with_state`, or when the training state was not kept (`kept_states`), there is none in it. The last
    checkpoint of a finished run has none either.
    """
    run = home.run(revision.run)
    config = atomic_io.readable_json(run.config)
    if not config or config.get("run_uid") != revision.run_uid:
        yield None
        return
    folder = f"{RUNS}/{run.id}"
    is_final = config.get("training", {}).get("max_steps") == revision.step
    with contextlib.ExitStack() as stack:
        state: dict[str, Path] = {}
        if with_state and not is_final:
            scratch = revision.path.with_name(f".state-{revision.revision}")
            shutil.rmtree(scratch, ignore_errors=True)  # of a push that was killed
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            state = _linked_state(home, revision, scratch)
        shown = _shown_status(run, is_final=is_final)
        record = _record_files(home, run, revision, config, shown)
        files: dict[str, bytes | Path] = {**record, **state}
        if image := curve_image(rows_until(run, revision.step)):
            files[CURVE] = image
        contents = {f"{folder}/{name}": content for name, content in files.items()}
        yield RunArchive(
            folder=folder,
            contents=contents,
            facts=card_facts(
                home, run, revision, config, state=shown.get("state"), image=f"{folder}/{CURVE}" if image else None
            ),
            replaces_state=with_state and (is_final or bool(state)),
        )


EvaluationRows = dict[str, dict[str, Any]]
"""Stem of the file in `evaluations/` -> what it has."""


def evaluations(home: Home, repo: str) -> dict[str, EvaluationRows]:
    """The figures of the evaluated revisions of every run that was pushed to the repo, by the path in it."""
    found = {}
    for run in home.runs():
        if not any(row["state"] == push_log.PUSHED for row in push_log.PushLog(run, repo).rows().values()):
            continue
        uid = atomic_io.readable_json(run.config).get("run_uid")
        contents = {path.stem: atomic_io.readable_json(path) for path in evaluation.files_of_run(home, run.id, uid)}
        if rows := {name: content for name, content in contents.items() if evaluation.is_result(content)}:
            found[f"{RUNS}/{run.id}/{EVALUATIONS}"] = rows
    return found


def evaluations_in(source: Path, run: str, run_uid: str | None) -> EvaluationRows:
    """The rows of a downloaded evaluations.jsonl that are well formed and of that run; MAX_EVALUATIONS are the most."""
    found: EvaluationRows = {}
    for row in atomic_io.iterate_lines(source):
        name = row.pop("file", None)
        is_own = (row.get("run"), row.get("run_uid")) == (run, run_uid) and isinstance(name, str)
        if is_own and evaluation.NAME.fullmatch(name) and len(found) < MAX_EVALUATIONS and evaluation.is_result(row):
            found[name] = row
    return found


def evaluations_file(rows: EvaluationRows) -> bytes:
    lines = (
        json.dumps({**row, "file": name}, ensure_ascii=False, allow_nan=False) for name, row in sorted(rows.items())
    )
    return redact("".join(f"{line}\n" for line in lines)).encode()


def state_bytes(home: Home, revision: Revision) -> int:
    """Size of the training state that a push of the revision would carry."""
    folder = state_folder(home, revision)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0


def _linked_state(home: Home, revision: Revision, scratch: Path) -> dict[str, Path]:
    """The training state of the revision, by its path in the run's folder, verified; empty when it is not kept.
    `scratch`: a folder to make, so that nobody deletes the files during the push.
    """
    if not link_state(state_folder(home, revision), scratch):
        return {}
    found = atomic_io.readable_json(scratch / manifest.NAME)
    entries = {name: entry for name, entry in (manifest.entries_of(found) or {}).items() if name.startswith(STATE)}
    if fault := manifest.fault(scratch, entries):
        print(f"Step {revision.step} of run {revision.run} is pushed without training state: {fault}.", file=sys.stderr)
        return {}
    inside = {name.removeprefix(STATE): entry for name, entry in entries.items()}
    manifest.write(scratch / STATE, revision.step, inside)
    return {name: scratch / name for name in [*entries, f"{STATE}{manifest.NAME}"]}


def _record_files(
    home: Home, run: RunFolder, revision: Revision, config: dict[str, Any], status: dict[str, Any]
) -> dict[str, bytes]:
    record = RunRecord(
        format=FORMAT,
        run=run.id,
        run_uid=revision.run_uid,
        step=revision.step,
        revision=revision.revision,
        request=known(RunRequest, atomic_io.readable_json(run.request)),
        status=status,
        corpus=_corpus(home, config),
    )
    texts = {
        RECORD: _json(dataclasses.asdict(record)),
        run.config.name: _json(config),
        run.metrics.name: _lines(run.metrics),
        run.samples.name: _lines(run.samples),
        run.log.name: without_paths("\n".join(atomic_io.tail(run.log, MAX_LOG_LINES))) + "\n",
    }
    return {name: redact(text).encode() for name, text in texts.items()}


def _shown_status(run: RunFolder, *, is_final: bool) -> dict[str, Any]:
    """The run's status at the pushed step: its trainer may not have said yet that it has finished, or may have long since."""
    shown = {
        name: without_paths(value) if isinstance(value, str) else value
        for name, value in atomic_io.readable_json(run.status).items()
        if name in SHOWN
    }
    return {**shown, "state": "finished"} if is_final else _unfinished(run, shown)


def _unfinished(run: RunFolder, status: dict[str, Any]) -> dict[str, Any]:
    """The status at a step before the last one. A run that somebody has asked to stop is stopped: its trainer says so only
    after the checkpoint, and what restarts interrupted runs must not restart it.
    """
    is_stopping = atomic_io.readable_json(run.stop).get("request_id") == status.get("request_id")
    if status.get("state") == "running" and is_stopping:
        return {**status, "state": "stopped"}
    return {**status, "state": "running"} if status.get("state") == "finished" else status


def _corpus(home: Home, config: dict[str, Any]) -> dict[str, Any]:
    """What is needed to have the run's corpus again; empty when it is gone, or was prepared anew since."""
    found = corpus_of(home, config)
    return {} if found is None else {"manifest": found[0], "dataset": found[1]}


def _lines(path: Path) -> str:
    """The complete rows of a JSON-lines file."""
    rows = (json.dumps(row, ensure_ascii=False, allow_nan=False) for row in atomic_io.iterate_lines(path))
    return "".join(f"{row}\n" for row in rows)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
