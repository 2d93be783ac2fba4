from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts.corpus import Corpus
from pipeline.config.quality import QualityConfig
from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import read_json
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import CorpusFolder
from pipeline.data.filter import parquet_shards
from pipeline.data.verbatim.ngram_index import FILES, MIN_RUN
from pipeline.data.verbatim.origins import TrainingFiles
from tests.data.conftest import Prepare
from tests.data.examples import json_lines, row

WORDS = ("frame", "column", "mean", "plot", "axis", "data", "x", "y", "value", "index", "label", "size")


def text_of(number: int) -> str:
    """A file of its own of 10 to 60 lines; some are the same in many files."""
    rng = random.Random(number)
    lines = ["import pandas as pd", "import matplotlib.pyplot as plt", ""]
    for _ in range(rng.randint(10, 60)):
        lines.append(" ".join(rng.choice(WORDS) + str(rng.randint(0, 9_999)) for _ in range(rng.randint(1, 5))))
    return "\n".join(lines) + "\n"


TEXTS = [text_of(number) for number in range(60)]


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    rows = [row(number, content=text, license=f"licence-{number % 3}") for number, text in enumerate(TEXTS)]
    (tmp_path / "files.jsonl").write_bytes(json_lines(rows))
    return DataConfig(source=f"files:{tmp_path}/files.jsonl", keywords=("pandas",), vocab_size=400, window=16)


def opened(folder: CorpusFolder) -> TrainingFiles:
    return TrainingFiles.open(Corpus.open(folder))


def by_path(folder: CorpusFolder) -> dict[str, str]:
    """The training files as they were prepared."""
    import polars as pl

    found: dict[str, str] = {}
    for path in parquet_shards.files(folder.path, "train"):
        found |= dict(pl.read_parquet(path).select("path", "content").rows())
    return found


@pytest.mark.parametrize("changes", [{}, {"windows": "drop"}, {"quality": QualityConfig(min_characters_per_token=1.5)}])
def test_a_run_is_told_with_its_file_licence_and_line(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, changes: dict[str, Any]
) -> None:
    import dataclasses

    prepared(dataclasses.replace(config, **changes))
    files, texts = opened(folder), by_path(folder)
    num_found = 0
    for path, text in texts.items():
        lines = text.splitlines(keepends=True)
        number = len(lines) // 2
        copied = "".join(lines[number : number + 6])
        ids = files.encode(copied)
        common = files.search(ids)
        for run in common.runs:
            for place in run.places[:3]:
                origin = files.origin(place)
                expected = row(int(origin.path.removeprefix("src/file").removesuffix(".py")))
                assert origin.repo == expected["repo_name"]
                assert origin.license == f"licence-{int(expected['path'].removeprefix('src/file')[:-3]) % 3}"
                from_there = "".join(texts[origin.path].splitlines(keepends=True)[origin.line - 1 :])
                piece = files.decode(ids[run.start : run.end]).strip("\ufffd")
                assert piece in from_there
                assert piece.split("\n")[0] in from_there.split("\n")[0] + "\n"
                num_found += origin.path == path
    assert num_found > 30


def test_the_copied_share_counts_each_token_once(folder: CorpusFolder, prepared: Prepare, config: DataConfig) -> None:
    prepared(config)
    files, texts = opened(folder), by_path(folder)
    copied = files.encode(next(iter(texts.values())))[20 : 20 + 3 * MIN_RUN]
    own = files.encode("def zzz_unheard(of_qqq): return 77777 @ 88888\n" * 3)
    common = files.search([*own, *copied, *own])
    share = common.is_copied(len(own) * 2 + len(copied))
    assert share[len(own) : len(own) + len(copied)].all()
    assert share.sum() == sum(run.end - run.start for run in common.runs) >= len(copied)


def test_a_snippet_shows_the_lines_around_its_place(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    prepared(config)
    files, texts = opened(folder), by_path(folder)
    for place in range(0, files.corpus.num_tokens("train"), 997):
        snippet = files.snippet(place)
        lines = texts[snippet.origin.path].splitlines(keepends=True)
        shown = snippet.text.splitlines()
        if len(shown) > 1:
            expected = [line.rstrip("\n") for line in lines[snippet.origin.line - 1 :][: len(shown)]]
            assert expected == shown, "whole lines"
        assert snippet.text in texts[snippet.origin.path]


def test_a_restored_corpus_has_the_same_index(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, tmp_path: Path
) -> None:
    """What comes back from a dataset are the kept files and the tokenizer; the index is built of them again."""
    prepared(config)
    before = {name: (folder.path / name).read_bytes() for name in (*FILES, "lengths-train.bin")}
    stages = read_json(folder.path / "stages.json") or {}
    for path in (*folder.path.glob("*.bin"), folder.manifest):
        path.unlink()
    shutil.rmtree(folder.parts, ignore_errors=True)
    from pipeline.core.atomic_io import write_json

    done = {name: stages["done"][name] for name in ("filter", "tokenizer")}
    write_json(folder.path / "stages.json", {"done": done})
    with pytest.raises(InputError, match="not prepared"):
        opened(folder)
    prepared(config)
    assert {name: (folder.path / name).read_bytes() for name in before} == before


def test_a_corpus_of_an_earlier_version_gets_its_index_when_it_is_prepared_again(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    from pipeline.core.atomic_io import write_json

    manifest = prepared(config)
    tokens = folder.tokens("train").read_bytes()
    stages = read_json(folder.path / "stages.json") or {}
    del stages["done"]["index"]
    stages["done"]["tokens"]["files"] = {
        f"tokens-{split}.bin": folder.tokens(split).stat().st_size for split in ("train", "validation")
    }
    write_json(folder.path / "stages.json", stages)
    for name in (*FILES, "lengths-train.bin", "lengths-validation.bin"):
        (folder.path / name).unlink()
    with pytest.raises(InputError, match=r"no index of its files.*prepare it again"):
        opened(folder)
    again = prepared(config)
    assert folder.tokens("train").read_bytes() == tokens
    assert opened(folder).search(opened(folder).encode(TEXTS[0])).runs
    assert manifest is not None and again is not None
    assert manifest["sha256"] == again["sha256"]


def test_lengths_of_other_tokens_are_refused(folder: CorpusFolder, prepared: Prepare, config: DataConfig) -> None:
    prepared(config)
    lengths = np.fromfile(folder.lengths("train"), "<u4")
    lengths[3] += 1
    lengths.tofile(folder.lengths("train"))
    with pytest.raises(DamagedError, match=r"lengths-train.bin of corpus code is of other"):
        opened(folder)


def test_ids_that_the_corpus_does_not_have_match_nothing(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    prepared(config)
    assert opened(folder).search([10**6, 2**31] * 20).runs == []
