"""What a person may ask for: start, stop, resume. Writes request.json and stop.json, and wakes the worker.

Every question is decided and written under one lock, so that of two that come at once one is first.
"""

from __future__ import annotations

import dataclasses
import os
import random
import secrets
import shutil
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pipeline.config import TRACKERS, DataConfig, RunConfig, Workforce
from pipeline.errors import BusyError, InputError, require
from pipeline.files import locked, read_json, readable_json, write_json
from pipeline.folders import CorpusFolder, Home, JobFolder, RunFolder, check_id
from pipeline.hub.dataset import check_push
from pipeline.jobs import worker
from pipeline.jobs.state import RESUMABLE, in_order, job_state
from pipeline.jobs.views import corpus_bytes
from pipeline.recipes import PRESETS, run_config
from pipeline.settings import Settings

NAMES = (
    "amazon budgie caique cockatiel cockatoo conure corella eclectus galah jardine kakapo kakariki kea lory lorikeet "
    "lovebird macaw parakeet parrotlet pionus quaker rosella senegal".split()
)
Folder = TypeVar("Folder", bound=JobFolder)
MANNERS = "bold brave bright calm clever eager gentle keen lively merry patient proud quick quiet steady swift".split()


def start_training(
    settings: Settings,
    *,
    corpus: str,
    preset: str,
    recipe: str,
    run_id: str | None = None,
    changes: dict[str, Any] | None = None,
    request_id: str | None = None,
    queue: bool = False,
    processes: int = 1,
    hold: bool = False,
) -> str:
    """Ask for a training run; returns its id. A `request_id` seen before returns the run it made, and makes no other.
    `processes` of this machine share its batch, on CUDA one for each GPU. With `hold` nobody starts it: somebody will, by
    hand, on several machines.

    `corpus` may still be waiting or in preparation: jobs run in the order they were asked for. Raises BusyError while
    another run is active, unless `queue`; InputError for a bad value, an id that is taken, a corpus that is not there.
    """
    home = Home(settings.home)
    changes = changes or {}
    config = check_training(home, corpus, preset, recipe, changes)
    config.training.check_processes(processes)
    with locked(home.requests_lock):
        if known := _known(home.runs(), request_id):
            return known.id
        folder = home.run(run_id or _new_id(home))
        if folder.request.exists():
            raise InputError(
                f"Run {folder.id} exists already; choose another id, or go on with it by `resume {folder.id}`."
            )
        if not queue and not hold:
            refuse_second(home)
        asked = {
            "held": hold,
            "corpus": corpus,
            "preset": preset,
            "recipe": recipe,
            "changes": changes,
            "processes": processes,
        }
        _write(folder, request_id, **asked, resume=False)
    worker.wake(settings)
    return folder.id


def start_preparing(
    settings: Settings,
    *,
    config: DataConfig,
    corpus_id: str,
    workforce: Workforce | None = None,
    only_scan: bool = False,
    request_id: str | None = None,
) -> str:
    """Ask for a corpus, or with `only_scan` for the report of its whole source; returns its id. One that was cut off or
    scanned goes on, with `config` as it is now: what was done with other settings is done again.

    Raises InputError when the id is taken, source, engine or tokenizer are not there, or parts cannot be written.
    """
    from pipeline.data import places
    from pipeline.data.engines import open_engine
    from pipeline.data.sources import open_source
    from pipeline.data.tokenizer import check_tokenizer

    workforce = workforce or Workforce()
    open_source(config.source)
    if config.validation_source is not None:
        open_source(config.validation_source)
    open_engine(workforce.engine, workforce.workers, parts=workforce.parts)
    if workforce.parts is not None:
        places.check(workforce.parts, "parts")
    if config.tokenizer is not None:
        check_tokenizer(config.tokenizer)
    home = Home(settings.home)
    with locked(home.requests_lock):
        if known := _known(home.corpora(), request_id):
            return known.id
        folder = home.corpus(corpus_id)
        if folder.is_ready:
            raise InputError(f"Corpus {folder.id} exists already; choose another id, or train on it.")
        if folder.request.exists() and job_state(folder).is_active:
            raise BusyError(f"Corpus {folder.id} is being prepared already; stop that first, or choose another id.")
        _check_budget(home, settings.limits.corpora_bytes)
        _write(
            folder,
            request_id,
            config=_data_request(config),
            workforce={**dataclasses.asdict(workforce), "parts": _absolute_address(workforce.parts)},
            only_scan=only_scan,
        )
    worker.wake(settings)
    return folder.id


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
        _write(folder.push, None, repo=repo, private=private)
    worker.wake(settings)


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


def stop_run(settings: Settings, run_id: str) -> None:
    """Ask a run to save and stop. Raises InputError when there is no such run or it is not running."""
    _stop(settings, find_run(settings, run_id))


def stop_corpus(settings: Settings, corpus_id: str) -> None:
    """Ask a preparation to stop. Raises InputError when there is none or it is not running."""
    _stop(settings, find_corpus(settings, corpus_id))


def stop_pushing(settings: Settings, corpus_id: str) -> None:
    """Ask the push of a corpus to stop. Raises InputError when there is none or it is not running."""
    _stop(settings, find_corpus(settings, corpus_id).push)


