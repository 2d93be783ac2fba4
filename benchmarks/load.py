"""Measures how long visitors of a public page wait beside one flooder of each kind, a hundred idle tabs and a hundred
watched runs: `python -m benchmarks.load [--seconds N] [--quick]`, or `make load`.

The real page runs in its own process on loopback, configured like a Space. Every visitor has its own address. Prints
for each load how long the visitors waited (median, 95th percentile and longest, in seconds), the status codes that the
flooder got, and the page's use of CPU cores and memory. The last line is one JSON object; its ratio is the longest 95th
percentile in seconds.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # else tokenize.py in this folder would shadow Python's own

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import psutil

from benchmarks.http_load import Visitor, events_of
from pipeline.core.atomic_io import append_line, locked, write_json
from pipeline.core.paths import Home
from pipeline.ui.shared.live_home import IDLE_SECONDS

ROOT = Path(__file__).resolve().parents[1]
KEY = "correct horse battery staple"
GOAL_SECONDS = 1.0
"""Limit for the 95th percentile of the visitors' waits."""
OUTAGE_SECONDS = 5.0
"""Limit for the longest wait of a visitor."""
FLOODERS = 32
"""Requests that a flooder keeps open at the same time."""
CORPUS = "prepare --corpus load --max-files 60 --vocab-size 512"
RUN = "train --corpus load --run-id load --max-steps 4 --set eval_every_steps=4 --set checkpoint_every_steps=4"

Flood = Callable[["Load"], Awaitable[int]]
"""Sends one request of a flooder and returns the status."""


