"""Measures how much faster our token file is written than the course tokenizes.

    python -m benchmarks.tokenize [--quick]

The course (chapter 7, section 6) calls a transformers tokenizer in `map(batched=True)` and keeps full windows of 128
tokens. Ours is what corpus preparation calls. Both start from files on disk (Arrow; parquet) and end with one. A third
way is `encode_batch_fast` of `tokenizers`, from texts in memory to arrays. All use the same tokenizer and the same
texts, the Python source of the installed packages, split into parts. For each part all three run in turn, in one call.
Not timed: imports, collecting the texts, training and loading the tokenizer. Texts that contain `<|endoftext|>` are
left out: the course ends a file there, ours treats it as text. Prints one line per part. The last line is one JSON
object with the median ratio of our speed to the course's, and the checks of the ids.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # else tokenize.py in this folder would shadow Python's own

import argparse
import json
import os
import statistics
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pipeline.artifacts.corpus import dtype_for
from pipeline.data.filter import parquet_shards
from pipeline.data.tokens import tokenizer
from pipeline.data.tokens.encoder import Encoder
from pipeline.data.tokens.token_file import EncodeTask, encode_shard, join, open_encoder

GOAL = 8
WINDOW = 128
VOCABULARY = 16_384
NUM_PARTS = 3
MEGABYTES, QUICK_MEGABYTES = 75, 15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_MEGABYTES} MB of text, not {MEGABYTES}")
    megabytes = QUICK_MEGABYTES if parser.parse_args().quick else MEGABYTES
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = os.environ["HF_HUB_OFFLINE"] = "1"
    import datasets  # noqa: F401 - imports of the course's way are not timed
    import transformers  # noqa: F401

    texts = installed_texts(megabytes * 1_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_trained(tokenizer.train(iter(texts[::10]), VOCABULARY), folder)
        encoder = Encoder.open(folder)
        print(f"{len(texts):,} files, {encoder.vocab_size:,} ids, by {encoder.kind}", flush=True)
        parts = [compare(texts[part::NUM_PARTS], folder, encoder) for part in range(NUM_PARTS)]
    ratios = [ratio for ratio, _ in parts]
    checks = {name: all(found[name] for _, found in parts) for name in parts[0][1]}
    print(json.dumps(verdict(round(statistics.median(ratios), 2), checks)))
    return 0


def compare(texts: list[str], folder: Path, encoder: Encoder) -> tuple[float, dict[str, bool]]:
    """Run every way once. Returns our speed divided by the course's, and whether the ids are the same."""
    course, course_seconds = course_way(texts, folder)
    file, seconds = our_way(texts, folder, dtype_for(encoder.vocab_size))
    own, own_seconds = own_way(texts, folder)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    ways = {"course's map": course_seconds, "ours": seconds, "encode_batch_fast": own_seconds}
    print(
        f"{megabytes:5.1f} MB",
        *(f"{name} {megabytes / value:.2f} MB/s" for name, value in ways.items()),
        sep="  ",
        end="",
    )
    print(f"  ratios {course_seconds / seconds:.2f}, {own_seconds / seconds:.2f}", flush=True)
    files = np.split(file, np.flatnonzero(file == encoder.end_id) + 1)[:-1]
    return course_seconds / seconds, {
        "ids as the tokenizer's own": len(files) == len(own)
        and all(np.array_equal(ours[:-1], theirs) for ours, theirs in zip(files, own, strict=True)),
        "windows as the course's": np.array_equal(
            np.concatenate([ids[: (len(ids) - 1) // WINDOW * WINDOW] for ids in files]), course
        ),
        "no token dropped": len(file) == sum(map(len, own)) + len(texts),
    }


def verdict(ratio: float, checks: dict[str, bool]) -> dict[str, Any]:
    rows = [{"name": "token file", "ratio": ratio, "goal": GOAL, "ok": ratio >= GOAL}]
    rows += [{"name": name, "ratio": float(ok), "goal": 1.0, "ok": ok} for name, ok in checks.items()]
    return {"ratio": ratio, "goal": GOAL, "ok": all(row["ok"] for row in rows), "checks": rows}


def installed_texts(max_bytes: int) -> list[str]:
    """Evenly spaced Python files of the standard library and the installed packages: about `max_bytes`, or all."""
    paths = sorted({path for name in ("stdlib", "purelib") for path in Path(sysconfig.get_paths()[name]).rglob("*.py")})
    step = max(1.0, sum(path.stat().st_size for path in paths) / max_bytes)
    texts = (_text(paths[int(index * step)]) for index in range(int(len(paths) / step)))
    return [text for text in texts if text and tokenizer.END_OF_TEXT not in text]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    return work(), time.perf_counter() - started


# ---- the three ways; each returns its result and the seconds it took ----
def course_way(texts: list[str], folder: Path) -> tuple[np.ndarray, float]:
    """The ids of the course's windows, concatenated."""
    from datasets import Dataset, load_from_disk
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(folder)
    target = Path(tempfile.mkdtemp(dir=folder))
    Dataset.from_dict({"content": texts}).save_to_disk(target)
    dataset = load_from_disk(target)

    def tokenize(element: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        outputs = loaded(
            element["content"],
            truncation=True,
            max_length=WINDOW,
            return_overflowing_tokens=True,
            return_length=True,
        )
        pairs = zip(outputs["length"], outputs["input_ids"], strict=True)
        return {"input_ids": [ids for length, ids in pairs if length == WINDOW]}

    tokenized, seconds = _timed(lambda: dataset.map(tokenize, batched=True, remove_columns=dataset.column_names))
    column = tokenized.data.column("input_ids")
    return np.concatenate([chunk.flatten().to_numpy() for chunk in column.chunks]), seconds


def our_way(texts: list[str], folder: Path, dtype: str) -> tuple[np.ndarray, float]:
    """The ids in our token file: those of each text, followed by end-of-text."""
    import polars as pl

    target = Path(tempfile.mkdtemp(dir=folder))
    writer = parquet_shards.ShardWriter(target, "train")
    for start in range(0, len(texts), 1_000):
        writer.add(pl.DataFrame({"content": texts[start : start + 1_000]}))
    writer.close()
    tasks = [
        EncodeTask(source=str(path), tokenizer=str(folder), target=f"{path}.tokens", dtype=dtype, window=None)
        for path in parquet_shards.files(target, "train")
    ]
    open_encoder(str(folder))  # cached, as in a process that has already encoded a shard
    _, seconds = _timed(
        lambda: ([encode_shard(task) for task in tasks], join(target / "train.bin", target / "lengths.bin", tasks))
    )
    return np.fromfile(target / "train.bin", dtype), seconds


def own_way(texts: list[str], folder: Path) -> tuple[list[np.ndarray], float]:
    """The ids of each text, encoded by `tokenizers` alone."""
    own, _ = tokenizer.load(folder)

    def arrays() -> Iterator[np.ndarray]:
        for start in range(0, len(texts), 100):
            for encoding in own.encode_batch_fast(texts[start : start + 100], add_special_tokens=False):
                yield np.array(encoding.ids, np.uint16)

    return _timed(lambda: list(arrays()))


if __name__ == "__main__":
    sys.exit(main())
