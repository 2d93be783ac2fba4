from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pipeline.artifacts.corpus import dtype_for
from pipeline.data.filter.parquet_shards import ShardWriter
from pipeline.data.progress import Stopped
from pipeline.data.tokens import tokenizer
from pipeline.data.tokens.encoder import Encoder
from pipeline.data.tokens.token_file import (
    Encoded,
    EncodeTask,
    TokenFile,
    encode_shard,
    is_done,
    join,
    write_tokens,
)
from tests.data.examples import batch, code, row

TEXTS = [code(number) * (number + 1) for number in range(12)]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_trained(tokenizer.train(iter(TEXTS), 300), folder)
    return tokenizer.load(folder)[0]


@pytest.fixture(scope="module")
def encoder(own: Tokenizer) -> Encoder:
    return Encoder(own, 0)


def write(
    path: Path,
    encoder: Encoder,
    texts: list[str],
    *,
    window: int | None = None,
    dtype: str = "uint16",
    ratio: float | None = None,
) -> tuple[Encoded, np.ndarray]:
    groups = [texts[start : start + 5] for start in range(0, len(texts), 5)]
    with path.open("wb") as file:
        written = write_tokens(file, groups, encoder, dtype=dtype, window=window, min_characters_per_token=ratio)
    return written, np.fromfile(path, dtype=f"<{np.dtype(dtype).str[1:]}")


def test_joined_files_are_complete_and_each_has_one_end(tmp_path: Path, encoder: Encoder, own: Tokenizer) -> None:
    written, ids = write(tmp_path / "t.bin", encoder, TEXTS)
    ends = np.flatnonzero(ids == 0)
    assert len(ends) == len(TEXTS)
    parts = np.split(ids, ends + 1)[:-1]
    assert [own.decode(part[:-1].tolist()) for part in parts] == TEXTS
    assert written == Encoded(len(ids), 0, 0, [len(own.encode(text).ids) + 1 for text in TEXTS])


def test_dropped_windows_are_whole_and_their_tails_are_counted(
    tmp_path: Path, encoder: Encoder, own: Tokenizer
) -> None:
    written, ids = write(tmp_path / "t.bin", encoder, TEXTS, window=32)
    lengths = [len(own.encode(text).ids) for text in TEXTS]
    assert written.num_tokens == len(ids) == sum(length // 32 * 32 for length in lengths)
    assert written.num_dropped == sum(length % 32 for length in lengths)
    assert 0 not in ids
    first = next(text for text, length in zip(TEXTS, lengths, strict=True) if length >= 32)
    assert ids[:32].tolist() == own.encode(first).ids[:32]


def test_the_end_of_text_token_spelled_in_a_file_stays_text(tmp_path: Path, encoder: Encoder, own: Tokenizer) -> None:
    text = "print('<|endoftext|>')\n"
    _, ids = write(tmp_path / "t.bin", encoder, [text])
    assert (ids == 0).sum() == 1
    assert own.decode(ids[:-1].tolist()) == text
    own.encode_special_tokens = False
    try:
        assert 0 in own.encode(text).ids, "control: by default it would be the special token"
    finally:
        own.encode_special_tokens = True


def test_ids_take_two_bytes_while_they_fit(tmp_path: Path, encoder: Encoder) -> None:
    assert (dtype_for(65_536), dtype_for(65_537)) == ("uint16", "uint32")
    _, narrow = write(tmp_path / "16.bin", encoder, TEXTS)
    _, wide = write(tmp_path / "32.bin", encoder, TEXTS, dtype="uint32")
    assert (tmp_path / "32.bin").stat().st_size == 2 * (tmp_path / "16.bin").stat().st_size
    assert np.array_equal(narrow, wide)


@pytest.fixture
def tasks(tmp_path: Path) -> list[EncodeTask]:
    """Three shards to encode."""
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    tokenizer.save_trained(tokenizer.train(iter(TEXTS), 300), folder)
    writer = ShardWriter(tmp_path, "train", max_rows=5)
    for start in range(0, 12, 5):
        writer.add(batch([row(n, content=text) for n, text in enumerate(TEXTS[start : start + 5])]).rows)
    writer.close()
    return [
        EncodeTask(
            source=str(tmp_path / name),
            tokenizer=str(folder),
            target=str(tmp_path / "parts" / name),
            dtype="uint16",
            window=None,
        )
        for name in writer.names
    ]


def test_joined_shards_are_the_tokens_of_all_their_texts(
    tmp_path: Path, tasks: list[EncodeTask], encoder: Encoder
) -> None:
    assert len(tasks) == 3
    for task in tasks:
        encode_shard(task)
        assert is_done(task)
    joined = join(tmp_path / "joined.bin", tmp_path / "lengths.bin", tasks)
    whole, ids = write(tmp_path / "whole.bin", encoder, TEXTS)
    data = (tmp_path / "joined.bin").read_bytes()
    assert data == (tmp_path / "whole.bin").read_bytes()
    assert joined == TokenFile(len(ids), 0, 0, hashlib.sha256(data).hexdigest())
    assert np.fromfile(tmp_path / "lengths.bin", "<u4").tolist() == whole.lengths
    assert len(whole.lengths) == len(TEXTS)


@pytest.mark.parametrize("window", [None, 8])
def test_a_text_that_is_left_out_has_no_tokens(tmp_path: Path, encoder: Encoder, window: int | None) -> None:
    texts = [TEXTS[0], "éàü" * 20, TEXTS[1]]
    sparse, ids = write(tmp_path / "t.bin", encoder, texts, window=window, ratio=0.9)
    without, others = write(tmp_path / "o.bin", encoder, [texts[0], texts[2]], window=window, ratio=0.9)
    assert sparse.lengths == [without.lengths[0], 0, without.lengths[1]]
    assert ids.tolist() == others.tolist()
    assert (sparse.num_dense, sparse.num_dropped) == (1, without.num_dropped)


def test_a_stopped_shard_leaves_nothing(tasks: list[EncodeTask]) -> None:
    with pytest.raises(Stopped):
        encode_shard(tasks[0], lambda: True)
    assert not is_done(tasks[0])
    assert not [path for path in Path(tasks[0].target).parent.iterdir() if path.is_file()]
    encode_shard(tasks[0])
    assert is_done(tasks[0]), "control"
