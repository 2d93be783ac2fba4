"""Which package may import which, no import cycles, where torch is allowed, and that the engine needs no page."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT

PACKAGE = ROOT / "pipeline"

LASTING = {"core", "config", "artifacts"}
ENGINE = LASTING | {"data", "hub", "jobs", "gallery", "generation", "evaluation", "planning"}
MAY_IMPORT = {
    "core": {"core"},
    "config": {"core", "config"},
    "artifacts": {"core", "config", "artifacts"},
    "planning": LASTING,
    "data": LASTING,
    "hub": LASTING,
    "training": LASTING | {"data", "generation.sampling", "generation.settings", "generation.loading"},
    "generation": LASTING | {"hub", "data"},
    "evaluation": LASTING | {"generation"},
    "gallery": LASTING | {"hub"},
    "jobs": LASTING | {"hub", "data", "planning"},
    "ui": ENGINE,
    "cli": ENGINE,
    "__main__": {"cli"},
    "__init__": set(),
}
TORCH = ("torch", "transformers", "accelerate")


def imports(path: Path) -> list[tuple[str, bool]]:
    """Full name of every module that a file imports, and whether at import time (not inside a function)."""
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


def package_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(PACKAGE.rglob("*.py"))


def wrong_imports(path: Path, own_package: str) -> list[str]:
    """Imports of a file in `own_package` that are not allowed."""
    allowed, wrong = MAY_IMPORT[own_package], []
    for name, _ in imports(path):
        top, *parts = name.split(".")
        if top in TORCH and own_package not in ("training", "generation", "evaluation"):
            wrong.append(name)
        if top == "gradio" and own_package != "ui":
            wrong.append(name)
        if top == "pipeline" and parts and parts[0] != own_package:
            wrong += [name] if parts[0] not in allowed and ".".join(parts[:2]) not in allowed else []
    return wrong


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_package_imports_only_those_below_it(path: Path) -> None:
    assert wrong_imports(path, package_of(path)) == []


def test_a_wrong_import_is_found(tmp_path: Path) -> None:
    """Control: imports of a higher package, torch and gradio, also inside a function."""
    path = tmp_path / "x.py"
    path.write_text("import gradio\ndef f():\n    from pipeline.ui.shared import theme\n    import torch.nn\n")
    assert wrong_imports(path, "jobs") == ["gradio", "pipeline.ui.shared", "torch.nn"]
    assert wrong_imports(path, "ui") == ["torch.nn"]


def modules_imported(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of `root` that it imports, including imports inside functions and for type checking."""
    paths = {".".join(path.relative_to(root.parent).with_suffix("").parts): path for path in root.rglob("*.py")}
    known = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    graph = {}
    for module, path in known.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= {name if name in known else node.module for name in names}
        graph[module] = {name for name in found if name in known and name != module}
    return graph


def cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import each other, directly or through others."""
    reach = {module: _reachable(graph, module) for module in graph}
    groups = {frozenset(other for other in reach[m] if m in reach[other]) for m in graph if m in reach[m]}
    return sorted(map(set, groups), key=sorted)


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    pending = list(graph[start])
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending += graph[module]
    return found


def test_no_module_imports_itself_through_others() -> None:
    assert cycles(modules_imported(PACKAGE)) == []


def test_a_cycle_through_type_checking_and_function_imports_is_found(tmp_path: Path) -> None:
    """Control."""
    root = tmp_path / "pipeline"
    shutil.copytree(PACKAGE / "core", root / "core")
    (root / "core" / "errors.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pipeline.a\n"
    )
    (root / "a.py").write_text("def f():\n    from pipeline.core import paths\n")
    assert {"pipeline.a", "pipeline.core.paths", "pipeline.core.errors"} in cycles(modules_imported(root))


def unnamed_in(package: Path) -> set[str]:
    """Modules and packages directly in `package` that its docstring does not name."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    inside = {path.stem for path in package.iterdir() if path.suffix == ".py" and not path.name.startswith("__")}
    inside |= {path.parent.name for path in package.glob("*/__init__.py")}
    return {name for name in inside if not re.search(rf"\b{name}\b", text)}


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.name == "__init__.py"], ids=lambda path: path.parent.name
)
def test_a_packages_docstring_names_all_that_is_in_it(path: Path) -> None:
    assert unnamed_in(path.parent) == set()


def test_an_unnamed_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text('"""A package.\n\nnamed   does this\n"""', encoding="utf-8")
    for name in ("named.py", "unnamed.py"):
        (tmp_path / name).touch()
    assert unnamed_in(tmp_path) == {"unnamed"}


def test_only_the_cluster_engine_imports_ray() -> None:
    importers = [path for path in FILES if any(name.split(".")[0] == "ray" for name, _ in imports(path))]
    assert importers == [PACKAGE / "data" / "execution" / "cluster.py"]


def test_only_the_hub_package_reads_the_token() -> None:
    readers = [path for path in FILES if re.search(r"HF_TOKEN\b", path.read_text(encoding="utf-8"))]
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
def test_the_engine_works_without_the_page(tmp_path: Path) -> None:
    """Without app.py and pipeline/ui, every other test module can be imported, and the tests of core and jobs pass. The
    others need no page either: no module that they import may import it (`test_a_package_imports_only_those_below_it`).
    """
    shutil.copytree(PACKAGE, tmp_path / "pipeline", ignore=shutil.ignore_patterns("ui", "__pycache__"))
    for name in ("assets", "tests"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns("ui", "browser", "security", "benchmarks", "__pycache__"),
        )
    for name in ("pyproject.toml", "README.md", "SECURITY.md"):
        shutil.copy(ROOT / name, tmp_path)
    assert loaded_by("import pipeline.cli.app, pipeline.cli.demo", tmp_path) == set()
    pytest_here = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
    for arguments in (["--collect-only"], ["tests/core", "tests/jobs"]):
        done = subprocess.run([*pytest_here, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:]
