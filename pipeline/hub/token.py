"""The Hub token: read here and nowhere else, and taken out of every text that is written down."""

from __future__ import annotations

import os
import re

VARIABLE = "HF_TOKEN"
LOOKS_LIKE_A_TOKEN = re.compile(r"\b(hf|api_org)_[A-Za-z0-9]{20,}")
HIDDEN = "[token]"


def read_token() -> str | None:
    """The token of this process's environment; None when there is none."""
    return os.environ.get(VARIABLE, "").strip() or None


def redact(text: str) -> str:
    """`text` without the token, and without anything that looks like one."""
    token = read_token()
    if token:
        text = text.replace(token, HIDDEN)
    return LOOKS_LIKE_A_TOKEN.sub(HIDDEN, text)
