"""Measures whether publishing slows training, with a Hub that works and with one that is faulty:
`python -m benchmarks.hub_faults [--seconds N] [--rounds N] [--kinds NAME ...] [--quick]`.

One real run trains on the CPU, in a home of its own; the real worker and publisher push its checkpoints, about two in
each window, to a Hub on loopback that runs in a process of its own. For each kind of fault, windows of a working and of
a faulty Hub alternate. Each fault window begins when the publisher has met the fault, and each other window when a push
has arrived. The times of the steps are those of the run's metrics.jsonl, one row a step, to the millisecond.

The row `working Hub` compares all windows of a working Hub with a run that publishes into its home alone: a push takes
time of the same cores. A fault can also make steps shorter, as pushes that fail do less. The last line is one JSON
object; its ratio is the highest of the ratios of medians. `--quick` measures one kind in two windows of three seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # else tokenize.py in this folder would shadow Python's own

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

from pipeline.core.atomic_io import is_locked, read_lines
from pipeline.core.paths import Home
from pipeline.hub.push_status import read_retrying, request_retry
from tests.loopback_hub import LoopbackHub

ROOT = Path(__file__).resolve().parents[1]
REPO, CORPUS = "me/parrot", "code"
GOAL_RATIO = 1.05
"""Max median time of a step, over that without the fault."""
PUSHES_PER_WINDOW = 2
"""The publisher makes at most 100 commits an hour: more would be used up before the last kind."""
STEP_SECONDS = 0.1
"""About, to place the checkpoints."""
MODEL = "n_layer=4 n_embd=192 n_head=4 window=64 batch_size=8 device=cpu"
RUN = "max_steps=50000 log_every_steps=1 eval_every_steps=50000"
BODIES = "PUT /_lfs|POST .*/commit/main"
"""The requests of a push that carry files."""
WAIT_SECONDS = 120.0

KINDS: dict[str, Callable[[LoopbackHub], None]] = {
    "refused connection": lambda hub: hub.stop(),
    "401": lambda hub: hub.refuse(401),
    "429": lambda hub: hub.refuse(429, headers={"Retry-After": "2"}),
    "500": lambda hub: hub.refuse(500),
    "silence": lambda hub: hub.hang(),
    "one byte a second": lambda hub: hub.drip(),
    "reset at 50 %": lambda hub: hub.cut(0.5, on=BODIES),
    "no JSON": lambda hub: hub.refuse(200, body="<html>Log in to this network</html>"),
}
COLUMNS = ("kind", "steps", "with fault", "median s", "with fault", "ratio", "ratio of means", "pushes", "faults met")


class Hub:
    """A loopback Hub in a process of its own, so that it shares no interpreter with what is measured."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        self.environment: dict[str, str] = self._pipe.recv()

    def become(self, kind: str | None) -> None:
        """End the fault, also of requests that hang, and begin the one named `kind`."""
        self._ask(kind)

    def counts(self) -> tuple[int, int]:
        """Commits so far, and requests that met the fault of now."""
        return self._ask("counts")

    def close(self) -> None:
        self._process.kill()
        self._process.join()

    def _ask(self, question: str | None) -> Any:
        self._pipe.send(question)
        return self._pipe.recv()


def _serve(pipe: Connection) -> None:
    hub = LoopbackHub().start()
    is_listening = True
    pipe.send({name: value for name, value in hub.environment(Path()).items() if name != "HF_TOKEN_PATH"})
    while True:
        question = pipe.recv()
        if question == "counts":
            pipe.send((len(hub.commits(REPO)), hub.num_faults))
            continue
        hub.heal()
        if is_listening:
            hub.stop()
        hub.start()
        hub.num_faults = 0
        if question is not None:
            KINDS[question](hub)
        is_listening = question != "refused connection"
        pipe.send(None)


