"""A completion as a file to run elsewhere: a Python script or a notebook (nbformat 4.5), with where it comes from.

Prompt and completions are the code. Everything else is a comment that no value can end.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.core.text import UNSEEN, with_unseen_shown
from pipeline.gallery.example import Example

MEDIA_TYPES = {"py": "text/x-python; charset=utf-8", "ipynb": "application/x-ipynb+json"}
MAX_VALUE = 400
"""Characters of one value in the comment."""
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
MAX_PLACES = 20
"""Lines that the comment names for characters that are not seen. It counts the others."""
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
    about, code = _about(source), "\n\n".join(_samples(source))
    start = len(about) + 4  # after the encoding, the warning and a blank line
    about = [*_warning((f"line {number}", line) for number, line in enumerate(code.split("\n"), start)), *about]
    lines = ["# -*- coding: utf-8 -*-", *(f"# {line}".rstrip() for line in about), ""]
    return "\n".join(lines) + "\n" + code


def _notebook(source: KeptText) -> str:
    # An indented block of Markdown is shown as it is.
    samples = _samples(source)
    places = (
        (f"line {number} of cell {cell}", line)
        for cell, code in enumerate(samples, 1)
        for number, line in enumerate(code.split("\n"), 1)
    )
    about = "\n".join(f"    {line}" for line in [*_warning(places), *_about(source)])
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
        for number, code in enumerate(samples)
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


def _warning(places: Iterable[tuple[str, str]]) -> list[str]:
    """A line that names what a reader of the code does not see, which stays as it is; none when all is seen. `places`: each
    line of the code and where it stands.
    """
    found = [
        f"{place}: {' '.join(f'U+{ord(letter):04X}' for letter in sorted(letters))}"
        for place, line in places
        if (letters := set("".join(UNSEEN.findall(line))))
    ]
    if not found:
        return []
    more = f"; and {len(found) - MAX_PLACES} more" if len(found) > MAX_PLACES else ""
    what = "CAUTION: an editor may show this code as other code than what runs. It has characters that are not seen"
    return [f"{what} ({'; '.join(found[:MAX_PLACES])}{more})."]


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
    """What is not seen or turns the direction of the text is its escape; whatever else ends a line anywhere is a space."""
    text = with_unseen_shown(str(value)[:MAX_VALUE])[:MAX_VALUE]
    shown = "".join(" " if unicodedata.category(letter)[0] in "CZ" else letter for letter in text)
    return " ".join(shown.split())


def _lines(text: str) -> list[str]:
    """Not str.splitlines, which ends a line at more characters than Python's source and notebooks do."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)
