from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from pipeline.data.tokens.tiktoken_bpe import Unsuited, byte_letters, tokens_in_order

BYTES = byte_letters()


def byte_level(
    merges: list[tuple[str, str]] | None = None, extra: list[str] | None = None, **options: object
) -> Tokenizer:
    """A byte-level BPE like GPT-2's: end-of-text, the 256 bytes, `extra`, and what `merges` lead to."""
    merges = merges or []
    tokens = dict.fromkeys(["<|endoftext|>", *BYTES, *(extra or []), *(first + second for first, second in merges)])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, **options))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    made.encode_special_tokens = True
    return made


def spelled(tokenizer: Tokenizer) -> list[bytes]:
    return [token for token, _ in tokens_in_order(tokenizer)]


def test_letters_of_bytes_are_those_of_tokenizers() -> None:
    assert sorted(BYTES) == sorted(pre_tokenizers.ByteLevel.alphabet())
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    text = "\x00\n aé\u0100\u00ad"
    letters = "".join(piece for piece, _ in cut.pre_tokenize_str(text))
    assert bytes(BYTES[letter] for letter in letters) == text.encode()


def test_bytes_come_first_and_then_tokens_by_number_of_merge() -> None:
    tokens = tokens_in_order(byte_level([("b", "c"), ("a", "b")], extra=["ab", "bc"]))
    assert sorted(token for token, _ in tokens[:256]) == [bytes([byte]) for byte in range(256)]
    assert tokens[256:] == [(b"bc", 258), (b"ab", 257)]


def test_a_token_that_no_merges_lead_to_is_left_out() -> None:
    """A merge makes `abc`, but `bc` is always merged first; no merge makes `xyz` and end-of-text."""
    made = byte_level([("b", "c"), ("a", "b"), ("ab", "c")], extra=["xyz"])
    assert spelled(made)[256:] == [b"bc", b"ab"]


def test_of_two_ways_to_a_token_the_one_that_is_used_counts() -> None:
    """ab+c (listed first) and a+bc make `abc`. bc is merged before ab, so a+bc is used, which ranks after `de`."""
    made = byte_level([("ab", "c"), ("b", "c"), ("a", "b"), ("d", "e"), ("a", "bc")], extra=["ab", "bc"])
    assert spelled(made)[256:] == [b"bc", b"ab", b"de", b"abc"]


@pytest.mark.parametrize("option", [{"dropout": 0.1}, {"ignore_merges": True}, {"byte_fallback": True}])
def test_an_option_that_changes_ids_is_refused(option: dict[str, object]) -> None:
    with pytest.raises(Unsuited, match=next(iter(option))):
        tokens_in_order(byte_level([("a", "b")], **option))


def test_other_pre_tokenizers_are_refused() -> None:
    for other in (
        pre_tokenizers.Whitespace(),
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
    ):
        made = byte_level()
        made.pre_tokenizer = other
        with pytest.raises(Unsuited, match="cuts texts"):
            tokens_in_order(made)
    with pytest.raises(Unsuited, match="cuts texts"):
        tokens_in_order(Tokenizer(models.BPE()))


def test_a_sequence_of_gpt2s_pre_tokenizer_alone_is_accepted() -> None:
    made = byte_level([("a", "b")])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=False)])
    assert spelled(made)[256:] == [b"ab"]


def test_normalizers_post_processors_and_added_tokens_are_refused() -> None:
    made = byte_level()
    made.normalizer = normalizers.NFC()
    with pytest.raises(Unsuited, match="changes texts"):
        tokens_in_order(made)
    made = byte_level()
    made.post_processor = processors.TemplateProcessing(single="$A $A", special_tokens=[])
    with pytest.raises(Unsuited, match="afterwards"):
        tokens_in_order(made)
    made = byte_level()
    made.add_tokens([AddedToken("def", special=False)])
    with pytest.raises(Unsuited, match="not special"):
        tokens_in_order(made)


def test_a_byte_that_is_no_token_is_refused() -> None:
    made = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(Unsuited, match="255 of the 256 bytes"):
        tokens_in_order(made)
