from __future__ import annotations

import pytest

from pipeline.hub.token import read_token, redact


def test_the_token_is_read_without_the_spaces_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", " secret\n")
    assert read_token() == "secret"


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_token_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HF_TOKEN", value)
    assert read_token() is None


def test_the_token_is_taken_out_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert redact("Bearer secret, said twice: secret") == "Bearer [token], said twice: [token]"


def test_what_looks_like_a_token_is_taken_out_even_if_it_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert redact(f"hf_{'x' * 34} in hf_hub") == "[token] in hf_hub"