def resume_run(settings: Settings, run_id: str, *, request_id: str | None = None, queue: bool = False) -> str:
    """Ask a run that stopped, failed or was interrupted to go on from its newest checkpoint; returns its id."""
    return _resume(settings, find_run(settings, run_id), request_id, queue=queue)


def resume_corpus(settings: Settings, corpus_id: str, *, request_id: str | None = None) -> str:
    """Ask a preparation to go on from its last complete stage; returns its id."""
    return _resume(settings, find_corpus(settings, corpus_id), request_id, queue=True)


def find_run(settings: Settings, run_id: str) -> RunFolder:
    """The run's folder. Raises InputError, naming those that exist, when nobody asked for such a run."""
    home = Home(settings.home)
    return _find(home.run(run_id), "run", [folder.id for folder in home.runs()])


def find_corpus(settings: Settings, corpus_id: str) -> CorpusFolder:
    """The corpus's folder. Raises InputError, naming those that exist, when there is none."""
    home = Home(settings.home)
    return _find(home.corpus(corpus_id), "corpus", [folder.id for folder in home.corpora()])


def check_training(home: Home, corpus: str, preset: str, recipe: str, changes: dict[str, Any]) -> RunConfig:
    """Refuse now what the trainer would refuse later. Returns the run's configuration; of a corpus that is not ready yet,
    as if it were a large one.
    """
    require(preset in PRESETS, "preset", preset, f"choose one of {', '.join(PRESETS)}")
    folder = home.corpus(corpus)
    manifest = read_json(folder.manifest)
    if manifest is None:
        if not (folder.request.exists() and job_state(folder).is_active):
            known = ", ".join(f.id for f in home.corpora() if f.is_ready) or "none yet"
            raise InputError(
                f"There is no corpus {corpus!r} (prepared: {known}); prepare it first: `python -m pipeline prepare --corpus {corpus}`."
            )
        # Its size is not known before it is there; a large one lets every other value be checked.
        manifest = {"vocab_size": PRESETS[preset].vocab_size, "tokens_train": 10**9}
    config = run_config(
        corpus=corpus,
        preset=preset,
        recipe=recipe,
        vocab_size=manifest["vocab_size"],
        train_tokens=manifest["tokens_train"],
        changes=changes,
    )
    for tracker in config.training.trackers:
        require(find_spec(tracker) is not None, "trackers", tracker, f"install it: `pip install {TRACKERS[tracker]}`")
    return config


def refuse_second(home: Home) -> None:
    """Raises BusyError while a run trains or waits."""
    for state in in_order(home):
        if state.kind == "train":
            doing = "waits in the queue" if state.state == "queued" else "is still training"
            raise BusyError(f"Run {state.id} {doing}; stop it with `stop {state.id}`, or add --queue.")


def _stop(settings: Settings, folder: JobFolder) -> None:
    with locked(Home(settings.home).requests_lock):
        state = job_state(folder)
        if state.state == "stopping":
            return
        if not state.is_active:
            raise InputError(f"{folder.id} is {state.state}; there is nothing to stop.")
        write_json(folder.stop, {"request_id": state.request_id, "requested_at": time.time()})
    worker.wake(settings)


def _resume(settings: Settings, folder: JobFolder, request_id: str | None, *, queue: bool) -> str:
    home = Home(settings.home)
    with locked(home.requests_lock):
        state = job_state(folder)
        if request_id and state.request_id == request_id:
            return folder.id
        if state.state not in RESUMABLE:
            raise InputError(
                f"{folder.id} is {state.state}; only a job that stopped, failed or was interrupted can be resumed."
            )
        if not queue:
            refuse_second(home)
        asked = {
            key: state.request[key]
            for key in state.request
            if key not in ("request_id", "requested_at", "kind", "held")
        }
        earlier_ids = [*asked.get("earlier_ids", ()), state.request_id]
        _write(folder, request_id, **{**asked, "resume": True, "earlier_ids": earlier_ids})
    worker.wake(settings)
    return folder.id


def _write(folder: JobFolder, request_id: str | None, **facts: Any) -> None:
    head = {"request_id": request_id or secrets.token_hex(8), "kind": folder.kind, "requested_at": time.time()}
    write_json(folder.request, {**head, **facts})


def _is_pushed_now(folder: CorpusFolder) -> bool:
    return folder.push.request.exists() and job_state(folder.push).is_active


def _known(folders: Sequence[JobFolder], request_id: str | None) -> JobFolder | None:
    """The job that `request_id` made before, also if it was resumed by another request since."""
    if not request_id:
        return None
    for folder in folders:
        request = readable_json(folder.request)
        if request_id in (request.get("request_id"), *request.get("earlier_ids", ())):
            return folder
    return None


def _find(folder: Folder, what: str, known: list[str]) -> Folder:
    if not folder.request.exists() and not (isinstance(folder, CorpusFolder) and folder.is_ready):
        raise InputError(f"There is no {what} {folder.id!r}; there is {', '.join(known) or 'none yet'}.")
    return folder


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


def _new_id(home: Home) -> str:
    """A name that people can say, not taken yet."""
    taken = {folder.id for folder in home.runs()}
    for _ in range(100):
        name = f"{random.choice(MANNERS)}-{random.choice(NAMES)}"
        if name not in taken:
            return name
    return check_id(f"run-{secrets.token_hex(4)}")
