from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline.core.errors import InputError
from pipeline.core.paths import ROOT
from pipeline.data.tokens import tokenizer
from tests.data.dataset_hub import DatasetHub
from tests.data.examples import code

TEXTS = [code(number) for number in range(40)]
ODD = "naïve 'quotes'\t\n\n    def f():\r\n  日本 <|endoftext|> 🎉  "


def trained(folder: Path, vocab_size: int = 300) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_trained(tokenizer.train(iter(TEXTS), vocab_size), folder)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def run_python(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_vocabulary_has_exactly_the_size_asked_for(tmp_path: Path) -> None:
    loaded, end_id = tokenizer.load(trained(tmp_path, 300))
    assert tokenizer.vocabulary_size(loaded) == 300
    assert loaded.id_to_token(end_id) == tokenizer.END_OF_TEXT


def test_a_text_too_small_for_the_vocabulary_gives_a_smaller_one(tmp_path: Path) -> None:
    assert 257 <= tokenizer.vocabulary_size(tokenizer.load(trained(tmp_path, 4_096))[0]) < 4_096


def test_any_text_comes_back_unchanged_even_with_the_smallest_vocabulary(tmp_path: Path) -> None:
    loaded, _ = tokenizer.load(trained(tmp_path, 257))
    assert tokenizer.vocabulary_size(loaded) == 257
    assert loaded.decode(loaded.encode(ODD).ids) == ODD


def with_holes(text: str = "abc def import pandas") -> Tokenizer:
    """Byte-level without the alphabet of bytes: characters that it has not seen vanish."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator([text] * 10, trainers.BpeTrainer(vocab_size=300))
    return made


def of_words() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"[UNK]": 0, "import": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


@pytest.mark.parametrize("make", [with_holes, of_words])
def test_a_tokenizer_that_cannot_write_the_text_back_is_refused_with_an_example(make: Callable[[], Tokenizer]) -> None:
    with pytest.raises(
        InputError, match=r"'mine' writes back only \d+% of the text, for example 'import pandas as pd'"
    ):
        tokenizer.check_round_trip(make(), TEXTS, "mine")


def test_the_share_of_text_that_is_written_back_is_measured_by_line() -> None:
    made = with_holes("import pandas\n")
    assert tokenizer.check_round_trip(made, ["import pandas\n" * 19 + "import numpys\n"], "mine") == 0.95
    assert tokenizer.check_round_trip(made, [], "mine") == 1
    assert tokenizer.check_round_trip(tokenizer.train(iter(TEXTS), 257), [ODD, *TEXTS], None) == 1


def test_the_same_texts_make_the_same_tokenizer(tmp_path: Path) -> None:
    first, second = trained(tmp_path / "a"), trained(tmp_path / "b")
    assert (first / "tokenizer.json").read_bytes() == (second / "tokenizer.json").read_bytes()


@pytest.mark.slow
def test_transformers_loads_it_and_gives_the_same_ids(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    answer = json.loads(
        run_python(
            """
import json, sys
from transformers import AutoTokenizer
loaded = AutoTokenizer.from_pretrained(sys.argv[1])
print(json.dumps({
    "class": type(loaded).__name__, "fast": loaded.is_fast, "length": len(loaded), "longest": loaded.model_max_length,
    "special": [loaded.bos_token, loaded.eos_token], "end": loaded.eos_token_id,
    "ids": loaded(sys.argv[2], split_special_tokens=True)["input_ids"],
    "text": loaded.decode(loaded(sys.argv[2], split_special_tokens=True)["input_ids"]),
}))
""",
            str(folder),
            ODD,
        )
    )
    loaded, end_id = tokenizer.load(folder)
    assert answer == {
        "class": "GPT2Tokenizer",
        "fast": True,
        "length": 300,
        "longest": 1_024,
        "special": ["<|endoftext|>"] * 2,
        "end": end_id,
        "ids": loaded.encode(ODD).ids,
        "text": ODD,
    }


def test_a_given_folder_is_copied_without_references_to_code(tmp_path: Path) -> None:
    given, target = trained(tmp_path / "given"), tmp_path / "corpus"
    change_config(given, auto_map={"AutoTokenizer": ["evil.py", None]}, eos_token={"content": "<|endoftext|>"})
    target.mkdir()
    tokenizer.save_given(str(given), target)
    config = json.loads((target / "tokenizer_config.json").read_text())
    assert "auto_map" not in config
    assert config["eos_token"] == "<|endoftext|>"
    assert (target / "tokenizer.json").read_bytes() == (given / "tokenizer.json").read_bytes()
    assert tokenizer.load(target)[1] == 0


def test_a_tokenizer_with_dropout_is_refused(tmp_path: Path) -> None:
    folder, target = trained(tmp_path / "given"), tmp_path / "corpus"
    target.mkdir()
    given = json.loads((folder / "tokenizer.json").read_text())
    given["model"]["dropout"] = 0.5
    (folder / "tokenizer.json").write_text(json.dumps(given))
    with pytest.raises(InputError, match=r"has dropout 0\.5, .* set dropout to null in its tokenizer\.json\."):
        tokenizer.save_given(str(folder), target)


def test_truncation_and_padding_of_a_given_tokenizer_are_disabled(tmp_path: Path) -> None:
    folder = trained(tmp_path)
    cutting = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cutting.enable_truncation(3)
    cutting.enable_padding(length=50)
    cutting.save(str(folder / "tokenizer.json"))
    assert len(cutting.encode("x").ids) == 50, "control"
    loaded, _ = tokenizer.load(folder)
    assert loaded.decode(loaded.encode(ODD).ids) == ODD


@pytest.mark.parametrize(
    ("name", "words"), [("no such/tokenizer/at all", "There is no tokenizer"), ("", "There is no tokenizer")]
)
def test_an_impossible_name_is_refused(name: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        tokenizer.save_given(name or "a b", tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "./missing",
        "../missing",
        "/missing",
        "~/missing",
        "~nobody/x",
        r"a\b",
        "a b",
        "a/b/c",
        "a--b",
        "a..b",
        "x" * 300,
    ],
)
def test_a_path_that_is_no_folder_is_not_taken_for_a_name_on_the_hub(name: str, tmp_path: Path) -> None:
    """There is no network: a request to the Hub would raise an error of the Hub."""
    for refuse in (lambda: tokenizer.check_tokenizer(name), lambda: tokenizer.save_given(name, tmp_path)):
        with pytest.raises(InputError, match="There is no tokenizer"):
            refuse()


def test_a_possible_tokenizer_passes_the_check_and_an_empty_folder_does_not(tmp_path: Path) -> None:
    for name in ("gpt2", "huggingface-course/code-search-net-tokenizer", "a/b_c.d", str(trained(tmp_path / "given"))):
        tokenizer.check_tokenizer(name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no readable tokenizer\.json"):
        tokenizer.check_tokenizer(str(tmp_path / "empty"))


def test_a_folder_without_a_usable_tokenizer_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "corpus"
    target.mkdir()
    with pytest.raises(InputError, match=r"no readable tokenizer\.json"):
        tokenizer.save_given(str(target), target)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        tokenizer.save_given(str(tmp_path), target)
    Tokenizer(models.BPE(vocab={"a": 0}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="no end-of-text token"):
        tokenizer.save_given(str(tmp_path), target)


@pytest.mark.slow
def test_a_tokenizer_comes_from_the_hub_without_a_token(tmp_path: Path) -> None:
    given, target = trained(tmp_path / "given"), tmp_path / "corpus"
    target.mkdir()
    files = {name: (given / name).read_bytes() for name in ("tokenizer.json", "tokenizer_config.json")}
    script = """
import sys
from pathlib import Path
from pipeline.data.tokens.tokenizer import save_given
from pipeline.core.errors import PipelineError
try:
    save_given(sys.argv[1], Path(sys.argv[2]))
    print("saved")
except PipelineError as error:
    print(error.exit_status, error)
"""
    with DatasetHub({"me/tokenizer": files, "me/empty": {"README.md": b""}}) as hub:
        environment = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "cache"), "HF_TOKEN": "hf_secret"}
        assert run_python(script, "me/tokenizer", str(target), **environment) == "saved"
        assert run_python(script, "me/empty", str(target), **environment).startswith(
            "2 Tokenizer 'me/empty' (tokenizer.json): "
        )
        assert "no such public repository" in run_python(script, "me/missing", str(target), **environment)
        assert not hub.tokens
    assert run_python(script, "me/other", str(target), **environment).startswith(
        "1 Tokenizer 'me/other' (tokenizer.json) could not be read"
    )
    assert tokenizer.load(target)[0].encode(ODD).ids == tokenizer.load(given)[0].encode(ODD).ids
