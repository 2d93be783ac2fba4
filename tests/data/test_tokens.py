from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from pipeline.data import tokenizer
from pipeline.data.encoding import Encoder
from pipeline.data.tokens import TokenFile, dtype_for, write_tokens
from tests.data.examples import code

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
    path: Path, encoder: Encoder, texts: list[str], *, window: int | None = None, dtype: str = "uint16"
) -> tuple[TokenFile, np.ndarray]:
    groups = [texts[start : start + 5] for start in range(0, len(texts), 5)]
    written = write_tokens(
        path, groups, encoder, dtype=dtype, window=window, on_group=lambda characters, new_tokens: None
    )
    return written, np.fromfile(path, dtype=f"<{np.dtype(dtype).str[1:]}")


def test_joined_files_are_all_there_each_with_one_end(tmp_path: Path, encoder: Encoder, own: Tokenizer) -> None:
    written, ids = write(tmp_path / "t.bin", encoder, TEXTS)
    ends = np.flatnonzero(ids == 0)
    assert len(ends) == len(TEXTS)
    parts = np.split(ids, ends + 1)[:-1]
    assert [own.decode(part[:-1].tolist()) for part in parts] == TEXTS
    assert written == TokenFile(len(ids), 0, hashlib.sha256((tmp_path / "t.bin").read_bytes()).hexdigest())


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


def test_a_writing_that_is_broken_off_leaves_the_old_file(tmp_path: Path, encoder: Encoder) -> None:
    path = tmp_path / "t.bin"
    path.write_bytes(b"old")

    def stop(characters: int, new_tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tokens(path, [TEXTS], encoder, dtype="uint16", window=None, on_group=stop)
    assert path.read_bytes() == b"old"
