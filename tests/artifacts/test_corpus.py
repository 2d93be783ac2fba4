from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts.corpus import Corpus, corpus_warnings
from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import CorpusFolder
from pipeline.data.tokens.windows import open_windows
from tests.data.conftest import Prepare
from tests.data.examples import code_folder


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return DataConfig(source=f"files:{code_folder(tmp_path / 'project', 40)}", keywords=("pandas",), vocab_size=300)


def test_an_opened_corpus_gives_its_figures_and_its_windows(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    manifest = prepared(config)
    corpus = Corpus.open(folder)
    assert corpus.manifest == manifest
    assert (corpus.id, corpus.vocab_size, corpus.eos_id) == ("code", 300, 0)
    assert (corpus.tokenizer_path / "tokenizer.json").exists()
    windows = open_windows(corpus, "train", 32)
    assert len(windows) == corpus.num_tokens("train") // 32
    tokens = np.fromfile(folder.tokens("train"), dtype="<u2")
    assert np.array_equal(windows.take(np.arange(len(windows))).ravel(), tokens[: len(windows) * 32])


def facts(num_train: int, num_held_out: int, **changes: Any) -> dict[str, Any]:
    return {
        "files_train": num_train,
        "files_validation": num_held_out,
        "round_trip": 1.0,
        "config": {"validation_share": 0.05},
        **changes,
    }


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        (facts(1, 59), ["59 of 60 files are held out for validation, 98% instead of 5%"]),
        (facts(5_000, 1), ["1 of 5,001 files are held out for validation, 0% instead of 5%"]),
        (facts(57, 3), []),
        (facts(60, 1), []),
        (facts(9_400, 600), []),
        (facts(1, 59, config={"validation_share": 0.05, "validation_source": "files:x"}), []),
        (facts(95, 5, round_trip=0.963), ["The tokenizer writes back 96.3% of the text"]),
        ({}, []),
    ],
)
def test_a_corpus_whose_losses_say_little_is_warned_of(manifest: dict[str, Any], words: list[str]) -> None:
    found = corpus_warnings(manifest)
    assert len(found) == len(words)
    for sentence, start in zip(found, words, strict=True):
        assert sentence.startswith(start)


def test_a_corpus_that_is_not_there_or_not_ready_says_how_to_make_it(folder: CorpusFolder) -> None:
    with pytest.raises(InputError, match="python -m pipeline prepare --corpus code"):
        Corpus.open(folder)


def test_a_token_file_of_another_size_is_damaged(folder: CorpusFolder, prepared: Prepare, config: DataConfig) -> None:
    prepared(config)
    path = folder.tokens("validation")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DamagedError, match=r"tokens-validation\.bin has \d+ bytes instead of \d+; delete"):
        Corpus.open(folder)
    path.unlink()
    with pytest.raises(DamagedError, match="is missing"):
        Corpus.open(folder)
    path.write_bytes(whole)
    assert Corpus.open(folder).id == "code", "control"


def test_a_manifest_of_another_format_is_refused(folder: CorpusFolder, prepared: Prepare, config: DataConfig) -> None:
    prepared(config)
    write_json(folder.manifest, {**(read_json(folder.manifest) or {}), "format": 2})
    with pytest.raises(DamagedError, match="another format"):
        Corpus.open(folder)


def test_a_window_longer_than_a_split_is_refused(folder: CorpusFolder, prepared: Prepare, config: DataConfig) -> None:
    prepared(config)
    with pytest.raises(InputError, match="validation split of corpus code has only"):
        open_windows(Corpus.open(folder), "validation", 100_000)


def test_dropped_windows_may_be_divided_but_not_joined(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    prepared(DataConfig(**{**vars(config), "windows": "drop", "window": 16}))
    corpus = Corpus.open(folder)
    assert len(open_windows(corpus, "train", 8)) == 2 * len(open_windows(corpus, "train", 16))
    with pytest.raises(InputError, match="choose that or a divisor of it"):
        open_windows(corpus, "train", 32)


@pytest.mark.parametrize(
    "name", ["dtype", "vocab_size", "eos_id", "tokens_train", "tokens_validation", "sha256", "tokenizer_sha256"]
)
def test_a_manifest_that_lacks_a_field_is_damaged(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, name: str
) -> None:
    manifest = prepared(config) or {}
    for value in ({}, {name: None}, {name: []}):
        write_json(folder.manifest, {**{key: manifest[key] for key in manifest if key != name}, **value})
        with pytest.raises(DamagedError, match=rf"manifest\.json has {name} (None|\[\]); delete .* and prepare"):
            Corpus.open(folder)
