"""The rooms and their doors: who imports whom, where torch may be, and that the engine lives without the page."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT

PACKAGE = ROOT / "pipeline"

LASTING = {"core", "config", "artifacts"}
ENGINE = LASTING | {"data", "hub", "jobs", "gallery", "generation", "planning"}
MAY_IMPORT = {
    "core": {"core"},
    "config": {"core", "config"},
    "artifacts": {"core", "config", "artifacts"},
    "planning": LASTING,
    "data": LASTING,
    "hub": LASTING,
    "training": LASTING | {"data", "generation.sampling", "generation.settings", "generation.loading"},
    "generation": LASTING | {"hub", "data"},
    "gallery": LASTING | {"hub"},
    "jobs": LASTING | {"hub", "data", "planning"},
    "ui": ENGINE,
    "cli": ENGINE,
    "__main__": {"cli"},
    "__init__": set(),
}
TORCH = ("torch", "transformers", "accelerate")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Every module that a file imports, by its full name, and whether at import time (not inside a function)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {
        id(node)
        for outer in ast.walk(tree)
        if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(outer)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in inner) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module.count(".") <= 1
                else [node.module]
            )
            found += [(name, id(node) not in inner) for name in names]
    return found


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


def wrong_imports(path: Path, own_room: str) -> list[str]:
    """What a file of `own_room` imports and may not."""
    allowed, wrong = MAY_IMPORT[own_room], []
    for name, _ in imports(path):
        top, *parts = name.split(".")
        if top in TORCH and own_room not in ("training", "generation"):
            wrong.append(name)
        if top == "gradio" and own_room != "ui":
            wrong.append(name)
        if top == "pipeline" and parts and parts[0] != own_room:
            wrong += [name] if parts[0] not in allowed and ".".join(parts[:2]) not in allowed else []
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_lies_to_its_right(path: Path) -> None:
    assert wrong_imports(path, room(path)) == []


def test_the_rule_sees_a_wrong_import(tmp_path: Path) -> None:
    """The control: a room to the left, torch and gradio, also inside a function."""
    path = tmp_path / "x.py"
    path.write_text("import gradio\ndef f():\n    from pipeline.ui.shared import theme\n    import torch.nn\n")
    assert wrong_imports(path, "jobs") == ["gradio", "pipeline.ui.shared", "torch.nn"]
    assert wrong_imports(path, "ui") == ["torch.nn"]


def test_only_the_cluster_engine_imports_ray() -> None:
    importers = [path for path in FILES if any(name.split(".")[0] == "ray" for name, _ in imports(path))]
    assert importers == [PACKAGE / "data" / "execution" / "cluster.py"]


def test_only_the_hub_room_reads_the_token() -> None:
    readers = [path for path in FILES if "HF_TOKEN" in path.read_text(encoding="utf-8")]
    assert {path.relative_to(PACKAGE).parts[0] for path in readers if path.name != "credentials.py"} <= {"hub"}


LOADED = """
import sys
{imports}
loaded = sorted(name for name in ("torch", "transformers", "accelerate", "gradio", "datasets") if name in sys.modules)
print(",".join(loaded))
"""


def loaded_by(statements: str, root: Path = ROOT) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(imports=statements)], cwd=root, capture_output=True, text=True, check=True
    )
    return set(filter(None, done.stdout.strip().split(",")))


def test_the_command_line_starts_without_torch_or_gradio() -> None:
    assert loaded_by("import pipeline.cli.app, pipeline.cli.demo, pipeline.jobs.worker, pipeline.jobs.follow") == set()


@pytest.mark.slow
def test_the_engine_lives_without_the_page(tmp_path: Path) -> None:
    """Deleting app.py and pipeline/ui leaves a working command line and a green engine."""
    shutil.copytree(PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("ui", "__pycache__"))
    for name in ("assets", "tests"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("ui", "browser", "security", "benchmarks", "__pycache__"),
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    assert loaded_by("import pipeline.cli.app, pipeline.cli.demo", tmp_path) == set()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not slow and not browser",
        "-p",
        "no:cacheprovider",
        "--ignore",
        "tests/test_architecture.py",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
