"""Measures the generator's tokens per second with one and with all threads, idle and beside a training run.

    python -m benchmarks.generator_threads

One process measures; a second one simulates a training run by multiplying matrices on all cores.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # else tokenize.py in this folder would shadow Python's own

import os
import subprocess
import time

import torch
from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

from pipeline.config.recipes import PRESETS

NUM_TOKENS = 24
REPEATS = 3
TRAINING = "import torch\na = torch.randn(512, 512)\nwhile True: a = (a @ a).clamp(-1, 1)"


def model(preset: str) -> GPT2LMHeadModel:
    size = PRESETS[preset]
    shape = {name: getattr(size, name) for name in ("n_layer", "n_embd", "n_head", "n_positions", "vocab_size")}
    return GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval()


def tokens_per_second(model: GPT2LMHeadModel, num_threads: int) -> float:
    """The median of REPEATS greedy completions of NUM_TOKENS tokens after a prompt of 40 tokens."""
    torch.set_num_threads(num_threads)
    prompt = torch.randint(1, 4_000, (1, 40))
    config = GenerationConfig(max_new_tokens=NUM_TOKENS, min_new_tokens=NUM_TOKENS, eos_token_id=0, pad_token_id=0)
    rates = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        model.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=config)
        rates.append(NUM_TOKENS / (time.perf_counter() - started))
    return sorted(rates)[REPEATS // 2]


def main() -> None:
    cores = os.cpu_count() or 1
    models = {preset: model(preset) for preset in ("tiny", "course")}
    for beside in ("idle", "beside a training run"):
        command = [sys.executable, "-c", TRAINING if beside != "idle" else "pass"]
        other = subprocess.Popen(command)
        time.sleep(3)
        try:
            for preset, candidate in models.items():
                one, all_ = (tokens_per_second(candidate, num_threads) for num_threads in (1, cores))
                print(f"{beside:24}{preset:8}1 thread {one:7.1f}  {cores} threads {all_:7.1f}  ratio {one / all_:.2f}")
        finally:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
