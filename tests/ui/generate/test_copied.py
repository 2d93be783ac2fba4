"""What a completion has in common with the training files, with a real corpus and its index."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from pipeline.artifacts.corpus import Corpus
from pipeline.artifacts.revision import Revision
from pipeline.artifacts.starter import starter
from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import write_json
from pipeline.core.errors import BusyError, InputError
from pipeline.core.paths import CorpusFolder, Home
from pipeline.core.settings import Settings
from pipeline.data.verbatim.origins import Origin
from pipeline.gallery.example import Example
from pipeline.ui.generate.answers import Answer, Completion
from pipeline.ui.generate.copied import MAX_GIVEN, MAX_NEW, MAX_WAITING, Copied, TrainingFilesOf, url_of
from pipeline.ui.generate.copied_card import CopiedCard
from pipeline.ui.generate.readings import Written
from pipeline.ui.shared.engine import Engine
from tests.data.conftest import prepare_here
from tests.data.examples import json_lines, row
from tests.generation.models import push, tiny_tokenizer
from tests.ui.generate.test_tab import EXAMPLE, asked

LINES = [f"frame_{number} = pd.read_csv('data/{number * 7919}.csv')\n" for number in range(20)]
FILE = "import pandas as pd\n\n# <b>größe</b> 🦜\n" + "".join(LINES)
PROMPT = "import pandas as pd\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def folder(home: Home, tmp_path: Path) -> CorpusFolder:
    """A corpus with the tokenizer of the tests' models; FILE is in its training split."""
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    rows = [row(number) for number in range(30)]
    named = {"repo_name": "owner/<i>", "path": "src/<u>.py", "license": "<s>"}
    rows += [row(90 + number, content=FILE + "#" * number + "\n", **named) for number in range(6)]
    (tmp_path / "files.jsonl").write_bytes(json_lines(rows))
    config = DataConfig(
        source=f"files:{tmp_path}/files.jsonl",
        keywords=("pandas",),
        tokenizer=str(tmp_path / "tokenizer"),
        validation_share=0.1,
    )
    folder = home.corpus("code")
    assert prepare_here(folder, config)
    return folder


@pytest.fixture
def revision(home: Home) -> Revision:
    return push(Settings(home=home.path), 10, corpus="code")


@pytest.fixture
def card(home: Home) -> CopiedCard:
    engine = Engine(Settings(home=home.path))
    engine.access = SimpleNamespace(of=lambda request: SimpleNamespace(allowed=True))  # type: ignore[assignment]
    card = CopiedCard(engine)
    with gr.Blocks():
        card.build()
    return card


def ids(text: str) -> list[int]:
    return tiny_tokenizer()(text)["input_ids"]


def looked_up(home: Home, revision: Revision, prompt: str, new: str, token_ids: list[int] | None = None) -> Copied:
    files = TrainingFilesOf(home)
    return files.copied(files.corpus(revision), prompt, ids(new) if token_ids is None else token_ids, new)


def show(card: CopiedCard, written: Written | None, value: object) -> Any:
    return asyncio.run(card.show_copied(written, SimpleNamespace(value=value), asked("s")))  # type: ignore[arg-type]


def test_copied_text_is_marked_and_its_files_are_told(home: Home, folder: CorpusFolder, revision: Revision) -> None:
    own = "zzz = 1 @ 2\n"
    copied = looked_up(home, revision, PROMPT, own + LINES[4] + LINES[5] + own)
    assert "".join(part.text for part in copied.parts) == PROMPT + own + LINES[4] + LINES[5] + own
    assert "".join(part.text for part in copied.parts if part.is_given) == PROMPT
    marked = "".join(part.text for part in copied.parts if part.source)
    assert LINES[4] + LINES[5].strip() in marked
    assert "zzz" not in marked
    (source,) = copied.sources
    assert source.origin.line == 4 + 4
    assert source.num_places > 1, "several files have it"
    assert copied.num_copied == sum(len(ids(part.text)) for part in copied.parts if part.source)
    assert copied.num_new == len(ids(own + LINES[4] + LINES[5] + own))


def test_the_run_may_begin_in_the_prompt_and_only_new_tokens_count(
    home: Home, folder: CorpusFolder, revision: Revision
) -> None:
    copied = looked_up(home, revision, LINES[1] + LINES[2], LINES[3])
    assert copied.num_copied == copied.num_new
    assert [part.is_given for part in copied.parts] == [True, False]
    assert looked_up(home, revision, LINES[1] + LINES[2], "zzz @ 1\n" * 3).sources == []


