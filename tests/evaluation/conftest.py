"""The small model of the generator's tests."""

from tests.generation.conftest import model, tokenizer

__all__ = ["model", "tokenizer"]
