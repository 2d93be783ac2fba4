"""The other ways of the benchmark find what the index finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import verbatim


def tokens_of_files() -> verbatim.Ids:
    rng = np.random.default_rng(0)
    files = [np.append(rng.integers(1, 60, int(rng.integers(20, 400))), 0) for _ in range(40)]
    return np.concatenate([*files, *files[:5]]).astype(np.uint16)


def texts_of(tokens: verbatim.Ids) -> np.ndarray:
    rng = np.random.default_rng(1)
    texts = np.stack([tokens[at : at + 124] for at in rng.integers(0, len(tokens) - 124, 20)])
    texts[texts == 0] = 61
    return texts


def saved(folder: Path) -> tuple[verbatim.Ids, np.ndarray]:
    tokens = tokens_of_files()
    texts = texts_of(tokens)
    np.save(folder / "tokens.npy", tokens)
    np.save(folder / "texts.npy", texts)
    (folder / "index").mkdir()
    return tokens, texts


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the benchmark reads memory from /proc")
def test_a_comparison_of_all_tokens_finds_the_same_runs(tmp_path: Path) -> None:
    tokens, texts = saved(tmp_path)
    starts = np.concatenate([[0], np.flatnonzero(tokens == 0) + 1])
    found = verbatim.by_index(tmp_path)
    assert found["runs"] == [verbatim.by_comparison(tokens, starts, text) for text in texts]
    assert sum(map(len, found["runs"])) >= 20
    assert found["bytes"] < 2.5 * len(tokens)


def test_a_goal_that_is_missed_is_not_ok() -> None:
    right, wrong = verbatim.verdict(4.5, {"runs": True}), verbatim.verdict(2.0, {"runs": True})
    assert (right["ok"], right["ratio"], wrong["ok"]) == (True, 4.5, False)
    assert not verbatim.verdict(None, {"runs": False})["ok"]
