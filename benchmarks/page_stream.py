"""Measures how long a browser's main thread is busy while the page streams four samples of two revisions each, and how
long Stop takes: `python -m benchmarks.page_stream [--tokens N] [--preset NAME] [--quick]`.

The real page and generator run on loopback, with two small models of random weights. Chromium does what a person does:
it chooses both revisions, presses Complete and reads; then again, and presses Stop. Tasks of the main thread are counted
in seconds of its CPU time; long tasks in wall time, so work of other processes on the same cores makes them longer. The
same completions are read by a program that draws nothing, and written by a generator without a page before and after, which
tells what the tab itself costs. The last line is one JSON object; its ratio is the share of the time for which the main thread was busy, over the goal.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # else tokenize.py in this folder would shadow Python's own

import argparse
import asyncio
import collections
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks import devtools
from benchmarks.devtools import Tab
from benchmarks.http_load import Visitor, events_of
from pipeline.config.prompts import course_prompts

ROOT = Path(__file__).resolve().parents[1]
GOAL_BUSY = 0.10
"""Max share of the time for which the main thread may be busy."""
GOAL_STOP_SECONDS = 1.0
GOAL_OVERHEAD = 1.10
"""Max seconds from the press to the end on the page, read without a browser, over those of the generator alone."""
GOAL_UPDATES = 3.0
"""Max updates of the text per second."""
SAMPLES, WARM_UP = 4, 8
POSITIONS = 1_024
WRITING = "document.querySelector('#completion .pill')?.classList.contains('running')"
WATCH = """
  window.seen = { updates: 0, blocked: 0, longest: 0 };
  new MutationObserver(() => { seen.updates += 1; }).observe(
    document.querySelector('#completion'), { subtree: true, childList: true, characterData: true });
  new PerformanceObserver((list) => { for (const task of list.getEntries()) {
    seen.blocked += task.duration / 1000; seen.longest = Math.max(seen.longest, task.duration / 1000);
  } }).observe({ entryTypes: ['longtask'] });
"""


def write_home(home: Path, preset: str) -> None:
    """A home folder with two revisions in its registry, of small models with random weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from pipeline.config.recipes import PRESETS
    from pipeline.core.atomic_io import write_json
    from pipeline.core.paths import Home
    from pipeline.core.settings import Settings
    from pipeline.data.tokens import tokenizer
    from pipeline.hub.publisher import Publisher
    from pipeline.training import checkpoints

    texts = [path.read_text() for path in sorted((ROOT / "pipeline").rglob("*.py"))]
    trained = tokenizer.train(iter(texts), 2_048)
    size = PRESETS[preset]
    shape = {"n_layer": size.n_layer, "n_embd": size.n_embd, "n_head": size.n_head, "n_positions": POSITIONS}
    run = Home(home).run("streamed")
    write_json(run.request, {"request_id": "streamed", "kind": "train", "corpus": "none", "preset": "tiny"})
    write_json(run.status, {"request_id": "streamed", "state": "finished", "step": 20, "max_steps": 20})
    for step in (10, 20):
        torch.manual_seed(step)
        model = GPT2LMHeadModel(GPT2Config(**shape, vocab_size=2_048, bos_token_id=0, eos_token_id=0))

        def write(folder: Path, model: GPT2LMHeadModel = model, step: int = step) -> None:
            model.save_pretrained(folder)
            tokenizer.save_trained(trained, folder)
            facts = {"repo": None, "run": run.id, "step": step, "max_steps": 20, "corpus": "none", "eval_loss": 7.0}
            write_json(folder / "provenance.json", facts)

        checkpoints.save(run, step, write, keep=2)
    Publisher(Settings(home=home)).publish_once()


