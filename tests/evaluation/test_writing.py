from __future__ import annotations

from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.evaluation.writing import Wanted, write_all
from pipeline.generation.decoder import exact
from pipeline.generation.ending import LENGTH, LINE, Ending
from pipeline.generation.sampling import complete
from pipeline.generation.settings import Sampling
from tests.generation.models import tiny_model, tiny_tokenizer


def test_the_completions_are_those_of_each_prompt_alone() -> None:
    model, tokenizer = tiny_model(n_positions=128), tiny_tokenizer()
    wanted = [
        Wanted(f"# {number}\nimport", sampling, Ending(f"# {number}\nimport", sampling.stop_at))
        for number in range(9)
        for sampling in [
            Sampling(
                max_new_tokens=8 + number, temperature=1.2, samples=1 + number % 4, stop_at=(LENGTH, LINE)[number % 2]
            )
        ]
    ]
    assert sum(one.sampling.samples for one in wanted) > 16, "more than one batch"
    written = list(write_all(exact(model), tokenizer, iter(wanted)))
    assert written == [complete(model, tokenizer, one.prompt, one.sampling) for one in wanted]


def test_a_prompt_that_leaves_no_position_is_answered_with_nothing() -> None:
    model, tokenizer = tiny_model(n_positions=16), tiny_tokenizer()
    sampling = Sampling(max_new_tokens=4, samples=2)
    prompts = ["import pandas as pd\n" * 20, "import"]
    wanted = [Wanted(prompt, sampling, Ending(prompt, LENGTH)) for prompt in prompts]
    long, short = write_all(exact(model), tokenizer, wanted)
    assert long == ["", ""] and all(short)


def test_nothing_is_written_for_nothing(model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast) -> None:
    assert list(write_all(exact(model), tokenizer, [])) == []
