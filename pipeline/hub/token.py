"""Reads the Hub token (nowhere else in the project does) and redacts it from every text that is stored or printed."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from pipeline.core.credentials import TOKEN as VARIABLE
from pipeline.core.credentials import credential

LOOKS_LIKE_A_TOKEN = re.compile(r"\b(hf|api_org)_[A-Za-z0-9]{20,}")
BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""The syntax of a `Bearer` token in a header (RFC 6750)."""
HIDDEN = "[token]"


def read_token() -> str | None:
    """The token given to this process, else that of `hf auth login`; None when there is none."""
    return (credential(VARIABLE) or "").strip() or _login_token()


def _login_token() -> str | None:
    """Read again each time: somebody may log in while a publisher waits."""
    named = os.environ.get("HF_TOKEN_PATH")
    # Not Path.home, which raises for a user without a home.
    cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))  # noqa: PTH111
    usual = cache / "huggingface" / "token"
    own = Path(os.environ["HF_HOME"]) / "token" if os.environ.get("HF_HOME") else usual
    for path in [Path(named)] if named else [own, usual]:
        with contextlib.suppress(OSError, UnicodeError):
            if token := path.read_text(encoding="utf-8").strip():
                return token
    return None


def is_sendable(token: str) -> bool:
    """Whether a header may contain it. An error would quote an invalid one, escaped so that `redact` misses it."""
    return bool(BEARER.fullmatch(token))


def redact(text: str) -> str:
    """`text` with the token, and anything that looks like one, replaced by HIDDEN."""
    token = read_token()
    if token:
        text = text.replace(token, HIDDEN)
    return LOOKS_LIKE_A_TOKEN.sub(HIDDEN, text)
