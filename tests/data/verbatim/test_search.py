"""`search` beside a comparison of every token with every token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.data.verbatim import ngram_index
from pipeline.data.verbatim import search as search_module
from pipeline.data.verbatim.ngram_index import MIN_RUN, NgramIndex
from pipeline.data.verbatim.search import Common, search

Ids = npt.NDArray[np.uint16]
END = 0


def by_brute_force(tokens: Ids, starts: npt.NDArray[np.int64], text: Ids) -> list[tuple[int, int, tuple[int, ...]]]:
    """Start, end and places of every run that no longer one contains."""
    first = np.zeros(len(tokens), bool)
    first[starts[:-1][starts[:-1] < len(tokens)]] = True
    lengths = np.zeros(len(tokens), np.int64)  # of the run that ends with each token, and with the text's token
    ending = []
    for at, token in enumerate(text):
        before = np.concatenate([[0], lengths[:-1]])
        before[first] = 0
        lengths = np.where(tokens == token, before + 1, 0)
        longest = int(lengths.max())
        places = tuple((np.flatnonzero(lengths == longest) - longest + 1).tolist())
        ending.append((at + 1 - longest, at + 1, places))
    following = [*ending[1:], (len(text), len(text) + 1, ())]
    pairs = zip(ending, following, strict=True)
    return [run for run, after in pairs if run[1] - run[0] >= MIN_RUN and after[0] > run[0]]


def found(common: Common) -> list[tuple[int, int, tuple[int, ...]]]:
    return [(run.start, run.end, run.places) for run in common.runs]


def files_of(rng: np.random.Generator, num_files: int, vocabulary: int) -> tuple[Ids, npt.NDArray[np.int64]]:
    """Files that copy from each other, each with an end-of-text token unless that is left out."""
    files: list[Ids] = []
    for _ in range(num_files):
        parts = []
        for _ in range(int(rng.integers(1, 12))):
            if files and rng.random() < 0.5:
                other = files[int(rng.integers(len(files)))]
                start = int(rng.integers(len(other)))
                parts.append(other[start : start + int(rng.integers(1, 60))])
            else:
                parts.append(rng.integers(1, vocabulary, int(rng.integers(1, 60))).astype(np.uint16))
        files.append(np.concatenate(parts))
    starts = np.concatenate([[0], np.cumsum([len(file) for file in files])])
    return np.concatenate(files), starts


def spliced(rng: np.random.Generator, tokens: Ids, vocabulary: int) -> Ids:
    """A text of up to 100 tokens: runs of the files, and others."""
    parts: list[Ids] = []
    while sum(map(len, parts)) < 70:
        length = int(rng.integers(1, 35))
        if rng.random() < 0.7:
            start = int(rng.integers(len(tokens) - length))
            parts.append(tokens[start : start + length])
        else:
            parts.append(rng.integers(1, vocabulary, length).astype(np.uint16))
    return np.concatenate(parts)


def built(tokens: Ids, folder: Path, **options: int) -> NgramIndex:
    folder.mkdir(exist_ok=True)
    ngram_index.build(tokens, folder, **options)
    return NgramIndex.open(folder)


@pytest.mark.parametrize("vocabulary", [3, 40, 5_000])
def test_a_thousand_texts_have_the_runs_that_a_comparison_of_all_tokens_finds(tmp_path: Path, vocabulary: int) -> None:
    rng = np.random.default_rng(vocabulary)
    tokens, starts = files_of(rng, 60 if vocabulary == 3 else 120, vocabulary)
    index = built(tokens, tmp_path / "index")
    num_runs = 0
    for _ in range(334):
        text = spliced(rng, tokens, vocabulary)
        expected = by_brute_force(tokens, starts, text)
        assert found(search(index, tokens, starts, text)) == expected
        num_runs += len(expected)
    assert num_runs > 300


def test_a_run_ends_with_its_file(tmp_path: Path) -> None:
    tokens = np.arange(1, 41, dtype=np.uint16)
    index = built(tokens, tmp_path / "index")
    whole = search(index, tokens, np.array([0, 40]), tokens)
    assert found(whole) == [(0, 40, (0,))]
    halves = search(index, tokens, np.array([0, 20, 20, 40]), tokens)
    assert found(halves) == [(0, 20, (0,)), (20, 40, (20,))]


@pytest.mark.parametrize("offset", range(ngram_index.STRIDE))
def test_the_shortest_run_is_found_wherever_it_begins(tmp_path: Path, offset: int) -> None:
    tokens = np.arange(100, 200, dtype=np.uint16)
    index = built(tokens, tmp_path / "index")
    text = np.concatenate([[1, 2], tokens[30 + offset : 30 + offset + MIN_RUN], [3]]).astype(np.uint16)
    assert found(search(index, tokens, np.array([0, 100]), text)) == [(2, 2 + MIN_RUN, (30 + offset,))]
    shorter = np.concatenate([text[: MIN_RUN + 1], [3]]).astype(np.uint16)
    assert found(search(index, tokens, np.array([0, 100]), shorter)) == []


def test_the_index_of_other_tokens_finds_nothing_that_is_not_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tokens, _ = files_of(rng, 50, 100)
    index = built(tokens, tmp_path / "index")
    others = np.roll(tokens, 3)[: len(tokens) // 2]
    starts = np.array([0, len(others)])
    for _ in range(50):
        text = spliced(rng, tokens, 100)
        for start, end, places in found(search(index, others, starts, text)):
            for place in places:
                assert others[place : place + end - start].tolist() == text[start:end].tolist()


def test_the_nearest_are_of_different_files_and_share_rare_ngrams(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    common = rng.integers(1, 50_000, 30).astype(np.uint16)
    files = [np.concatenate([common, rng.integers(1, 50_000, 200).astype(np.uint16)]) for _ in range(2_000)]
    starts = np.concatenate([[0], np.cumsum([len(file) for file in files])])
    tokens = np.concatenate(files)
    text = np.concatenate([common, files[700][100:111], rng.integers(1, 50_000, 9).astype(np.uint16)])
    near = search(built(tokens, tmp_path / "index"), tokens, starts, text).nearest
    assert int(np.searchsorted(starts, near[0].place, side="right")) - 1 == 700


def test_a_short_text_and_one_of_no_file_have_nothing(tmp_path: Path) -> None:
    tokens = np.arange(1, 41, dtype=np.uint16)
    index = built(tokens, tmp_path / "index")
    for text in ([], [1], list(range(1, 7)), [7] * 50, [60_000] * 20):
        common: Sequence[object] = search(index, tokens, np.array([0, 40]), np.array(text, np.uint16)).runs
        assert not common
    empty = built(np.empty(0, np.uint16), tmp_path / "empty")
    assert not search(empty, tokens[:0], np.array([0]), tokens).runs


def test_a_run_is_followed_once_and_not_from_each_of_its_ngrams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = np.ones(5_000, np.uint16)
    index = built(tokens, tmp_path / "index")
    compared = []
    same = search_module._same

    def counted(*asked: Any) -> Any:
        lengths = same(*asked)
        compared.append(int(lengths.sum()))
        return lengths

    monkeypatch.setattr(search_module, "_same", counted)
    (run,) = search(index, tokens, np.array([0, 5_000]), tokens[:400]).runs
    assert (run.start, run.end, len(run.places)) == (0, 400, 4_601)
    assert sum(compared) < 10**7, "400 n-grams x 833 places x 200 tokens would be 66 million"


def test_what_stands_in_the_files_very_often_is_compared_in_its_first_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "MAX_PLACES", 10)
    tokens = np.tile(np.arange(1, 13, dtype=np.uint16), 100)
    common = search(built(tokens, tmp_path / "index"), tokens, np.array([0, len(tokens)]), tokens[:24])
    assert found(common)[0][:2] == (0, 24)
    assert len(common.runs[0].places) == 10
