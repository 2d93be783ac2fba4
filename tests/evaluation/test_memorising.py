from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.evaluation import memorising
from pipeline.evaluation.memorising import CONTINUED_TOKENS, GIVEN_TOKENS, known_by_heart
from pipeline.generation.decoder import exact
from tests.generation.models import insist_on, tiny_model


def test_a_model_knows_what_it_always_writes_and_a_part_of_what_begins_so(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    (token_id,) = tokenizer.encode(" import")
    decoder = exact(insist_on(tiny_model(n_positions=256), token_id))
    same = " import" * (GIVEN_TOKENS + CONTINUED_TOKENS)
    half = " import" * (GIVEN_TOKENS + CONTINUED_TOKENS // 2) + "~" * 40
    other = "~" * (GIVEN_TOKENS + CONTINUED_TOKENS + 40)
    assert known_by_heart(decoder, tokenizer, [same]) == {"files": 1, "whole": 1.0, "share": 1.0}
    found = known_by_heart(decoder, tokenizer, [same, half, other, " import"])
    assert (found["files"], found["whole"]) == (3, pytest.approx(1 / 3)), "a short file is left out"
    assert 1 / 3 < float(str(found["share"])) < 2 / 3
    monkeypatch.setattr(memorising, "NUM_FILES", 1)
    assert known_by_heart(decoder, tokenizer, [same, half])["files"] == 1
    assert known_by_heart(decoder, tokenizer, [" import"]) == {"files": 0, "whole": None, "share": None}