def test_a_character_that_a_run_cuts_is_shown_whole(home: Home, folder: CorpusFolder, revision: Revision) -> None:
    tokens = ids("# <b>größe</b> 🦜\nframe_0 = pd.read_csv('data/0.csv')")
    for start in range(12):
        copied = looked_up(home, revision, "", "", token_ids=[*ids("x" * 9), *tokens[start:]])
        text = "".join(part.text for part in copied.parts)
        assert text == tiny_tokenizer().decode([*ids("x" * 9), *tokens[start:]])


def test_a_kept_example_is_looked_up_by_its_text(card: CopiedCard, folder: CorpusFolder, revision: Revision) -> None:
    example = replace(EXAMPLE, prompt=PROMPT, revision=revision.revision, texts=[LINES[4] + LINES[5]])
    completion = Completion(PROMPT, {}, [Answer(example, example.texts)], "finished", example=example)
    view = show(card, Written.of(completion), f"0 {example.revision}")
    assert "<mark" in view
    assert "of the " in view


def test_names_in_the_files_are_shown_as_text(card: CopiedCard, folder: CorpusFolder, revision: Revision) -> None:
    view = show(card, written(revision, FILE), f"0 {revision.revision}")
    assert "<i>" not in view.replace('<i class="', "") and "&lt;u&gt;.py" in view and "<s>" not in view
    assert "<b>größe" not in view


def test_nothing_in_common_is_told_as_such(card: CopiedCard, folder: CorpusFolder, revision: Revision) -> None:
    view = show(card, written(revision, "zzz @ 1 qqq\n" * 4), f"0 {revision.revision}")
    assert "put them together itself" in view
    assert "<mark" not in view


def test_visitors_do_not_see_the_owners_files(card: CopiedCard, folder: CorpusFolder, revision: Revision) -> None:
    card.engine.access = SimpleNamespace(of=lambda request: SimpleNamespace(allowed=False))  # type: ignore[assignment]
    view = show(card, written(revision, FILE), f"0 {revision.revision}")
    assert "only the owner sees" in view
    assert "src/" not in view and "read_csv" not in view


def test_a_corpus_that_is_not_here_and_another_one_of_its_name(
    card: CopiedCard, folder: CorpusFolder, revision: Revision, home: Home
) -> None:
    gone = push(Settings(home=home.path), 20, corpus="gone")
    assert "corpus gone, which is not on this disk" in show(card, written(gone, FILE), f"0 {gone.revision}")
    manifest = Corpus.open(folder).manifest
    write_json(folder.manifest, {**manifest, "tokenizer_sha256": "0" * 64})
    assert "is another one than revision" in show(card, written(revision, FILE), f"0 {revision.revision}")


def test_no_search_is_offered_for_the_starter_whose_files_are_not_here(
    card: CopiedCard, folder: CorpusFolder, revision: Revision
) -> None:
    own = starter()
    assert own is not None
    assert "its training files do not come with the program" in card.updates(written(own, FILE), asked("s"))[card.view]
    assert "Look it up" in card.updates(written(revision, FILE), asked("s"))[card.view]


@pytest.mark.parametrize("name", ["ngram-offsets.bin", "ngram-places.bin", "lengths-train.bin"])
def test_a_missing_or_damaged_index_is_told(
    card: CopiedCard, folder: CorpusFolder, revision: Revision, name: str
) -> None:
    (folder.path / name).write_bytes(b"1234")
    assert "prepare the corpus again" in show(card, written(revision, FILE), f"0 {revision.revision}")
    (folder.path / name).unlink()
    assert "prepare it again" in show(card, written(revision, FILE), f"0 {revision.revision}")


@pytest.mark.parametrize("value", [None, "", "9 000000000000", "0 ../etc", {}])
def test_the_card_asks_only_for_samples(
    card: CopiedCard, folder: CorpusFolder, revision: Revision, value: object
) -> None:
    assert "<mark" not in show(card, written(revision, FILE), value)
    assert "Complete a prompt" in show(card, None, value)


