from __future__ import annotations

import hashlib
import random
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.quality import NO_RULES, QualityConfig
from pipeline.core.paths import ROOT
from pipeline.data.filter.duplicates import (
    EXACT,
    MIN_TOKENS,
    NEAR,
    NUM_PERMUTATIONS,
    Duplicates,
    ExactDuplicates,
    NearDuplicates,
    exact_keys,
    rows_per_band,
    signatures,
)
from tests.data.examples import batch, row


def frame(*texts: str) -> pl.DataFrame:
    return batch([row(number, content=text) for number, text in enumerate(texts)]).rows


def pair(jaccard: float, number: int, num_words: int = 200) -> tuple[str, str]:
    """Two texts whose sets of words have this Jaccard similarity; each `number` has its own words."""
    num_common = round(2 * num_words * jaccard / (1 + jaccard))
    common = [f"w{number}_{word}" for word in range(num_common)]
    own = [[f"{side}{number}_{word}" for word in range(num_words - num_common)] for side in "ab"]
    return " ".join(common + own[0]), " ".join(own[1] + common)


def share_found(jaccard: float, threshold: float = 0.85, num_pairs: int = 200) -> float:
    """Share of pairs with this similarity that are found, all in one index."""
    index = NearDuplicates(threshold)
    pairs = [pair(jaccard, number) for number in range(num_pairs)]
    for number, print_ in enumerate(signatures(frame(*(first for first, _ in pairs)))):
        assert index.add(print_, str(number)) is None
    found = [index.add(print_, "later") for print_ in signatures(frame(*(second for _, second in pairs)))]
    assert all(name in (None, str(number)) for number, name in enumerate(found))
    return sum(name is not None for name in found) / num_pairs


# ---- exact ----
@settings(deadline=None)
@given(st.lists(st.text(alphabet=st.sampled_from("ab \t\n\r\x0b\x1c\x85\u00a0\u3000é\0")), max_size=10))
def test_texts_that_differ_in_white_space_only_have_one_key(texts: list[str]) -> None:
    keys = exact_keys(frame(*texts))
    bare = ["".join(text.split()) for text in texts]
    assert [keys.index(key) for key in keys] == [bare.index(text) for text in bare]


def test_a_key_is_blake2b_of_what_is_not_white_space() -> None:
    keys = [hashlib.blake2b(text, digest_size=16).digest() for text in (b"x=1", "é=中".encode(), b"")]
    assert exact_keys(frame("x = 1\n", "é =\u3000中", "")) == keys


def test_the_first_of_equal_files_stays() -> None:
    seen = ExactDuplicates()
    assert [seen.add(key, name) for key, name in [(b"1", "a"), (b"2", "b"), (b"1", "c"), (b"1", "a")]] == [
        None,
        None,
        "a",
        "a",
    ]


# ---- near ----
def test_order_and_repetition_of_words_leave_the_signature_as_it_is() -> None:
    words = [f"word{number}" for number in range(500)]
    shuffled = words * 3
    random.Random(0).shuffle(shuffled)
    first, second, other = signatures(frame(" ".join(words), "\n=+-é".join(shuffled), " ".join(words[1:])))
    assert (first == second).all()
    assert not (first == other).all()


@pytest.mark.parametrize("jaccard", [0.3, 0.7, 0.85, 0.95])
def test_equal_positions_estimate_the_jaccard_similarity(jaccard: float) -> None:
    pairs = [pair(jaccard, number) for number in range(100)]
    prints = [signatures(frame(*texts)) for texts in zip(*pairs, strict=True)]
    assert abs((prints[0] == prints[1]).mean() - jaccard) < 0.01


def test_pairs_of_similarity_0_7_stay_and_of_0_95_are_found() -> None:
    assert share_found(0.7) == 0
    assert share_found(0.95) == 1


def test_about_half_of_the_pairs_at_the_threshold_are_found() -> None:
    assert 0.3 < share_found(0.85) < 0.7


@pytest.mark.parametrize("threshold", [0.5, 0.85, 0.95, 1.0])
def test_pairs_clearly_above_any_threshold_are_found(threshold: float) -> None:
    assert share_found(min(1.0, threshold + 0.12), threshold) == 1


def test_a_band_has_the_most_rows_that_keep_the_recall() -> None:
    assert [rows_per_band(jaccard) for jaccard in (0.5, 0.85, 1.0)] == [3, 10, NUM_PERMUTATIONS]


def test_the_earliest_of_two_near_files_is_named() -> None:
    words = [f"word{number}" for number in range(240)]
    prints = signatures(frame(*(" ".join(words[start : start + 200]) for start in (0, 40, 20))))
    index = NearDuplicates(0.75)
    assert [index.add(print_, name) for print_, name in zip(prints, "abc", strict=True)] == [None, None, "a"]
    assert NearDuplicates(0.75).add(prints[2], "c") is None
    index = NearDuplicates(0.75)
    assert [index.add(prints[number], "abc"[number]) for number in (1, 0, 2)] == [None, None, "b"]


def test_rows_after_the_limit_are_not_stored() -> None:
    duplicates = Duplicates(QualityConfig(drop_exact_duplicates=True, near_duplicate_jaccard=0.85))
    rows = frame("a = 1", "a  =  1", "b = 2", "c = 3", "b = 2")
    reasons, of = duplicates.find(rows, limit=2)
    assert reasons.to_list() == [None, EXACT, None]
    assert of[0] is None and of[1] is not None and of[2] is None
    reasons, _ = duplicates.find(rows.tail(2))
    assert reasons.to_list() == [None, EXACT], "c = 3 was after the limit, b = 2 was not"
    assert duplicates.find(rows, limit=0)[0].to_list() == []


