"""Folders are named by ids that cannot leave their parent, and every job of a home is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.core.paths import Home, check_id


@pytest.mark.parametrize("value", ["a", "brave-macaw", "0", "a" * 64])
def test_an_id_may_name_a_folder(value: str) -> None:
    assert check_id(value) == value


@pytest.mark.parametrize("value", ["", "..", "a/b", "A", "-a", "a_b", "a" * 65, "a\n", ".a", "ä", None, 5, b"a"])
def test_what_could_leave_the_home_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="use 1 to 64 lower-case letters"):
        Home(Path("home")).run(value)


def test_a_home_is_made_by_nobody_who_only_looks(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    assert (home.runs(), home.corpora()) == ([], [])
    assert not home.path.exists()


def test_every_kind_of_job_is_listed_once(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for path in (home.run("a").path, home.corpus("c").path, tmp_path / "runs" / ".deleted-x", tmp_path / "runs" / "B"):
        path.mkdir(parents=True)
    (tmp_path / "runs" / "file").write_text("")
    assert sorted((folder.kind, folder.id) for folder in home.jobs()) == [
        ("dry-run", "dry-run"),
        ("evaluate", "The evaluation"),
        ("prepare", "c"),
        ("push", "c"),
        ("restore", "a"),
        ("train", "a"),
    ]


def test_a_repo_is_one_folder_of_the_registry() -> None:
    assert Home(Path("h")).registry("me/parrot") == Path("h/registry/me--parrot")
