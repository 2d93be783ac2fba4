"""Measures how much later the page answers than a bare `gr.Blocks`: `python -m benchmarks.page_start [--rounds N]`.

Both are started in turn, in one call, with a warm disk cache. The time runs from the start of the process to the first
complete answer to `GET /`. Prints every round; the last line is one JSON object with the median ratio. The goal is
1.25.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # else tokenize.py in this folder would shadow Python's own

import argparse
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = Path(__file__).resolve().parents[1]
GOAL = 1.25
BARE = """
import os
import gradio as gr
with gr.Blocks(analytics_enabled=False) as page:
    gr.Markdown("bare")
page.launch(server_port=int(os.environ["GRADIO_SERVER_PORT"]), quiet=True, ssr_mode=False)
"""


def seconds_to_answer(command: list[str], home: Path) -> float:
    """Start `command`, wait for its first answer and stop it. Returns the seconds it took."""
    port = _free_port()
    environment = {
        **os.environ,
        "PIP_NO_INDEX": "1",  # the page opens with the installed packages
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PIPELINE_HOME": str(home),
    }
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while time.perf_counter() - started < 120:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                    answer.read()
                return time.perf_counter() - started
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.01)
        raise SystemExit(f"{command} did not answer within 120 s.")
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times each is started")
    rounds = parser.parse_args().rounds
    bare, page = [sys.executable, "-c", BARE], [sys.executable, "app.py"]
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        seconds_to_answer(bare, Path(folder))  # warms the disk cache, for both sides
        seconds_to_answer(page, Path(folder))
        for _ in range(rounds):
            first, second = seconds_to_answer(bare, Path(folder)), seconds_to_answer(page, Path(folder))
            ratios.append(second / first)
            print(f"bare {first:.2f} s  page {second:.2f} s  ratio {ratios[-1]:.2f}", flush=True)
    ratio = round(statistics.median(ratios), 3)
    check = {"name": "page start", "ratio": ratio, "goal": GOAL, "ok": ratio <= GOAL}
    print(json.dumps({"ratio": ratio, "goal": GOAL, "ok": ratio <= GOAL, "checks": [check]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
