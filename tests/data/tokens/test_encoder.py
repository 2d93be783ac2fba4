from __future__ import annotations

import base64
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from pipeline.data.tokens import encoder, tiktoken_bpe, tokenizer
from pipeline.data.tokens.encoder import Encoder
from tests.data.examples import code
from tests.data.tokens.test_tiktoken_bpe import BYTES, byte_level

TEXTS = [code(number) for number in range(40)]
WHITE = "".join(map(chr, encoder._WHITE))
HOSTILE = [
    "",
    "\n",
    " ",
    "x",
    "  x",
    " \n x \n ",
    "print('<|endoftext|>')<|endoftext|>",
    "\u0301\u0301 \u0301a\u0301",
    "\x00 \x00\x00  \x00",
    "\x01",
    "a \x01 b \x02\x02  \x01\x01 c",
    "🎉🏽👩‍👩‍👧 🎉  🎉",
    "def f():\r\n\r\n\treturn 1  \r\n",
    "größe = naïve + 変数_1 * переменная",
    WHITE,
    "x".join(WHITE),
    "".join(f"  {white}{white}x {white}" for white in WHITE),
    "it's we'll I'VE 'S 're're ''d",
    "a" * 100_000,
    f"x{' ' * 100_000}x{WHITE * 5_000}y",
    "=" * 50_000 + "1" * 50_000,
    base64.b64encode(random.Random(0).randbytes(100_000)).decode(),
]


def ids_of(own: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [found.ids for found in own.encode_batch_fast(texts, add_special_tokens=False)]


def plain(arrays: list[np.ndarray]) -> list[list[int]]:
    return [ids.tolist() for ids in arrays]


def odd() -> Tokenizer:
    """Ids in random order, tokens that no merges lead to, two ways to the same token."""
    pairs = [("ab", "c"), ("b", "c"), ("a", "b"), ("d", "e"), ("a", "bc"), ("Ġ", "Ġ"), ("ĠĠ", "ĠĠ"), ("Ġ", "a")]
    pairs += [
        ("a", "a"),
        ("aa", "a"),
        ("a", "aa"),
        ("Ċ", "Ġ"),
        ("c", "d"),
        ("bc", "de"),
        ("b", "cd"),
        ("Ã", "©"),
        ("bc", "d"),
    ]
    tokens = ["<|endoftext|>", *BYTES, "xyz", "Ġabcde", *(first + second for first, second in pairs)]
    shuffled = random.Random(1).sample(sorted(set(tokens)), len(set(tokens)))
    made = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate(shuffled)}, merges=pairs))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(["<|endoftext|>"])
    made.encode_special_tokens = True
    return made


def trained() -> Tokenizer:
    made = tokenizer.train(iter([*TEXTS, *HOSTILE[:18]] * 3), 600)
    made.encode_special_tokens = True
    return made


OWN = {"trained": trained(), "odd": odd()}
ENCODERS = {name: Encoder(own, own.token_to_id("<|endoftext|>")) for name, own in OWN.items()}


@pytest.mark.parametrize("name", OWN)
def test_hostile_texts_have_the_ids_of_the_tokenizer(name: str) -> None:
    assert (ENCODERS[name].kind, ENCODERS[name].why) == ("tiktoken", "")
    assert plain(ENCODERS[name].encode([*HOSTILE, *TEXTS])) == ids_of(OWN[name], [*HOSTILE, *TEXTS])


@pytest.mark.parametrize("character", "a \n")
def test_a_million_times_the_same_character_has_the_ids_of_the_tokenizer(character: str) -> None:
    """tiktoken panics at so much white space if its expression has a look-ahead."""
    text = character * 1_000_000
    assert plain(ENCODERS["trained"].encode([text])) == ids_of(OWN["trained"], [text])


PARTS = st.sampled_from(
    [
        *"abcdexyzé1_='\"\n\r\t  \x00\x01\x02\x0b\x1c\x85\u00a0\u00ad\u0301\u200b\u2028\u3000\ufeff٣²日🎉",
        "  ",
        "    ",
        "\n        ",
        "<|endoftext|>",
        "'ll",
        "abcde",
        " abc",
        "\r\n",
    ]
) | st.characters(exclude_categories=["Cs"])


@pytest.mark.parametrize("name", OWN)
@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.lists(PARTS, max_size=30).map("".join), max_size=6))
def test_any_texts_have_the_ids_of_the_tokenizer(name: str, texts: list[str]) -> None:
    assert plain(ENCODERS[name].encode(texts)) == ids_of(OWN[name], texts)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_list_of_merges_gives_the_ids_of_the_tokenizer(data: st.DataObject) -> None:
    """Merges that no training gives: in any order, with dead ends, two ways to one token and the same line twice."""
    tokens, pairs = list("abc"), []
    for _ in range(data.draw(st.integers(0, 14))):
        first, second = data.draw(st.sampled_from(tokens)), data.draw(st.sampled_from(tokens))
        if len(first + second) <= 8:
            tokens.append(first + second)
            pairs.append((first, second))
    own = byte_level(data.draw(st.permutations(pairs)))
    encoder = Encoder(own, 0, num_threads=1)
    assert encoder.kind == "tiktoken"
    texts = data.draw(st.lists(st.text("abc ", max_size=40), max_size=8))
    assert plain(encoder.encode(texts)) == ids_of(own, texts)