def test_a_removed_file_removes_no_other() -> None:
    words = [f"word{number}" for number in range(260)]
    prints = signatures(frame(*(" ".join(words[start : start + 200]) for start in (0, 8, 60))))
    index = NearDuplicates(0.85)
    assert [index.add(print_, name) for print_, name in zip(prints, "abc", strict=True)] == [None, "a", None]


def test_files_that_share_a_band_and_are_not_near_all_stay() -> None:
    base = np.arange(NUM_PERMUTATIONS, dtype=np.uint32)
    prints = [np.where(np.arange(NUM_PERMUTATIONS) < 10, base, base + 1_000 * number) for number in range(1, 6)]
    index = NearDuplicates()
    assert [index.add(print_.astype(np.uint32), str(n)) for n, print_ in enumerate(prints)] == [None] * 5
    assert [index.add(print_.astype(np.uint32), "again") for print_ in prints] == list("01234")


def test_every_file_of_a_band_is_compared() -> None:
    """Five files share one band; a file that is near one of them and shares no other band with it is still found."""
    base = np.arange(NUM_PERMUTATIONS, dtype=np.uint32)
    prints = [np.where(base < 10, base, base + np.uint32(1_000 * number)) for number in range(5)]
    index = NearDuplicates()
    assert [index.add(print_, str(number)) for number, print_ in enumerate(prints)] == [None] * 5
    for number, print_ in enumerate(prints):
        assert index.add(np.where((base % 10 == 0) & (base > 0), 7, print_), "later") == str(number)


def test_too_few_words_are_near_nothing() -> None:
    nine, ten = "a " * (MIN_TOKENS - 1), "a " * MIN_TOKENS
    prints = signatures(frame(nine, nine, ten, ten, "", "\n\n", "é" * 99, "\0"))
    assert (prints[[0, 1, 4, 5, 6, 7]] == 2**32 - 1).all()
    index = NearDuplicates()
    assert [index.add(print_, str(number)) for number, print_ in enumerate(prints)] == [
        *[None, None, None, "2"],
        *[None] * 4,
    ]


def test_signatures_written_by_an_earlier_version_can_still_be_compared() -> None:
    (print_,) = signatures(frame("one two three four five six seven eight nine ten"))
    assert hashlib.sha256(print_.astype("<u4").tobytes()).hexdigest()[:16] == "9f87db11604e7a1d", (
        "rensa's algorithm has changed"
    )


def test_no_rows_have_no_signatures() -> None:
    found = signatures(frame())
    assert (found.shape, found.dtype) == ((0, NUM_PERMUTATIONS), np.uint32)


def test_one_line_of_5_mb_has_a_signature() -> None:
    long = "value = 1;" * 500_000
    first, second = signatures(frame(long, "value = 1; " * 10))
    assert (first == second).all()


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(alphabet=st.sampled_from("abc _1é\n"), min_size=20, max_size=60), max_size=12), st.data())
def test_a_signature_depends_on_its_row_alone(texts: list[str], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(texts)))
    pieces = [signatures(frame(*part)) for part in (texts[:cut], texts[cut:])]
    assert (np.concatenate(pieces) == signatures(frame(*texts))).all()


IN_A_PROCESS = """
import hashlib
from pipeline.data.filter.duplicates import exact_keys, signatures
from tests.data.filter.test_duplicates import frame, pair
rows = frame(*[text for number in range(300) for text in pair(0.9, number)])
print(hashlib.sha256(signatures(rows).tobytes() + b"".join(exact_keys(rows))).hexdigest())
"""


@pytest.mark.slow
def test_two_processes_agree_on_every_key_and_signature() -> None:
    """With different seeds of Python's own hash and different numbers of threads."""
    digests = {
        subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS],
            cwd=ROOT,
            env={"PYTHONHASHSEED": str(number), "RAYON_NUM_THREADS": str(number), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in (1, 2)
    }
    assert len(digests) == 1


# ---- both ----
def test_duplicates_are_reported_by_kind_with_the_file_they_duplicate() -> None:
    first, near = pair(0.95, 1)
    rows = frame(first, "x = 1", near, first.replace(" ", "\n"), "x=1")
    reasons, of = Duplicates(QualityConfig.as_codeparrot()).find(rows)
    assert reasons.to_list() == [None, None, NEAR, EXACT, EXACT]
    names = [f"{repo}/{path}" for repo, path in rows.select("repo_name", "path").iter_rows()]
    assert of == [None, None, names[0], names[0], names[1]]


def test_keys_and_signatures_from_other_processes_give_the_same_result_in_any_batches() -> None:
    rows = frame(*[text for number in range(20) for text in pair(0.9, number % 7)])
    config = QualityConfig.as_codeparrot()
    whole = Duplicates(config).find(rows)
    parts = Duplicates(config)
    reasons, of = [], []
    for part in (rows[:13], rows[13:14], rows[14:]):
        found = parts.find(part, exact_keys(part), signatures(part))
        reasons += found[0].to_list()
        of += found[1]
    assert (reasons, of) == (whole[0].to_list(), whole[1])


def test_without_rules_there_are_no_duplicates() -> None:
    reasons, of = Duplicates(NO_RULES).find(frame("x", "x"))
    assert (reasons.dtype, reasons.to_list(), of) == (pl.String, [None, None], [None, None])
