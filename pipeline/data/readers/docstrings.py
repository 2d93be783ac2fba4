"""The examples in the docstrings of a Python file: the lines behind `>>>`, each piece below the sentence that stands above
it, as a comment. So a library's documentation reads like the programs that people write.

The file is not parsed, so its text may be anything.
"""

from __future__ import annotations

import re

PROMPT = re.compile(r"\s*(>>>|\.\.\.)(?: (.*))?")
NO_SENTENCE = re.compile(r"[-=~^#*+.\s]*|examples?:?|\.\. .*|:\w+:.*", re.IGNORECASE)
"""Underlines, the heading of the section, directives and fields of reStructuredText."""
QUOTES = re.compile(r"[rRuU]?(\"\"\"|''')")
MAX_COMMENT_LINES = 3
"""A longer paragraph speaks of more than the example below it."""


def examples_in(content: str) -> str:
    """Empty when there are none."""
    lines: list[str] = []
    paragraph: list[str] = []
    """The lines above, perhaps with an empty one between them and the code."""
    is_code = is_output = False
    """What the line above is: code, or what that printed."""
    for line in content.splitlines():
        found = PROMPT.fullmatch(line)
        if found and (found[1] == ">>>" or is_code):
            if not (is_code or is_output):
                lines += ["", *_comment(paragraph)]
            lines.append((found[2] or "").rstrip())
            paragraph, is_code, is_output = [], True, False
        elif not line.strip():
            is_code = is_output = False
            paragraph.append("")
        elif is_code or is_output:
            is_code, is_output = False, True
        else:
            if paragraph and not paragraph[-1]:
                paragraph = []
            paragraph.append(line.strip())
    return "\n".join(lines).strip("\n") + "\n" if any(lines) else ""


def _comment(paragraph: list[str]) -> list[str]:
    lines = [line for line in paragraph if not NO_SENTENCE.fullmatch(line)]
    if len(lines) > MAX_COMMENT_LINES or any(QUOTES.search(line) for line in lines):
        return []
    return [f"# {line}" for line in lines]
