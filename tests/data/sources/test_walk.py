"""Each file once, by folder and by glob, with links in circles; whatever is left out is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT
from pipeline.data.sources.base import BadRow
from pipeline.data.sources.walk import FOLDER_UNREADABLE, LINK_ABOVE, Pattern, walk

is_root = os.geteuid() == 0


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"import pandas  # {name}\n")


def files(pattern: str, base: Path) -> list[str]:
    """What is listed, relative to `base`, in order; nothing may be left out."""
    found = list(walk(Pattern.of(f"{base}/{pattern}" if pattern else str(base))))
    assert not [each for each in found if isinstance(each, BadRow)]
    return [each.path.relative_to(base).as_posix() for each in found if not isinstance(each, BadRow)]


def left_out(path: str) -> list[tuple[str, str]]:
    return [(each.reason, Path(each.where).name) for each in walk(Pattern.of(path)) if isinstance(each, BadRow)]


@pytest.mark.parametrize("pattern", ["", "**", "**/*", "**/*.py", "*", "**/", "**/**", "*/../../nothing/../**"])
def test_a_glob_lists_every_file_once(tmp_path: Path, pattern: str) -> None:
    """`**` also matches each folder; a file must not be listed for each of them."""
    make(tmp_path, "a/b/c/one.py", "a/two.py", "three.py")
    found = files(pattern, tmp_path)
    expected = {"*/../../nothing/../**": [], "**/": ["three.py", "a/two.py", "a/b/c/one.py"]}
    assert found == expected.get(pattern, ["three.py", "a/two.py", "a/b/c/one.py"])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.py", ["x.py"]),
        ("*/main.py", ["a/main.py", "b/main.py"]),
        ("*/", ["a/main.py", "a/src/main.py", "b/main.py", "b/src/main.py"]),
        ("*/src", ["a/src/main.py", "b/src/main.py"]),
        ("[ac]/**/main.py", ["a/main.py", "a/src/main.py"]),
        ("**/src/*", ["a/src/main.py", "b/src/main.py"]),
        ("?/src/*.p?", ["a/src/main.py", "b/src/main.py"]),
        (".*/*.py", [".hidden/y.py"]),
        ("**/*.md", []),
    ],
)
def test_patterns_match_as_in_glob(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    make(tmp_path, "a/main.py", "a/src/main.py", "b/main.py", "b/src/main.py", "x.py", ".hidden/y.py")
    assert files(pattern, tmp_path) == expected


def test_hidden_files_are_listed_with_their_folder_and_not_by_a_pattern(tmp_path: Path) -> None:
    make(tmp_path, "a/.hidden.py", "a/b.py")
    assert files("a", tmp_path) == ["a/.hidden.py", "a/b.py"]
    assert files("a/*.py", tmp_path) == ["a/b.py"]


@pytest.mark.parametrize("pattern", ["", "**/*.py"])
def test_links_in_circles_end(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "x/1.py", "x/2.py")
    (tmp_path / "y").mkdir()
    (tmp_path / "x" / "loop").symlink_to(".")
    (tmp_path / "x" / "y").symlink_to("../y")
    (tmp_path / "y" / "x").symlink_to("../x")
    assert files(pattern, tmp_path) == ["x/1.py", "x/2.py"]


@pytest.mark.parametrize("pattern", ["code", "code/**/*.py"])
def test_what_is_only_reached_through_a_link_is_listed_last(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "code/own.py", "code/z/deep.py", "elsewhere/far.py", "single.py")
    (tmp_path / "code" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "code" / "one.py").symlink_to(tmp_path / "single.py")
    (tmp_path / "code" / "same.py").symlink_to(tmp_path / "code" / "own.py")
    (tmp_path / "code" / "again").symlink_to(tmp_path / "elsewhere")
    assert files(pattern, tmp_path) == ["code/own.py", "code/z/deep.py", "code/again/far.py", "code/one.py"]


def test_a_link_to_a_folder_above_is_left_out_with_its_name(tmp_path: Path) -> None:
    make(tmp_path, "code/own.py", "private.py", "elsewhere/in/far.py", "elsewhere/other.py")
    (tmp_path / "code" / "up").symlink_to("..")
    (tmp_path / "code" / "link").symlink_to(tmp_path / "elsewhere" / "in")
    (tmp_path / "elsewhere" / "in" / "up").symlink_to("..")
    found = list(walk(Pattern.of(str(tmp_path / "code"))))
    assert [each.path.name for each in found if not isinstance(each, BadRow)] == ["own.py", "far.py"]
    assert left_out(str(tmp_path / "code")) == [(LINK_ABOVE, "up"), (LINK_ABOVE, "up")]


@pytest.mark.skipif(not is_root, reason="needs root to become another user")
@pytest.mark.slow
def test_a_folder_without_permission_is_left_out_with_its_name(tmp_path: Path) -> None:
    make(tmp_path, "code/own.py", "code/closed/secret.py")
    (tmp_path / "code" / "closed").chmod(0o700)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o755)
    program = (
        "import os, sys\n"
        "from pipeline.data.sources.walk import Pattern, walk\n"
        "os.setgid(4321); os.setuid(4321)\n"
        "for each in walk(Pattern.of(sys.argv[1])): print(each)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "code")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"BadRow(reason='{FOLDER_UNREADABLE}', where='{tmp_path}/code/closed')" in done.stdout
    assert "own.py" in done.stdout and "secret.py" not in done.stdout


def test_pipes_and_links_to_nothing_are_listed_without_a_size(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "broken.py").symlink_to("nowhere.py")
    (tmp_path / "itself.py").symlink_to("itself.py")
    found = list(walk(Pattern.of(str(tmp_path))))
    assert [(each.path.name, each.num_bytes) for each in found if not isinstance(each, BadRow)] == [
        ("broken.py", 0),
        ("itself.py", 0),
        ("pipe.py", 0),
    ]


def test_a_walk_ends_within_a_folder_once_it_is_over(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number}.py" for number in range(2_000)))
    asked = []

    def is_over() -> bool:
        asked.append(None)
        return len(asked) > 10

    assert 0 < len(list(walk(Pattern.of(str(tmp_path)), is_over))) < 2_000
    assert len(list(walk(Pattern.of(str(tmp_path))))) == 2_000, "control"


def test_thirty_thousand_files_with_odd_names_are_listed_once(tmp_path: Path) -> None:
    odd = ["a b.py", "ä.py", "'quote\".py", "new\nline.py", "*.py", "[x].py", "-rf.py", "%s.py", "\u202egnp.py"]
    make(tmp_path, *(f"odd/{name}" for name in odd))
    with_bytes = os.fsencode(tmp_path / "odd") + b"/caf\xe9.py"
    os.close(os.open(with_bytes, os.O_CREAT | os.O_WRONLY))
    for number in range(100):
        folder = tmp_path / f"part{number}"
        folder.mkdir()
        for name in range(300):
            (folder / f"{name}.py").touch()
        (folder / "all").symlink_to("..")
    found = files("", tmp_path)
    assert len(found) == len(set(found)) == 30_000 + len(odd) + 1
    assert files("**/*.py", tmp_path) == found
