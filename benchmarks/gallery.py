"""Measures how fast a full gallery opens and is searched: `python -m benchmarks.gallery [--quick]`.

Writes 5,000 examples into a temporary folder and times what a visitor waits for: the page's handlers with their HTML,
without network and browser. A first page right after the start waits for the index of all files as well. Prints every
time; the last line is one JSON object. Each ratio is seconds to the goal of one second.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # else tokenize.py in this folder would shadow Python's own

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from pipeline.gallery.example import Example
from pipeline.gallery.examples import MAX_EXAMPLES, Examples
from pipeline.gallery.search import Query
from pipeline.ui.gallery.tab import View, shelf_html

GOAL_SECONDS = 1.0
WORDS = "import pandas as pd scatter plot dataframe groupby mean fit predict model matplotlib seaborn axes loss".split()
EXAMPLE = Example(
    id="", prompt="", settings={"temperature": 0.6, "top_p": 0.95, "top_k": 0, "max_new_tokens": 64}, seed=0,
    revision="0123456789ab", repo="local", run="", step=100, eval_loss=2.5, texts=[], title="", created_at="",
)  # fmt: skip


def fill(folder: Path, num_examples: int, seed: int = 0) -> None:
    """Examples of 1 to 4 completions of 200 words, of 40 prompts and 7 runs."""
    numbers = random.Random(seed)

    def text(num_words: int) -> str:
        return " ".join(numbers.choice(WORDS) for _ in range(num_words)) + "\n"

    folder.mkdir(parents=True)
    for number in range(num_examples):
        example = replace(
            EXAMPLE,
            id=f"{number:08d}",
            prompt=f"# {number % 40}\n",
            run=f"run-{number % 7}",
            seed=number,
            texts=["".join(text(10) for _ in range(20)) for _ in range(1 + number % 4)],
            title=text(5).strip(),
            created_at=f"2026-01-01T00:00:00.{number:06d}+00:00",
        )
        (folder / f"{example.id}.json").write_text(json.dumps(asdict(example)), encoding="utf-8")


def seconds_of(call: Callable[[], object], rounds: int) -> float:
    """The slowest of `rounds` calls."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    print(f"  median {statistics.median(times):.4f} s, slowest {max(times):.4f} s")
    return max(times)


def shown(gallery: Examples, number: int = 1, query: Query | None = None) -> str:
    view = View(number=number, query=query or Query())
    return shelf_html(gallery.page(view.number, view.query), view, None, is_owner=False)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 3 if parser.parse_args().quick else 10
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "gallery"
        fill(folder, MAX_EXAMPLES)
        gallery = Examples(folder)
        shown(gallery)
        rows: dict[str, Callable[[], object]] = {
            "first page, index cold": lambda: shown(Examples(folder)),
            "first page": lambda: shown(gallery),
            "last page": lambda: shown(gallery, 10**6),
            "words found": lambda: shown(gallery, query=Query(words="scatter groupby")),
            "words not found": lambda: shown(gallery, query=Query(words="scatter nowhere")),
            "one run": lambda: shown(gallery, query=Query(run="run-3")),
            "first page after a new example": lambda: (folder / "new.tmp").touch() or shown(gallery),
        }
        checks = []
        for name, call in rows.items():
            print(name)
            ratio = round(seconds_of(call, rounds) / GOAL_SECONDS, 4)
            checks.append({"name": name, "ratio": ratio, "goal": 1.0, "ok": ratio <= 1.0})
    worst = max(check["ratio"] for check in checks)
    print(json.dumps({"ratio": worst, "goal": 1.0, "ok": worst <= 1.0, "checks": checks}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
