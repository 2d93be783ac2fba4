"""What a person may ask of corpora: prepare or scan, stop, resume, push to the Hub, delete."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.atomic_io import locked
from pipeline.core.errors import BusyError, InputError
from pipeline.core.paths import CorpusFolder, Home
from pipeline.core.settings import Settings
from pipeline.hub.dataset import check_push
from pipeline.jobs import worker
from pipeline.jobs.requests import find_job, made_before, resume_job, stop_job, write_request
from pipeline.jobs.state import in_order, job_state
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
    """Ask for a corpus, or with `only_scan` for the report of its whole source; returns its id. One that was cut off or
    scanned goes on, with `config` as it is now: what was done with other settings is done again.

    Raises InputError when the id is taken, source, engine or tokenizer are not there, or parts cannot be written.
    """
    from pipeline.data.execution import open_engine, storage
    from pipeline.data.sources import open_source
    from pipeline.data.tokens.tokenizer import check_tokenizer

    workforce = workforce or ExecutionConfig()
    open_source(config.source)
    if config.validation_source is not None:
        open_source(config.validation_source)
    open_engine(workforce.engine, workforce.workers, parts=workforce.parts)
    if workforce.parts is not None:
        storage.check(workforce.parts, "parts")
    if config.tokenizer is not None:
        check_tokenizer(config.tokenizer)
    home = Home(settings.home)
    with locked(home.requests_lock):
        if known := made_before(home.corpora(), request_id):
            return known.id
        folder = home.corpus(corpus_id)
        if folder.is_ready:
            raise InputError(f"Corpus {folder.id} exists already; choose another id, or train on it.")
        if folder.request.exists() and job_state(folder).is_active:
            raise BusyError(f"Corpus {folder.id} is being prepared already; stop that first, or choose another id.")
        _check_budget(home, settings.limits.corpora_bytes)
        write_request(
            folder,
            request_id,
            config=_data_request(config),
            workforce={**dataclasses.asdict(workforce), "parts": _absolute_address(workforce.parts)},
            only_scan=only_scan,
        )
    worker.wake(settings)
    return folder.id


def stop_corpus(settings: Settings, corpus_id: str) -> None:
    """Ask a preparation to stop. Raises InputError when there is none or it is not running."""
    stop_job(settings, find_corpus(settings, corpus_id))


def resume_corpus(settings: Settings, corpus_id: str, *, request_id: str | None = None) -> str:
    """Ask a preparation to go on from its last complete stage; returns its id."""
    return resume_job(settings, find_corpus(settings, corpus_id), request_id, queue=True)


def start_pushing(settings: Settings, *, corpus_id: str, repo: str, private: bool = False) -> None:
    """Ask for a corpus to be pushed to the dataset `repo`, made `private` if there is none yet.

    Raises InputError when there is no such corpus, it is not ready or `repo` is no name, BusyError while it is being
    pushed, HubError without a token.
    """
    check_push(repo)
    folder = find_corpus(settings, corpus_id)
    with locked(Home(settings.home).requests_lock):
        if not folder.is_ready:
            raise InputError(f"Corpus {folder.id} is {job_state(folder).state}; prepare it to its end, then push it.")
        if _is_pushed_now(folder):
            raise BusyError(f"Corpus {folder.id} is being pushed already; stop that first, or wait for it.")
        write_request(folder.push, None, repo=repo, private=private)
    worker.wake(settings)


def stop_pushing(settings: Settings, corpus_id: str) -> None:
    """Ask the push of a corpus to stop. Raises InputError when there is none or it is not running."""
    stop_job(settings, find_corpus(settings, corpus_id).push)


def delete_corpus(settings: Settings, corpus_id: str) -> None:
    """Delete a corpus and all that was made for it. Raises InputError when there is none, BusyError while it is being
    prepared or pushed or a run that is not over trains on it. Runs that are over keep all but the tokens they were trained on.
    """
    folder = find_corpus(settings, corpus_id)
    home = Home(settings.home)
    with locked(home.requests_lock):
        if folder.request.exists() and job_state(folder).is_active:
            raise BusyError(f"Corpus {folder.id} is being prepared; stop that first, then delete it.")
        if _is_pushed_now(folder):
            raise BusyError(f"Corpus {folder.id} is being pushed; stop that first, then delete it.")
        for state in in_order(home):
            if state.request.get("corpus") == folder.id:
                raise BusyError(f"Run {state.id} trains on corpus {folder.id}; stop it first, then delete the corpus.")
        hidden = folder.path.with_name(f".deleted-{folder.id}-{secrets.token_hex(4)}")
        folder.path.rename(hidden)  # gone in one step, whatever happens to the rest
    shutil.rmtree(hidden, ignore_errors=True)


def find_corpus(settings: Settings, corpus_id: str) -> CorpusFolder:
    """The corpus's folder. Raises InputError, naming those that exist, when there is none."""
    home = Home(settings.home)
    return find_job(home.corpus(corpus_id), "corpus", [folder.id for folder in home.corpora()])


def _is_pushed_now(folder: CorpusFolder) -> bool:
    return folder.push.request.exists() and job_state(folder.push).is_active


def _check_budget(home: Home, budget: int | None) -> None:
    """Raises InputError when the corpora that are there take all the disk they may."""
    if budget is None:
        return
    sizes = {folder.id: corpus_bytes(folder) for folder in home.corpora()}
    if (used := sum(sizes.values())) >= budget:
        largest = max(sizes, key=lambda name: sizes[name])
        raise InputError(
            f"Corpora take {used / 1e9:.1f} GB, and PIPELINE_CORPORA_GB allows {budget / 1e9:.0f}; "
            f"delete one first, {largest} for example ({sizes[largest] / 1e9:.1f} GB)."
        )


def _data_request(config: DataConfig) -> dict[str, Any]:
    """The configuration with its paths made absolute: the job works from another folder than whoever asks."""
    tokenizer = config.tokenizer
    if tokenizer is not None and _absolute(tokenizer).is_dir():  # else it is the name of one on the Hub
        tokenizer = str(_absolute(tokenizer))
    sources = {name: _absolute_source(getattr(config, name)) for name in ("source", "validation_source")}
    return {**dataclasses.asdict(config), **sources, "tokenizer": tokenizer}


def _absolute_source(source: str | None) -> str | None:
    kind, _, path = (source or "").partition(":")
    return f"files:{_absolute(path)}" if kind == "files" else source


def _absolute_address(address: str | None) -> str | None:
    return address if address is None or "://" in address else str(_absolute(address))


def _absolute(path: str) -> Path:
    # os.path leaves the name of an unknown user as it is, Path raises.
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111