@contextlib.contextmanager
def served(home: Path) -> Iterator[str]:
    """The address of the page, which runs until the end of the block."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environment = {**os.environ, "PIPELINE_HOME": str(home), "GRADIO_SERVER_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=environment, stdout=sys.stderr)
    url = f"http://127.0.0.1:{port}/"
    try:
        ends = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(url, timeout=30).close()
                break
            except OSError:
                if time.monotonic() > ends or process.poll() is not None:
                    raise SystemExit("The page did not start.") from None
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def cpu_seconds() -> dict[str, float]:
    """CPU time of each process below this one so far, by what it is."""
    used: dict[str, float] = collections.defaultdict(float)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            command, times = process.cmdline(), process.cpu_times()
            kind = next((word.removeprefix("--type=") for word in command if word.startswith("--type=")), None)
            ours = next((word for word in command if word in ("app.py", "pipeline.generation.process")), "other")
            used[f"browser's {kind}" if kind else ours] += times.user + times.system
    return used


def open_form(tab: Tab, url: str) -> None:
    """Open the Generate tab and fill in its form: both revisions, SAMPLES samples."""
    tab.send("Page.navigate", url=url)
    tab.wait("document.querySelectorAll('#tabs [role=tab]').length")
    tab.wait("document.querySelector('#scan-progress')?.textContent.includes('Scan finished')")
    tab.run("[...document.querySelectorAll('#tabs [role=tab]')].find(e => e.textContent == 'Generate').click()")
    tab.click("#other input")
    tab.wait("document.querySelectorAll('#other [role=option]').length > 2")
    tab.click("#other [role=option]:nth-last-child(2)")
    tab.wait("document.querySelector('#other input').value.startsWith('step')")
    set_number(tab, "Samples", SAMPLES)
    tab.send("Performance.enable", timeDomain="threadTicks")
    tab.run(WATCH)


def set_number(tab: Tab, label: str, value: int) -> None:
    tab.fill(f"input[type=number][aria-label='number input for {label}']", str(value))


def stream(tab: Tab, *, stop_after: float | None = None) -> dict[str, float]:
    """Press Complete and wait for the end, or press Stop after so many seconds of writing. Returns what was measured
    from the first text to the end: seconds, busy, script and blocked (all in seconds), updates, and the wait for Stop.
    """
    pressed_at, used = time.monotonic(), cpu_seconds()
    tab.click("#complete")
    tab.wait(f"{WRITING} && document.querySelector('#completion pre.new')?.textContent", 90)
    before, began = tab.metrics(), time.monotonic()
    tab.run("seen = Object.assign(seen, { updates: 0, blocked: 0, longest: 0 })")
    stopped_in = 0.0
    if stop_after is not None:
        time.sleep(stop_after)
        pressed = time.monotonic()
        tab.click("#stop-writing")
        tab.wait(f"!({WRITING})")
        stopped_in = time.monotonic() - pressed
    while tab.run(f"Boolean({WRITING})"):
        time.sleep(0.5)  # seldom, as each question is a task of the main thread
    seconds, after, seen = time.monotonic() - began, tab.metrics(), tab.run("seen")
    whole = time.monotonic() - pressed_at
    print(json.dumps({name: round(now - used.get(name, 0), 1) for name, now in cpu_seconds().items()}))
    tab.wait("document.querySelector('#complete')?.getClientRects().length")
    return {
        "seconds": seconds,
        "whole": whole,
        "busy": after["TaskDuration"] - before["TaskDuration"],
        "script": after["ScriptDuration"] - before["ScriptDuration"],
        "stop": stopped_in,
        **seen,
    }


def without_page(home: Path, tokens: int) -> float:
    """Seconds in which a generator writes the completions of `stream`, once both models are loaded."""
    from pipeline.artifacts.revision import Registry
    from pipeline.core.paths import Home
    from pipeline.core.settings import Settings
    from pipeline.generation.process import Generator
    from pipeline.generation.settings import Sampling

    settings = Settings(home=home)
    revisions = Registry(Home(home), settings.repo).revisions()
    prompt = course_prompts()[0].text
    with contextlib.closing(Generator(settings)) as generator:
        for revision in revisions:
            generator.generate(revision, prompt, Sampling(max_new_tokens=1))
        began = time.monotonic()
        for revision in revisions:
            generator.generate(revision, prompt, Sampling(max_new_tokens=tokens, samples=SAMPLES))
        return time.monotonic() - began


def undrawn(url: str, home: Path, tokens: int) -> float:
    """Seconds of the same event of the page, read by a program that draws nothing: what the tab costs where its reader has
    a machine of his own.
    """
    from pipeline.artifacts.revision import Registry
    from pipeline.core.paths import Home
    from pipeline.core.settings import Settings

    visitor = Visitor(urlsplit(url).port or 0, "127.0.0.1")
    first, other = (r.revision for r in Registry(Home(home), Settings(home=home).repo).revisions())

    async def completed(num_tokens: int, seed: int) -> float:
        events = {each["api_name"]: each for each in await events_of(visitor)}
        await visitor.run(events["open_page"])  # the choices of revisions belong to a session
        event = events["write"]
        prompt, _, _, *sampling = event["values"]
        sampling[3:6] = num_tokens, SAMPLES, seed
        began = time.monotonic()
        status, first_after = await visitor.stream(event, [prompt, first, other, *sampling])
        seconds = time.monotonic() - began
        if status != 200 or first_after is None or first_after > seconds / 2:
            raise SystemExit(
                f"The page did not stream: status {status}, first text after {first_after} of {seconds:.2f} s."
            )
        return seconds

    async def warm() -> float:
        await completed(WARM_UP, 1)
        return await completed(tokens, 1)

    return asyncio.run(warm())


def measured(url: str, executable: str, tokens: int, home: Path) -> list[dict[str, Any]]:
    alone = [without_page(home, tokens)]
    no_browser = undrawn(url, home, tokens)
    alone.append(without_page(home, tokens))
    with Tab(executable) as tab:
        open_form(tab, url)
        set_number(tab, "New tokens", WARM_UP)
        stream(tab)  # both models are loaded, and the page's code is compiled
        set_number(tab, "New tokens", tokens)
        whole = stream(tab)
        characters = tab.run("[...document.querySelectorAll('#completion pre.new')].map(e => e.textContent.length)")
        tab.fill("#completion-seed input", "7")  # the same again would be answered at once
        stopped = stream(tab, stop_after=min(3.0, whole["seconds"] / 3))
    alone.append(without_page(home, tokens))
    seconds = whole["seconds"]
    print(
        f"from the press to the end {no_browser:.2f} s without a browser, {whole['whole']:.2f} s with one on the same cores"
    )
    print(f"a generator without a page {', '.join(f'{each:.2f}' for each in alone)} s, before, between and after")
    print(f"{len(characters)} samples, {sum(characters):,} characters in {seconds:.1f} s")
    print(f"main thread: busy {whole['busy']:.1f} s, script {whole['script']:.1f} s; {whole['updates']:.0f} updates")
    print(f"in tasks over 50 ms: {whole['blocked']:.1f} s, the longest {whole['longest']:.2f} s")
    print(f"Stop: {stopped['stop']:.2f} s")
    figures = [
        ("main thread busy", whole["busy"] / seconds, GOAL_BUSY),
        ("main thread in long tasks", whole["blocked"] / seconds, GOAL_BUSY),
        ("updates per second", whole["updates"] / seconds, GOAL_UPDATES),
        ("seconds until Stop", stopped["stop"], GOAL_STOP_SECONDS),
        ("seconds with the page over without", no_browser / statistics.mean(alone[:2]), GOAL_OVERHEAD),
    ]
    return [{"name": name, "ratio": round(x / goal, 3), "goal": 1.0, "ok": x <= goal} for name, x, goal in figures]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=512, help="length of each sample")
    parser.add_argument("--preset", default="tiny", help="shape of the models: tiny, small or course")
    parser.add_argument("--quick", action="store_true", help="64 tokens each")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the page and the browser as well
    executable = devtools.find()
    if executable is None:
        raise SystemExit("No browser was found; install Chromium or Chrome.")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        write_home(home, options.preset)
        with served(home) as url:
            checks = measured(url, executable, 64 if options.quick else options.tokens, home)
    is_ok = all(check["ok"] for check in checks)
    print(json.dumps({"ratio": checks[0]["ratio"], "goal": 1.0, "ok": is_ok, "checks": checks}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
