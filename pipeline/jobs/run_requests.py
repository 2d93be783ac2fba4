"""What a person may ask of runs: start, stop, resume."""

from __future__ import annotations

import random
import secrets
from importlib.util import find_spec
from typing import Any

from pipeline.config.recipes import PRESETS, run_config
from pipeline.config.schema import TRACKERS, RunConfig
from pipeline.core.atomic_io import locked, read_json, readable_json
from pipeline.core.errors import InputError, require
from pipeline.core.paths import Home, RunFolder, check_id
from pipeline.core.settings import Settings
from pipeline.jobs import worker
from pipeline.jobs.requests import find_job, made_before, refuse_second, resume_job, stop_job, write_request
from pipeline.jobs.state import job_state

NAMES = (
    "amazon budgie caique cockatiel cockatoo conure corella eclectus galah jardine kakapo kakariki kea lory lorikeet "
    "lovebird macaw parakeet parrotlet pionus quaker rosella senegal".split()
)
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
        if known := made_before(home.runs(), request_id):
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
        write_request(folder, request_id, **asked, resume=False)
    worker.wake(settings)
    return folder.id


def stop_run(settings: Settings, run_id: str) -> None:
    """Ask a run to save and stop. Raises InputError when there is no such run or it is not running."""
    stop_job(settings, find_run(settings, run_id))


def resume_run(settings: Settings, run_id: str, *, request_id: str | None = None, queue: bool = False) -> str:
    """Ask a run that stopped, failed or was interrupted to go on from its newest checkpoint; returns its id."""
    return resume_job(settings, find_run(settings, run_id), request_id, queue=queue)


def is_held(settings: Settings, run_id: str) -> bool:
    """Whether somebody starts the run by hand."""
    return bool(readable_json(find_run(settings, run_id).request).get("held"))


def find_run(settings: Settings, run_id: str) -> RunFolder:
    """The run's folder. Raises InputError, naming those that exist, when nobody asked for such a run."""
    home = Home(settings.home)
    return find_job(home.run(run_id), "run", [folder.id for folder in home.runs()])


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
                f"There is no corpus {corpus!r} (prepared: {known}); choose one of them, or prepare it first."
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


def _new_id(home: Home) -> str:
    """A name that people can say, not taken yet."""
    taken = {folder.id for folder in home.runs()}
    for _ in range(100):
        name = f"{random.choice(MANNERS)}-{random.choice(NAMES)}"
        if name not in taken:
            return name
    return check_id(f"run-{secrets.token_hex(4)}")
