"""Requests to prepare, push and delete a corpus: what is written and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest

from pipeline.cli.corpora import delete
from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import BusyError, InputError, PipelineError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.data.verbatim import ngram_index
from pipeline.jobs.corpora import delete_corpus, find_corpus, resumable_on, start_preparing, start_pushing
from pipeline.jobs.job import stop_job
from pipeline.jobs.state import in_order, pushes_in_order
from pipeline.jobs.views import corpus_view, push_view
from tests.homes import write_run

pytestmark = pytest.mark.usefixtures("no_worker")


def test_a_relative_path_is_stored_as_an_absolute_one(
    settings: Settings, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code.py").write_text("import pandas")
    monkeypatch.chdir(tmp_path)
    start_preparing(settings, config=DataConfig(source="files:code.py"), corpus_id="new")
    assert (read_json(home.corpus("new").request) or {})["config"]["source"] == f"files:{tmp_path / 'code.py'}"


def test_a_source_that_is_not_there_is_refused_at_once(settings: Settings, home: Home) -> None:
    for source in ("files:/not/there", "nonsense"):
        with pytest.raises(PipelineError, match=source.removeprefix("files:")):
            start_preparing(settings, config=DataConfig(source=source), corpus_id="new")
    assert not home.corpus("new").path.exists()


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ("s3://bucket/parts", "needs s3fs; install it with `pip install s3fs`"),
        ("s3:/bucket/parts", "write an address as s3://..."),
        ("nowhere://a", "nothing here knows nowhere://..."),
    ],
)
def test_parts_that_cannot_be_written_are_refused_at_once(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch, parts: str, words: str
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)  # simulates a missing s3fs, also where it is installed
    with pytest.raises(InputError, match=re.escape(words)):
        start_preparing(settings, config=DataConfig(), corpus_id="new", workforce=ExecutionConfig(parts=parts))
    assert not home.corpus("new").path.exists()


@pytest.mark.parametrize("parts", ["shared", "file:///mnt/shared"])
def test_a_relative_path_of_parts_is_stored_as_an_absolute_one(
    settings: Settings, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: str
) -> None:
    monkeypatch.chdir(tmp_path)
    start_preparing(settings, config=DataConfig(), corpus_id="new", workforce=ExecutionConfig(parts=parts))
    kept = (read_json(home.corpus("new").request) or {})["workforce"]["parts"]
    assert kept == (parts if "://" in parts else str(tmp_path / parts))


def test_a_tokenizer_that_is_not_there_is_refused_at_once(settings: Settings, home: Home) -> None:
    with pytest.raises(InputError, match=r"\./missing"):
        start_preparing(settings, config=DataConfig(tokenizer="./missing"), corpus_id="new")
    assert not home.corpus("new").path.exists()


def test_a_stopped_preparation_continues_with_the_new_configuration(settings: Settings, home: Home) -> None:
    start_preparing(settings, config=DataConfig(), corpus_id="new")
    with pytest.raises(BusyError, match="new is being prepared already"):
        start_preparing(settings, config=DataConfig(), corpus_id="new")
    stop_job(settings, find_corpus(settings, "new"))
    assert corpus_view(home, "new").state == "stopped"
    start_preparing(settings, config=DataConfig(vocab_size=300), corpus_id="new")
    assert corpus_view(home, "new").state == "queued"
    assert (read_json(home.corpus("new").request) or {})["config"]["vocab_size"] == 300


def test_a_ready_corpus_is_not_made_again(settings: Settings) -> None:
    with pytest.raises(InputError, match="ready exists already"):
        start_preparing(settings, config=DataConfig(), corpus_id="ready")


def test_a_ready_corpus_without_an_index_is_prepared_again_with_its_own_settings(
    settings: Settings, home: Home
) -> None:
    config, folder = DataConfig(vocab_size=300), home.corpus("ready")
    manifest = json.loads(json.dumps({**(read_json(folder.manifest) or {}), "config": dataclasses.asdict(config)}))
    write_json(folder.manifest, manifest)
    with pytest.raises(InputError, match="ready exists already"):
        start_preparing(settings, config=DataConfig(), corpus_id="ready")
    start_preparing(settings, config=config, corpus_id="ready")
    assert read_json(folder.manifest) == manifest
    stop_job(settings, find_corpus(settings, "ready"))
    for name in ngram_index.FILES:
        (folder.path / name).write_bytes(b"")
    with pytest.raises(InputError, match="ready exists already"):
        start_preparing(settings, config=config, corpus_id="ready")


def push(settings: Settings, corpus_id: str = "ready", repo: str = "me/files") -> None:
    start_pushing(settings, corpus_id=corpus_id, repo=repo)


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")


def test_a_push_waits_and_is_stopped(settings: Settings, home: Home, token: None) -> None:
    start_pushing(settings, corpus_id="ready", repo="me/files", private=True)
    view = push_view(home.corpus("ready").push)
    assert view is not None
    assert (view.corpus, view.state, view.repo, view.private, view.url) == ("ready", "queued", "me/files", True, None)
    with pytest.raises(BusyError, match="ready is being pushed already"):
        push(settings)
    stop_job(settings, find_corpus(settings, "ready").push)
    push(settings, repo="me/others")
    assert [state.request["repo"] for state in pushes_in_order(home)] == ["me/others"]
    assert in_order(home) == [], "nothing that trains or prepares waits for it"


def test_a_corpus_is_not_deleted_while_it_is_pushed(settings: Settings, home: Home, token: None) -> None:
    push(settings)
    with pytest.raises(BusyError, match="ready is being pushed; stop that first"):
        delete_corpus(settings, "ready")
    stop_job(settings, find_corpus(settings, "ready").push)
    delete_corpus(settings, "ready")
    assert not home.corpus("ready").path.exists()


def test_the_command_deletes_what_a_run_could_be_resumed_on_only_by_force(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(home.path))
    write_run(home, "calm-kea", state="stopped")
    assert resumable_on(home, "ready") == ["calm-kea"]
    assert resumable_on(home, "other") == []
    with pytest.raises(InputError, match="Corpus ready is needed to resume calm-kea; give --force"):
        delete("ready")
    assert home.corpus("ready").is_ready
    delete("ready", force=True)
    assert not home.corpus("ready").path.exists()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"repo": "files"}, "dataset is 'files'; write it as owner/name"),
        ({"repo": ""}, "dataset is ''; write it as owner/name"),
        ({"repo": "<b>me</b>"}, "dataset is '<b>me</b>'; write it as owner/name"),
        ({"repo": "me/../files"}, "write it as owner/name"),
        ({"corpus_id": "none"}, "There is no corpus 'none'"),
        ({"corpus_id": "new"}, "Corpus new is queued; prepare it to its end"),
    ],
)
def test_an_invalid_push_is_refused_at_once(
    settings: Settings, home: Home, token: None, asked: dict[str, str], words: str
) -> None:
    start_preparing(settings, config=DataConfig(), corpus_id="new")
    with pytest.raises(InputError, match=re.escape(words)):
        push(settings, **asked)
    assert pushes_in_order(home) == []


def test_a_push_without_a_token_is_refused_at_once(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(PipelineError, match="HF_TOKEN is not set; set it to a token that may write to the repo"):
        push(settings)
    assert pushes_in_order(home) == []
