from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.data.report.window_stats import key_token_report, window_report
from pipeline.data.tokens.encoder import Encoder
from tests.data.tokens.test_tiktoken_bpe import byte_level


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """Every byte is a token, and `pd`, ` pd` and `fit` are tokens too."""
    own = byte_level([("p", "d"), ("Ġ", "pd"), ("f", "i"), ("fi", "t")])
    return Encoder(own, 0)


def test_dropped_tails_are_compared_with_joined_files(encoder: Encoder) -> None:
    """Files of 3, 4, 9 and 0 tokens have 0, 1, 2 and 0 windows of 4 tokens, and tails of 3, 0, 1 and 0."""
    assert window_report(encoder, ["abc", "abcd", "abcdefghi", ""], 4) == {
        "files": 4,
        "tokens": 16,
        "window": 4,
        "drop": {
            "windows": 3,
            "dropped": 4,
            "share": 0.25,
            "files_without_window": 2,
            "windows_per_file": {0: 0, 25: 0, 50: 0, 75: 1, 100: 2},
        },
        "join": {"tokens": 20, "windows": 5, "dropped": 0, "share": 0.0},
    }


def test_joined_files_lose_only_the_rest_at_the_very_end(encoder: Encoder) -> None:
    """2 files of 5 tokens and an end-of-text each: 12 tokens, one window of 8, and 4 tokens left over."""
    joined = window_report(encoder, ["abcde", "abcde"], 8)["join"]
    assert joined == {"tokens": 12, "windows": 1, "dropped": 4, "share": pytest.approx(1 / 3)}


def test_no_files_are_no_windows(encoder: Encoder) -> None:
    report = window_report(encoder, [], 8)
    assert (report["files"], report["tokens"], report["drop"]["share"]) == (0, 0, 0.0)
    assert report["drop"]["windows_per_file"] == {}
    assert report["join"] == {"tokens": 0, "windows": 0, "dropped": 0, "share": 0.0}
    assert key_token_report(encoder, [], ["pd"], 8, 1.0)["weights"] == []


def test_each_key_word_is_one_token_or_its_pieces(encoder: Encoder) -> None:
    """`xpd pd fit` is encoded as x, pd, ` pd`, a space, fit."""
    tokens = key_token_report(encoder, ["xpd pd fit", "pd"], ["pd", "fit"], 4, 1.0)["tokens"]
    facts = ("text", "pieces", "counted", "control", "in_texts", "as_token")
    assert [tuple(token[fact] for fact in facts) for token in tokens] == [
        ("pd", ["pd"], True, False, 3, 2),
        (" pd", [" pd"], True, False, 1, 1),
        ("fit", ["fit"], True, False, 1, 1),
        (" fit", [" ", "fit"], False, False, 1, 0),
        ("testtest", list("testtest"), False, True, 0, 0),
    ]


def test_windows_are_counted_by_their_weight(encoder: Encoder) -> None:
    """Windows of 3: `x pd  pd` has two key tokens, ` fit END` one; `pd END` is left over. Weights: 0.5 * (1 + n)."""
    report = key_token_report(encoder, ["xpd pd fit", "pd"], ["pd", "fit"], 3, 0.5)
    assert (report["windows"], report["alpha"]) == (2, 0.5)
    assert report["weights"] == [
        {"key_tokens": 1, "weight": 1.0, "windows": 1},
        {"key_tokens": 2, "weight": 1.5, "windows": 1},
    ]


def test_a_word_that_is_also_the_control_counts_as_a_word() -> None:
    pairs = [("t", "e"), ("s", "t"), ("te", "st"), ("test", "test")]
    tokens = key_token_report(Encoder(byte_level(pairs), 0), ["testtest"], ["testtest"], 1, 1.0)["tokens"]
    assert [(token["text"], token["counted"]) for token in tokens] == [
        ("testtest", True),
        (" testtest", False),
        ("testtest", False),
    ]


@pytest.mark.slow
def test_weights_are_those_of_the_loss(encoder: Encoder) -> None:
    import torch

    from pipeline.training.loss import KeyTokens

    class AsTransformers:
        def encode(self, text: str, add_special_tokens: bool) -> list[int]:
            return encoder.encode([text])[0].tolist()

    texts, words = ["import pd as pd\n" * number + "fit" * number for number in range(9)], ["pd", "fit", "plt"]
    keys = KeyTokens.find(AsTransformers(), words)
    ids = np.concatenate(encoder.encode_with_end(texts)).astype(np.int64)
    grid = torch.tensor(ids[: len(ids) // 16 * 16].reshape(-1, 16))
    report = key_token_report(encoder, texts, words, 16, 0.25)
    expected = Counter(keys.window_weights(grid, 0.25).tolist())
    assert {row["weight"]: row["windows"] for row in report["weights"]} == dict(expected)
    assert [(token["ids"], token["counted"]) for token in report["tokens"]] == [
        (token["ids"], token["counted"]) for token in keys.to_list()
    ]
