from __future__ import annotations

import os
import random
import subprocess
import sys

import polars as pl

from pipeline.data.duplicates import EXACT, NEAR, Duplicates, exact_keys, signatures
from pipeline.environment import ROOT
from pipeline.quality import QualityConfig
from tests.data.examples import batch, row

IN_ANOTHER_PROCESS = """
import hashlib, sys
from pipeline.data.duplicates import exact_keys, signatures
from tests.data.test_duplicates import rows_of, words
rows = rows_of(*(words(number) for number in range(20)))
print(hashlib.sha256(b"".join(exact_keys(rows)) + signatures(rows).tobytes()).hexdigest())
"""


def rows_of(*texts: str) -> pl.DataFrame:
    return batch(
        [row(number, content=text, repo_name="r", path=f"{number}.py") for number, text in enumerate(texts)]
    ).rows


def words(seed: int, num_words: int = 200) -> str:
    chosen = random.Random(seed)
    return " ".join(f"name_{chosen.randrange(10**9)}" for _ in range(num_words))


def changed(text: str, num_words: int) -> str:
    """`text` with so many of its words replaced: of n words, a Jaccard similarity of (n - k) / (n + k)."""
    parts = text.split()
    return " ".join([*(f"other_{number}" for number in range(num_words)), *parts[num_words:]])


def found(config: QualityConfig, *texts: str) -> list[tuple[str | None, str | None]]:
    reasons, of = Duplicates(config).find(rows_of(*texts))
    return list(zip(reasons.to_list(), of, strict=True))


def test_texts_that_differ_in_white_space_only_are_one_and_the_first_stays() -> None:
    config = QualityConfig(drop_exact_duplicates=True)
    texts = ("x = 1\n", "x=1", "x\u00a0=\t1\r\n", "x = 2\n", "x = 1")
    assert found(config, *texts) == [
        (None, None),
        (EXACT, "r/0.py"),
        (EXACT, "r/0.py"),
        (None, None),
        (EXACT, "r/0.py"),
    ]


def test_near_files_go_and_others_stay() -> None:
    config = QualityConfig(near_duplicate_jaccard=0.85)
    text = words(1)
    near, far = changed(text, 4), changed(text, 40)  # similarities of 0.96 and 0.67
    assert found(config, text, near, far, words(2)) == [(None, None), (NEAR, "r/0.py"), (None, None), (None, None)]
    assert found(QualityConfig(near_duplicate_jaccard=0.6), text, far)[1] == (NEAR, "r/0.py"), "control"


def test_few_words_are_near_nothing() -> None:
    assert found(QualityConfig(near_duplicate_jaccard=0.85), "a b c", "a b c") == [(None, None), (None, None)]


def test_batches_that_follow_each_other_are_compared_too() -> None:
    duplicates = Duplicates(QualityConfig(drop_exact_duplicates=True, near_duplicate_jaccard=0.85))
    text = words(3)
    assert duplicates.find(rows_of(text))[0].to_list() == [None]
    assert duplicates.find(rows_of(text, changed(text, 2)))[0].to_list() == [EXACT, NEAR]


def test_keys_and_signatures_are_the_same_in_every_process() -> None:
    def there(seed: str) -> str:
        command = [sys.executable, "-c", IN_ANOTHER_PROCESS]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert there("1") == there("2")
    rows = rows_of(words(1), words(2))
    assert exact_keys(rows) == exact_keys(rows[:1]) + exact_keys(rows[1:])
    assert signatures(rows)[1].tolist() == signatures(rows[1:])[0].tolist()


def test_estimates_of_similarity_are_near_the_truth() -> None:
    text = words(5, 400)
    for num_words in (20, 60, 120):
        truth = (400 - num_words) / (400 + num_words)
        one, two = signatures(rows_of(text, changed(text, num_words)))
        assert abs((one == two).mean() - truth) < 0.1  # four standard deviations of 256 places