class Training:
    """A run in progress, published to `repo` or, without one, into its home alone."""

    def __init__(self, home: Home, environment: dict[str, str], checkpoint_every_steps: int) -> None:
        self.home = home
        self.run = home.run("published")
        self.environment = {**environment, "PIPELINE_HOME": str(home.path)}
        settings = f"{MODEL} {RUN} checkpoint_every_steps={checkpoint_every_steps}"
        command(f"train --corpus {CORPUS} --run-id {self.run.id} --detach --set {settings}", self.environment)
        until(lambda: self._step() > 5, "the first steps", self.home)

    def step_seconds(self, seconds: float) -> list[float]:
        """Seconds of each step in the next `seconds`."""
        first = self._step()
        time.sleep(seconds)
        rows = [row for row in self._rows() if row["step"] >= first]
        if len(rows) < 2:
            raise SystemExit(f"The run made no steps in {seconds:g} s: {(self.run.log).read_text()[-2_000:]}")
        return [after["seconds"] - before["seconds"] for before, after in pairwise(rows)]

    def stop(self) -> None:
        command(f"stop {self.run.id}", self.environment, check=False)
        with contextlib.suppress(SystemExit):  # the folder is deleted all the same
            until(lambda: not is_locked(self.home.worker_lock), "the worker's end", self.home)

    def _step(self) -> int:
        return max((row["step"] for row in self._rows()), default=0)

    def _rows(self) -> list[dict[str, Any]]:
        return [row for row in read_lines(self.run.metrics) if "train_loss" in row]


class Bench:
    """The windows of one run, beside one Hub."""

    def __init__(self, hub: Hub, training: Training, seconds: float) -> None:
        self.hub = hub
        self.training = training
        self.seconds = seconds
        self.working: list[float] = []
        """Seconds of every step beside a working Hub."""

    def measure(self, kind: str, rounds: int) -> dict[str, Any]:
        """Print one row of the table; returns its check."""
        working, faulty, num_pushes, num_met = [], [], 0, 0
        for _ in range(rounds):
            self._heal()
            before, _ = self.hub.counts()
            working += self.training.step_seconds(self.seconds)
            num_pushes += self.hub.counts()[0] - before
            self.hub.become(kind)
            until(self._num_met, f"a request that meets {kind}", self.training.home)
            faulty += self.training.step_seconds(self.seconds)
            num_met += self._num_met()
        self.working += working
        return compared(kind, working, faulty, num_pushes, num_met)

    def _heal(self) -> None:
        """Mend the Hub and wait until a push has arrived, as after a long fault the publisher waits long."""
        self.hub.become(None)
        before, _ = self.hub.counts()
        request_retry(self.training.home, REPO)
        until(lambda: self.hub.counts()[0] > before, "a push", self.training.home)

    def _num_met(self) -> int:
        """Requests that met the fault; where no request can arrive, the publisher's failed attempts."""
        retrying = read_retrying(self.training.home, REPO)
        return self.hub.counts()[1] or (retrying.attempts if retrying else 0)


def compared(
    name: str, without: list[float], faulty: list[float], num_pushes: int | str = "", num_met: int | str = ""
) -> dict[str, Any]:
    """Print the row `name`, of the seconds of steps without and with what is measured; returns its check."""
    medians = statistics.median(without), statistics.median(faulty)
    ratio, means = medians[1] / medians[0], statistics.fmean(faulty) / statistics.fmean(without)
    figures = [*(f"{median:.3f}" for median in medians), f"{ratio:.3f}", f"{means:.3f}"]
    print_row(name, len(without), len(faulty), *figures, num_pushes, num_met)
    return {"name": name, "ratio": round(ratio, 3), "goal": GOAL_RATIO, "ok": ratio <= GOAL_RATIO}


def print_row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def until(holds: Callable[[], object], what: str, home: Home) -> None:
    ends = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > ends:
            log = home.publisher_log.read_text()[-2_000:] if home.publisher_log.exists() else ""
            raise SystemExit(f"{what.capitalize()} did not come within {WAIT_SECONDS:g} s. {log}")
        time.sleep(0.1)