class Load:
    """One page and the measurements of it."""

    def __init__(
        self, port: int, events: list[dict[str, Any]], process: psutil.Process, home: Home, seconds: float
    ) -> None:
        self.port = port
        self.home = home
        self.process = process
        self.seconds = seconds
        self.number = 0
        self.by_name = {event["api_name"]: event for event in events if event["api_name"]}
        self.refresh = {"train": self.by_name["poll_runs"], "data": self.by_name["poll_corpora"]}
        """By tab: the event that page.js causes when the home folder has changed."""
        self.flooder = ""
        """The address of the current flooder."""
        self.checks: list[dict[str, Any]] = []

    def visitor(self, address: str = "", **headers: str) -> Visitor:
        self.number += 1
        found = address or f"9.{self.number // 62_500 % 250}.{self.number // 250 % 250}.{self.number % 250 + 1}"
        return Visitor(self.port, found, {name.replace("_", "-"): value for name, value in headers.items()})

    async def measure(
        self,
        name: str,
        flood: Flood | None = None,
        tabs: int = 0,
        watchers: int = 0,
        num_visitors: int = 4,
        think_seconds: float = 0.2,
    ) -> None:
        """Measure the waits of `num_visitors` for `self.seconds`, beside a flooder, idle `tabs` and run `watchers`.

        Each visitor performs one action after the other, each after about `think_seconds`.
        """
        self.flooder = f"8.8.4.{len(self.checks) + 1}"
        waits: dict[str, list[float]] = defaultdict(list)
        answers: Counter[int] = Counter()
        open_pages = [(await self._opened("data"), "data") for _ in range(tabs)]
        open_pages += [(await self._opened("train"), "train") for _ in range(watchers)]
        ends = time.monotonic() + self.seconds
        before, cpu, began = self.process.memory_info().rss, sum(self.process.cpu_times()[:2]), time.monotonic()
        loads = [self._flood(flood, ends, answers) for _ in range(FLOODERS)] if flood else []
        loads += [self._watch(ends, *open_page) for open_page in open_pages]
        loads += [self._train(ends)] if watchers else []
        await asyncio.gather(*loads, *(self._probe(ends, waits, think_seconds) for _ in range(num_visitors)))
        core = (sum(self.process.cpu_times()[:2]) - cpu) / (time.monotonic() - began)
        grown = (self.process.memory_info().rss - before) / 2**20
        self._report(name, waits, answers, core, grown)

    async def _flood(self, flood: Flood, ends: float, answers: Counter[int]) -> None:
        while time.monotonic() < ends:
            try:
                async with asyncio.timeout(20):
                    answers[await flood(self)] += 1
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
                answers[0] += 1

    async def _opened(self, tab: str) -> Visitor:
        """A visitor with `tab` open, after the first refresh."""
        visitor = self.visitor()
        await visitor.run(self.refresh[tab])
        return visitor

    async def _watch(self, ends: float, visitor: Visitor, tab: str) -> None:
        """Keep a page open as page.js does: its heartbeat stream, and polls that refresh `tab` when something changed."""
        await asyncio.sleep(IDLE_SECONDS * random.random())
        shown = ""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with visitor.asked("GET", f"/gradio_api/heartbeat/{visitor.session}"):
                while time.monotonic() < ends:
                    found = (await visitor.get("/studio/changes")).json()
                    if found["version"] != shown:
                        shown = found["version"]
                        await visitor.run(self.refresh[tab])
                    await asyncio.sleep(found["seconds"])

    async def _train(self, ends: float) -> None:
        """Write a step of a run of 2,000 steps each second, as a trainer does."""
        folder = self.home.run("watched")
        status = {"request_id": "watched", "state": "running", "max_steps": 4_000}
        with locked(folder.lock):
            write_json(folder.status, {**status, "step": 0})
            values = {"corpus": "load", "preset": "tiny", "recipe": "accelerate", "changes": {}, "resume": False}
            write_json(
                folder.request, {"request_id": "watched", "kind": "train", "requested_at": time.time(), **values}
            )
            for step in range(2_000):
                append_line(folder.metrics, _row(step))
            while time.monotonic() < ends:
                step += 1
                append_line(folder.metrics, _row(step))
                write_json(folder.status, {**status, "step": step})
                await asyncio.sleep(1)
            write_json(folder.status, {**status, "state": "finished", "step": step})

    async def _probe(self, ends: float, waits: dict[str, list[float]], think_seconds: float) -> None:
        """Repeatedly open the page, refresh and scan as a visitor, and press a button as the owner; store each wait."""
        while time.monotonic() < ends:
            visitor, owner = self.visitor(), self.visitor(x_owner_key=KEY)
            for name, asked in (
                ("page", lambda: visitor.get("/")),  # noqa: B023 - called at once
                ("refresh", lambda: visitor.run(self.refresh["train"])),  # noqa: B023
                ("scan", lambda: visitor.stream(self.by_name["look"])),  # noqa: B023
                ("owner", lambda: owner.run(self.by_name["end"])),  # noqa: B023
            ):
                await asyncio.sleep(think_seconds * (0.5 + random.random()))
                began = time.perf_counter()
                try:
                    async with asyncio.timeout(60):
                        found = await asked()
                    status = found[0] if isinstance(found, tuple) else found.status
                    waits[name].append(time.perf_counter() - began)
                    if status >= 400:
                        waits[f"{name} refused"].append(status)
                except (OSError, TimeoutError, asyncio.IncompleteReadError):
                    waits[name].append(60.0)

    def _report(
        self, name: str, waits: dict[str, list[float]], answers: Counter[int], core: float, grown: float
    ) -> None:
        parts, worst, longest = [], 0.0, 0.0
        for kind in ("page", "refresh", "scan", "owner"):
            found = sorted(waits[kind])
            p95 = found[min(len(found) - 1, int(0.95 * len(found)))]
            worst, longest = max(worst, p95), max(longest, found[-1])
            parts.append(f"{kind} {statistics.median(found):.2f} {p95:.2f} {found[-1]:.2f}")
        refused = sum(len(found) for kind, found in waits.items() if kind.endswith("refused"))
        flooder = f"  flooder {dict(answers.most_common(4))}" if answers else ""
        print(f"{name:12} {'  '.join(parts)}  refused {refused}  core {core:.2f}  {grown:+.0f} MB{flooder}", flush=True)
        is_ok = worst <= GOAL_SECONDS and longest <= OUTAGE_SECONDS and not refused
        self.checks.append({"name": name, "ratio": round(worst, 3), "goal": GOAL_SECONDS, "ok": is_ok})


def _row(step: int) -> dict[str, Any]:
    loss = 9 - 5 * step / (step + 500) + 0.1 * random.random()
    row = {"step": step, "train_loss": loss, "learning_rate": 5e-4, "tokens_per_second": 9_000.0}
    return row if step % 100 else {**row, "eval_loss": loss, "perplexity": math.exp(loss)}


