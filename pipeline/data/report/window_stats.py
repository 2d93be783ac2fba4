"""Statistics for a page: what cutting a corpus into windows keeps and loses, and the key tokens in its vocabulary.

Pure functions of an encoder and sample texts; they need neither torch nor files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.config.schema import KEY_TOKEN_CONTROL
from pipeline.data.tokens.encoder import Encoder

QUANTILES = (0, 25, 50, 75, 100)
"""Percent of files. Each quantile is the value of an actual file, not interpolated."""


def window_report(encoder: Encoder, texts: Sequence[str], window: int) -> dict[str, Any]:
    """Compares the two ways to make windows of `window` tokens.

    `drop` is the course's way: the whole windows of each file, without its shorter tail. `join` concatenates all files,
    with an end-of-text token after each; only the rest at the very end is in no window. `share`: dropped share of all
    tokens, 0 to 1. `windows_per_file`: quantiles under `drop`, by percent of files; empty without files.
    """
    lengths = np.array([len(ids) for ids in encoder.encode(texts)], np.int64)
    num_tokens = int(lengths.sum())
    windows = lengths // window
    num_dropped = int((lengths % window).sum())
    num_joined = num_tokens + len(lengths)
    return {
        "files": len(lengths),
        "tokens": num_tokens,
        "window": window,
        "drop": {
            "windows": int(windows.sum()),
            "dropped": num_dropped,
            "share": _share(num_dropped, num_tokens),
            "files_without_window": int((windows == 0).sum()),
            "windows_per_file": _quantiles(windows),
        },
        "join": {
            "tokens": num_joined,
            "windows": num_joined // window,
            "dropped": num_joined % window,
            "share": _share(num_joined % window, num_joined),
        },
    }


def key_token_report(
    encoder: Encoder, texts: Sequence[str], words: Sequence[str], window: int, alpha: float
) -> dict[str, Any]:
    """What the weighted loss would do with these texts, joined and cut into windows of `window` tokens.

    `tokens`: an entry for each word as it is and with a leading space, and last the control: its `ids` and `pieces`,
    whether it is `counted` (one token, and not the control), how often the texts contain it (`in_texts`, within longer
    words too) and how often as a single token (`as_token`). `weights`: how many windows have each weight
    alpha * (1 + number of key tokens), in ascending order. The rule is that of `training.loss`.
    """
    encoded = encoder.encode_with_end(texts)
    ids = np.concatenate(encoded) if encoded else np.empty(0, np.int64)
    spellings = [(spelling, False) for word in words for spelling in (word, f" {word}")]
    tokens = [
        {
            **_key_token(encoder, ids, text, is_control=is_control),
            "in_texts": sum(sample.count(text) for sample in texts),
        }
        for text, is_control in (*spellings, (KEY_TOKEN_CONTROL, True))
    ]
    key_ids = sorted({token["ids"][0] for token in tokens if token["counted"]})
    grid = ids[: len(ids) // window * window].reshape(-1, window)
    numbers, num_windows = np.unique(np.isin(grid, key_ids).sum(axis=1), return_counts=True)
    return {
        "tokens": tokens,
        "windows": len(grid),
        "alpha": alpha,
        "weights": [
            {"key_tokens": number, "weight": alpha * (1 + number), "windows": count}
            for number, count in zip(numbers.tolist(), num_windows.tolist(), strict=True)
        ],
    }


def _key_token(encoder: Encoder, ids: np.ndarray, text: str, *, is_control: bool) -> dict[str, Any]:
    own = encoder.encode([text])[0].tolist()
    return {
        "text": text,
        "ids": own,
        "pieces": encoder.pieces(own),
        "counted": len(own) == 1 and not is_control,
        "control": is_control,
        "as_token": int((ids == own[0]).sum()) if len(own) == 1 else 0,
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _quantiles(numbers: np.ndarray) -> dict[int, int]:
    if not len(numbers):
        return {}
    found = np.percentile(numbers, QUANTILES, method="inverted_cdf").tolist()
    return dict(zip(QUANTILES, map(int, found), strict=True))
