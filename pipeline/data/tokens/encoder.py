"""Encodes texts to token ids, many times faster than `tokenizers` and with exactly its ids.

tiktoken does the work if the tokenizer is a byte-level BPE like GPT-2's (`tiktoken_bpe` says when, and why the ids are
the same), otherwise the tokenizer itself. GPT-2's regular expression has a look-ahead at white space, so that the last
space goes with the word after it. A look-ahead makes an expression slow, and tiktoken panics with one at a million
spaces. So a mark is inserted between that last space and those before it. Then no look-ahead is needed, and the ids of
the mark are removed again. Many texts are encoded as one, each followed by a mark that becomes the end-of-text token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.artifacts.corpus import dtype_for
from pipeline.core.environment import num_cores
from pipeline.data.tokens import tiktoken_bpe, tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CUT, END = "\x01", "\x02"
"""The marks. Like every byte they are tokens. A text that contains one of them is encoded by the tokenizer itself."""
PIECES = rf"'s|'t|'re|'ve|'m|'ll|'d| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}{CUT}{END}]+|[{CUT}{END}]|\s+"
"""GPT-2's regular expression, adapted to texts with marks."""
CHUNK_CHARACTERS = 300_000
"""Encoded in one call: so many that the cost of the call is negligible, so few that every thread gets some."""
SAMPLE = (
    "",
    " \n\n  def f(x):\r\n\treturn 'it''s' + x  \n \n",
    "don't we'll I'VE  naïve_日本 = 'é' 🎉🏽 '<|endoftext|>'",
    "\u00a0 \u00a0x\u3000\u2028 \u0085  y\x00\x1c\x1f\u200b\u0301 ١٢٣ ² Ⅷ \ufeff",
    f"{' ' * 70}{'x' * 70}{chr(10) * 70}",
)
"""Encoded by both libraries before tiktoken is used."""
_WHITE = [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
_IS_WHITE = np.isin(np.arange(0x3002), _WHITE)  # by code point; the last entry stands for all higher ones


class Encoder:
    """The encoder of one corpus. Special tokens in texts are plain text; only end-of-text is added, on request."""

    def __init__(self, own: Tokenizer, end_id: int, *, num_threads: int | None = None) -> None:
        """`own` is as `tokenizer.load` returns it: no truncation, no padding, and special tokens are plain text."""
        self.end_id = end_id
        self.vocab_size = tokenizer.vocabulary_size(own)
        """Number of ids that a model needs."""
        self.why = ""
        """Why tiktoken is not used, one clause; empty when it is."""
        self._own = own
        self._dtype = np.dtype(dtype_for(self.vocab_size))
        self._num_threads = num_threads or num_cores()
        self._marked: _Marked | None = None
        try:
            self._marked = _Marked(tiktoken_bpe.tokens_in_order(own), end_id, self._dtype)
        except tiktoken_bpe.Unsuited as reason:
            self.why = str(reason)
        if self._marked and not _same(self.encode_with_end(SAMPLE), self._by_own(SAMPLE)):
            self._marked, self.why = None, "tiktoken makes other ids of a sample"

    @classmethod
    def open(cls, folder: Path, *, num_threads: int | None = None) -> Encoder:
        """The encoder of a corpus's tokenizer folder."""
        return cls(*tokenizer.load(folder), num_threads=num_threads)

    @property
    def kind(self) -> str:
        """The library that does the work: `tiktoken` or `tokenizers`."""
        return "tiktoken" if self._marked else "tokenizers"

    def encode(self, texts: Iterable[str]) -> list[np.ndarray]:
        """The ids of each text: uint16[tokens], or uint32 when there are more than 65,536 ids.

        Raises UnicodeEncodeError or TypeError for lone surrogates, which no decoded file contains.
        """
        return [ids[:-1] for ids in self.encode_with_end(texts)]

    def encode_with_end(self, texts: Iterable[str]) -> list[np.ndarray]:
        """As `encode`, with the end-of-text token after each text."""
        texts = list(texts)
        if not self._marked:
            return self._by_own(texts)
        found: list[np.ndarray] = [np.empty(0, self._dtype)] * len(texts)
        for_own = [index for index, text in enumerate(texts) if CUT in text or END in text]
        chunks = list(_chunks(texts, set(for_own)))
        with ThreadPoolExecutor(self._num_threads) as pool:
            done = pool.map(self._marked.encode, ([texts[index] for index in chunk] for chunk in chunks))
            for chunk, several in zip(chunks, done, strict=True):
                for index, ids in zip(chunk, several, strict=True):
                    found[index] = ids
        for index, ids in zip(for_own, self._by_own([texts[index] for index in for_own]), strict=True):
            found[index] = ids
        return found

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The text of each single id; bytes that are only part of a character appear as U+FFFD."""
        return [self._own.decode([number], skip_special_tokens=False) for number in ids]

    def _by_own(self, texts: Iterable[str]) -> list[np.ndarray]:
        encodings = self._own.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array([*encoding.ids, self.end_id], self._dtype) for encoding in encodings]


class _Marked:
    """Encodes marked texts with tiktoken."""

    def __init__(self, tokens: list[tuple[bytes, int]], end_id: int, dtype: np.dtype) -> None:
        """`tokens`: bytes and id of each token in the order of the merges, the 256 bytes first."""
        from tiktoken import Encoding

        ranks = {spelled: rank for rank, (spelled, _) in enumerate(tokens)}
        # tiktoken is slow without any special token; two CUT marks in a row occur in no marked text.
        self._encoding = Encoding(
            "corpus", pat_str=PIECES, mergeable_ranks=ranks, special_tokens={CUT * 2: len(tokens)}
        )
        self._cut, self._end = ranks[CUT.encode()], ranks[END.encode()]
        self._ids = np.array([number for _, number in tokens], dtype)
        self._ids[self._end] = end_id

    def encode(self, texts: list[str]) -> list[np.ndarray]:
        """The ids of each text and the end-of-text token after it. No text may contain a mark."""
        ranks = self._encoding.encode_to_numpy(
            _with_cuts("".join(f"{text}{END}" for text in texts)), disallowed_special=()
        )
        ranks = ranks[ranks != self._cut]
        stops = (np.flatnonzero(ranks == self._end) + 1).tolist()
        ids = self._ids[ranks]
        return [ids[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]


def _with_cuts(text: str) -> str:
    """`text` with CUT before the last of two or more white-space characters that are not followed by END."""
    if text.isascii():
        coding, codes = "ascii", np.frombuffer(text.encode(), np.uint8)
        is_white = (codes - 9 <= 4) | (codes == 32)  # codes below 9 wrap around to large numbers
    else:
        coding, codes = "utf-32-le", np.frombuffer(text.encode("utf-32-le"), "<u4")
        is_white = _IS_WHITE[np.minimum(codes, len(_IS_WHITE) - 1)]
    is_word = ~is_white & (codes != ord(END))
    positions = np.flatnonzero(is_white[:-2] & is_white[1:-1] & is_word[2:]) + 1
    return np.insert(codes, positions, ord(CUT)).tobytes().decode(coding)


def _chunks(texts: list[str], left_out: set[int]) -> Iterator[list[int]]:
    """Indices of the texts to encode in one call: about CHUNK_CHARACTERS, either all ASCII or all not."""
    for is_ascii in (True, False):
        chunk: list[int] = []
        size = 0
        for index, text in enumerate(texts):
            if text.isascii() is not is_ascii or index in left_out:
                continue
            chunk.append(index)
            size += len(text)
            if size >= CHUNK_CHARACTERS:
                yield chunk
                chunk, size = [], 0
        if chunk:
            yield chunk


def _same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(np.array_equal(*pair) for pair in zip(first, second, strict=True))
