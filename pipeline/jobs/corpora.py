"""Requests to prepare, scan, push or delete a corpus. `job` stops and resumes them, as every job."""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from pipeline.config.requests import PrepareRequest, PushRequest
from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.atomic_io import locked, readable_json
from pipeline.core.errors import BusyError, InputError
from pipeline.core.paths import CorpusFolder, Home
from pipeline.core.settings import Settings
from pipeline.hub.dataset import check_push
from pipeline.jobs.job import find_by_request_id, find_job, request_lock, submit
from pipeline.jobs.state import RESUMABLE, in_order, job_state
from pipeline.jobs.views import corpus_bytes


def start_preparing(
    settings: Settings,
    *,
    config: DataConfig,
    corpus_id: str,
    workforce: ExecutionConfig | None = None,
    only_scan: bool = False,
    request_id: str | None = None,
) -> str:
    """Request a corpus, or with `only_scan` just the report of its whole source; returns its id. An interrupted or
    scanned corpus continues with the new `config`: stages that were done with other settings are repeated.

    Raises InputError when the id is taken, the source, engine or tokenizer does not exist, or `parts` is not writable;
    BusyError when the corpus is already being prepared.
    """
    from pipeline.data.execution import open_executor, storage
    from pipeline.data.sources import open_source
    from pipeline.data.tokens.tokenizer import check_tokenizer

    workforce = workforce or ExecutionConfig()
    open_source(config.source)
    if config.validation_source is not None:
        open_source(config.validation_source)
    open_executor(workforce.engine, workforce.workers, parts=workforce.parts)
    if workforce.parts is not None:
        storage.check(workforce.parts, "parts")
    if config.tokenizer is not None:
        check_tokenizer(config.tokenizer)
    with request_lock(settings) as home:
        if previous := find_by_request_id(home.corpora(), request_id):
            return previous.id
        folder = home.corpus(corpus_id)
        if folder.is_ready and not _lacks_index(folder, _with_absolute_paths(config)):
            raise InputError(f"Corpus {folder.id} exists already; choose another id, or train on it.")
        if folder.request.exists() and job_state(folder).is_active:
            raise BusyError(f"Corpus {folder.id} is being prepared already; stop that first, or choose another id.")
        _check_budget(home, settings.limits.corpora_bytes)
        request = PrepareRequest(
            request_id=request_id or "",
            config=_with_absolute_paths(config),
            workforce=dataclasses.replace(workforce, parts=_absolute_address(workforce.parts)),
            only_scan=only_scan,
        )
        submit(folder, request)
    return folder.id


def _lacks_index(folder: CorpusFolder, config: DataConfig) -> bool:
    """Whether a ready corpus of these settings was prepared by a version that built no index, which can be added."""
    from pipeline.data.verbatim.ngram_index import FILES

    made_with = readable_json(folder.manifest).get("config")
    is_same = made_with == json.loads(json.dumps(dataclasses.asdict(config)))
    return is_same and not all((folder.path / name).exists() for name in FILES)


def start_pushing(settings: Settings, *, corpus_id: str, repo: str, private: bool = False) -> None:
    """Request a push of a corpus to the dataset `repo`; a missing repo is created, privately if `private`.

    Raises InputError when there is no such corpus, it is not ready or `repo` is malformed; BusyError while it is being
    pushed; HubError without a token.
    """
    folder = find_corpus(settings, corpus_id)
    check_push(repo)
    with request_lock(settings):
        if not folder.is_ready:
            raise InputError(f"Corpus {folder.id} is {job_state(folder).state}; prepare it to its end, then push it.")
        if _is_pushed_now(folder):
            raise BusyError(f"Corpus {folder.id} is being pushed already; stop that first, or wait for it.")
        submit(folder.push, PushRequest(repo=repo, private=private))


def resumable_on(home: Home, corpus_id: str) -> list[str]:
    """Ids of the runs that could go on and train on the corpus."""
    states = (job_state(folder) for folder in home.runs() if folder.request.exists())
    return [state.id for state in states if state.state in RESUMABLE and state.request.get("corpus") == corpus_id]


def delete_corpus(settings: Settings, corpus_id: str) -> None:
    """Delete a corpus with all its files. Raises InputError when there is none, BusyError while it is being prepared or
    pushed, while an active run trains on it or while an evaluation reads it. Ended runs keep everything but the tokens
    they were trained on.
    """
    folder = find_corpus(settings, corpus_id)
    home = Home(settings.home)
    with locked(home.requests_lock):
        if folder.request.exists() and job_state(folder).is_active:
            raise BusyError(f"Corpus {folder.id} is being prepared; stop that first, then delete it.")
        if _is_pushed_now(folder):
            raise BusyError(f"Corpus {folder.id} is being pushed; stop that first, then delete it.")
        for state in in_order(home):
            if state.kind == "evaluate" and folder.id in _read_by(state.request):
                raise BusyError(f"An evaluation reads corpus {folder.id}; stop it first, then delete the corpus.")
            if state.kind != "evaluate" and state.request.get("corpus") == folder.id:
                raise BusyError(f"Run {state.id} trains on corpus {folder.id}; stop it first, then delete the corpus.")
        hidden = folder.path.with_name(f".deleted-{folder.id}-{secrets.token_hex(4)}")
        folder.path.rename(hidden)  # removed atomically, even if deleting the files fails
    shutil.rmtree(hidden, ignore_errors=True)


def find_corpus(settings: Settings, corpus_id: str) -> CorpusFolder:
    """The corpus's folder. Raises InputError, naming the existing corpora, when there is none."""
    home = Home(settings.home)
    return find_job(home.corpus(corpus_id), "corpus", home.corpora())


def _read_by(evaluation: dict[str, Any]) -> list[object]:
    """The corpora whose held-out files an evaluation reads. `evaluation`: its request."""
    if evaluation.get("corpus"):
        return [evaluation["corpus"]]
    return [one.get("corpus") for one in evaluation.get("revisions") or () if isinstance(one, dict)]


def _is_pushed_now(folder: CorpusFolder) -> bool:
    return folder.push.request.exists() and job_state(folder.push).is_active


def _check_budget(home: Home, budget: int | None) -> None:
    """Raises InputError when the existing corpora already use the whole disk budget (bytes)."""
    if budget is None:
        return
    sizes = {folder.id: corpus_bytes(folder) for folder in home.corpora()}
    if (used := sum(sizes.values())) >= budget:
        largest = max(sizes, key=lambda name: sizes[name])
        raise InputError(
            f"Corpora take {used / 1e9:.1f} GB, and PIPELINE_CORPORA_GB allows {budget / 1e9:.0f}; "
            f"delete one first, {largest} for example ({sizes[largest] / 1e9:.1f} GB)."
        )


def _with_absolute_paths(config: DataConfig) -> DataConfig:
    """Resolve relative paths now: the job runs in another working directory than the requester."""
    tokenizer = config.tokenizer
    if tokenizer is not None and _absolute(tokenizer).is_dir():  # else it is a name on the Hub
        tokenizer = str(_absolute(tokenizer))
    source, validation_source = _absolute_source(config.source), _absolute_source(config.validation_source)
    return dataclasses.replace(config, source=source or "", validation_source=validation_source, tokenizer=tokenizer)


def _absolute_source(source: str | None) -> str | None:
    kind, _, path = (source or "").partition(":")
    return f"files:{_absolute(path)}" if kind == "files" else source


def _absolute_address(address: str | None) -> str | None:
    return address if address is None or "://" in address else str(_absolute(address))


def _absolute(path: str) -> Path:
    # os.path.expanduser leaves ~unknown-user unchanged; Path.expanduser raises.
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111
