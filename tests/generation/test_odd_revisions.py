"""Revisions with a valid manifest but malformed files: each gives a one-sentence error; the process continues."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import DamagedError
from pipeline.generation.loading import load
from pipeline.generation.sampling import complete
from pipeline.generation.settings import Sampling
from tests.generation.conversation import Conversation, is_final
from tests.generation.models import seal

Change = Callable[[Path], None]
CATASTROPHIC = r"(\w+\s?)+\."


def set_in(name: str, **values: Any) -> Change:
    """Sets values in the JSON file `name`."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def config(**values: Any) -> Change:
    return set_in("config.json", **values)


def tokenizer(**values: Any) -> Change:
    return set_in("tokenizer.json", **values)


def model_of_tokenizer(**values: Any) -> Change:
    def change(folder: Path) -> None:
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        tokenizer(model={**model, **values})(folder)

    return change


def text_in(name: str, text: str) -> Change:
    return lambda folder: folder.joinpath(name).write_text(text) and None


def weights(**values: torch.Tensor) -> Change:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file({**load_file(path), **values}, path)

    return change


def header(**values: Any) -> Change:
    """Replaces the weights by a safetensors file with this header and no data."""

    def change(folder: Path) -> None:
        text = json.dumps(values).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)

    return change


def own_code(folder: Path) -> None:
    (folder / "own.py").write_text("raise SystemExit('code of the revision ran')\n")
    config(auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})(folder)


