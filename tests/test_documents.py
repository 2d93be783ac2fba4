"""README and docs name commands, options, fields, files and packages: all of them exist, and none is forgotten."""

from __future__ import annotations

import ast
import dataclasses
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from pipeline.cli.app import app
from pipeline.config.recipes import PRESETS
from pipeline.config.schema import ModelConfig, TrainingConfig
from pipeline.core.gpu import BUILDS, Driver, Gpu, TorchBuild, install_command, problem_of
from pipeline.core.paths import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
MODULES = {"huggingface_hub", "pyyaml", "markupsafe", "jinja2"}
IMPORTED_AS = {"PIL": "pillow", "yaml": "pyyaml", "jinja2": "jinja2", "markupsafe": "markupsafe"}
OPTIONAL = {"ray", "mcp", "onnxruntime", "trackio", "wandb", "tensorboard"}
"""Imported only where a person asks for them; their absence is told with what installs them."""


def sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py"))


def shell_lines(text: str) -> list[str]:
    """Commands of the project in blocks of shell code, each with its continuation lines."""
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return re.findall(r"python -m pipeline ((?:[^\n\"&|#]|\"[^\"]*\")+)", joined)


def table_under(text: str, head: str) -> list[list[str]]:
    """Cells of the rows of the table whose first line begins with `head`."""
    rows = text[text.index(head) :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_option_in_a_document_exists(path: Path) -> None:
    for line in shell_lines(path.read_text(encoding="utf-8")):
        name, *arguments = shlex.split(line)
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        assert {word for word in arguments if word.startswith("--")} <= {*options, "--json"}, line


def test_the_table_of_commands_is_whole() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    named = {word for row in table_under(text, "| command |") for word in re.findall(r"`(\w+)[^`]*`", row[0])}
    assert named == set(COMMANDS)


def test_the_table_of_presets_is_that_of_the_code() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    rows = {row[0].strip("`"): row for row in table_under(text, "| preset |")}
    assert set(rows) == set(PRESETS)
    for name, preset in PRESETS.items():
        assert rows[name][1] == f"{preset.n_layer} x {preset.n_embd}"
        assert int(rows[name][2].replace(",", "")) == preset.vocab_size


def test_every_setting_in_the_table_is_a_field() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    named = {name for row in table_under(text, "| field |") for name in re.findall(r"`(\w+)`", row[0])}
    fields = {field.name for kind in (ModelConfig, TrainingConfig) for field in dataclasses.fields(kind)}
    assert named, "there is a table"
    assert named <= fields


def test_every_environment_variable_is_read_and_every_one_is_named() -> None:
    text, code = (ROOT / "README.md").read_text(encoding="utf-8"), sources()
    named = {name for row in table_under(text, "| variable |") for name in re.findall(r"`([A-Z_]+)`", row[0])}
    assert {name for name in named if name not in code} == set()
    read = set(re.findall(r"\"(PIPELINE_[A-Z_]+)\"", code)) - {"PIPELINE_"}
    assert read <= named


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith("http")]
    assert [target for target in local if not (path.parent / target).exists()] == []


def test_the_tree_names_every_package() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = text[text.index("app.py                 composes") :].split("```")[0]
    names = set(re.findall(r"^(?:  )?([\w.]+/?)", tree, re.MULTILINE))
    packages = {f"{path.parent.name}/" for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert packages <= names
    assert all((ROOT / name).exists() or (ROOT / "pipeline" / name).exists() for name in names), names


def test_every_file_in_the_layout_of_the_disk_is_one_of_the_code() -> None:
    text, code = (ROOT / "docs" / "disk.md").read_text(encoding="utf-8"), sources()
    names = set(re.findall(r"(?<![\w*.-])([a-z][\w-]*\.(?:jsonl|json|log|salt))\b", text))
    assert len(names) > 12
    assert {name for name in names if name not in code} == set()


def imported(folder: Path) -> set[str]:
    """Packages other than Python's own and this one that the code of a folder imports, by their names on the index."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return {IMPORTED_AS.get(name, name) for name in found - set(sys.stdlib_module_names) - {"pipeline"}}


def required() -> set[str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {re.split(r"[\[=<>~! ;]", line)[0].lower() for line in lines if line and not line.startswith("#")}


def test_every_package_that_is_imported_is_declared_and_every_declared_one_explained() -> None:
    needed = imported(ROOT / "pipeline") - OPTIONAL
    assert needed <= required(), "declare it in requirements.txt"
    why = (ROOT / "README.md").read_text(encoding="utf-8").split("## Why these packages")[1].lower()
    assert {name for name in required() if name not in why} == set()


def test_the_suggested_hardware_the_torch_pin_and_the_builds_fit_together() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    hardware = re.findall(r"^suggested_hardware: (\S+)$", text, re.MULTILINE)[0]
    rows = table_under(text, "| card (hardware of a Space) |")
    row = next(row for row in rows if f"`{hardware}`" in row[0])
    card = Gpu(hardware, (int(row[1][0]), int(row[1][2])))
    assert row[2] == "PyPI's, cu130" and row[3] == f"{BUILDS[0].driver} or newer"
    pin = re.findall(r"^torch==(\S+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert problem_of(Driver(f"{BUILDS[0].driver}.1", (card,)), TorchBuild(pin, BUILDS[0].cuda)) is None
    assert f"`torch=={pin}` from PyPI is built for CUDA {BUILDS[0].cuda}" in text
    assert install_command(pin, BUILDS[1]) in text and f"torch=={pin}+{BUILDS[1].folder}" in text
    assert {row[2].removeprefix("PyPI's, ") for row in rows} == {build.folder for build in BUILDS}
