from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.hub.token import read_token, redact


def test_the_token_is_read_without_the_spaces_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", " secret\n")
    assert read_token() == "secret"


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_token_is_none(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HF_TOKEN", value)
    monkeypatch.setenv("HF_TOKEN_PATH", "/no/login")
    assert read_token() is None


def test_a_login_is_used_unless_the_variable_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("hf_of_the_login\n")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", "of the variable")
    assert read_token() == "of the variable"
    monkeypatch.delenv("HF_TOKEN")
    assert read_token() == "hf_of_the_login"
    assert redact("Bearer hf_of_the_login") == "Bearer [token]"
    (tmp_path / "token").write_text("hf_of_another_login")
    assert read_token() == "hf_of_another_login"


@pytest.mark.parametrize("variable", ["HF_HOME", "XDG_CACHE_HOME"])
def test_a_login_is_found_where_the_hubs_client_puts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv(variable, str(tmp_path))
    folder = tmp_path if variable == "HF_HOME" else tmp_path / "huggingface"
    folder.mkdir(exist_ok=True)
    assert read_token() is None
    (folder / "token").write_text("hf_of_the_login")
    assert read_token() == "hf_of_the_login"


def test_the_token_is_redacted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert redact("Bearer secret, said twice: secret") == "Bearer [token], said twice: [token]"


def test_what_looks_like_a_token_is_redacted_even_if_it_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert redact(f"hf_{'x' * 34} in hf_hub") == "[token] in hf_hub"
