"""The page, with a frame that leaves its worker all names: `python -m tests.browser.weak_frame`, or `... open` where it does
not close the network either. For tests of what the policy alone enforces.
"""

from __future__ import annotations

import sys

from markupsafe import Markup

import app
from pipeline.ui.server import see_frame

NAMES, CLOSING = "delete owner[name]", "  closeNetwork();\n"
source = see_frame._source


def weakened(name: str) -> Markup:
    text = source(name)
    assert NAMES in text or name != "worker.js"
    assert CLOSING in text or name != "frame.js"
    text = text.replace(NAMES, "void name")
    return Markup(text.replace(CLOSING, "") if sys.argv[1:] == ["open"] else text)


if __name__ == "__main__":
    see_frame._source = weakened
    sys.exit(app.main())
