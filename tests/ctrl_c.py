"""Starts programs that Ctrl-C ends, also where the tests themselves run in the background and ignore it."""

from __future__ import annotations

import sys

PROGRAM = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def hearing(*command: str) -> list[str]:
    """`command` with the usual effect of SIGINT: a shell cannot undo that its parent ignores it."""
    return [sys.executable, "-c", PROGRAM, *command]
