"""The rows of the CUDA benchmark, rehearsed on the CPU in real processes; what a GPU alone can show stays unrun."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import cuda
from benchmarks.cuda import DEADLINES, Bench, Row, print_table, verdict
from benchmarks.cuda_rows import ROWS
from benchmarks.peak import measured_peak, sheet_peak
from pipeline.core.paths import ROOT

ONLY_ON_CUDA = {"fp16 with scaler", "TF32", "FSDP2 over NCCL", "CPU to CUDA and back"}


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.cuda", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.faults  # minutes: `make faults` runs it
@pytest.mark.timeout(1_800)
def test_every_row_that_a_cpu_can_run_is_rehearsed() -> None:
    done = call("--device", "cpu")
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.splitlines()
    results = {line.split(" | ")[0].removeprefix("| "): line.split(" | ")[1] for line in done.stdout.splitlines() if line.count(" | ") == 6}  # fmt: skip
    rows = [*DEADLINES][2:]
    assert {name: results[name] for name in rows} == {
        name: "not run" if name in ONLY_ON_CUDA else "ok" for name in rows
    }, done.stderr
    assert "needs a CUDA GPU" in done.stdout
    found = json.loads(last)
    assert {check["name"] for check in found["checks"]} >= set(rows) - ONLY_ON_CUDA
    assert found["ratio"] > 0


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_sentence() -> None:
    done = call()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("There is no CUDA GPU that torch ") and done.stderr.count("\n") == 1


def test_a_row_that_fails_or_hangs_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "benchmarks" / "cuda_rows.py"
    rows.parent.mkdir()
    rows.write_text(
        "import json, sys, time\n"
        "name = sys.argv[1]\n"
        "if name == 'TF32': sys.exit('it broke\\n\\nRuntimeError: for this reason')\n"
        "if name == 'generator': print('waits', file=sys.stderr, flush=True); time.sleep(600)\n"
        "print('noise'); print(json.dumps({'result': 'ok', 'what': name}))\n"
    )
    monkeypatch.setattr(cuda, "__file__", str(tmp_path / "benchmarks" / "cuda.py"))
    monkeypatch.setitem(DEADLINES, "generator", 3.0)
    bench = Bench(tmp_path, device="cuda", is_quick=True)
    found = {name: bench.run(name) for name in ("TF32", "generator", "bf16")}
    assert {name: row.result for name, row in found.items()} == {"TF32": "failed", "generator": "failed", "bf16": "ok"}
    assert found["TF32"].found["what"] == "exit status 1: RuntimeError: for this reason"
    assert found["generator"].found["what"] == "not ended within 3 s: waits"
    bench._end = 0.0
    assert (bench.run("bf16").result, bench.run("bf16").found["what"]) == ("not run", "the time for all rows was over")


def test_the_table_names_every_row_and_the_verdict_counts_those_that_ran(capsys: pytest.CaptureFixture[str]) -> None:
    speeds = {"bf16, compiled": 300.0, "the course's loop": 100.0}
    rows = [
        *(Row(name=name, result="ok", found={"tokens_per_second": speed}) for name, speed in speeds.items()),
        Row(name="TF32", result="failed", found={"what": "a | b"}),
        Row(name="FSDP2 over NCCL", result="not run", found={"what": "why"}),
    ]
    print_table(rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and all(line.count("|") == 8 for line in lines)
    found = verdict(rows)
    assert (found["ratio"], found["ok"]) == (3.0, False)
    assert [check["name"] for check in found["checks"] if not check["ok"]] == ["TF32"]


def test_every_row_has_code_and_a_deadline_and_together_they_fit() -> None:
    assert list(ROWS) == list(DEADLINES)
    assert cuda.TOTAL_SECONDS + cuda.END_SECONDS < 9 * 60
    assert max(DEADLINES.values()) < cuda.TOTAL_SECONDS / 2


def test_it_needs_only_what_a_rented_machine_has() -> None:
    """As datasets, gradio, polars and pyarrow may not be there, nor a network."""
    script = (
        "import sys, benchmarks.cuda_rows, pipeline.training.loop, pipeline.generation.server\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules} & {'datasets', 'gradio', 'polars', 'pyarrow', 'pandas',"
        " 'tiktoken', 'isal', 'rensa', 'fastapi', 'typer'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_peak_is_that_of_the_data_sheet_and_of_this_device() -> None:
    assert sheet_peak("NVIDIA L40S") == 362e12 and sheet_peak("NVIDIA L4") == 121e12
    assert sheet_peak("A card of tomorrow") is None
    assert measured_peak(torch.float32, "cpu", seconds=0.01) > 1e9
