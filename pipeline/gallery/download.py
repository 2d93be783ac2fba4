"""A completion as a file to run elsewhere: a Python script or a notebook (nbformat 4.5), with where it comes from.

Prompt and completions are the code. Everything else is a comment that no value can end.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.gallery.example import Example

MEDIA_TYPES = {"py": "text/x-python; charset=utf-8", "ipynb": "application/x-ipynb+json"}
MAX_VALUE = 400
"""Characters of one value in the comment."""
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
REPLACED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True)
class KeptText:
    """What a file is made of."""

    title: str
    prompt: str
    texts: Sequence[str]
    settings: dict[str, Any]
    seed: int
    repo: str
    revision: str
    run: str
    step: int
    link: str = ""
    """Permalink of the example; empty for a completion that is not kept."""

    @classmethod
    def of(cls, example: Example, link: str) -> KeptText:
        names = ("title", "prompt", "texts", "settings", "seed", "repo", "revision", "run", "step")
        return cls(**{name: getattr(example, name) for name in names}, link=link)


def file_of(source: KeptText, kind: str) -> bytes:
    """`kind`: `py` or `ipynb`."""
    return (_notebook if kind == "ipynb" else _script)(source).encode()


def _script(source: KeptText) -> str:
    # The first line, as Python would take `coding: x` in a title for the encoding of the file.
    lines = ["# -*- coding: utf-8 -*-", *(f"# {line}".rstrip() for line in _about(source)), ""]
    return "\n".join(lines) + "\n" + "\n\n".join(_samples(source))


def _notebook(source: KeptText) -> str:
    # An indented block of Markdown is shown as it is.
    about = "\n".join(f"    {line}" for line in _about(source))
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "id": "about", "metadata": {}, "source": _lines(about)}]
    cells += [
        {
            "cell_type": "code",
            "id": f"sample-{number}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": _lines(code.rstrip("\n")),
        }
        for number, code in enumerate(_samples(source))
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _about(source: KeptText) -> list[str]:
    settings = {name: value for name, value in source.settings.items() if name != "seed"}
    facts = [
        ("Title", source.title),
        ("Written by", f"{source.repo}, revision {source.revision}"),
        ("Run", f"{source.run}, step {source.step}" if source.run else ""),
        ("Settings", ", ".join(f"{name} {value}" for name, value in settings.items())),
        ("Seed", source.seed),
        ("Link", source.link),
    ]
    note = "A language model wrote this after the prompt. Read it before you run it."
    return [*(f"{name}: {_on_one_line(value)}" for name, value in facts if value != ""), note]


def _samples(source: KeptText) -> list[str]:
    """The code of each sample; the name of each stands above it when there are several."""
    codes = [_code(source.prompt + text) for text in source.texts]
    if len(codes) == 1:
        return codes
    return [f"# Sample {number + 1}, seed {source.seed + number}\n{code}" for number, code in enumerate(codes)]


def _code(text: str) -> str:
    """`text` with the line ends that Python counts as one, and without characters that no source file may have."""
    text = UNPRINTABLE.sub(REPLACED, text.replace("\r\n", "\n").replace("\r", "\n"))
    return text if text.endswith("\n") else f"{text}\n"


def _on_one_line(value: object) -> str:
    """Whatever ends a line anywhere, is invisible, or turns the direction of the text, is a space."""
    shown = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in str(value)[:MAX_VALUE])
    return " ".join(shown.split())


def _lines(text: str) -> list[str]:
    """Not str.splitlines, which ends a line at more characters than Python's source and notebooks do."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
