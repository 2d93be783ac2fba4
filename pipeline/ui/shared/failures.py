"""What went wrong for a reason that nobody expected: the log gets the traceback, people a sentence with the number to find it by."""

from __future__ import annotations

import secrets
import sys
import traceback

from pipeline.ui.shared.texts import t


def log_unexpected(error: BaseException) -> str:
    """Write the traceback of `error` into the page's log; returns the sentence for whoever asked."""
    number = secrets.token_hex(4)
    told = "".join(traceback.format_exception(error))
    print(f"[{number}] {told}", file=sys.stderr, flush=True)
    return t("failures.unexpected", number=number)
