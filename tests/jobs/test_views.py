"""What a page or a command shows of jobs."""

from __future__ import annotations

import pytest

from pipeline.config.schema import DataConfig
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.corpora import start_preparing, start_pushing
from pipeline.jobs.views import corpus_bytes, corpus_view, home_view, push_view, run_view, run_views
from tests.homes import write_corpus
from tests.jobs.conftest import start

pytestmark = pytest.mark.usefixtures("no_worker")


def test_a_damaged_config_hides_no_other_run(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    start(settings, run_id="b", queue=True)
    home.run("b").config.write_text("{")
    home.corpus("ready").manifest.with_name("label.json").write_text("{")
    assert {view.run: view.config for view in run_views(home)} == {"a": None, "b": None}
    home.run("b").request.write_text("{")
    assert start(settings, request_id="press-1", queue=True) not in ("a", "b")


def test_a_run_shows_its_status_its_configuration_and_its_place(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    folder = home.run("a")
    write_json(folder.config, {"training": {"max_steps": 50}})
    view = run_view(home, "a")
    assert (view.state, view.place, view.step, view.max_steps, view.eval_loss) == ("queued", 1, 0, 50, None)
    request_id = (read_json(folder.request) or {})["request_id"]
    status = {"request_id": request_id, "state": "finished", "step": 50, "eval_loss": 2.0, "eta_seconds": 3.0}
    write_json(folder.status, status)
    view = run_view(home, "a")
    assert (view.state, view.place, view.step, view.eval_loss) == ("finished", None, 50, 2.0)
    assert view.eta_seconds is None, "it is over"


def test_the_printed_fields_are_those_that_scripts_rely_on(settings: Settings, home: Home) -> None:
    start(settings, run_id="a")
    assert set(run_view(home, "a").to_dict()) == {
        *("run", "name", "state", "corpus", "preset", "recipe", "step", "max_steps", "train_loss", "eval_loss"),
        *("perplexity", "tokens_per_second", "eta_seconds", "error", "place", "requested_at", "updated_at"),
        *("pushed_step", "push_fault", "can_resume", "gpu_problem"),
    }
    assert set(corpus_view(home, "ready").to_dict()) == {
        *("corpus", "state", "stage", "progress", "source", "match", "files", "tokens_train", "tokens_validation"),
        *("tokens_dropped", "vocab_size", "bytes_on_disk", "error", "place", "requested_at", "seconds", "seconds_left"),
        "warnings",
    }


def test_a_corpus_that_was_copied_here_is_finished_and_a_scan_is_scanned(settings: Settings, home: Home) -> None:
    assert corpus_view(home, "ready").state == "finished"
    start_preparing(settings, config=DataConfig(), corpus_id="new", only_scan=True)
    folder = home.corpus("new")
    request_id = (read_json(folder.request) or {})["request_id"]
    write_json(folder.status, {"request_id": request_id, "state": "finished", "stage": "filter", "files": 7})
    view = corpus_view(home, "new")
    assert (view.state, view.stage, view.files, view.source) == ("scanned", "filter", 7, "installed")


def test_a_push_that_waits_shows_nothing_of_the_push_before_it(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    folder = home.corpus("ready").push
    assert home_view(home).pushes == {}
    start_pushing(settings, corpus_id="ready", repo="me/files")
    request_id = (read_json(folder.request) or {})["request_id"]
    write_json(
        folder.status, {"request_id": request_id, "state": "finished", "pushed": {"url": "there"}, "message": "m"}
    )
    assert (push_view(folder).url, push_view(folder).message) == ("there", "m")
    start_pushing(settings, corpus_id="ready", repo="me/others")
    assert (push_view(folder).state, push_view(folder).url, push_view(folder).message) == ("queued", None, None)
    assert set(home_view(home).pushes) == {"ready"}


def test_the_bytes_of_a_corpus_are_counted_again_at_its_end(
    settings: Settings, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic", lambda: 0.0)  # no time passes between the two counts
    start_preparing(settings, config=DataConfig(), corpus_id="new")
    folder = home.corpus("new")
    folder.parts.mkdir()
    (folder.parts / "part").write_bytes(b"0" * 10_000)
    assert corpus_view(home, "new").bytes_on_disk > 10_000
    (folder.parts / "part").unlink()
    write_corpus(home, "new")
    view = corpus_view(home, "new")
    assert (view.state, view.bytes_on_disk) == ("finished", corpus_bytes(folder))


def test_a_corpus_whose_losses_say_little_is_shown_with_the_warning(settings: Settings, home: Home) -> None:
    facts = {"files_train": 1, "files_validation": 59, "config": {"validation_share": 0.05}, "round_trip": 0.963}
    write_json(home.corpus("ready").manifest, {**(read_json(home.corpus("ready").manifest) or {}), **facts})
    split, tokenizer = corpus_view(home, "ready").warnings
    assert split.startswith("59 of 60 files are held out for validation")
    assert tokenizer.startswith("The tokenizer writes back 96.3% of the text")
