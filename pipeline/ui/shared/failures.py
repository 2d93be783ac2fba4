"""How a failure is reported: an unexpected error by a sentence with a number and a traceback in the log, an expected one by
its sentence and status 400.
"""

from __future__ import annotations

import secrets
import sys
import traceback

from starlette.types import Message, Send

from pipeline.ui.shared.texts import t

REFUSAL = "studio.refusal"
"""Key of the request's ToldRefusal in its ASGI scope."""


class ToldRefusal:
    """Whether one post failed with a message for the user. `telling` then changes Gradio's status 500 to 400."""

    def __init__(self) -> None:
        self.is_told = False

    def telling(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 500 and self.is_told:
                message["status"] = 400
            await send(message)

        return sent


def log_unexpected(error: BaseException) -> str:
    """Write the traceback of `error` into the page's log; returns the sentence for the user."""
    number = secrets.token_hex(4)
    trace = "".join(traceback.format_exception(error))
    print(f"[{number}] {trace}", file=sys.stderr, flush=True)
    return t("failures.unexpected", number=number)
