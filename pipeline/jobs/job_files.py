"""Reads the JSON files of a job and checks the types of the fields that listings and the queue use.

The files can be edited by hand. A value of a wrong type is found here, so that it affects its own job only.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pipeline.core.atomic_io import read_json
from pipeline.core.errors import DamagedError
from pipeline.core.job_process import STATES
from pipeline.core.paths import CorpusFolder, JobFolder, RunFolder

NUMBER = (int, float)
Types = dict[str, Any]
"""Field -> its type, a tuple of types, or the Types of an object. None is allowed everywhere."""

DATA_CONFIG: Types = {"source": str, "match": str, "validation_source": str, "validation_share": NUMBER}
REQUEST: Types = {
    **dict.fromkeys(("request_id", "corpus", "preset", "recipe", "repo"), str),
    "requested_at": NUMBER,
    "earlier_ids": list,
    "changes": dict,
    "processes": int,
    "config": DATA_CONFIG,
    "workforce": {"parts": str, "workers": int},
    "revisions": list,
    "run": str,
}
STATUS: Types = {
    **dict.fromkeys(("request_id", "state", "error", "message", "stage", "gpu_problem", "revision"), str),
    **dict.fromkeys(("step", "max_steps", "files", "kept", "exit_status", "number", "done", "total"), int),
    **dict.fromkeys(("train_loss", "eval_loss", "perplexity", "tokens_per_second", "eta_seconds"), NUMBER),
    **dict.fromkeys(("progress", "seconds", "stage_seconds", "updated_at"), NUMBER),
    "measured": dict,
    "pushed": {"url": str},
}
STOP: Types = {"request_id": str, "requested_at": NUMBER}
PROCESS: Types = {"request_id": str, "pid": int, "created": NUMBER, "exit_code": int}
MAX_PID = 2**31 - 1
RUN_CONFIG: Types = {"training": {"max_steps": int}}
TOKENS = ("vocab_size", "tokens_train")
MANIFEST: Types = {
    **dict.fromkeys((*TOKENS, "tokens_validation", "tokens_dropped", "files_train", "files_validation"), int),
    **dict.fromkeys(("seconds", "round_trip"), NUMBER),
    "config": DATA_CONFIG,
}


def read_request(folder: JobFolder) -> dict[str, Any] | None:
    """None when nobody requested the job. Raises DamagedError for a damaged file, like the functions below."""
    return _checked(folder.request, REQUEST)


def read_status(folder: JobFolder) -> dict[str, Any] | None:
    status = _checked(folder.status, STATUS)
    if status and status.get("state") not in STATES:
        raise _damaged(folder.status, "state", status.get("state"))
    return status


def readable_stop(folder: JobFolder) -> dict[str, Any]:
    """The newest request to stop; {} when there is none, or it is damaged."""
    return _readable(folder.stop, STOP)


def readable_process(folder: JobFolder) -> dict[str, Any]:
    """What the worker recorded of the process; {} when there is no record, or it is damaged: the worker then starts the
    job again, and the lock of the job refuses a second process.
    """
    process = _readable(folder.process, PROCESS)
    is_usable = 0 < (process.get("pid") or 0) <= MAX_PID and process.get("created") is not None
    return process if is_usable else {}


def readable_request(folder: JobFolder) -> dict[str, Any]:
    """The request; {} when there is none, or it is damaged."""
    return _readable(folder.request, REQUEST)


def readable_run_config(folder: RunFolder) -> dict[str, Any]:
    return _readable(folder.config, RUN_CONFIG)


def read_manifest(folder: CorpusFolder) -> dict[str, Any] | None:
    """The manifest of a corpus; None when it is not prepared."""
    try:
        manifest = _checked(folder.manifest, MANIFEST)
        missing = next((name for name in TOKENS if manifest is not None and manifest.get(name) is None), None)
        if missing:
            raise _damaged(folder.manifest, missing, None)
    except DamagedError as error:
        fault = str(error).rpartition("; ")[0]
        raise DamagedError(f"{fault}; delete corpus {folder.id} and prepare it again.") from error
    return manifest


def _checked(path: Path, types: Types) -> dict[str, Any] | None:
    value = read_json(path)
    _check(path, value or {}, types, "")
    return value


def _readable(path: Path, types: Types) -> dict[str, Any]:
    try:
        return _checked(path, types) or {}
    except DamagedError:
        return {}


def _check(path: Path, value: dict[str, Any], types: Types, parent: str) -> None:
    for name, kind in types.items():
        found = value.get(name)
        if found is None:
            continue
        is_nested = isinstance(kind, dict)
        # JSON from elsewhere may have NaN and infinity, which no figure on the page may be.
        is_finite = not isinstance(found, float) or math.isfinite(found)
        if not isinstance(found, dict if is_nested else kind) or not is_finite:
            raise _damaged(path, parent + name, found)
        if is_nested:
            _check(path, found, kind, f"{parent}{name}.")


def _damaged(path: Path, name: str, value: object) -> DamagedError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:80]}..."
    return DamagedError(f"{path} has {name} {shown}; correct it, or restore it from a copy.")
