"""Writes runs and corpora to a home folder as their jobs do, for tests that start no jobs; and where downloads go."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.config.recipes import run_config
from pipeline.core.atomic_io import append_line, is_locked, read_json, write_json
from pipeline.core.paths import ROOT, Home, RunFolder
from pipeline.core.processes import ProcessId


def write_corpus(home: Home, corpus: str) -> None:
    manifest = {
        "config": {"source": "installed"},
        "files_train": 90,
        "files_validation": 10,
        "tokens_train": 1_000_000,
        "tokens_validation": 50_000,
        "tokens_dropped": 0,
        "vocab_size": 4_096,
        "seconds": 3.0,
    }
    write_json(home.corpus(corpus).manifest, manifest)


def write_run(home: Home, run: str, *, state: str = "finished", age_seconds: float = 60, **status: Any) -> RunFolder:
    """Write the folder of a run that trained 20 steps, as its trainer does."""
    folder = home.run(run)
    values = {"corpus": "ready", "preset": "tiny", "recipe": "accelerate", "changes": {}, "resume": False}
    head = {"request_id": run, "kind": "train", "requested_at": time.time() - age_seconds}
    write_json(folder.request, {**head, **values})
    config = run_config(
        corpus="ready", preset="tiny", recipe="accelerate", vocab_size=4_096, train_tokens=10**6, changes={}
    )
    write_json(folder.config, config.to_dict())
    for step in range(0, 21, 10):
        loss = 8.3 - step / 10
        append_line(folder.metrics, {"step": step, "train_loss": loss, "eval_loss": loss, "perplexity": math.exp(loss)})
    write_json(folder.status, {"request_id": run, "state": state, "step": 20, "max_steps": 20, **status})
    return folder


def hub_cache_without_a_home_folder(start: str, home: Path) -> Path:
    """Run the Python code `start` as a user without a home folder, and return where the Hub's client then downloads to."""
    kept = {name: value for name, value in os.environ.items() if name not in ("HOME", "HF_HOME", "HF_HUB_CACHE")}
    program = f"{start}\nfrom huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    environ = {**kept, "PIPELINE_HOME": str(home), "HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=True
    )
    return Path(done.stdout.splitlines()[-1])


def end_jobs(home: Home, seconds: float = 240) -> None:
    """Kill every job of `home`, and wait until its worker and publisher have exited by themselves."""
    for folder in home.jobs():
        process = read_json(folder.process) or {}
        if "pid" in process:
            ProcessId(process["pid"], process["created"]).signal_group(signal.SIGKILL)
    end = time.monotonic() + seconds
    while is_locked(home.worker_lock) or is_locked(home.publisher_lock("local")):
        assert time.monotonic() < end, "the worker or the publisher does not exit"
        time.sleep(0.1)
