"""A stand-in for a job: `python -m tests.jobs.sleeper FOLDER`. It counts steps of 1/20 s and prints the secrets seen.

In its request, `changes["seed"]` is the number of steps, and `corpus` decides how it ends: `fails` raises an error for
people, `dies` exits without writing a status, `deaf` ignores every stop, `loud` writes LOUD_BYTES to its output first.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from pipeline.core.errors import InputError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import JobFolder

SECRETS = {"HF_TOKEN", "PIPELINE_OWNER_KEY", "AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_KEY", "PIP_INDEX_URL"}

LOUD_BYTES = 10**8
"""Half to standard output, half to standard error."""


def be_loud() -> None:
    lines = b"loss 2.345678 at a step of which nobody needs to know\n" * 1_000
    for number in range(LOUD_BYTES // len(lines) + 1):
        (sys.stdout, sys.stderr)[number % 2].buffer.write(lines)
    sys.stdout.flush()
    sys.stderr.flush()


def main(folder: JobFolder) -> int:
    try:
        with JobProcess(folder) as job:
            kind = job.request.get("corpus")
            if kind == "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if kind == "loud":
                be_loud()
            max_steps = int(job.request.get("changes", {}).get("seed", 5))
            for step in range(1, max_steps + 1):
                if kind != "deaf" and job.stop_requested:
                    job.write(state="stopped", step=step)
                    return 0
                if kind == "dies" and step == 3:
                    os._exit(7)
                if kind == "fails" and step == 3:
                    raise InputError("The bird is 3; give it 4.")
                time.sleep(0.05)
                job.write(step=step, max_steps=max_steps)
            print("counted", max_steps, "and sees", *(sorted(SECRETS & set(os.environ)) or ["no secret"]))
            job.write(state="finished")
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(JobFolder(Path(sys.argv[1]))))