def token(number: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": number, "content": content, **flags}


def split(pattern: dict[str, str]) -> dict[str, Any]:
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


HUGE = {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 0]}
ODD: dict[str, Change] = {
    "attention from the Hub": config(attn_implementation="somebody/kernel"),
    "attention that is not installed": config(attn_implementation="flash_attention_2"),
    "attention by its inner name": config(_attn_implementation="flash_attention_3"),
    "attention that is an object": config(_attn_implementation={"": "sdpa"}),
    "bitsandbytes": config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}),
    "gptq": config(quantization_config={"quant_method": "gptq", "bits": 4}),
    "an unknown quantizer": config(quantization_config={"quant_method": "own"}),
    "code of its own": own_code,
    "code from elsewhere": config(auto_map={"AutoModelForCausalLM": "somebody/repo--own.Model"}),
    "an unknown type of model": config(model_type="own"),
    "another type of model": config(model_type="llama"),
    "a type of model that is a list": config(model_type=["gpt2"]),
    "another architecture": config(architectures=["LlamaForCausalLM"]),
    "two architectures": config(architectures=["GPT2LMHeadModel", "GPT2DoubleHeadsModel"]),
    "an odd dtype": config(torch_dtype="float128"),
    "a dtype that is a list": config(dtype=["float32"]),
    "a dtype that is a module": config(torch_dtype="os.system"),
    "a billion layers": config(n_layer=10**9),
    "a hundred layers": config(n_layer=100),
    "a billion positions": config(n_positions=10**9),
    "a million positions": config(n_positions=1_000_000),
    "a huge vocabulary": config(vocab_size=4_000_000),
    "a vocabulary of no number": config(vocab_size=float("nan")),
    "a vocabulary beyond any machine": config(vocab_size=10**30),
    "no layers": config(n_layer=0),
    "a negative width": config(n_embd=-32),
    "layers that are a text": config(n_layer="2"),
    "layers that are true": config(n_layer=True),
    "heads that do not divide": config(n_head=3),
    "no heads": config(n_head=0),
    "a huge inner width": config(n_inner=10**12),
    "an unknown activation": config(activation_function="os.system"),
    "an epsilon that is a text": config(layer_norm_epsilon="tiny"),
    "cross attention": config(add_cross_attention=True),
    "pruned heads": config(pruned_heads={"0": [0]}),
    "another head": config(tie_word_embeddings=False),
    "a config that is a list": text_in("config.json", "[]"),
    "a config that is deep": text_in("config.json", "[" * 100_000),
    "a config that is long": text_in("config.json", '{"a": "' + "x" * 2_000_000 + '"}'),
    "a config that is no text": lambda folder: folder.joinpath("config.json").write_bytes(b"\xff\xfe\x00") and None,
    "weights of integers": weights(**{"transformer.ln_f.bias": torch.zeros(32, dtype=torch.int64)}),
    "weights of another width": weights(**{"transformer.ln_f.bias": torch.zeros(33)}),
    "a header of exabytes": header(**{"transformer.wte.weight": HUGE}),
    "a header of nothing": header(),
    "a file that is no safetensors": text_in("model.safetensors", "import os"),
    "a tokenizer of another kind": model_of_tokenizer(type="WordPiece"),
    "a tokenizer with dropout": model_of_tokenizer(dropout=0.5),
    "a tokenizer without a vocabulary": model_of_tokenizer(vocab=None),
    "a vocabulary that is too large": model_of_tokenizer(vocab={f"t{n}": n for n in range(600)}, merges=[]),
    "ids beyond the model": model_of_tokenizer(vocab={"a": 10**9}, merges=[]),
    "ids below zero": model_of_tokenizer(vocab={"a": -1}, merges=[]),
    "merges of nothing": model_of_tokenizer(merges=[["no", "such"]]),
    "a token of a megabyte": model_of_tokenizer(vocab={"x" * 2**20: 1}, merges=[]),
    "a catastrophic regex": tokenizer(pre_tokenizer=split({"Regex": CATASTROPHIC})),
    "a catastrophic regex inside": tokenizer(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split({"Regex": CATASTROPHIC})]}
    ),
    "a regex that normalizes": tokenizer(
        normalizer={"type": "Replace", "pattern": {"Regex": CATASTROPHIC}, "content": "x"}
    ),
    "a replacement that grows": tokenizer(
        normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10_000}
    ),
    "a pre-tokenizer of its own": tokenizer(pre_tokenizer={"type": "Custom"}),
    "a normalizer of a map": tokenizer(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "a pre-tokenizer that is a text": tokenizer(pre_tokenizer="ByteLevel"),
    "very many added tokens": tokenizer(added_tokens=[token(n, f"<{n}>") for n in range(50_000)]),
    "more added tokens than ids": tokenizer(added_tokens=[token(n, f"<{n}>") for n in range(512, 900)]),
    "a long added token": tokenizer(added_tokens=[token(0, "x" * 100_000)]),
    "an added token that is empty": tokenizer(added_tokens=[token(0, "")]),
    "added tokens that are an object": tokenizer(added_tokens={"a": 1}),
    "a tokenizer that is a list": text_in("tokenizer.json", "[]"),
    "a tokenizer that is empty": text_in("tokenizer.json", "{}"),
    "a tokenizer that is deep": text_in("tokenizer.json", "[" * 100_000),
    "an end of text that is no token": set_in("tokenizer_config.json", eos_token="<none>"),
    "an end of text that is a list": set_in("tokenizer_config.json", eos_token=["<|endoftext|>"]),
    "a tokenizer's config that is a list": text_in("tokenizer_config.json", "[]"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_an_odd_revision_is_refused_in_one_sentence(copy: Path, change: Change) -> None:
    change(copy)
    seal(copy)
    with pytest.raises(DamagedError, match=r"\A[^\n]{1,700}\.\Z"):
        load(copy)


HARMLESS: dict[str, Change] = {
    "as it was": lambda folder: None,
    "a tokenizer class of its own": set_in(
        "tokenizer_config.json", tokenizer_class="OwnTokenizer", auto_map={"a": "b"}
    ),
    "a chat template": set_in("tokenizer_config.json", chat_template="{{ cycler.__init__.__globals__.os.abort() }}"),
    "a slow way to generate": set_in(
        "generation_config.json",
        num_beams=500,
        max_time=0.0,
        custom_generate="own",
        bad_words_ids=[[0]],
        eos_token_id=5,
    ),
    "a broken way to generate": text_in("generation_config.json", "["),
    "an adapter": text_in("adapter_config.json", '{"base_model_name_or_path": "somebody/else"}'),
    "padding without end": tokenizer(
        padding={
            "strategy": {"Fixed": 10**9},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "x",
        }
    ),
    "the regex of GPT-2": tokenizer(
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                split(
                    {
                        "Regex": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
                    }
                ),
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        }
    ),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_is_not_read_changes_nothing(revision: Revision, copy: Path, change: Change) -> None:
    """The control: a changed and sealed revision loads and generates the same text as the original."""
    change(copy)
    seal(copy)
    sampling = Sampling(max_new_tokens=8, temperature=1.5, top_p=1)
    prompt = "import pandas as pd\n"
    assert complete(*load(copy), prompt, sampling) == complete(*load(revision.path), prompt, sampling)


@pytest.mark.slow
def test_the_process_answers_the_next_request(talk: Conversation, revision: Revision, copy: Path) -> None:
    kept = {path.name: path.read_bytes() for path in copy.iterdir()}
    odd = [
        "attention from the Hub",
        "bitsandbytes",
        "a million positions",
        "a catastrophic regex",
        "ids beyond the model",
    ]
    for number, name in enumerate(odd, start=1):
        ODD[name](copy)
        seal(copy)
        talk.ask(number, copy)
        end = talk.hear_until(is_final)[-1]
        assert end["exit_status"] == 1 and "cannot be loaded" in end["error"]
        for path, content in kept.items():
            (copy / path).write_bytes(content)
    talk.ask(99, revision.path)
    assert talk.hear_until(is_final)[-1] == {"id": 99, "done": True}
    assert "Traceback" not in talk.log.read_text()
