"""Records a run: metrics.jsonl, samples.jsonl, status.json, and one line per row in its log.

Only rank 0 has a job; the other ranks write nothing.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.config.prompts import Prompt
from pipeline.config.schema import RunConfig
from pipeline.core.atomic_io import append_line, read_lines, write_text
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import RunFolder
from pipeline.training.trackers import Trackers

STATUS_EVERY_SECONDS = 2.0
SHOWN = ("train_loss", "eval_loss", "perplexity", "tokens_per_second", "eta_seconds")
"""Fields of a metrics row that are also written to status.json."""


class RunLogger:
    """Writes the records of one run, from the step it starts at."""

    def __init__(self, folder: RunFolder, job: JobProcess | None, config: RunConfig) -> None:
        self._folder = folder
        self._job = job
        self._trackers = Trackers.open(folder, config, self.say) if job else None
        self._max_steps = config.training.max_steps
        self._eval_every_steps = config.training.eval_every_steps
        self._evaluation_seconds = 0.0
        self._tokens_per_step = config.training.batch_size * config.model.window
        self._throughput = Throughput()
        self._started = time.monotonic()
        self._status_due = 0.0

    def start_at(self, step: int) -> set[int]:
        """Drop what the run wrote after `step` and did not save. Returns the steps that are already evaluated."""
        if self._job is None:
            return set()
        rows = cut_back(self._folder.metrics, step)
        cut_back(self._folder.samples, step)
        self._throughput = Throughput(step * self._tokens_per_step)
        self._started = time.monotonic() - (rows[-1]["seconds"] if rows else 0.0)
        latest = {name: row[name] for row in rows for name in SHOWN if name in row}
        self._job.write(step=step, max_steps=self._max_steps, tokens=step * self._tokens_per_step, **latest)
        return {row["step"] for row in rows if row.get("eval_loss") is not None}

    def say(self, line: str, **facts: Any) -> None:
        """Write one line to the log, and `facts` to the status."""
        if self._job is None:
            return
        print(line, flush=True)
        self._job.write(**facts)

    def progress(self, step: int) -> None:
        """Keep the status up to date between two rows. Called at every step, but writes only every few seconds."""
        if self._job is not None and time.monotonic() >= self._status_due:
            self._write_status(step)

    def row(self, step: int, *, training_seconds: float, **measured: float) -> None:
        """Write one row of metrics: the values `measured` at `step`.

        `training_seconds`: time that this process has spent in optimizer steps, without evaluations and checkpoints.
        """
        if self._job is None:
            return
        self._throughput.add(step * self._tokens_per_step, training_seconds)
        if self._throughput.tokens_per_second is not None and "train_loss" in measured:
            measured["tokens_per_second"] = self._throughput.tokens_per_second
        seconds = time.monotonic() - self._started
        self._log(step, seconds, measured)
        print(self._line(step, measured), flush=True)
        self._write_status(step, **{name: measured[name] for name in SHOWN if name in measured})

    def warmed_up(self, step: int, training_seconds: float) -> None:
        """Compilation is done: throughput and time left are based on the steps from here on."""
        self._throughput = Throughput(step * self._tokens_per_step, training_seconds)

    def evaluated(self, seconds: float) -> None:
        """Store how long an evaluation took. The remaining evaluations count towards the time left."""
        self._evaluation_seconds = seconds

    def rolled_back(self, step: int, lost_step: int) -> None:
        """Record that the run diverged at `lost_step` and resumes from `step`."""
        if self._job is not None:
            self._log(step, time.monotonic() - self._started, {"rolled_back_from": lost_step})

    def close(self) -> None:
        """Finish the trackers. No rows may follow."""
        if self._trackers is not None:
            self._trackers.close()

    def sample(self, step: int, prompt: Prompt, text: str) -> None:
        """Record the model's completion of `prompt` at this step."""
        if self._job is None:
            return
        row = {"step": step, "prompt_name": prompt.name, "prompt": prompt.text, "text": text, "time": time.time()}
        append_line(self._folder.samples, row)
        print(f"{prompt.name} -> {text!r}", flush=True)

    def has_sample(self, step: int) -> bool:
        return any(row["step"] == step for row in read_lines(self._folder.samples))

    def _log(self, step: int, seconds: float, measured: Mapping[str, float]) -> None:
        assert self._trackers is not None
        self._trackers.log(step, {"tokens": step * self._tokens_per_step, "seconds": round(seconds, 3), **measured})

    def _write_status(self, step: int, **facts: Any) -> None:
        assert self._job is not None
        self._job.write(
            step=step, tokens=step * self._tokens_per_step, eta_seconds=self._eta_seconds(step), message=None, **facts
        )
        self._status_due = time.monotonic() + STATUS_EVERY_SECONDS

    def _eta_seconds(self, step: int) -> float | None:
        throughput = self._throughput.tokens_per_second
        if throughput is None:
            return None
        evaluations = -(-self._max_steps // self._eval_every_steps) - step // self._eval_every_steps
        if step == self._max_steps:
            evaluations = 0
        return (self._max_steps - step) * self._tokens_per_step / throughput + evaluations * self._evaluation_seconds

    def _line(self, step: int, measured: dict[str, float]) -> str:
        eta = self._eta_seconds(step)
        parts = {
            "train_loss": "train {:.4f}",
            "weighted_loss": "weighted {:.4f}",
            "eval_loss": "validation {:.4f}",
            "perplexity": "perplexity {:.1f}",
            "learning_rate": "rate {:.2e}",
            "grad_norm": "norm {:.2f}",
            "tokens_per_second": "{:,.0f} tokens/s",
        }
        words = [text.format(measured[name]) for name, text in parts.items() if name in measured]
        left = [] if eta is None else [f"{eta:.0f} s left"]
        return "  ".join([f"step {step}/{self._max_steps}", *words, *left])


class Throughput:
    """Tokens per second over the last `rows` rows. It starts at `tokens` tokens, done after `seconds` of training."""

    def __init__(self, tokens: int = 0, seconds: float = 0.0, *, rows: int = 10) -> None:
        self._rows: deque[tuple[int, float]] = deque([(tokens, seconds)], maxlen=rows + 1)

    def add(self, tokens: int, seconds: float) -> None:
        """Add a measurement: `tokens` tokens in total were done after `seconds` of training."""
        self._rows.append((tokens, seconds))

    @property
    def tokens_per_second(self) -> float | None:
        """None until tokens were added."""
        (first_tokens, first_seconds), (tokens, seconds) = self._rows[0], self._rows[-1]
        return (tokens - first_tokens) / (seconds - first_seconds) if tokens > first_tokens else None


def cut_back(path: Path, step: int) -> list[dict[str, Any]]:
    """Drop the rows after `step` from a JSON-lines file, replacing it in one rename. Returns the remaining rows."""
    rows = [row for row in read_lines(path) if row["step"] <= step]
    if path.exists():
        write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return rows