# ---- one flooder of each kind, each from its own address ----


async def pages(load: Load) -> int:
    return (await load.visitor(load.flooder).get("/")).status


async def sessions(load: Load) -> int:
    return (await load.visitor(load.flooder).run(load.refresh["train"])).status


async def unread_scans(load: Load) -> int:
    """Start scans without reading their streams, each with a different keyword."""
    visitor = load.visitor(load.flooder)
    look = load.by_name["look"]
    data = [[f"word{load.number}"] if isinstance(value, list) else value for value in look["values"]]
    return (await visitor.post("/gradio_api/queue/join", visitor._body(look, data=data))).status


async def scans(load: Load) -> int:
    visitor = load.visitor(load.flooder)
    return (await visitor.call("preview", ["installed", [f"word{load.number}"], 20_000, "substring"]))[0]


async def completions(load: Load) -> int:
    return (
        await load.visitor(load.flooder).call(
            "generate", ["import", "newest", 512, 1.0, 1.0, 0, load.number, 4, "length"]
        )
    )[0]


async def wrong_keys(load: Load) -> int:
    return (await load.visitor(load.flooder).post("/studio/unlock", {"key": f"wrong {load.number}"})).status


async def slow_bodies(load: Load) -> int:
    """Announce a body and never send it."""
    visitor = load.visitor(load.flooder, content_length="1000")
    async with visitor.asked("POST", "/gradio_api/queue/join", b"{") as (answer, _):
        return answer.status


async def streams(load: Load) -> int:
    visitor = load.visitor(load.flooder)
    async with visitor.asked("GET", f"/gradio_api/heartbeat/{visitor.session}") as (answer, _):
        await asyncio.sleep(2)
        return answer.status


FLOODS = (pages, sessions, unread_scans, scans, completions, wrong_keys, slow_bodies, streams)


async def measured(
    port: int, process: psutil.Process, home: Home, seconds: float, *, is_quick: bool
) -> list[dict[str, Any]]:
    events = await events_of(Visitor(port, "9.9.9.9"))
    load = Load(port, events, process, home, seconds)
    print("load         (median, 95th percentile, longest, in seconds, of each)", flush=True)
    await load.measure("nothing")
    await load.measure("32 visitors", num_visitors=32, think_seconds=1.0)
    for flood in FLOODS:
        if not (is_quick and flood in (completions, scans)):
            await load.measure(flood.__name__.replace("_", " "), flood)
    await load.measure("100 tabs", tabs=100)
    await load.measure("100 watchers", watchers=100)
    return load.checks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="each load lasts")
    parser.add_argument("--quick", action="store_true", help="two seconds each, and no model")
    options = parser.parse_args()
    seconds = 2.0 if options.quick else options.seconds
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        if not options.quick:
            for command in (CORPUS, RUN):
                _run(command, home)
        with _page(home) as (port, process):
            checks = asyncio.run(measured(port, process, Home(home), seconds, is_quick=options.quick))
    worst = max(check["ratio"] for check in checks)
    is_ok = all(check["ok"] for check in checks)
    print(json.dumps({"ratio": worst, "goal": GOAL_SECONDS, "ok": is_ok, "checks": checks}))
    return 0


def _run(command: str, home: Path) -> None:
    environment = {**os.environ, "PIPELINE_HOME": str(home)}
    subprocess.run(
        [sys.executable, "-m", "pipeline", *command.split()], cwd=ROOT, env=environment, stdout=sys.stderr, check=True
    )


@contextlib.contextmanager
def _page(home: Path) -> Any:
    """Run the page as a public one; stop it at the end of the measurement."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    public = {"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_SERVER_PORT": str(port), "PIPELINE_OWNER_KEY": KEY}
    environment = {**os.environ, "PIPELINE_HOME": str(home), "PIP_NO_INDEX": "1", **public}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=sys.stderr)
    try:
        ends = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).close()
                break
            except OSError:
                if time.monotonic() > ends or process.poll() is not None:
                    raise SystemExit("The page did not start.") from None
                time.sleep(0.1)
        time.sleep(8)  # for its first scan and the worker that polls for jobs
        yield port, psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


if __name__ == "__main__":
    sys.exit(main())
