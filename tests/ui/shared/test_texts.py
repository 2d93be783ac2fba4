"""The catalogue contains every text of the page: no key is missing or unused, and tabs contain no texts themselves."""

from __future__ import annotations

import ast
import re
import string
from pathlib import Path

import pytest

from pipeline.artifacts.corpus import STAGE_FIELDS
from pipeline.config.schema import MATCHES
from pipeline.core.paths import ROOT
from pipeline.generation.ending import STOPS
from pipeline.ui.data.corpus_form import FIELDS, RULES
from pipeline.ui.data.source_fields import KINDS
from pipeline.ui.generate import browser_run
from pipeline.ui.generate.tab import SAMPLING
from pipeline.ui.shared.charts import CHARTS, TASKS
from pipeline.ui.shared.form_values import CHANGES
from pipeline.ui.shared.markup import GLYPHS
from pipeline.ui.shared.texts import ASSETS, catalogue, t

PYTHON = [ROOT / "app.py", *sorted((ROOT / "pipeline/ui").rglob("*.py"))]
TEMPLATES = sorted((ASSETS / "templates").glob("*.j2"))
SPOKEN = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
"""Two words with a space between: a text for people."""

COMPUTED = {
    "state.": set(GLYPHS) - {"kept", "reported"},
    "stage.": set(STAGE_FIELDS),
    "who.": {"open", "owner", "locked", "closed"},
    "access.": {"locked", "closed"},
    "access.card.": {"locked", "closed"},
    "chart.": {chart.name for chart in (*CHARTS, TASKS)},
    "series.": {"train", "val", "rate", "speed", "parses", "runs", "right"},
    "picker.": {"charts", "tables"},
    "pick.": {chart.name for chart in CHARTS} | {"runs", "pushes", "log"},
    "train.": {*CHANGES, "corpus", "preset", "recipe"},
    "generate.": {*SAMPLING, "length"},
    "evaluations.heart.": {"train", "validation"},
    "evaluate.": {"newest", "best", "all", "write", "run", "write.done", "run.done"},
    "generate.stop_at.": set(STOPS),
    "see.": set(browser_run.TEXTS),
    "tools.": {"py", "ipynb"},
    "tokens.shade.": {"sure", "80", "50", "20"},
    "data.source.": set(KINDS),
    "data.match.": {*MATCHES, *(f"{match}.info" for match in MATCHES)},
    "data.hits.": set(MATCHES),
    "data.ended.": {"seconds", "bytes"},
    "data.rate.": {"above", "below", "within"},
    "prepare.": {*FIELDS, "workers"} - {"vocab_size"},
    "prepare.windows.": {"join", "drop"},
    "quality.": set(RULES),
    "inspect.quantile.": {"0", "25", "50", "75", "100"},
}
"""All keys that are composed at run time, by prefix."""


def keys_in_python(path: Path) -> tuple[set[str], set[str]]:
    """Keys passed to `t`, and the prefixes of composed keys."""
    whole, begun = set(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "t":
            key = node.args[0]
            if isinstance(key, ast.Constant):
                whole.add(key.value)
            elif isinstance(key, ast.JoinedStr) and isinstance(key.values[0], ast.Constant):
                begun.add(key.values[0].value)
        elif isinstance(node, ast.Constant) and node.value in catalogue():
            whole.add(node.value)  # a key stored in a table
    return whole, begun


def keys_in_template(path: Path) -> tuple[set[str], set[str]]:
    found = re.findall(r"\bt\(\"([^\"]+)\"( ~)?", path.read_text(encoding="utf-8"))
    return {key for key, joined in found if not joined}, {key for key, joined in found if joined}


def used_keys() -> set[str]:
    used: set[str] = set()
    for path in [*PYTHON, *TEMPLATES]:
        whole, begun = keys_in_python(path) if path.suffix == ".py" else keys_in_template(path)
        used |= whole | {start + end for start in begun for end in COMPUTED[start]}
    return used


def test_every_key_that_is_used_is_in_the_catalogue() -> None:
    assert used_keys() - set(catalogue()) == set()


def test_every_key_of_the_catalogue_is_used() -> None:
    assert set(catalogue()) - used_keys() == set()


def test_the_check_sees_whole_and_composed_keys(tmp_path: Path) -> None:
    """The control."""
    code, template = tmp_path / "x.py", tmp_path / "x.html.j2"
    code.write_text('t("nowhere.to.be.found"), t(f"state.{x}")')
    template.write_text('{{ t("also.nowhere") }}{{ t("stage." ~ x) }}')
    assert keys_in_python(code) == ({"nowhere.to.be.found"}, {"state."})
    assert keys_in_template(template) == ({"also.nowhere"}, {"stage."})


def literal_texts(path: Path) -> list[str]:
    """Strings of a module that read like a text for people, without docstrings and raised AssertionErrors."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ignored: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            ignored.add(id(node.value))
        if isinstance(node, ast.Raise) and "AssertionError" in ast.dump(node):
            ignored |= {id(inner) for inner in ast.walk(node)}
    strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in strings if id(node) not in ignored and SPOKEN.search(node.value)]


@pytest.mark.parametrize(
    "path",
    [path for path in PYTHON if path.stem.endswith(("_tab", "_card", "_bar", "unlock", "app", "run_view"))],
    ids=str,
)
def test_tabs_contain_no_texts(path: Path) -> None:
    assert literal_texts(path) == []


def test_the_check_sees_a_text(tmp_path: Path) -> None:
    """The control."""
    path = tmp_path / "x_tab.py"
    path.write_text('"""A docstring is not shown."""\nbutton = gr.Button("Start training now", elem_id="start")')
    assert literal_texts(path) == ["Start training now"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_contain_no_texts(path: Path) -> None:
    source = re.sub(r"\{[{%#].*?[}%#]\}", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>", " ", source)
    assert not re.search(r"[A-Za-z]{3,}", shown), shown


def test_every_text_can_be_filled() -> None:
    for key, text in catalogue().items():
        names = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
        assert t(key, **dict.fromkeys(names, "x")), key


def test_a_value_is_never_formatted_as_a_text() -> None:
    assert "{run}" in t("train.spoken", run="{run}", state="{0.__class__}")
