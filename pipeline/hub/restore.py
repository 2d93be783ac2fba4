"""Brings back what pushes have archived (`archive`), after the disk of this instance was wiped.

`restore_runs` brings back the record of every run: its request, configuration, curves, samples and pushes. The large
files of one run, to resume it, are brought back by `restore_checkpoint` and `restore_corpus`, in a job (`restore_job`).
Everybody who may write to the repo can put anything there: what is not well formed is left out, with a line in the log.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import STATE, Checkpoint, complete_checkpoints
from pipeline.config.parsing import known
from pipeline.config.requests import RunRequest
from pipeline.config.schema import RunConfig
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError, InputError, PipelineError
from pipeline.core.job_process import STATES
from pipeline.core.paths import ID, Home, RunFolder
from pipeline.core.settings import Settings
from pipeline.core.untrusted import MAX_NUMBER, is_usable
from pipeline.hub import gallery_file, push_log
from pipeline.hub.archive import EVALUATIONS, FORMAT, RECORD, RUNS, RunRecord, evaluations_in
from pipeline.hub.background import Say
from pipeline.hub.client import DOWNLOAD, connect, hub_errors
from pipeline.hub.commits import Push, read_push
from pipeline.hub.gallery_merge import note_known
from pipeline.hub.model_repo import MAIN

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ANSWER_SECONDS = 10.0
RECORD_FILES = (RECORD, "config.json", "metrics.jsonl", "samples.jsonl", "train.log", EVALUATIONS)
MAX_RECORD_BYTES = 10**8
"""Of one file: the metrics of a million steps."""
MAX_RUNS = 200
MAX_BYTES = 10**9
"""Of the records of all runs."""
MAX_PROCESSES = 1_024
ODD = (PipelineError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
"""What reading what somebody else wrote can raise."""


@dataclass(frozen=True, kw_only=True)
class Archived:
    """archived.json in a restored run's folder: where the rest of the run is."""

    repo: str
    commit: str
    """The commit that the record was read from."""
    state_step: int | None
    """The step whose training state is there, so that the run can be resumed from it; None without one."""
    corpus: dict[str, Any]
    """As RunRecord.corpus."""

    def can_resume(self, run: RunFolder) -> bool:
        """Whether there is something to resume it from: in the repo, or on this disk again."""
        return self.state_step is not None or bool(complete_checkpoints(run))

    @classmethod
    def of(cls, run: RunFolder) -> Archived | None:
        """None for a run that is not restored, or whose archived.json was edited by hand."""
        found = atomic_io.readable_json(run.archived)
        try:
            return cls(**known(cls, found)) if found else None
        except TypeError:
            return None


def is_due(settings: Settings) -> bool:
    """Whether the runs of the Hub's repo were never looked for since this disk is in use."""
    return settings.hub_repo is not None and not Home(settings.home).restored(settings.hub_repo).exists()


def restore_runs(settings: Settings, say: Say = lambda text: None) -> list[str]:
    """Bring back the records of the runs in the model repo that this disk does not have; returns their ids. Done once
    for each disk and repo. Raises HubError when the Hub cannot be read; then it is still due.
    """
    repo, home = settings.hub_repo, Home(settings.home)
    if repo is None or not is_due(settings):
        return []
    with atomic_io.locked(home.restore_lock):
        if not is_due(settings):
            return []
        found = _restore_runs(home, repo, say)
        if found is None:
            return []
        note_restored(home, repo, found)
    return found


def note_restored(home: Home, repo: str, runs: Sequence[str] = ()) -> None:
    """Record that this disk has what the repo has."""
    atomic_io.write_json(home.restored(repo), {"runs": list(runs), "time": time.time()})


