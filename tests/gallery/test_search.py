"""What a search finds, what it never finds, and what it reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from pipeline.core import atomic_io
from pipeline.core.errors import InputError
from pipeline.gallery import search
from pipeline.gallery.example import TEXT_CHARACTERS, TITLE_CHARACTERS
from pipeline.gallery.examples import Examples
from pipeline.gallery.search import MAX_QUERY_CHARACTERS, MAX_SEARCHED_BYTES, Entry, Query, prompt_key
from tests.gallery.test_examples import REVISION, keep

SCATTER = {"prompt": "# scatter plot of x and y\n", "texts": ["plt.scatter(x, y)\n"], "title": "Points in Blue"}
MEAN = {"prompt": "# mean of each group\n", "texts": ["df.groupby('a').mean()\n", "df.MEAN()\n"], "title": "Groups"}


@pytest.fixture
def gallery(tmp_path: Path) -> Examples:
    gallery = Examples(tmp_path / "gallery")
    keep(gallery, **SCATTER)
    keep(gallery, **SCATTER, revision=replace(REVISION, run="calm-kea"))
    keep(gallery, **MEAN)
    return gallery


def titles(gallery: Examples, include_hidden: bool = False, **query: str) -> list[str]:
    page = gallery.page(1, Query(**query), include_hidden=include_hidden)
    return [f"{example.title} {example.run}" for example in page.examples]


@pytest.mark.parametrize(
    ("words", "num_found"),
    [
        ("scatter", 2), ("SCATTER plt", 2), ("blue", 2), ("groupby", 1), ("mean", 1), ("scatter mean", 0), ("", 3), ("  ", 3),
        ("scat", 2), ("x, y", 2), ("'a'", 1), ("nowhere", 0), ("%", 0), (".*", 0), ("\x00", 0), ("\ud800", 0), ("plt " * 40, 2),
    ],
)  # fmt: skip
def test_all_words_must_occur_in_title_prompt_or_texts(gallery: Examples, words: str, num_found: int) -> None:
    assert len(titles(gallery, words=words)) == num_found


@pytest.mark.parametrize(
    ("text", "word"), [("STRASSE", "straße"), ("naïve ÜNICODE", "ünicode"), ("日本語のコメント", "コメント")]
)
def test_case_is_folded_in_every_script(gallery: Examples, text: str, word: str) -> None:
    keep(gallery, title=text)
    assert len(titles(gallery, words=word)) == 1


def test_run_prompt_and_words_combine(gallery: Examples) -> None:
    key = prompt_key(SCATTER["prompt"])  # type: ignore[arg-type]
    assert titles(gallery, run="calm-kea") == ["Points in Blue calm-kea"]
    assert titles(gallery, prompt_key=key) == ["Points in Blue calm-kea", "Points in Blue bold-kea"]
    assert titles(gallery, prompt_key=key, run="bold-kea", words="plt") == ["Points in Blue bold-kea"]
    assert titles(gallery, prompt_key=key, run="bold-kea", words="mean") == []
    assert titles(gallery, run="calm") == []
    assert gallery.page(1).runs == ["bold-kea", "calm-kea"]


def test_a_visitor_finds_nothing_that_is_hidden(gallery: Examples) -> None:
    hidden = keep(gallery, prompt="# secret\n", revision=replace(REVISION, run="secret-kea"))
    gallery.hide(hidden.id)
    for query in ({"words": "secret"}, {"run": "secret-kea"}, {"prompt_key": prompt_key("# secret\n")}):
        assert titles(gallery, **query) == []
        assert len(titles(gallery, include_hidden=True, **query)) == 1
    assert "secret-kea" not in gallery.page(1).runs


def test_pages_of_what_was_found_hold_it_once(gallery: Examples) -> None:
    kept = [keep(gallery, title=f"many {number}").id for number in range(30)]
    pages = [gallery.page(number, Query(words="many")) for number in (1, 2, 9)]
    assert [example.id for page in pages[:2] for example in page.examples] == kept[::-1]
    assert [(page.number, page.num_pages, page.num_examples) for page in pages] == [(1, 2, 30), (2, 2, 30), (2, 2, 30)]


def test_a_deleted_example_is_found_no_longer_and_a_new_one_at_once(gallery: Examples) -> None:
    assert titles(gallery, words="fresh") == []
    kept = keep(gallery, title="fresh")
    assert titles(gallery, words="fresh") == ["fresh bold-kea"]
    gallery.delete(kept.id)
    assert titles(gallery, words="fresh") == []


@pytest.mark.parametrize("part", ["words", "run", "prompt_key"])
def test_a_query_that_is_too_long_is_refused_with_a_short_sentence(part: str) -> None:
    Query(**{part: "x" * MAX_QUERY_CHARACTERS})
    with pytest.raises(InputError, match=r"'201 characters'; keep it to 200") as error:
        Query(**{part: "x" * (MAX_QUERY_CHARACTERS + 1)})
    assert len(str(error.value)) < 100


def test_the_address_holds_the_whole_search() -> None:
    query = Query(words="a b&c=ü", run="calm kea", prompt_key="0123456789ab")
    assert parse_qs(query.address(3)) == {
        "gallery": ["3"], "q": ["a b&c=ü"], "of_run": ["calm kea"], "of_prompt": ["0123456789ab"],
    }  # fmt: skip
    assert Query(words="\ud800").address(1) == "gallery=1&q=%3F"


def test_the_index_is_bounded_and_the_longest_title_and_prompt_are_searched(gallery: Examples) -> None:
    example = keep(
        gallery, title="t" * TITLE_CHARACTERS, prompt="p" * 7_990 + " promptend", texts=["y" * TEXT_CHARACTERS] * 4
    )
    assert len(Entry.of(example).searched) == MAX_SEARCHED_BYTES
    assert titles(gallery, words="promptend") == [f"{'t' * TITLE_CHARACTERS} bold-kea"]


def test_a_search_reads_no_file_but_those_it_shows(gallery: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(60):
        keep(gallery, title=f"many {number}")
    gallery.read_index()
    read: list[str] = []
    read_json = atomic_io.read_json

    def counted(path: Path) -> dict[str, Any] | None:
        read.append(path.name)
        return read_json(path)

    monkeypatch.setattr(atomic_io, "read_json", counted)
    page = gallery.page(2, Query(words="many"))
    assert set(read) - {"moderation.json"} <= {f"{example.id}.json" for example in page.examples}
    read.clear()
    gallery.page(1, Query(words="nowhere"))
    assert set(read) <= {"moderation.json"}


def test_the_index_is_read_again_only_where_a_file_is_new(gallery: Examples, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery.read_index()
    made: list[str] = []
    of = Entry.of

    def counted(example: Any) -> Entry:
        made.append(example.id)
        return of(example)

    monkeypatch.setattr(search.Entry, "of", counted)
    new = keep(gallery, title="new")
    gallery.page(1, Query(words="new"))
    assert made == [new.id]


# ---- remixes ----


def test_a_remix_names_its_origin_and_an_older_file_has_none(gallery: Examples) -> None:
    first = keep(gallery)
    remix = keep(gallery, remix_of=first.id)
    assert Examples(gallery.folder).get(remix.id).remix_of == first.id
    path = gallery.folder / f"{first.id}.json"
    old = json.loads(path.read_text())
    del old["remix_of"]
    path.write_text(json.dumps(old))
    assert Examples(gallery.folder).get(first.id) == replace(first, remix_of="")


@pytest.mark.parametrize("remix_of", ["../../etc", "x", "<script>", "abcdefgh\n"])
def test_an_origin_that_is_no_id_is_not_kept_and_one_in_a_file_is_damage(gallery: Examples, remix_of: str) -> None:
    kept = keep(gallery, remix_of=remix_of)
    assert kept.remix_of == ""
    atomic_io.write_json(gallery.folder / f"{kept.id}.json", {**kept.to_dict(), "remix_of": remix_of})
    assert Examples(gallery.folder).page(1).num_damaged == 1


def test_the_same_result_with_another_origin_is_the_same_example(gallery: Examples) -> None:
    first = keep(gallery)
    again = gallery.keep(
        prompt=first.prompt, settings=first.settings, seed=first.seed, revision=REVISION, texts=first.texts,
        remix_of="abcd1234", kept_by="",
    )  # fmt: skip
    assert (again.is_new, again.example) == (False, first)