@pytest.mark.slow
def test_every_character_falls_in_the_same_class_for_both() -> None:
    """A merge joins each byte to the character before it, and is applied only where both are in the same word."""
    own = byte_level([(before, letter) for before in "a1!ĠĊ" for letter in BYTES] + [("Ċ", "ĠĠ")])
    encoder = Encoder(own, 0)
    assert encoder.kind == "tiktoken"
    letters = [chr(code) for code in range(0x110000) if is_tried(code)]
    for start in range(0, len(letters), 50_000):
        texts = [
            "".join(f"a{c}a 1{c}1 !{c}! \n{c}x {c}" for c in letters[first : first + 100] if c not in "\x01\x02")
            for first in range(start, min(start + 50_000, len(letters)), 100)
        ]
        assert plain(encoder.encode(texts)) == ids_of(own, texts)


def is_tried(code: int) -> bool:
    """All of the planes that have characters, and each 97th code of the others: unassigned or for private use."""
    has_characters = code < 0x40000 or 0xE0000 <= code < 0xF0000
    return (has_characters or code % 97 == 0) and not 0xD800 <= code < 0xE000


def test_each_text_is_followed_by_the_given_end_id() -> None:
    encoder = Encoder(OWN["trained"], 77)
    found = encoder.encode_with_end(["", "x", "\x01", "é"])
    assert plain(found) == [[*ids, 77] for ids in ids_of(OWN["trained"], ["", "x", "\x01", "é"])]
    assert {ids.dtype for ids in found} == {np.dtype("uint16")}


def test_no_texts_give_no_ids() -> None:
    assert ENCODERS["trained"].encode([]) == []


def test_texts_in_many_chunks_and_threads_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "CHUNK_CHARACTERS", 50)
    texts = [f"{number} {'é' * (number % 3)}\n" * (number % 7) for number in range(300)]
    expected = ids_of(OWN["trained"], texts)
    for num_threads in (1, 4):
        assert plain(Encoder(OWN["trained"], 0, num_threads=num_threads).encode(texts)) == expected


def unsuited() -> dict[str, Tokenizer]:
    words = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "[UNK]": 1, "def": 2, "x": 3}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    metaspace = Tokenizer(
        models.BPE(vocab={"[UNK]": 0, "▁": 1, "x": 2, "▁x": 3}, merges=[("▁", "x")], unk_token="[UNK]")
    )
    metaspace.pre_tokenizer = pre_tokenizers.Metaspace()
    prefixed = byte_level([("Ġ", "x")])
    prefixed.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return {"words": words, "metaspace": metaspace, "prefixed": prefixed}


@pytest.mark.parametrize("name", unsuited())
def test_another_kind_of_tokenizer_encodes_by_itself(name: str) -> None:
    own, texts = unsuited()[name], ["def x", "", "x  x\x01", *TEXTS[:3]]
    encoder = Encoder(own, 0)
    assert encoder.kind == "tokenizers"
    assert encoder.why
    assert plain(encoder.encode(texts)) == ids_of(own, texts)


def test_tiktoken_is_not_used_if_it_gives_other_ids_for_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "PIECES", r"\s+|\S+")
    made = Encoder(OWN["trained"], 0)
    assert (made.kind, made.why) == ("tokenizers", "tiktoken makes other ids of a sample")
    assert plain(made.encode(TEXTS)) == ids_of(OWN["trained"], TEXTS)


def test_more_than_65536_ids_take_four_bytes() -> None:
    own = byte_level(extra=[f"unused{number}" for number in range(65_600)])
    encoder = Encoder(own, 0)
    assert (encoder.kind, encoder.vocab_size) == ("tiktoken", 65_857)
    assert encoder.encode(["x"])[0].dtype == np.uint32


def test_it_opens_the_folder_of_a_corpus(tmp_path: Path) -> None:
    tokenizer.save_trained(OWN["trained"], tmp_path)
    encoder = Encoder.open(tmp_path)
    assert (encoder.end_id, encoder.vocab_size) == (0, OWN["trained"].get_vocab_size())
    assert plain(encoder.encode(TEXTS)) == ids_of(OWN["trained"], TEXTS)


def test_tiktoken_gets_only_the_tokens_that_merges_lead_to() -> None:
    """The control: with the whole vocabulary of the odd tokenizer it would give other ids."""
    assert b"xyz" not in dict(tiktoken_bpe.tokens_in_order(OWN["odd"]))
    assert plain(ENCODERS["odd"].encode(["xyz"])) != [[OWN["odd"].token_to_id("xyz")]]
