"""Names of repos as the Hub allows them."""

from __future__ import annotations

import re

_PART = r"\w(?:[\w.-]{0,94}\w)?"
REPO = re.compile(rf"(?![\w./-]*(?:--|\.\.)){_PART}(?:/{_PART})?", re.ASCII)
"""`name` or `owner/name`; `./name` does not match, as it is a path."""
MAX_CHARACTERS = 96
"""Of owner and name together."""
HOW = "write it as owner/name, of letters, digits, hyphens, dots and underscores"


def is_owned(name: str) -> bool:
    """Whether it is `owner/name`, and the Hub would create a repo of that name."""
    is_name = "/" in name and REPO.fullmatch(name) is not None
    return is_name and len(name) <= MAX_CHARACTERS and not name.endswith((".git", ".ipynb"))
