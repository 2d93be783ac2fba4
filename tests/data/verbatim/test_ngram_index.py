from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import DamagedError
from pipeline.data.verbatim import ngram_index
from pipeline.data.verbatim.ngram_index import NGRAM, STRIDE, NgramIndex, build, num_bytes


def test_every_place_of_an_ngram_is_in_its_bucket(tmp_path: Path) -> None:
    tokens = np.random.default_rng(0).integers(0, 4, 3_000).astype(np.uint16)
    build(tokens, tmp_path)
    index = NgramIndex.open(tmp_path)
    for start in range(0, 300, 7):
        ngram = tokens[start : start + NGRAM]
        windows = np.lib.stride_tricks.sliding_window_view(tokens, NGRAM)[::STRIDE]
        places = (np.flatnonzero((windows == ngram).all(axis=1)) * STRIDE).tolist()
        found = index.places_of(ngram, limit=10_000).tolist()
        assert set(places) <= set(found)
        assert found == sorted(found)
        assert index.places_of(ngram, limit=2).tolist() == found[:2]


@pytest.mark.parametrize("max_sorted", [1, 100, 10**6])
def test_the_bytes_are_the_same_however_many_are_sorted_together(tmp_path: Path, max_sorted: int) -> None:
    tokens = np.random.default_rng(0).integers(0, 500, 5_000).astype(np.uint32)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    shares: list[float] = []
    whole = build(tokens, tmp_path / "whole")
    parts = build(tokens, tmp_path / "parts", max_sorted=max_sorted, show=shares.append)
    assert [path.read_bytes() for path in parts] == [path.read_bytes() for path in whole]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_chunks_of_tokens_leave_no_ngram_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = np.random.default_rng(0).integers(0, 500, 5_000).astype(np.uint16)
    (tmp_path / "whole").mkdir()
    (tmp_path / "chunks").mkdir()
    whole = build(tokens, tmp_path / "whole")
    monkeypatch.setattr(ngram_index, "CHUNK_TOKENS", 4 * STRIDE)
    chunks = build(tokens, tmp_path / "chunks")
    assert [path.read_bytes() for path in chunks] == [path.read_bytes() for path in whole]


@pytest.mark.parametrize("num_tokens", [0, 1, NGRAM - 1, NGRAM, NGRAM + STRIDE, 1_000, 12_345])
def test_its_size_is_known_before(tmp_path: Path, num_tokens: int) -> None:
    paths = build(np.arange(num_tokens).astype(np.uint16), tmp_path)
    assert sum(path.stat().st_size for path in paths) == num_bytes(num_tokens)
    NgramIndex.open(tmp_path)


@pytest.mark.parametrize("num_bytes", [1, 4])
@pytest.mark.parametrize("name", ngram_index.FILES)
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, name: str, num_bytes: int) -> None:
    build(np.arange(1_000).astype(np.uint16), tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-num_bytes])
    with pytest.raises(DamagedError, match="prepare the corpus again"):
        NgramIndex.open(tmp_path)


def test_there_may_be_none(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="offsets"):
        NgramIndex.open(tmp_path)


def test_progress_can_end_it(tmp_path: Path) -> None:
    def stop(share: float) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        build(np.arange(1_000).astype(np.uint16), tmp_path, show=stop)
