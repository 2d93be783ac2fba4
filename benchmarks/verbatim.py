"""Measures the index of training files (`data.verbatim`) beside a suffix array of the same tokens.

    python -m benchmarks.verbatim [--quick]     (Linux)

Both are built of the tokens of installed Python source, in turn, each in a process of its own, and both search the same
texts: parts of these files with changes. Prints what each takes: seconds, memory, bytes on disk, milliseconds for a
text. The runs that the two find are the same, and those of a comparison of all tokens. The suffix array is
pydivsufsort's, of the tokens as bytes, of which every second entry is a token (`pip install pydivsufsort`, by hand:
nothing else needs it); without it only ours is measured. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import bisect
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.tokenize import installed_texts
from pipeline.data.tokens import tokenizer
from pipeline.data.tokens.encoder import Encoder
from pipeline.data.verbatim import ngram_index
from pipeline.data.verbatim.ngram_index import MIN_RUN, NgramIndex
from pipeline.data.verbatim.search import search

VOCABULARY = 16_384
MEGABYTES, QUICK_MEGABYTES = 75, 15
NUM_TEXTS, TEXT_TOKENS = 200, 124
GOAL = 3
"""Times as many bytes that the suffix array takes on disk: 4 for each token up to 4.3 billion of them."""
Ids = npt.NDArray[np.uint16]
Bounds = list[tuple[int, int]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MEGABYTES} MB of text, not {MEGABYTES}")
    megabytes = QUICK_MEGABYTES if parser.parse_args().quick else MEGABYTES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = encoded(megabytes, folder)
        texts = changed_parts(tokens)
        (folder / "index").mkdir()
        np.save(folder / "tokens.npy", tokens)
        np.save(folder / "texts.npy", texts)
        ours = measured(by_index, folder)
        try:
            theirs = measured(by_suffix_array, folder)
        except ImportError:
            theirs = None
            print("pydivsufsort is not installed; the suffix array is not measured")
        starts = np.concatenate([[0], np.flatnonzero(tokens == 0) + 1])
        expected = [by_comparison(tokens, starts, text) for text in texts[: 10 if megabytes == QUICK_MEGABYTES else 50]]
    checks = {"runs as by a comparison of all tokens": ours["runs"][: len(expected)] == expected}
    ratio = None
    if theirs:
        ratio = theirs["bytes"] / ours["bytes"]
        checks["runs as by the suffix array"] = ours["runs"] == theirs["runs"]
        for what in ("seconds", "peak_mb", "ms"):
            print(f"{what}: {theirs[what] / ours[what]:.2f} times as much for the suffix array")
    print(json.dumps(verdict(ratio, checks)))
    return 0


def verdict(ratio: float | None, checks: dict[str, bool]) -> dict[str, Any]:
    rows = [{"name": name, "ratio": float(ok), "goal": 1.0, "ok": ok} for name, ok in checks.items()]
    if ratio is not None:
        rows.insert(0, {"name": "bytes on disk", "ratio": round(ratio, 2), "goal": GOAL, "ok": ratio >= GOAL})
    return {"ratio": rows[0]["ratio"], "goal": rows[0]["goal"], "ok": all(row["ok"] for row in rows), "checks": rows}


def encoded(megabytes: int, folder: Path) -> Ids:
    """The tokens of installed source, with the end-of-text token 0 after each file."""
    texts = installed_texts(megabytes * 1_000_000)
    tokenizer.save_trained(tokenizer.train(iter(texts[::10]), VOCABULARY), folder)
    encoder = Encoder.open(folder)
    assert encoder.end_id == 0
    return np.concatenate(encoder.encode_with_end(texts)).astype(np.uint16)


def changed_parts(tokens: Ids) -> npt.NDArray[np.uint16]:
    """uint16[texts, tokens]: parts of the files, with another token now and then."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, len(tokens) - TEXT_TOKENS, NUM_TEXTS)
    texts = np.stack([tokens[at : at + TEXT_TOKENS] for at in first])
    changed = (rng.random(texts.shape) < 1 / 30) | (texts == 0)
    texts[changed] = rng.integers(1, VOCABULARY, int(changed.sum()))
    return texts