@pytest.mark.parametrize(
    ("source", "repo", "path", "url"),
    [
        ("hub:a/b", "own/er", "a b/ü.py", "https://github.com/own/er/blob/HEAD/a%20b/%C3%BC.py"),
        ("hub:a/b", "javascript:x/y", "a.py", ""),
        ("hub:a/b", "own", "a.py", ""),
        ("pypi", "scikit-learn", "a.py", "https://pypi.org/project/scikit-learn/"),
        ("pypi", "../x", "a.py", "https://pypi.org/project/..%2Fx/"),
        ("files:/data", "own/er", "a.py", ""),
        ("installed", "numpy", "a.py", ""),
    ],
)
def test_links_lead_only_to_where_such_files_come_from(source: str, repo: str, path: str, url: str) -> None:
    assert url_of(source, Origin(repo=repo, path=path, license="", line=1)) == url


def written(revision: Revision | Example, new: str) -> Written:
    return Written(PROMPT, [new], [ids(new)], revision)


def test_a_search_of_another_text_waits_and_is_not_shown_over_a_newer_one(
    card: CopiedCard, folder: CorpusFolder, revision: Revision
) -> None:
    original = card._show

    def slow(*asked_for: Any) -> str:
        card.updates(None, asked("s"))  # another completion begins meanwhile
        return original(*asked_for)

    card._show = slow  # type: ignore[method-assign]
    assert "<mark" not in str(show(card, written(revision, FILE), f"0 {revision.revision}"))


def test_unknown_corpora_have_no_files(home: Home, revision: Revision) -> None:
    with pytest.raises(InputError, match="not on this disk"):
        TrainingFilesOf(home).corpus(replace(revision, corpus="other"))


def test_a_run_on_this_disk_knows_its_tokens_too(home: Home, folder: CorpusFolder, revision: Revision) -> None:
    files = TrainingFilesOf(home)
    config = home.run(revision.run).config
    tokens = Corpus.open(folder).manifest["sha256"]
    for uid, kept, is_refused in ((None, tokens, False), (None, {"tokens-train.bin": "0"}, True), ("u", {}, False)):
        write_json(config, {"run_uid": uid, "tokens_sha256": kept})
        if is_refused:
            with pytest.raises(InputError, match="is another one than revision"):
                files.corpus(revision)
        else:
            assert files.corpus(revision).id == "code"


def test_a_visitor_has_one_search_at_a_time_and_few_wait(home: Home, folder: CorpusFolder, revision: Revision) -> None:
    files = TrainingFilesOf(home)
    corpus = files.corpus(revision)
    with ExitStack() as stack:
        for visitor in map(str, range(MAX_WAITING)):
            with pytest.raises(BusyError, match="press again"), files._turn(visitor), files._turn(visitor):
                pass
            stack.enter_context(files._turn(visitor))
        with pytest.raises(BusyError, match="press again"):
            files.copied(corpus, PROMPT, [], FILE, visitor="another")
    assert files.copied(corpus, PROMPT, [], FILE, visitor="another").sources


def test_of_a_long_text_the_end_of_the_prompt_and_the_beginning_are_looked_for(
    home: Home, folder: CorpusFolder, revision: Revision
) -> None:
    copied = looked_up(home, revision, "zzz = 1\n" * 1_000 + PROMPT, LINES[0] + LINES[1] + "qqq @ 7\n" * 1_000)
    text = "".join(part.text for part in copied.parts)
    assert copied.num_new == MAX_NEW
    assert len(ids(text)) <= MAX_GIVEN + MAX_NEW + 2
    assert copied.sources and PROMPT in text


def test_a_line_is_that_of_the_first_token_that_is_more_than_white_space(
    home: Home, folder: CorpusFolder, revision: Revision
) -> None:
    (source,) = looked_up(home, revision, "zzz", "\n" + LINES[4] + LINES[5]).sources
    assert source.origin.line == 4 + 4


def test_visitors_are_shown_no_path_of_this_machine(card: CopiedCard, folder: CorpusFolder, revision: Revision) -> None:
    folder.tokens("train").write_bytes(b"1234")
    assert str(folder.path) in show(card, written(revision, FILE), f"0 {revision.revision}")
    card.engine.access = SimpleNamespace(of=lambda request: SimpleNamespace(allowed=False))  # type: ignore[assignment]
    assert str(folder.path.parent) not in show(card, written(revision, FILE), f"0 {revision.revision}")
