"""Looks up the texts that people read on the page, in one catalogue: assets/texts.json."""

from __future__ import annotations

import json
from functools import cache

from pipeline.core.paths import ASSETS


@cache
def catalogue() -> dict[str, str]:
    """Every text by its key; `{name}` in a text is filled by the caller."""
    return json.loads((ASSETS / "texts.json").read_text(encoding="utf-8"))


def t(key: str, **values: object) -> str:
    """The text of `key`. Raises KeyError for a key that is not in the catalogue."""
    return catalogue()[key].format(**values)