def measured(way: Any, folder: Path) -> dict[str, Any]:
    """What a way finds and takes, in a process of its own. Raises ImportError when its library is not installed."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(way, (folder,))
    shown = ", ".join(
        f"{found[key]:,.2f} {unit}" for key, unit in (("seconds", "s"), ("peak_mb", "MB more"), ("ms", "ms"))
    )
    print(
        f"{way.__name__}: {found['tokens']:,} tokens, {found['bytes'] / found['tokens']:.2f} bytes each, {shown}",
        flush=True,
    )
    return found


def by_index(folder: Path) -> dict[str, Any]:
    tokens, texts = np.load(folder / "tokens.npy", mmap_mode="r"), np.load(folder / "texts.npy")
    before, started = forget_peak(), time.perf_counter()
    paths = ngram_index.build(tokens, folder / "index")
    seconds, used = time.perf_counter() - started, memory_mb("VmHWM") - before
    index, starts = NgramIndex.open(folder / "index"), np.concatenate([[0], np.flatnonzero(tokens == 0) + 1])
    started = time.perf_counter()
    runs = [[(run.start, run.end) for run in search(index, tokens, starts, text).runs] for text in texts]
    return figures(tokens, sum(path.stat().st_size for path in paths), seconds, used, started, runs)


def by_suffix_array(folder: Path) -> dict[str, Any]:
    from pydivsufsort import divsufsort

    tokens, texts = np.load(folder / "tokens.npy", mmap_mode="r"), np.load(folder / "texts.npy")
    data = tokens.astype(">u2").tobytes()
    before, started = forget_peak(), time.perf_counter()
    suffixes = divsufsort(data)
    suffixes = suffixes[suffixes % 2 == 0] // 2
    seconds, used = time.perf_counter() - started, memory_mb("VmHWM") - before
    started = time.perf_counter()
    runs = [_runs_by_suffixes(data, suffixes, text.astype(">u2").tobytes()) for text in texts]
    return figures(tokens, suffixes.astype(np.uint32).nbytes, seconds, used, started, runs)


def figures(
    tokens: Ids, num_bytes: int, seconds: float, used: float, started: float, runs: list[Bounds]
) -> dict[str, Any]:
    ms = 1_000 * (time.perf_counter() - started) / len(runs)
    return {"tokens": len(tokens), "bytes": num_bytes, "seconds": seconds, "peak_mb": used, "ms": ms, "runs": runs}


def _runs_by_suffixes(data: bytes, suffixes: npt.NDArray[np.int64], text: bytes) -> Bounds:
    """The runs that no longer one contains. A text has no end-of-text token, so no run reaches over one."""
    found: Bounds = []
    num_tokens = len(text) // 2
    for start in range(num_tokens):
        rest = text[2 * start :]
        at = bisect.bisect_left(suffixes, rest, key=lambda place: data[2 * place : 2 * place + len(rest)])
        near = suffixes[max(0, at - 1) : at + 1]
        length = max(_same(data[2 * place : 2 * place + len(rest)], rest) for place in near.tolist())
        if length >= MIN_RUN and (not found or start + length > found[-1][1]):
            found.append((start, start + length))
    return found


def _same(one: bytes, other: bytes) -> int:
    """Tokens before the first that differs."""
    length = min(len(one), len(other)) // 2
    return next((at for at in range(length) if one[2 * at : 2 * at + 2] != other[2 * at : 2 * at + 2]), length)


def by_comparison(tokens: Ids, starts: npt.NDArray[np.int64], text: Ids) -> Bounds:
    """The runs that no longer one contains, by comparing every token with every token."""
    first = np.zeros(len(tokens), bool)
    first[starts[starts < len(tokens)]] = True
    lengths = np.zeros(len(tokens), np.int32)
    ends: Bounds = []
    for at, token in enumerate(text):
        before = np.concatenate([[0], lengths[:-1]])
        before[first] = 0
        lengths = np.where(tokens == token, before + 1, 0)
        ends.append((at + 1 - int(lengths.max()), at + 1))
    following = [*ends[1:], (len(text), 0)]
    return [run for run, after in zip(ends, following, strict=True) if run[1] - run[0] >= MIN_RUN and after[0] > run[0]]


def memory_mb(name: str) -> float:
    """A figure of this process (Linux): VmRSS, what it takes now, or VmHWM, the most that it took."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(f"{name}:"))) / 1024


def forget_peak() -> float:
    """Let VmHWM begin at what is taken now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmRSS")


if __name__ == "__main__":
    sys.exit(main())
