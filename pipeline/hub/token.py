"""The Hub token: read here and nowhere else, and taken out of every text that is written down."""

from __future__ import annotations

import re

from pipeline.core.credentials import TOKEN as VARIABLE
from pipeline.core.credentials import credential

LOOKS_LIKE_A_TOKEN = re.compile(r"\b(hf|api_org)_[A-Za-z0-9]{20,}")
BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""What may follow `Bearer` in a header (RFC 6750)."""
HIDDEN = "[token]"


def read_token() -> str | None:
    """The token that this process was given; None when there is none."""
    return (credential(VARIABLE) or "").strip() or None


def is_sendable(token: str) -> bool:
    """Whether it fits into a header. One that does not would be quoted, escaped past recognition, in an error."""
    return bool(BEARER.fullmatch(token))


def redact(text: str) -> str:
    """`text` without the token, and without anything that looks like one."""
    token = read_token()
    if token:
        text = text.replace(token, HIDDEN)
    return LOOKS_LIKE_A_TOKEN.sub(HIDDEN, text)
