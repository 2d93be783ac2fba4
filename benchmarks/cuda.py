"""Everything that only a CUDA GPU shows, as one table: `python -m benchmarks.cuda`. Ends within nine minutes.

Needs torch, transformers and accelerate (also 2.11, 5.17 and 1.15, as found on rented machines), and neither a network
nor the packages that read data: its input is Python's own source, tokenized here. Each row is a process of its own with
a deadline (`cuda_rows`), so a row that fails or hangs ends no other; the table says why a row did not run.

    python -m benchmarks.cuda --quick                  smaller models, shorter runs
    python -m benchmarks.cuda --quick --device cpu     a rehearsal: the rows that a CPU can run, to test this script

The last line is one JSON object. Exit status 2 without a GPU that the installed torch can use.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # else tokenize.py in this folder would shadow Python's own

import argparse
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

TOTAL_SECONDS = 520.0
"""For all rows; the rest of the nine minutes is for starting and ending."""
REHEARSAL_FACTOR = 5.0
"""On a CPU, which is slower and may be busy, all limits are so many times longer."""
END_SECONDS = 5.0
"""Time limit for a process that was killed to end."""
GOAL_SPEED = 2.0
"""Tokens per second of the compiled bf16 row, in multiples of the course's loop."""
DEADLINES = {
    "probe": 60.0,
    "corpus": 60.0,
    "bf16, compiled": 150.0,
    "bf16": 60.0,
    "the course's loop": 60.0,
    "stop, kill and resume": 150.0,
    "out of memory": 60.0,
    "fp16 with scaler": 60.0,
    "TF32": 60.0,
    "DDP over NCCL": 60.0,
    "FSDP2 over NCCL": 60.0,
    "generator": 75.0,
    "CPU to CUDA and back": 90.0,
}
"""Seconds of each row, in the order in which they run. The first two are no rows of the table."""
COLUMNS = ("row", "result", "tokens/s", "of peak", "peak MB", "seconds", "what")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table."""

    name: str
    result: str
    """`ok`, `failed`, or `not run`."""
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)
    """`what`: a sentence; for rows of speed also `tokens_per_second`, `share` of the measured peak and `peak_mb`."""

    def cells(self) -> tuple[str, ...]:
        found = self.found
        return (
            self.name,
            self.result,
            f"{found['tokens_per_second']:,.0f}" if "tokens_per_second" in found else "",
            f"{found['share']:.0%}" if "share" in found else "",
            f"{found['peak_mb']:,.0f}" if "peak_mb" in found else "",
            f"{self.seconds:.0f}",
            found.get("what", ""),
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a rehearsal, always --quick")
    parser.add_argument("--quick", action="store_true", help="smaller models, shorter runs")
    parser.add_argument("--row", action="append", choices=[*DEADLINES][2:], help="only this row; may be repeated")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), device=asked.device, is_quick=asked.quick or asked.device == "cpu")
        machine = bench.run("probe")
        if machine.result != "ok":
            print(machine.found["what"], file=sys.stderr)
            return 2
        print(machine.found["what"], flush=True)
        corpus = bench.run("corpus")
        if corpus.result != "ok":
            print(corpus.found["what"], file=sys.stderr)
            return 1
        rows = []
        for name in asked.row or [*DEADLINES][2:]:
            rows.append(bench.run(name))
            print(f"{name}: {rows[-1].result}. {rows[-1].found.get('what', '')}", file=sys.stderr, flush=True)
    print_table(rows)
    print(json.dumps(verdict(rows)))
    return 0


class Bench:
    """Runs rows, one after the other, each in a process of its own."""

    def __init__(self, folder: Path, *, device: str, is_quick: bool) -> None:
        self._folder = folder
        self._options = ["--device", device, *(["--quick"] if is_quick else [])]
        self._factor = REHEARSAL_FACTOR if device == "cpu" else 1.0
        self._end = time.monotonic() + self._factor * TOTAL_SECONDS

    def run(self, name: str) -> Row:
        seconds = min(self._factor * DEADLINES[name], self._end - time.monotonic())
        if seconds <= 0:
            return Row(name=name, result="not run", found={"what": "the time for all rows was over"})
        log, started = self._folder / "log.txt", time.monotonic()
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.cuda_rows", name, str(self._folder / "home"), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=Path(__file__).resolve().parents[1],
                env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
                start_new_session=True,
            )
        try:
            out, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            out = b""
        finally:
            _end(process)
        return self._row(name, process.returncode, out, _last_line(log), time.monotonic() - started, seconds)

    @staticmethod
    def _row(name: str, status: int | None, out: bytes, error: str, seconds: float, deadline: float) -> Row:
        lines = out.decode(errors="replace").splitlines()
        if status == 0 and lines:
            found = json.loads(lines[-1])
            return Row(name=name, result=found.pop("result"), seconds=seconds, found=found)
        reason = f"not ended within {deadline:.0f} s" if seconds >= deadline else f"exit status {status}"
        return Row(name=name, result="failed", seconds=seconds, found={"what": f"{reason}: {error}"})


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what the row has started and not ended; its processes share its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(END_SECONDS)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "it said nothing"


def print_table(rows: list[Row]) -> None:
    """Print the rows as a Markdown table, for RESULTS.md."""
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for row in rows:
        print("| " + " | ".join(cell.replace("|", "/") for cell in row.cells()) + " |")


def verdict(rows: list[Row]) -> dict[str, Any]:
    """The machine-readable last line. A row that did not run is no check."""
    speeds = {row.name: row.found.get("tokens_per_second", 0.0) for row in rows}
    course = speeds.get("the course's loop") or 0.0
    ratio = speeds.get("bf16, compiled", 0.0) / course if course else 0.0
    checks = [{"name": "tokens per second / the course's, CUDA", "ratio": round(ratio, 2), "goal": GOAL_SPEED, "ok": ratio >= GOAL_SPEED}]  # fmt: skip
    checks += [
        {"name": row.name, "ratio": float(row.result == "ok"), "goal": 1.0, "ok": row.result == "ok"}
        for row in rows
        if row.result != "not run"
    ]
    return {"ratio": round(ratio, 2), "goal": GOAL_SPEED, "ok": all(check["ok"] for check in checks), "checks": checks}


if __name__ == "__main__":
    sys.exit(main())
