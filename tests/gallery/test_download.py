"""A completion as a script and as a notebook: whole, valid, and with comments that no value ends."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from dataclasses import replace

import pytest

from pipeline.gallery.download import KeptText, file_of

SOURCE = KeptText(
    title="A frame", prompt="import pandas as pd\n\n# a frame\n", texts=["df = pd.DataFrame()\n"],
    settings={"temperature": 0.6, "seed": 7}, seed=7, repo="me/parrot", revision="0123456789ab", run="calm-kea", step=600,
    link="https://a.example/?example=abcd1234",
)  # fmt: skip
BREAKS = ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x00", "\ud800", "\u202e"]


def script(source: KeptText) -> str:
    return file_of(source, "py").decode()


def notebook(source: KeptText) -> dict[str, object]:
    found: dict[str, object] = json.loads(file_of(source, "ipynb"))
    return found


def assert_valid(found: dict[str, object]) -> None:
    """As the schema of nbformat 4.5 has it."""
    assert set(found) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (found["nbformat"], found["nbformat_minor"]) == (4, 5)
    cells = found["cells"]
    assert isinstance(cells, list) and len({cell["id"] for cell in cells}) == len(cells)
    for cell in cells:
        more = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | more
        assert all(isinstance(line, str) for line in cell["source"])
        assert all(line.endswith("\n") for line in cell["source"][:-1])


def code_lines(text: str) -> list[str]:
    """Logical lines that are no comment."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return sorted({token.line.strip() for token in tokens if token.type == tokenize.NAME})


def test_a_script_has_the_code_and_where_it_is_from() -> None:
    text = script(SOURCE)
    assert text.endswith("import pandas as pd\n\n# a frame\ndf = pd.DataFrame()\n")
    for fact in (
        "A frame",
        "me/parrot, revision 0123456789ab",
        "calm-kea, step 600",
        "temperature 0.6",
        "Seed: 7",
        SOURCE.link,
    ):
        assert fact in text
    assert code_lines(text) == ["df = pd.DataFrame()", "import pandas as pd"]


def test_a_notebook_is_valid_and_has_a_cell_for_each_sample() -> None:
    found = notebook(replace(SOURCE, texts=["x = 1", "y = 2\n"]))
    assert_valid(found)
    about, first, second = found["cells"]  # type: ignore[misc]
    assert about["cell_type"] == "markdown" and all(line.startswith("    ") for line in about["source"])
    assert "".join(first["source"]).endswith("# a frame\nx = 1") and "seed 7" in first["source"][0]
    assert "".join(second["source"]).endswith("# a frame\ny = 2") and "seed 8" in second["source"][0]


@pytest.mark.parametrize("ending", BREAKS, ids=ascii)
def test_no_value_ends_the_comment(ending: str) -> None:
    evil = f"a{ending}import os{ending}os.abort()"
    source = replace(SOURCE, title=evil, run=evil, repo=evil, revision=evil, settings={evil: evil}, link=evil)
    assert code_lines(script(source)) == ["df = pd.DataFrame()", "import pandas as pd"]
    ast.parse(script(source))
    about = notebook(source)["cells"][0]["source"]  # type: ignore[index]
    assert len(about) == len(notebook(SOURCE)["cells"][0]["source"])  # type: ignore[index]


def test_a_title_does_not_choose_the_encoding() -> None:
    data = file_of(replace(SOURCE, title="coding: utf-7", prompt="x = 'ü'\n"), "py")
    assert tokenize.detect_encoding(io.BytesIO(data).readline)[0] == "utf-8"


@pytest.mark.parametrize("letter", ["\x00", "\x1b", "\ud800", "\x7f"], ids=ascii)
def test_characters_that_no_file_may_have_are_replaced(letter: str) -> None:
    source = replace(SOURCE, prompt=f"# a{letter}b\n", texts=["x = 1\r\ny = 2\rz = 3"])
    assert script(source).endswith("# a\ufffdb\nx = 1\ny = 2\nz = 3\n")
    assert_valid(notebook(source))


def test_a_value_of_any_length_is_cut() -> None:
    assert len(script(replace(SOURCE, run="x" * 10_000, settings={"a": "y" * 10_000}))) < 2_500


HIDDEN = replace(SOURCE, prompt="# a\u202e\u2066b\n", texts=["x = 'y\u200b'\n"])


def test_characters_of_the_code_that_are_not_seen_are_named_and_kept() -> None:
    text = script(HIDDEN)
    assert text.endswith("\n\n# a\u202e\u2066b\nx = 'y\u200b'\n"), "the code as it is"
    warning = text.split("\n")[1]
    assert warning.startswith("# CAUTION: ") and warning.isascii()
    for letters in ("\u202e\u2066", "\u200b"):
        line = 1 + next(number for number, line in enumerate(text.split("\n")) if letters in line)
        assert f"line {line}: {' '.join(f'U+{ord(letter):04X}' for letter in letters)}" in warning
    assert code_lines(text) == ["x = 'y\u200b'"]
    found = notebook(HIDDEN)
    assert_valid(found)
    about, cell = found["cells"]  # type: ignore[misc]
    assert "line 1 of cell 1: U+202E U+2066; line 2 of cell 1: U+200B" in about["source"][0]
    assert cell["source"] == ["# a\u202e\u2066b\n", "x = 'y\u200b'"]
    assert "CAUTION" not in script(SOURCE) + json.dumps(notebook(SOURCE)), "control"


def test_many_lines_with_characters_that_are_not_seen_are_counted() -> None:
    warning = script(replace(SOURCE, texts=["# \u202e\n" * 1_000])).split("\n")[1]
    assert len(warning) < 600 and "; and 980 more)" in warning


def test_a_title_shows_what_is_not_seen() -> None:
    assert "# Title: a\\u202e\\u2066b\n" in script(replace(SOURCE, title="a\u202e\u2066b"))
