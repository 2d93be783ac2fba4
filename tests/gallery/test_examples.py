from __future__ import annotations

import json
import multiprocessing
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DamagedError, InputError
from pipeline.gallery import examples
from pipeline.gallery.examples import Example, Examples
from pipeline.hub.registry import Revision
from pipeline.settings import Limits

PROMPT = "import pandas as pd\n\n# create dataframe from x and y\n\n"
REVISION = Revision(
    repo="local",
    revision="0123456789ab",
    run="bold-kea",
    step=600,
    corpus="python",
    pushed_at="2026-01-01T00:00:00+00:00",
    eval_loss=2.5,
    commit=None,
    path=Path("registry/local/0123456789ab"),
)


@pytest.fixture
def gallery(tmp_path: Path) -> Examples:
    return Examples(tmp_path / "gallery")


def keep(gallery: Examples, **changes: Any) -> Example:
    result = {"prompt": PROMPT, "settings": {"temperature": 0.6}, "seed": 7, "revision": REVISION, "texts": ["df = 1"]}
    return gallery.keep(**{**result, **changes})


def test_an_example_is_kept_as_it_was(gallery: Examples) -> None:
    kept = keep(gallery, texts=["df = pd.DataFrame()", "\ttab, ünicode, \x00 and 😀\n"], title="  a   frame ")
    again = Examples(gallery.folder).get(kept.id)
    assert again == kept
    assert again.texts == ["df = pd.DataFrame()", "\ttab, ünicode, \x00 and 😀\n"]
    assert (again.prompt, again.settings, again.seed, again.title) == (PROMPT, {"temperature": 0.6}, 7, "a frame")
    assert (again.revision, again.repo, again.run, again.step, again.eval_loss) == (
        "0123456789ab",
        "local",
        "bold-kea",
        600,
        2.5,
    )
    assert again.created_at.endswith("+00:00")


def test_an_id_is_short_and_fit_for_a_link(gallery: Examples) -> None:
    ids = {keep(gallery).id for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch("[a-z0-9]{8}", found) for found in ids)


def test_an_id_that_is_taken_is_not_given_again(gallery: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = iter("a" * 8 + "a" * 8 + "b" * 8)
    monkeypatch.setattr(examples.secrets, "choice", lambda alphabet: next(letters))
    assert [keep(gallery).id, keep(gallery).id] == ["aaaaaaaa", "bbbbbbbb"]


def test_without_a_title_it_is_the_last_line_that_says_something(gallery: Examples) -> None:
    assert keep(gallery).title == "# create dataframe from x and y"
    assert keep(gallery, prompt="x = " + "1" * 200).title == "x = " + "1" * 75 + "…"


def test_examples_come_newest_first(gallery: Examples) -> None:
    kept = [keep(gallery, title=str(number)) for number in range(5)]
    assert gallery.list() == kept[::-1]


def test_an_empty_gallery_lists_nothing_and_creates_nothing(gallery: Examples) -> None:
    assert gallery.list() == []
    assert gallery.num_damaged == 0
    assert not gallery.folder.exists()


@pytest.mark.parametrize("example_id", ["zzzzzzzz", "", "../../etc/passwd", "ABCDEFGH", "x" * 10_000, "aaaaaaaa\n"])
def test_an_unknown_id_gets_one_sentence(gallery: Examples, example_id: str) -> None:
    keep(gallery)
    with pytest.raises(InputError, match=r"There is no example .*; the Gallery lists those there are\.") as error:
        gallery.get(example_id)
    assert len(str(error.value)) < 120


def _damage(gallery: Examples) -> list[str]:
    """One whole example among damaged ones; ids of the damaged."""
    whole = keep(gallery).to_dict()
    damaged = {
        "aaaaaaa1": b"",
        "aaaaaaa2": b"{",
        "aaaaaaa3": b"[]",
        "aaaaaaa4": b"\xff\xfe",
        "aaaaaaa5": b"{}",
        "aaaaaaa6": json.dumps({**whole, "id": "aaaaaaa6", "texts": [1]}).encode(),
        "aaaaaaa7": json.dumps({**whole, "id": "aaaaaaa7", "step": "600"}).encode(),
        "aaaaaaa8": json.dumps({**whole, "id": "other"}).encode(),
        "aaaaaaa9": json.dumps({**whole, "id": "aaaaaaa9"}).encode()[:-20],
    }
    for name, content in damaged.items():
        (gallery.folder / f"{name}.json").write_bytes(content)
    (gallery.folder / "aaaaaab1.json").mkdir()
    return [*damaged, "aaaaaab1"]


def test_damaged_files_are_left_out_and_counted(gallery: Examples) -> None:
    damaged = _damage(gallery)
    assert len(gallery.list()) == 1
    assert gallery.num_damaged == len(damaged)
    assert keep(gallery) in gallery.list()


def test_a_damaged_example_says_so(gallery: Examples) -> None:
    for name in _damage(gallery):
        with pytest.raises(DamagedError, match=f"Example {name} cannot be read"):
            gallery.get(name)


def test_other_files_in_the_folder_are_none_of_its_business(gallery: Examples) -> None:
    keep(gallery)
    (gallery.folder / ".aaaaaaaa.json.1234.tmp").write_text("{")
    (gallery.folder / "notes.json").write_text("{")
    assert len(gallery.list()) == 1
    assert gallery.num_damaged == 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"prompt": " \n"}, "prompt"),
        ({"prompt": "x" * 8_001}, "prompt is '8,001 characters'; keep it to 8,000"),
        ({"texts": []}, "texts"),
        ({"texts": ["x"] * 5}, "texts is 5"),
        ({"texts": ["x" * 20_001]}, "text is '20,001 characters'"),
        ({"title": "x" * 81}, "title"),
        ({"settings": {"x": "y" * 2_000}}, "settings"),
        ({"prompt": "half \ud83d"}, "prompt is 'not valid Unicode'"),
        ({"texts": ["half \ud83d"]}, "text is 'not valid Unicode'"),
    ],
)
def test_what_is_too_much_is_refused_and_nothing_is_written(
    gallery: Examples, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        keep(gallery, **changes)
    assert not gallery.folder.exists()


def test_the_limits_are_those_of_the_instance(tmp_path: Path) -> None:
    small = Examples(tmp_path, Limits(prompt_characters=10, samples=1))
    with pytest.raises(InputError, match="keep it to 10"):
        keep(small)
    assert keep(small, prompt="short").title == "short"


def test_a_full_gallery_takes_no_more(gallery: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "MOST_EXAMPLES", 2)
    kept = [keep(gallery), keep(gallery)]
    with pytest.raises(InputError, match="it is full"):
        keep(gallery)
    assert gallery.list() == kept[::-1]


def test_an_unmeasured_loss_is_kept_as_none(gallery: Examples) -> None:
    kept = keep(gallery, revision=replace(REVISION, eval_loss=None))
    assert gallery.get(kept.id).eval_loss is None


def _keep_some(folder: Path) -> None:
    for _ in range(10):
        keep(Examples(folder))


@pytest.mark.slow
def test_several_processes_keep_and_read_at_once(gallery: Examples) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_keep_some, args=(gallery.folder,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert gallery.num_damaged == 0
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(gallery.list()) == 30
    assert gallery.num_damaged == 0
