"""What the import of Gradio and of the page does, in a Python of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT
from tests.homes import hub_cache_without_a_home_folder

STUBS = """
import builtins, pathlib, sys
{first}
parsed = []
import ast
parse = ast.parse
ast.parse = lambda source, *a, **k: parsed.append(1) or parse(source, *a, **k)
import gradio, gradio.component_meta
print(len(parsed) > 40, gradio.component_meta.create_or_modify_pyi.__name__, callable(gradio.Textbox().change))
"""


@pytest.mark.parametrize(
    ("first", "printed"),
    [("import pipeline.ui", "False <lambda> True"), ("", "True create_or_modify_pyi True")],
    ids=["ours", "control"],
)
def test_the_page_imports_gradio_without_writing_stubs(first: str, printed: str) -> None:
    code = STUBS.format(first=first)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed


def test_a_gradio_without_a_stub_writer_is_imported_as_it_is() -> None:
    code = "import types\nfrom pipeline.ui import gradio_import as g\nclass L:\n def exec_module(self, m): m.x = 1\n"
    code += "m = types.ModuleType('m'); g._without_stubs(L())(m); print(m.x, hasattr(m, g.STUB_WRITER))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1 False"


def test_the_page_downloads_into_the_home(tmp_path: Path) -> None:
    assert hub_cache_without_a_home_folder("import app", tmp_path) == tmp_path / "huggingface" / "hub"
