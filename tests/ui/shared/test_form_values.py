"""Values of the page's inputs; one set-up starts one run, however often Start is pressed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline.config.recipes import PRESETS
from pipeline.config.schema import DEFAULT_CORPUS
from pipeline.config.source_spec import corpus_id_of
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import FieldError, InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.views import corpus_views, run_views
from pipeline.ui.shared import form_values
from pipeline.ui.shared.form_values import Setup

SETUP = Setup(corpus="ready", preset="tiny", recipe="accelerate", changes={"max_steps": "50"})


def test_an_empty_field_keeps_the_value_of_the_table() -> None:
    setup = Setup.of_inputs("ready", "tiny", "keras", "40", None, "", "", None, "", "7")
    assert setup.changes == {"max_steps": "40", "seed": "7"}


def test_start_pressed_twice_makes_one_run(settings: Settings, home: Home) -> None:
    assert form_values.start(settings, SETUP, "browser-one") == form_values.start(settings, SETUP, "browser-one")
    assert len(run_views(home)) == 1


def test_start_pressed_by_many_at_once_on_one_page_makes_one_run(settings: Settings, home: Home) -> None:
    barrier = threading.Barrier(6)

    def press() -> None:
        barrier.wait()
        form_values.start(settings, SETUP, "browser-one")

    threads = [threading.Thread(target=press) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(run_views(home)) == 1


def test_another_set_up_and_another_browser_make_another_run(settings: Settings, home: Home) -> None:
    """The control."""
    form_values.start(settings, SETUP, "browser-one")
    form_values.start(settings, SETUP, "browser-two")
    form_values.start(settings, Setup(corpus="ready", preset="tiny", recipe="keras", changes={}), "browser-one")
    views = run_views(home)
    assert [view.state for view in views] == ["queued"] * 3
    assert sorted(view.place or 0 for view in views) == [1, 2, 3]


def test_the_same_set_up_runs_again_once_its_run_is_over(settings: Settings, home: Home) -> None:
    first = form_values.start(settings, SETUP, "browser-one")
    request = read_json(home.run(first).request) or {}
    write_json(home.run(first).status, {"request_id": request["request_id"], "state": "finished"})
    second = form_values.start(settings, SETUP, "browser-one")
    assert second != first
    assert form_values.start(settings, SETUP, "browser-one") == second


def test_without_a_corpus_the_first_one_is_queued_before_the_run(settings: Settings, home: Home) -> None:
    setup = Setup(corpus="", preset="small", recipe="accelerate", changes={})
    run = form_values.start(settings, setup, "browser-one")
    assert form_values.start(settings, setup, "browser-one") == run
    assert form_values.start(settings, setup, "browser-two") != run
    [corpus] = [view for view in corpus_views(home) if view.corpus == DEFAULT_CORPUS]
    request = read_json(home.corpus(DEFAULT_CORPUS).request) or {}
    assert request["config"]["vocab_size"] == PRESETS["small"].vocab_size
    [*_, first] = run_views(home)
    assert (corpus.place, first.run, first.place) == (1, run, 2)


def test_the_first_corpus_is_of_the_offered_source(settings: Settings, home: Home) -> None:
    form_values.start(settings, Setup(corpus="", preset="tiny", recipe="fast", changes={}), "browser-one", "pypi")
    request = read_json(home.corpus("pypi-examples").request) or {}
    assert request["config"]["source"] == "pypi"


def test_a_bad_value_starts_nothing(settings: Settings, home: Home) -> None:
    with pytest.raises(InputError, match="learning_rate is 'fast'"):
        form_values.start(settings, Setup.of_inputs("ready", "tiny", "keras", "", "fast", "", "", "", "", ""), "b")
    assert run_views(home) == []


def test_the_forecast_counts_steps_and_tokens(home: Home, settings: Settings) -> None:
    forecast = form_values.forecast(home, SETUP)
    assert forecast.is_corpus_known
    assert forecast.plan.steps == 50
    assert forecast.plan.tokens == 50 * 32 * 128
    assert not form_values.forecast(
        home, Setup(corpus="", preset="course", recipe="trainer", changes={})
    ).is_corpus_known


@pytest.mark.parametrize(
    ("kind", "path", "repo", "spec"),
    [
        ("installed", "/tmp", "a/b", "installed"),
        ("files", " /data/*.gz ", "a/b", "files:/data/*.gz"),
        ("hub", None, "a/b", "hub:a/b"),
        ("files", None, None, "files:"),
        ("pypi", None, "#examples", "pypi"),
        ("pypi", None, "#all", "pypi#all"),
        ("pypi", "/tmp", " seaborn, statsmodels==0.14.5#examples ", "pypi:seaborn, statsmodels==0.14.5#examples"),
        ("pypi", None, "", "pypi"),
        ("pypi", None, "owner/dataset", "pypi"),
    ],
)
def test_a_source_is_named_as_the_engine_names_it(kind: str, path: str | None, repo: str | None, spec: str) -> None:
    assert form_values.source_spec(kind, path, repo) == spec


def test_keywords_are_those_ticked_and_typed_without_duplicates() -> None:
    assert form_values.keyword_list(["pandas", " polars, pandas ,,torch"]) == ("pandas", "polars", "torch")
    assert form_values.keyword_list(None) == ()


def test_commas_and_lines_separate_keywords_and_spaces_do_not() -> None:
    assert form_values.keyword_list(["DataFrame, np\nimport torch\r\n", " ", "np"]) == (
        "DataFrame",
        "np",
        "import torch",
    )


@pytest.mark.parametrize(
    ("kind", "path", "repo", "name"),
    [
        ("installed", None, None, "installed"),
        ("files", "~/My Code/", None, "my-code"),
        ("files", "/data/code/**/*.py", None, "code"),
        ("files", "/data/part-[0-9].json.gz", None, "data"),
        ("files", "C:\\code\\x.py", None, "x-py"),
        ("files", "/", None, "files"),
        ("files", None, None, "files"),
        ("hub", None, "me/Code_Data/config@rev:train#text", "code-data"),
        ("hub", None, "x" * 99, "x" * 40),
        ("hub", None, "", "hub"),
    ],
)
def test_the_offered_name_of_a_corpus_is_that_of_its_source(
    kind: str, path: str | None, repo: str | None, name: str
) -> None:
    assert corpus_id_of(form_values.source_spec(kind, path, repo)) == name
    assert Home(Path("x")).corpus(name)  # a valid id


@pytest.mark.parametrize(
    ("kind", "path", "repo", "value"),
    [("files", " ", None, ""), ("hub", None, "no repo", "no repo"), ("hub", None, "", "")],
)
def test_a_source_without_a_name_is_refused_before_it_is_read(
    kind: str, path: str | None, repo: str | None, value: str
) -> None:
    with pytest.raises(FieldError) as caught:
        form_values.checked_source(kind, path, repo)
    assert (caught.value.name, caught.value.value) == ("source", value)
    assert form_values.checked_source("hub", None, "me/code@rev:train") == "hub:me/code@rev:train", "control"


def test_the_forecast_warns_of_a_corpus_as_the_run_would(home: Home) -> None:
    path = home.corpus(SETUP.corpus).manifest
    manifest = read_json(path) or {}
    few = {"files_train": 1, "files_validation": 59, "config": {"validation_share": 0.05}}
    write_json(path, {**manifest, **few})
    warnings = form_values.forecast(home, SETUP).plan.warnings
    assert [text for text in warnings if text.startswith("59 of 60 files are held out for validation")]
    write_json(path, {**manifest, "tokens_validation": 127})
    with pytest.raises(InputError, match="its 127 validation tokens fill no window of 128"):
        form_values.forecast(home, SETUP)
