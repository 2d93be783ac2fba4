"""The rows of benchmarks.cuda: `python -m benchmarks.cuda_rows NAME HOME --device cuda`, each in a process of its own.

The last line of stdout is one JSON object: `result` (ok, failed or not run), `what` (a sentence) and figures. Depends on
torch, transformers, accelerate and what these need, and on nothing that reads data.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.cuda_inputs import CORPUS, make_corpus
from benchmarks.cuda_runs import (
    MEGABYTE,
    Found,
    Setting,
    finish,
    logged,
    new_run,
    only_on_cuda,
    outcome,
    resume_request,
    start,
    train_for,
    wait_for_step,
)
from benchmarks.cuda_speed import course, fp16, speed, tf32
from pipeline.artifacts.checkpoint import checkpoints_of, newest_valid
from pipeline.core.atomic_io import read_json, read_lines
from pipeline.core.paths import Home, RunFolder
from pipeline.training.__main__ import ENVIRONMENT
from pipeline.training.device import use_all_cores

LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node")


# ---- the machine and the input ----
def probe(setting: Setting) -> Found:
    import accelerate
    import transformers

    from pipeline.training.device import cuda_problem

    versions = (
        f"torch {torch.__version__}, transformers {transformers.__version__}, accelerate {accelerate.__version__}"
    )
    if not setting.is_cuda:
        return {"result": "ok", "what": f"A rehearsal on the CPU; {versions}."}
    if problem := cuda_problem():
        return {"result": "not run", "what": problem}
    if not torch.cuda.is_available():
        what = f"There is no CUDA GPU that torch {torch.__version__} can use; run it on a machine with one, or rehearse it with --quick --device cpu."
        return {"result": "not run", "what": what}
    card = torch.cuda.get_device_properties(0)
    return {
        "result": "ok",
        "what": f"{card.name}, {card.total_memory / 1e9:.0f} GB, CUDA {torch.version.cuda}; {versions}.",
    }


def corpus(setting: Setting) -> Found:
    tokens = make_corpus(setting.home.corpus(CORPUS), vocab_size=512 if setting.is_quick else 4_096, num_bytes=300_000 if setting.is_quick else 3_000_000)  # fmt: skip
    return {"result": "ok", "what": f"{tokens:,} tokens of Python's own source."}


# ---- resuming ----
def resume(setting: Setting) -> Found:
    """A run that was stopped and one that was killed, each resumed, against two that were not disturbed."""
    # A GPU trains a hundred steps a second: the run must not be over before the signal arrives.
    steps = {
        "max_steps": 300 if setting.is_cuda else 60,
        "eval_every_steps": 20,
        "checkpoint_every_steps": 20,
        "log_every_steps": 1,
    }
    small = {"batch_size": 8, "eval_windows": 8, "compile": "off", "warmup_steps": 2, **steps, **setting.on_device}
    runs = {
        name: new_run(setting.home, name, preset="tiny", **small) for name in ("whole", "again", "stopped", "killed")
    }
    for name in ("whole", "again"):
        finish(runs[name])
    for name, number in (("stopped", signal.SIGTERM), ("killed", signal.SIGKILL)):
        process = start(runs[name])
        wait_for_step(runs[name], process, 30)
        process.send_signal(number)
        process.wait()
        resume_request(runs[name])
        finish(runs[name])
    same = {name: outcome(run) == outcome(runs["whole"]) for name, run in runs.items() if name != "whole"}
    if not same["again"]:
        return {
            "result": "failed",
            "what": "two undisturbed runs differ on this device, so nothing can be said to the bit",
        }
    failed = [name for name, is_same in same.items() if not is_same]
    what = (
        f"the run that was {' and the one that was '.join(failed)} differs"
        if failed
        else "both resumed runs are bit-identical to two undisturbed ones"
    )
    return {"result": "failed" if failed else "ok", "what": what}  # fmt: skip


def to_cuda_and_back(setting: Setting) -> Found:
    """A run that begins on the CPU, goes on on CUDA, and ends on the CPU, as on a Space that gets a GPU for a while."""
    if not setting.is_cuda:
        return only_on_cuda("a change of the device")
    run = new_run(setting.home, "moves", preset="tiny", batch_size=8, eval_windows=8, warmup_steps=2, max_steps=2_000, log_every_steps=1, checkpoint_every_steps=10, eval_every_steps=1_000)  # fmt: skip
    devices: list[str] = []
    step = 0
    for environment in ({"CUDA_VISIBLE_DEVICES": ""}, {}, {"CUDA_VISIBLE_DEVICES": ""}):
        process = start(run, environment)
        wait_for_step(run, process, step + 20)
        process.send_signal(signal.SIGTERM)
        process.wait()
        status = read_json(run.status) or {}
        step = status.get("step") or 0
        if status["state"] != "stopped":
            return {"result": "failed", "what": f"{status['state']} at step {step}: {status.get('error')}"}
        devices.append(f"{status['device']} to step {step} ({status['precision']})")
        resume_request(run)
    losses = [row["train_loss"] for row in read_lines(run.metrics) if "train_loss" in row]
    is_moved = [device.split()[0] for device in devices] == ["cpu", "cuda", "cpu"]
    is_sound = is_moved and losses[-1] < losses[0]
    return {
        "result": "ok" if is_sound else "failed",
        "what": f"{', '.join(devices)}; loss {losses[0]:.2f} to {losses[-1]:.2f}",
    }


# ---- memory ----
def out_of_memory(setting: Setting) -> Found:
    """A run whose micro-batch does not fit into the memory that it may use."""
    size = 256
    run = new_run(setting.home, "full", preset="tiny", batch_size=size, micro_batch_size=size, vocab_size=16_384, eval_windows=4, max_steps=2, warmup_steps=1, compile="off", **setting.on_device)  # fmt: skip
    with little_memory(setting):
        train_for(run, 0.0)
    chosen = (read_json(run.config) or {})["chosen"]
    lines = [line for line in logged(run) if "out of memory at step" in line]
    is_halved = chosen["micro_batch_size"] < size and bool(lines)
    what = f"micro-batches of {size} windows became {chosen['micro_batch_size']}, batch {size}; {lines[0] if lines else 'nothing was logged'}"
    return {"result": "ok" if is_halved else "failed", "what": what}


@contextlib.contextmanager
def little_memory(setting: Setting) -> Iterator[None]:
    """Inside, half of what the first micro-batch takes may be allocated."""
    if setting.is_cuda:
        _, total = torch.cuda.mem_get_info()
        torch.cuda.set_per_process_memory_fraction(1_600 * MEGABYTE / total)
        yield
        return
    import transformers.models.gpt2.modeling_gpt2  # noqa: F401 - imports take memory of their own

    import pipeline.training.loop  # noqa: F401

    lines = Path("/proc/self/status").read_text().splitlines()
    used = int(next(line.split()[1] for line in lines if line.startswith("VmData"))) * 1_024
    resource.setrlimit(resource.RLIMIT_DATA, (used + 1_600 * MEGABYTE, resource.RLIM_INFINITY))
    yield


# ---- several processes ----
def ddp(setting: Setting) -> Found:
    """On CUDA one rank over NCCL; on a CPU two over gloo, as one is no process group there."""
    return launched(
        setting, "ddp", processes=1 if setting.is_cuda else 2, backend="nccl" if setting.is_cuda else "gloo"
    )


def fsdp2(setting: Setting) -> Found:
    if not setting.is_cuda:
        return only_on_cuda("FSDP2")
    return launched(setting, "fsdp2", processes=1, backend="nccl", sharding="fsdp2")


def launched(setting: Setting, name: str, *, processes: int, backend: str, **changes: Any) -> Found:
    """A run under torchrun, saved and resumed once."""
    small = {"batch_size": 8, "micro_batch_size": 4, "eval_windows": 8, "compile": "off", "warmup_steps": 2, "max_steps": 20, "checkpoint_every_steps": 10, "eval_every_steps": 10, "log_every_steps": 1}  # fmt: skip
    run = new_run(setting.home, name, preset="tiny", **small, **changes, **setting.on_device)
    command = [
        sys.executable,
        *LAUNCHER,
        str(processes),
        "-m",
        "benchmarks.cuda_rows",
        "rank",
        str(run.path),
        "--device",
        setting.device,
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **ENVIRONMENT}, check=False)
    status = read_json(run.status) or {}
    if done.returncode != 0 or status.get("state") != "finished":
        reason = status.get("error") or (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return {"result": "failed", "what": reason}
    used = next((line for line in done.stdout.splitlines() if line.startswith("joined by ")), "joined by nothing")
    losses = [row["eval_loss"] for row in read_lines(run.metrics) if row.get("eval_loss") is not None]
    is_ok = backend in used and losses[-1] < losses[0] and newest_valid(run).step == 20
    return {"result": "ok" if is_ok else "failed", "what": f"{processes} rank(s), {used}; validation loss {losses[0]:.2f} to {losses[-1]:.2f}"}  # fmt: skip


def rank(folder: RunFolder) -> None:
    """One rank of `launched`: the trainer, which also says what its ranks are joined by."""
    from torch import distributed

    from pipeline.training import __main__ as trainer
    from pipeline.training import loop

    leave = loop.leave_processes

    def leaves() -> None:
        if os.environ["RANK"] == "0":
            print(f"joined by {distributed.get_backend() if distributed.is_initialized() else 'nothing'}", flush=True)
        leave()

    loop.leave_processes = leaves  # type: ignore[assignment] - this process does nothing else
    trainer.run(folder)


# ---- generating ----
def generator(setting: Setting) -> Found:
    """The generator's process: it completes a prompt on the device, and gives the memory back when it is unloaded."""
    from pipeline.artifacts.revision import Revision
    from pipeline.core.settings import Settings
    from pipeline.generation.process import Generator
    from pipeline.generation.settings import Sampling

    run = new_run(setting.home, "model", preset="tiny", batch_size=8, eval_windows=8, max_steps=4, warmup_steps=1, compile="off", **setting.on_device)  # fmt: skip
    finish(run)
    path = checkpoints_of(run)[-1]
    revision = Revision(repo="local", revision="0" * 12, run=run.id, step=4, corpus=CORPUS, pushed_at="", eval_loss=None, commit=None, path=path)  # fmt: skip
    writes = Generator(Settings.from_environment({"PIPELINE_HOME": str(setting.home.path)}))
    before = memory_in_use(setting)
    try:
        answer = writes.generate(revision, "import numpy as np\n", Sampling(max_new_tokens=32))
        during = memory_in_use(setting)
    finally:
        writes.close()
    after = memory_in_use(setting)
    is_ok = bool(answer["samples"][0]) and during > before and after - before < 0.1 * (during - before)
    what = f"{answer['tokens_per_second']} tokens/s; it held {(during - before) / MEGABYTE:,.0f} MB, and {(after - before) / MEGABYTE:,.0f} MB after it was unloaded"  # fmt: skip
    return {"result": "ok" if is_ok else "failed", "what": what}


def memory_in_use(setting: Setting) -> float:
    """Bytes of the GPU that any process holds; on a CPU those of the processes that this one has started."""
    if setting.is_cuda:
        free, total = torch.cuda.mem_get_info()
        return total - free
    import psutil

    return sum(child.memory_info().rss for child in psutil.Process().children(recursive=True))


ROWS: dict[str, Callable[[Setting], Found]] = {
    "probe": probe,
    "corpus": corpus,
    "bf16, compiled": lambda setting: speed(setting, "bf16", is_compiled=True),
    "bf16": lambda setting: speed(setting, "bf16"),
    "the course's loop": course,
    "stop, kill and resume": resume,
    "out of memory": out_of_memory,
    "fp16 with scaler": fp16,
    "TF32": tf32,
    "DDP over NCCL": ddp,
    "FSDP2 over NCCL": fsdp2,
    "generator": generator,
    "CPU to CUDA and back": to_cuda_and_back,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*ROWS, "rank"])
    parser.add_argument("path", type=Path, help="the home folder; of a rank its run's")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    use_all_cores()
    if asked.name == "rank":
        rank(RunFolder(asked.path))
        return 0
    found = ROWS[asked.name](Setting(Home(asked.path), asked.device, asked.quick))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
