"""The training windows of one token file, by index: endless epochs, each a seeded permutation of all windows.

The windows of a step are a pure function of the seed and the step, so resuming needs only a number and no replay.
"""

from __future__ import annotations

import numpy as np

from pipeline.artifacts.corpus import Corpus
from pipeline.core.errors import require


def open_windows(corpus: Corpus, split: str, window: int) -> Windows:
    """The windows of `window` tokens of one split. Raises InputError when there is none, or when windows of this size
    would cross the files of a corpus of whole windows (`drop`).
    """
    config = corpus.manifest["config"]
    require(
        config["windows"] == "join" or config["window"] % window == 0,
        "window",
        window,
        f"corpus {corpus.id} holds windows of {config['window']}: choose that or a divisor of it",
    )
    require(
        corpus.num_tokens(split) >= window,
        "window",
        window,
        f"the {split} split of corpus {corpus.id} has only {corpus.num_tokens(split)} tokens: prepare it with more files",
    )
    return Windows(corpus.open_tokens(split), window)


class Windows:
    """`tokens` cut into windows of `window` tokens, without overlap; the shorter rest at the end is in no window.

    tokens: a one-dimensional array of ids, usually a memory map, so that only the windows that are taken are read.
    """

    def __init__(self, tokens: np.ndarray, window: int) -> None:
        num_windows = len(tokens) // window
        self.window = window
        self._grid = np.asarray(tokens)[: num_windows * window].reshape(num_windows, window)
        self._permuted: tuple[tuple[int, int], np.ndarray] | None = None

    def __len__(self) -> int:
        return len(self._grid)

    def take(self, indices: np.ndarray) -> np.ndarray:
        """int64[len(indices), window]: the windows with these indices, which count in the order of the file."""
        return self._grid[indices].astype(np.int64)

    def permutation(self, seed: int, epoch: int) -> np.ndarray:
        """int64[len(self)]: the order of epoch `epoch`, counted from 0. The last result is cached."""
        key = (seed, epoch)
        if self._permuted is None or self._permuted[0] != key:
            # numpy guarantees that a bit generator's raw numbers never change; its `permutation` may, in any version.
            numbers = np.random.Philox(np.random.SeedSequence(key)).random_raw(len(self))
            self._permuted = (key, np.argsort(numbers, kind="stable"))
        return self._permuted[1]

    def batch(self, seed: int, start: int, count: int) -> np.ndarray:
        """int64[count, window]: the windows at positions start, start + 1, ... of all permuted epochs in sequence."""
        parts = []
        while count > 0:
            epoch, first = divmod(start, len(self))
            part = self.permutation(seed, epoch)[first : first + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return self.take(np.concatenate(parts) if parts else np.empty(0, np.int64))
