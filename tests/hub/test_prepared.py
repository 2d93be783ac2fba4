from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.artifacts import corpus
from pipeline.core.atomic_io import locked, read_json, write_json
from pipeline.core.errors import BusyError, DamagedError, InputError
from pipeline.core.paths import CorpusFolder, Home
from pipeline.data.filter import split
from pipeline.hub import prepared
from pipeline.hub.prepared import Prepared
from tests.hub.corpora import CORPUS, prepare_corpus, project


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> CorpusFolder:
    folder = tmp_path_factory.mktemp("prepared")
    return prepare_corpus(Home(folder / "home"), project(folder / "project"))


@pytest.fixture
def folder(original: CorpusFolder, home: Home) -> CorpusFolder:
    """A copy of the corpus that a test may damage."""
    shutil.copytree(original.path, home.corpus(CORPUS).path)
    return home.corpus(CORPUS)


def test_it_knows_the_format_that_is_written() -> None:
    """The packages do not import each other, so each defines these constants."""
    assert (prepared.FORMAT, prepared.SPLITS) == (corpus.FORMAT, split.SPLITS)


def test_a_whole_corpus_is_counted(folder: CorpusFolder) -> None:
    found = Prepared.open(folder)
    assert sum(found.num_rows.values()) == 90
    assert found.licenses == {"": 60, "mit": 20, "gpl-3.0": 10}
    assert [path.name for path in found.shards["validation"]] == ["files-validation-00000.parquet"]
    assert len(found.shards["train"]) > 1


def test_a_corpus_that_is_not_ready_is_refused(folder: CorpusFolder) -> None:
    folder.manifest.unlink()
    with pytest.raises(InputError, match=r"^Corpus code is not prepared; prepare it with .*\.$"):
        Prepared.open(folder)


def test_a_corpus_that_is_being_prepared_is_refused(folder: CorpusFolder) -> None:
    with locked(folder.lock), pytest.raises(BusyError, match=r"^Corpus code is being prepared; .*\.$"):
        Prepared.open(folder)


def shard(folder: CorpusFolder) -> Path:
    return folder.path / "files-train-00001.parquet"


def flip(path: Path, where: int) -> None:
    data = bytearray(path.read_bytes())
    data[where] ^= 0xFF
    path.write_bytes(data)


DAMAGES = {
    "files-train-00001.parquet is missing": lambda folder: shard(folder).unlink(),
    "files-train-00001.parquet has 3 bytes": lambda folder: shard(folder).write_bytes(b"PAR"),
    "files-train-00001.parquet does not have the SHA-256": lambda folder: flip(shard(folder), 50),
    "tokens-train.bin does not have the SHA-256": lambda folder: flip(folder.tokens("train"), 5),
    "tokenizer/tokenizer.json does not have": lambda folder: flip(folder.tokenizer / "tokenizer.json", 99),
    "tokenizer/tokenizer_config.json is missing": lambda folder: (folder.tokenizer / "tokenizer_config.json").unlink(),
    "stages.json does not tell": lambda folder: (folder.path / "stages.json").unlink(),
    "its manifest is of another format": lambda folder: write_json(
        folder.manifest, {**(read_json(folder.manifest) or {}), "format": 99}
    ),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_a_damaged_corpus_is_refused_in_one_sentence_that_names_the_file(folder: CorpusFolder, words: str) -> None:
    DAMAGES[words](folder)
    with pytest.raises(
        DamagedError, match=rf"^Corpus code is damaged: {words}[^\n]*; delete it and prepare it again\.$"
    ):
        Prepared.open(folder)


def without_hashes(folder: CorpusFolder, **found: int) -> None:
    """Make the corpus like one of an earlier version, which stored no hashes of the shards."""
    stages = read_json(folder.path / "stages.json") or {}
    del stages["done"]["filter"]["found"]["sha256"]
    stages["done"]["filter"]["found"] |= found
    write_json(folder.path / "stages.json", stages)


def test_an_older_corpus_is_checked_by_reading_it(folder: CorpusFolder) -> None:
    without_hashes(folder)
    Prepared.open(folder)
    flip(shard(folder), -6)
    with pytest.raises(DamagedError, match=r"files-train-00001\.parquet cannot be read;"):
        Prepared.open(folder)


def test_shards_with_other_rows_than_were_kept_are_damage(folder: CorpusFolder) -> None:
    without_hashes(folder, files_train=99)
    with pytest.raises(DamagedError, match=r"its train split holds 8[0-9] files"):
        Prepared.open(folder)


def test_a_kept_file_with_the_token_in_it_stops_the_push(folder: CorpusFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_notinanyfile")
    Prepared.open(folder)
    monkeypatch.setenv("HF_TOKEN", "frame['x42']")
    with pytest.raises(InputError, match=r"HF_TOKEN stands in the kept file part0/file42\.py of project;") as refused:
        Prepared.open(folder)
    assert "x42" not in str(refused.value)
