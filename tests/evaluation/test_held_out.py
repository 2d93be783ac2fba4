from __future__ import annotations

import math
from typing import Any

import pytest
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.evaluation import held_out
from pipeline.evaluation.held_out import NextLine, figures, guessed, imports, next_lines
from pipeline.generation.decoder import exact
from pipeline.generation.scoring import score
from tests.generation.models import insist_on, tiny_model

FILE = '''"""A docstring
of two lines."""
import numpy as np

# a comment
def f(x):
    """What it does."""
    y = (x +
         1)

    return y
x = f(
    1,
)
'''


def test_only_first_lines_of_statements_are_guessed_with_all_that_stands_before() -> None:
    found = next_lines([FILE, "def broken(:\n"])
    assert [one.line for one in found] == ["def f(x):", "    y = (x +", "    return y", "x = f("]
    assert found[0].context == FILE[: FILE.index("def f")]
    assert all(FILE.startswith(one.context + one.line) for one in found)


def test_the_lines_are_drawn_with_a_seed_and_never_too_long() -> None:
    texts = ["\n".join(f"x{number} = {at}" for at in range(50)) for number in range(9)]
    found = next_lines(texts, number=20)
    assert len(found) == 20 and found == next_lines(texts, number=20) != next_lines(texts, number=20, seed=1)
    assert next_lines(["a = 1\n" * 3 + f"x = {'1' * 200}\n"]) == []


@pytest.mark.parametrize(
    ("text", "is_import"),
    [
        ("import numpy", True),
        ("x\n  from numpy.linalg import norm", True),
        ("import numpydoc", False),
        ("# numpy", False),
    ],
)
def test_a_library_is_imported(text: str, is_import: bool) -> None:
    assert imports(text, "numpy") == is_import


def test_figures_are_those_of_the_score(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    decoder = exact(model)
    texts = ["import numpy as np\nx = np.ones(3)\n", "import pandas\n"]
    found = figures(decoder, tokenizer, texts, window=decoder.positions)
    scores = [score(decoder, tokenizer, text) for text in texts]
    nats = sum(each["loss"] * each["tokens_scored"] for each in scores)
    assert found["tokens"] == sum(each["tokens_scored"] for each in scores)
    assert found["loss"] == pytest.approx(nats / found["tokens"])  # type: ignore[operator]
    num_bytes = sum(len(text.encode()) - len(tokenizer.decode(tokenizer.encode(text)[0])) for text in texts)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / num_bytes)
    by_library = found["loss_by_library"]
    assert by_library == {
        "numpy": pytest.approx(scores[0]["loss"]),
        "pandas": pytest.approx(scores[1]["loss"]),
    }
    bits: Any = found["bits_per_byte_by_library"]
    bytes_of_numpy = len(texts[0].encode()) - len(tokenizer.decode(tokenizer.encode(texts[0])[0]))
    nats_of_numpy = scores[0]["loss"] * scores[0]["tokens_scored"]
    assert bits["numpy"] == pytest.approx(nats_of_numpy / math.log(2) / bytes_of_numpy)
    assert found["digest"] == figures(decoder, tokenizer, texts, window=8)["digest"]
    assert found["digest"] != figures(decoder, tokenizer, texts[:1], window=8)["digest"]


def test_a_line_that_the_model_knows_is_exact_and_others_are_compared(tokenizer: PreTrainedTokenizerFast) -> None:
    (newline,) = tokenizer.encode("\n")
    (token_id,) = tokenizer.encode(" import")
    decoder = exact(insist_on(tiny_model(n_positions=512), token_id))
    always = " import" * held_out.LINE_TOKENS
    lines = [NextLine("x\n", always), NextLine("x\n", always[:-1]), NextLine("x\n", "~")]
    found = guessed(decoder, tokenizer, lines, window=512)
    assert (found["lines"], found["exact"]) == (3, pytest.approx(1 / 3))
    assert found["similarity"] == pytest.approx(2 / 3, abs=0.01)
    assert newline != token_id


def test_blank_lines_before_the_next_line_do_not_count() -> None:
    ends = held_out._FirstLine()
    assert ends.shown("\n\nx = 1") == ("x = 1", False)
    assert ends.shown("\n\nx = 1\ny") == ("x = 1", True)
    assert ends.shown("\n") == ("", False)