def command(arguments: str, environment: dict[str, str], *, check: bool = True) -> None:
    subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments.split()],
        cwd=ROOT,
        env=environment,
        stdout=sys.stderr,
        check=check,
    )


def prepare(folder: Path, environment: dict[str, str]) -> Home:
    """A home with a corpus of about 2 MB of made-up code."""
    home, made_up, rng = Home(folder / "home"), folder / "made-up", random.Random(0)
    made_up.mkdir()
    for number in range(300):
        names = [f"{rng.choice('abcdefgh')}{rng.randrange(1_000)}" for _ in range(200)]
        lines = (f"def {a}({b}):\n    return pd.read_csv({b}, skiprows={len(a)})\n" for a, b in pairwise(names))
        (made_up / f"file{number}.py").write_text("import pandas as pd\n\n" + "\n".join(lines))
    named = {**environment, "PIPELINE_HOME": str(home.path)}
    command(f"prepare --source files:{made_up} --corpus {CORPUS} --vocab-size 1024", named)
    return home


def without_hub(home: Home, folder: Path, environment: dict[str, str], every_steps: int, seconds: float) -> list[float]:
    """Seconds of each step of a run in a copy of `home` that has no model repo."""
    shutil.copytree(home.path, folder)
    training = Training(Home(folder), {**environment, "PIPELINE_HUB_REPO": ""}, every_steps)
    try:
        time.sleep(seconds / 2)  # as the published run, it has started some time ago
        return training.step_seconds(seconds)
    finally:
        training.stop()


@contextlib.contextmanager
def published(home: Home, hub: Hub, environment: dict[str, str], every_steps: int) -> Iterator[Training]:
    training = Training(home, {**environment, "PIPELINE_HUB_REPO": REPO}, every_steps)
    try:
        yield training
    finally:
        hub.become(None)
        training.stop()


def measured(
    folder: Path, hub: Hub, kinds: list[str], seconds: float, rounds: int, *, with_alone: bool
) -> list[dict[str, Any]]:
    """The checks of all rows. `with_alone`: whether to compare with a run without a model repo, before and after."""
    environment = {**os.environ, **hub.environment, "HF_HOME": str(folder / "hf"), "PIPELINE_HUB_STATE": "0"}
    home = prepare(folder, environment)
    every_steps = max(5, round(seconds / PUSHES_PER_WINDOW / STEP_SECONDS))
    alone: list[float] = []
    if with_alone:
        alone += without_hub(home, folder / "before", environment, every_steps, 2 * seconds)
    print_row(*COLUMNS)
    print_row(*("---" for _ in COLUMNS))
    shutil.copytree(home.path, folder / "published")
    with published(Home(folder / "published"), hub, environment, every_steps) as training:
        bench = Bench(hub, training, seconds)
        checks = [bench.measure(kind, rounds) for kind in kinds]
    if with_alone:
        alone += without_hub(home, folder / "after", environment, every_steps, 2 * seconds)
        checks.append(compared("working Hub", alone, bench.working))
    return checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="each window lasts")
    parser.add_argument(
        "--rounds", type=int, default=2, help="windows with each fault; more than 2 for a few kinds only"
    )
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="of faults; all unless given")
    parser.add_argument("--quick", action="store_true", help="one kind, two windows of three seconds")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the run and the Hub as well
    seconds, rounds = (3.0, 1) if options.quick else (options.seconds, options.rounds)
    kinds = options.kinds or (["500"] if options.quick else list(KINDS))
    hub = Hub()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            checks = measured(Path(folder), hub, kinds, seconds, rounds, with_alone=not options.quick)
    finally:
        hub.close()
    worst = max(check["ratio"] for check in checks)
    is_ok = all(check["ok"] for check in checks)
    print(f"goal: a step takes at most {GOAL_RATIO - 1:.0%} longer")
    print(json.dumps({"ratio": worst, "goal": GOAL_RATIO, "ok": is_ok, "checks": checks}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
