from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.artifacts.corpus import Corpus
from pipeline.core.paths import CorpusFolder
from pipeline.evaluation.corpus_files import drawn_files


@pytest.fixture
def corpus(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Corpus:
    """40 short files in its split `train`, none in the other."""
    folder = CorpusFolder(tmp_path / "python")
    folder.path.mkdir()
    tokens = [token for number in range(40) for token in (*tokenizer.encode(f"x = {number}\n"), 0)]
    np.array(tokens, dtype="<u2").tofile(folder.tokens("train"))
    folder.tokens("validation").touch()
    return Corpus(folder, {"dtype": "uint16", "eos_id": 0, "tokens_train": len(tokens), "tokens_validation": 0})


def test_the_files_are_whole_and_drawn_from_all(corpus: Corpus, tokenizer: PreTrainedTokenizerFast) -> None:
    texts = [f"x = {number}\n" for number in range(40)]
    assert sorted(drawn_files(corpus, "train", tokenizer, max_tokens=10_000)) == sorted(texts)
    drawn = drawn_files(corpus, "train", tokenizer, max_tokens=60)
    assert 3 < len(drawn) < 20 and drawn == drawn_files(corpus, "train", tokenizer, max_tokens=60)
    assert set(drawn[:-1]) <= set(texts) and drawn[:-1] != texts[: len(drawn) - 1]


def test_an_empty_split_has_none_and_a_missing_one_is_an_error(
    corpus: Corpus, tokenizer: PreTrainedTokenizerFast
) -> None:
    assert drawn_files(corpus, "validation", tokenizer, max_tokens=60) == []
    corpus.folder.tokens("train").unlink()
    with pytest.raises(OSError):
        drawn_files(corpus, "train", tokenizer, max_tokens=60)
