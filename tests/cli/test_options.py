from __future__ import annotations

import io
from pathlib import Path

import pytest

from pipeline.cli.options import changes_of, text_of
from pipeline.cli.runs import train
from pipeline.core.errors import InputError


def test_an_argument_that_names_a_file_is_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.py").write_text("import pandas\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert text_of("some.py") == text_of(str(tmp_path / "some.py")) == "import pandas\n"
    assert text_of("import pandas\n") == "import pandas\n"
    assert text_of("x" * 10_000) == "x" * 10_000
    assert text_of("zero\0byte") == "zero\0byte"
    monkeypatch.setattr("sys.stdin", io.StringIO("from standard input"))
    assert text_of("-") == "from standard input"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(InputError, match=r"picture\.png cannot be read as text"):
        text_of(str(tmp_path / "picture.png"))


@pytest.mark.parametrize("path", ["absent.py", "folder/absent.txt", "/absent", "../my-code/model_1.py", "."])
def test_a_path_without_a_file_is_no_text(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = f"{tmp_path}/" if path == "." else path
    with pytest.raises(InputError, match=r"^There is no file .*; correct the path") as refused:
        text_of(path)
    assert path in str(refused.value)


@pytest.mark.parametrize("text", ["import pandas", "plt.show()", "x=a/b", "a/(b+1)", "# see train.py", "df", "a / b"])
def test_a_text_with_a_slash_or_a_dot_is_no_path(text: str) -> None:
    assert text_of(text) == text


def test_a_setting_that_is_given_twice_is_refused_with_both_values() -> None:
    assert changes_of("--set", ["seed=1", "max_steps=30"]) == {"seed": "1", "max_steps": "30"}
    with pytest.raises(InputError, match=r"--set seed is given as '1' and as '2'; leave out one\."):
        changes_of("--set", ["seed=1", "seed=2"])
    with pytest.raises(InputError, match=r"--max-steps 20 and --set max_steps=30 are both given; leave out one\."):
        train(max_steps=20, set_=["max_steps=30"])
