"""The rows of benchmarks.cuda that measure speed: of a run in each precision, and of the course's loop."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch

from benchmarks.course_loop import train
from benchmarks.cuda_inputs import CORPUS, course_setup
from benchmarks.cuda_runs import (
    MEGABYTE,
    SMALL_SHAPE,
    Found,
    Setting,
    logged,
    measured_rows,
    new_run,
    only_on_cuda,
    peak_memory,
    train_for,
)
from benchmarks.peak import measured_peak, sheet_peak
from pipeline.core.atomic_io import read_json


def speed(setting: Setting, precision: str, *, is_compiled: bool = False) -> Found:
    """Tokens per second of a run after its warm-up, its share of the measured peak, and its peak memory."""
    note = ""
    if not setting.is_cuda:  # some take seconds for a product in bf16
        precision, note = "fp32", "; rehearsed in fp32"
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    if precision == "bf16" and setting.is_cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
        return {"result": "not run", "what": "this GPU has no bf16"}
    peak = measured_peak(dtype, setting.device)
    if setting.is_cuda:  # the matrices are no part of the run
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    run = new_run(
        setting.home,
        f"{precision}-{'compiled' if is_compiled else 'eager'}",
        preset=setting.preset,
        precision=precision,
        compile="on" if is_compiled else "off",
        max_steps=100_000,
        eval_windows=8,
        eval_every_steps=10**6,
        checkpoint_every_steps=10**6,
        log_every_steps=2,
        **setting.changes,
        **setting.on_device,
    )
    train_for(run, setting.seconds)
    rows = measured_rows(run)
    shutil.rmtree(run.checkpoints)  # gigabytes
    first, last = rows[0], rows[-1]
    speed = (last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"])
    config = read_json(run.config) or {}
    flops = flops_per_token(config) * speed
    sheet = sheet_peak(torch.cuda.get_device_name()) if setting.is_cuda and precision != "fp32" else None
    of_sheet = f", {flops / sheet:.0%} of the data sheet's {sheet / 1e9:,.0f}" if sheet else ""
    chosen = config["chosen"]
    if chosen["compiled"] != is_compiled:
        reason = next(line for line in logged(run) if "could not be compiled" in line)
        return {"result": "failed", "what": reason}
    return {
        "result": "ok",
        "tokens_per_second": speed,
        "share": flops / peak,
        "peak_mb": peak_memory() / MEGABYTE,
        "what": f"{last['step'] - first['step']} steps of preset {setting.preset}, micro-batches of {chosen['micro_batch_size']}; "
        f"matrix products reach {peak / 1e9:,.0f} GFLOP/s{of_sheet}{note}",
    }


def fp16(setting: Setting) -> Found:
    return speed(setting, "fp16") if setting.is_cuda else only_on_cuda("fp16 with a gradient scaler")


def tf32(setting: Setting) -> Found:
    return speed(setting, "fp32") if setting.is_cuda else only_on_cuda("TF32")


def course(setting: Setting) -> Found:
    """The course's own loop: fp16 on CUDA, as its launcher sets it."""
    setup = course_setup(
        setting.home.corpus(CORPUS),
        preset=setting.preset,
        **setting.changes,
        **({} if setting.is_cuda else SMALL_SHAPE),
    )
    steps = islice(train(setup, cpu=not setting.is_cuda), 100_000)
    first = last = next(steps)
    for last in steps:
        if last.seconds - first.seconds >= setting.seconds:
            break
    tokens = (last.number - first.number) * setup.micro_batch_size * setup.accumulation * setup.train.shape[1]
    return {
        "result": "ok",
        "tokens_per_second": tokens / (last.seconds - first.seconds),
        "peak_mb": peak_memory() / MEGABYTE,
        "what": f"{last.number - first.number} steps, {'fp16' if setting.is_cuda else 'fp32'}",
    }


def flops_per_token(config: Mapping[str, Any]) -> float:
    model = config["model"]
    return 6 * config["parameters"] + 12 * model["n_layer"] * model["n_embd"] * model["window"]
