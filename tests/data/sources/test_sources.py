from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.data.sources import open_source


def test_each_kind_of_source_opens_under_its_own_name(tmp_path: Path) -> None:
    for spec in (
        "installed",
        "pypi",
        "pypi#all",
        "pypi:a,b==1#examples",
        f"files:{tmp_path}",
        "hub:owner/name",
        "hub:name",
        "hub:owner/name@main:validation",
        "hub:owner/name/config",
        "hub:owner/name/config@main:validation#column",
    ):
        assert open_source(spec).spec == spec


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "github",
        "installed:x",
        "pypi:",
        "pypi:a b",
        "pypix",
        "hub:",
        "hub:a/b/c/d",
        "hub:a/b/",
        "hub:a b",
        "files:",
        "Files:/tmp",
    ],
)
def test_an_unknown_source_is_refused_with_the_known_ones(spec: str) -> None:
    with pytest.raises(InputError, match=r"files:|hub:owner|pypi:seaborn") as caught:
        open_source(spec)
    assert spec in str(caught.value)


@pytest.mark.parametrize("path", ["nowhere", "nowhere/*.py", "~nobody-of-that-name/x", "zero\0byte"])
def test_a_missing_path_is_named(path: str, tmp_path: Path) -> None:
    path = path if path.startswith("~") else f"{tmp_path}/{path}"
    with pytest.raises(InputError, match="There is no file or folder"):
        open_source(f"files:{path}")


def test_a_single_file_that_cannot_hold_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("pandas")
    with pytest.raises(InputError, match=r"notes\.md.*\.parquet"):
        open_source(f"files:{tmp_path}/notes.md")


def test_installed_and_pypi_have_a_note(tmp_path: Path) -> None:
    assert "pandas itself" in open_source("installed").note
    assert "the examples in source distributions of 26 projects" in open_source("pypi").note
    assert "These are source distributions of 1 project," in open_source("pypi:a").note
    assert open_source(f"files:{tmp_path}").note == ""