def _restore_runs(home: Home, repo: str, say: Say) -> list[str] | None:
    """None when there is no repo that can be seen: another token may see one."""
    with hub_errors(repo, DOWNLOAD):
        api = connect(DOWNLOAD, answer_seconds=ANSWER_SECONDS)
        if not api.repo_exists(repo):
            return None
        commits = list(api.list_repo_commits(repo, revision=MAIN))
        if not commits:
            return []
        head = commits[0].commit_id
        _restore_gallery(api, home, repo, head)
        entries = _tree(api, repo, head)
        names = _record_names(entries)
        wanted = _within_budget([run_id for run_id in names if not home.run(run_id).path.exists()], names, entries)
        if not wanted:
            return []
        say(f"Restoring {len(wanted):,} run(s) from {repo} ...")
        files = [name for run_id in wanted for name in names[run_id]]
        folder = Path(api.snapshot_download(repo, revision=head, allow_patterns=files))
    pushes = [(_push(commit), commit.created_at.timestamp()) for commit in commits]
    restored = []
    for run_id in wanted:
        rows = [_push_row(repo, push, at) for push, at in reversed(pushes) if push is not None and push.run == run_id]
        state_step = (atomic_io.readable_json(folder / _state_manifest(run_id))).get("step")
        try:
            _restore_record(home, folder / RUNS / run_id, run_id, repo, head, rows, state_step=state_step)
        except ODD as error:
            print(f"Run {run_id} of {repo} is not restored: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            restored.append(run_id)
    return restored


def _within_budget(run_ids: list[str], names: dict[str, list[str]], entries: dict[str, int]) -> list[str]:
    """The first of the runs whose records together are small enough; the others are named in the log."""
    wanted: list[str] = []
    total = 0
    for run_id in run_ids:
        total += sum(entries[name] for name in names[run_id])
        if len(wanted) >= MAX_RUNS or total > MAX_BYTES:
            print(f"Run {run_id} and later ones are not restored: {MAX_RUNS} runs are the most.", file=sys.stderr)
            break
        wanted.append(run_id)
    return wanted


def _restore_gallery(api: HfApi, home: Home, repo: str, head: str) -> None:
    from huggingface_hub.errors import RemoteEntryNotFoundError

    found = api.get_paths_info(repo, [gallery_file.NAME], revision=head)
    if not found or getattr(found[0], "size", 0) > MAX_RECORD_BYTES:
        return
    with contextlib.suppress(RemoteEntryNotFoundError):
        path = Path(api.hf_hub_download(repo, gallery_file.NAME, revision=head))
        is_first = not any(home.gallery.glob("????????.json"))
        try:
            if gallery_file.restore_gallery(home, path) and is_first:
                gallery_file.note_pushed(home, repo)
            note_known(home, repo, "model", path)
        except ODD as error:
            print(f"The gallery of {repo} is not restored: {type(error).__name__}: {error}", file=sys.stderr)


def _state_manifest(run_id: str) -> str:
    return f"{RUNS}/{run_id}/{STATE}{manifest.NAME}"


def _tree(api: HfApi, repo: str, head: str) -> dict[str, int]:
    """Path -> size of every file below `runs/`."""
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        entries = list(api.list_repo_tree(repo, RUNS, recursive=True, revision=head))
    except RemoteEntryNotFoundError:
        return {}
    return {entry.path: size for entry in entries if (size := getattr(entry, "size", None)) is not None}


def _record_names(entries: dict[str, int]) -> dict[str, list[str]]:
    """Run id -> paths of its record's files; runs without run.json are left out, and files that are too large."""
    found: dict[str, list[str]] = {}
    for path, size in entries.items():
        _, run_id, name = [*path.split("/", 2), ""][:3]
        is_record = name in RECORD_FILES or path == _state_manifest(run_id)
        if ID.fullmatch(run_id) and is_record and size <= MAX_RECORD_BYTES:
            found.setdefault(run_id, []).append(path)
    return {run_id: names for run_id, names in found.items() if f"{RUNS}/{run_id}/{RECORD}" in names}


def _push(commit: Any) -> Push | None:
    return read_push(commit.commit_id, commit.title, commit.message)


def _push_row(repo: str, push: Push, at: float) -> dict[str, Any]:
    facts = {"revision": push.revision, "commit": push.commit, "error": None}
    return {"time": at, "repo": repo, "step": push.step, "state": push_log.PUSHED, **facts}


def _restore_record(
    home: Home, source: Path, run_id: str, repo: str, head: str, pushes: list[dict[str, Any]], *, state_step: Any
) -> None:
    """Make the run's folder in one rename. Raises InputError for a record that is not well formed."""
    record = _checked(source, run_id)
    run = home.run(run_id)
    staged = RunFolder(run.path.with_name(f".restored-{run_id}-{secrets.token_hex(4)}"))
    staged.path.mkdir(parents=True)
    try:
        request = RunRequest.of(record.request)
        atomic_io.write_json(staged.request, {**request.to_dict(), "kind": staged.kind})
        atomic_io.write_json(staged.status, {**record.status, "request_id": request.request_id})
        atomic_io.write_json(staged.config, atomic_io.read_json(source / staged.config.name) or {})
        for path in (staged.metrics, staged.samples):
            _copy_rows(source / path.name, path)
        for row in pushes:
            atomic_io.append_line(staged.pushes, row)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(source / staged.log.name, staged.log)
        archived = Archived(
            repo=repo,
            commit=head,
            state_step=state_step if type(state_step) is int else None,
            corpus=record.corpus,
        )
        atomic_io.write_json(staged.archived, dataclasses.asdict(archived))
        # Before the run is there: after a kill in between, all of it is restored again.
        _restore_evaluations(home, source / EVALUATIONS, record, {row["revision"] for row in pushes})
        with atomic_io.locked(home.requests_lock):
            if not run.path.exists():
                staged.path.rename(run.path)
    finally:
        shutil.rmtree(staged.path, ignore_errors=True)


def _restore_evaluations(home: Home, source: Path, record: RunRecord, pushed: set[str]) -> None:
    """Write the figures of the run's pushed revisions that this disk does not have."""
    for name, row in evaluations_in(source, record.run, record.run_uid).items():
        revision, _, corpus = name.partition(".")
        path = home.evaluation(revision, corpus or None)
        if revision in pushed and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_io.write_json(path, row)


def _checked(source: Path, run_id: str) -> RunRecord:
    """The record. Raises InputError when a value has not the type that readers rely on."""
    record = RunRecord(**known(RunRecord, atomic_io.read_json(source / RECORD) or {}))
    config = atomic_io.read_json(source / "config.json") or {}
    RunConfig.from_dict(config)
    request = RunRequest.of(record.request)
    is_whole = (
        is_usable([dataclasses.asdict(record), config])
        and record.format == FORMAT
        and record.run == run_id == config.get("run", run_id)
        and type(record.step) is int
        and isinstance(record.revision, str)
        and isinstance(record.status, dict)
        and isinstance(record.corpus, dict)
        and isinstance(request.changes, dict)
        and all(isinstance(text, str) for text in (request.request_id, request.corpus, request.preset, request.recipe))
        and type(request.requested_at) in (int, float)
        and 0 <= request.requested_at < MAX_NUMBER
        and type(request.processes) is int
        and 1 <= request.processes <= MAX_PROCESSES
        and _is_of_corpus(record.corpus, request.corpus)
        and all(_is_shown(name, value) for name, value in record.status.items())
    )
    if not is_whole:
        raise InputError(f"{RECORD} has values of wrong types or is that of another run.")
    return record


def _is_shown(name: str, value: Any) -> bool:
    """Whether the value of a field of status.json can be shown."""
    if name == "state":
        return value in STATES
    if name in ("request_id", "device", "precision", "gpu_problem", "error"):
        return value is None or isinstance(value, str)
    if name == "key_tokens":
        return isinstance(value, list)
    return value is None or (type(value) in (int, float) and abs(value) < MAX_NUMBER)


def _is_of_corpus(archived: dict[str, Any], corpus: str) -> bool:
    """Whether what was archived of a corpus, if anything, is that of the run's corpus."""
    found = archived.get("manifest")
    return found is None or (isinstance(found, dict) and found.get("corpus") == corpus)


def _copy_rows(source: Path, target: Path) -> None:
    """Copy the rows of a JSON-lines file that have a step, and that can be shown."""
    rows = [row for row in atomic_io.iterate_lines(source) if type(row.get("step")) is int and is_usable(row)]
    if source.name == "samples.jsonl":
        rows = [row for row in rows if all(isinstance(row.get(key), str) for key in ("prompt_name", "prompt", "text"))]
    if rows:
        target.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


# ---- the large files, to resume a run ----


def restore_checkpoint(run: RunFolder, archived: Archived, say: Say) -> None:
    """Download the archived checkpoint of the run, model and training state, unless it is there. Raises HubError,
    DamagedError when a file is not what was pushed, InputError when the training state was not pushed.
    """
    if archived.state_step is None:
        raise InputError(f"The training state of run {run.id} is not in {archived.repo}; start a new run.")
    target = run.checkpoint(archived.state_step)
    if (target / manifest.NAME).exists():
        return
    uid = atomic_io.readable_json(run.config).get("run_uid")
    staged = target.with_name(f".restored-{target.name}")
    shutil.rmtree(staged, ignore_errors=True)
    with hub_errors(archived.repo, DOWNLOAD):
        api = connect(DOWNLOAD, answer_seconds=ANSWER_SECONDS)
        pushes = [push for push in map(_push, api.list_repo_commits(archived.repo, revision=MAIN)) if push is not None]
        step = archived.state_step
        pushed = next((push for push in pushes if push.is_of_run(run.id, uid) and push.step == step), None)
        if pushed is None:
            raise InputError(f"Step {step} of run {run.id} is not in {archived.repo} any more; start a new run.")
        state = f"{RUNS}/{run.id}/{STATE}"
        entries = {**_entries(api, archived, pushed.commit, ""), **_entries(api, archived, archived.commit, state)}
        for name, path in _downloads(api, archived.repo, entries, say, f"run {run.id}"):
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            atomic_io.link_or_copy(path.resolve(), staged / name)
    verified = {name: facts for name, (facts, _, _) in entries.items()}
    if fault := manifest.fault(staged, verified):
        raise DamagedError(f"Step {step} of run {run.id} in {archived.repo} is damaged: {fault}.")
    manifest.seal(staged, step)
    Checkpoint.open(staged)
    staged.rename(target)


Entry = tuple[dict[str, Any], str, str]
"""Size and SHA-256; the path in the repo; the commit."""


def _entries(api: HfApi, archived: Archived, commit: str, folder: str) -> dict[str, Entry]:
    """The files that the manifest in `folder` of the repo lists, by their path in a checkpoint."""
    path = Path(api.hf_hub_download(archived.repo, f"{folder}{manifest.NAME}", revision=commit))
    found = atomic_io.read_json(path) or {}
    listed = manifest.entries_of(found)
    if listed is None or found.get("step") != archived.state_step:
        raise DamagedError(f"{folder}{manifest.NAME} of {archived.repo} is not that of step {archived.state_step}.")
    inside = STATE if folder else ""
    return {f"{inside}{name}": (facts, f"{folder}{name}", commit) for name, facts in listed.items()}


def _downloads(api: HfApi, repo: str, entries: dict[str, Entry], say: Say, what: str) -> Iterable[tuple[str, Path]]:
    """Download each file; yields its name and where it is."""
    total, done = sum(facts["size"] for facts, _, _ in entries.values()), 0
    for name, (facts, path, commit) in entries.items():
        say(f"Restoring {what} from {repo}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
        yield name, Path(api.hf_hub_download(repo, path, revision=commit))
        done += facts["size"]
