"""The configuration of the corpus form, its invalid values, and the forecast from earlier scans and preparations."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config.quality import NO_RULES, QualityConfig
from pipeline.config.schema import COURSE_KEYWORDS, DataConfig
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.data.preview.scan import Scan
from pipeline.jobs.views import corpus_views
from pipeline.ui.data import corpus_form
from pipeline.ui.data.corpus_form import FIELDS, RULES, CorpusSetup
from tests.homes import write_corpus


def setup(**given: Any) -> CorpusSetup:
    source, keywords = given.pop("source", "installed"), given.pop("keywords", COURSE_KEYWORDS)
    match, name, workers = given.pop("match", "substring"), given.pop("corpus", "new"), given.pop("workers", "")
    return CorpusSetup.of_inputs(source, keywords, match, name, workers, [given.get(n) for n in (*FIELDS, *RULES)])


def test_empty_fields_have_the_configurations_defaults() -> None:
    assert setup().config == DataConfig()
    assert setup(workers=None).workforce.workers == 1
    off = dict(zip(RULES, corpus_form.plain_values(), strict=True))
    assert setup(**off).config.quality == NO_RULES


def test_every_field_reaches_the_configuration() -> None:
    made = setup(
        match="import",
        workers="3",
        vocab_size=16_384,
        max_files="1,000",
        windows="drop",
        window="64",
        validation_share="0.1",
        validation_source="files:/data",
        max_validation_files="10",
        tokenizer=" owner/name ",
        max_line_length="500",
        drop_exact_duplicates=True,
    )
    assert made.workforce.workers == 3
    assert made.config == DataConfig(
        match="import",
        vocab_size=16_384,
        max_files=1_000,
        windows="drop",
        window=64,
        validation_share=0.1,
        validation_source="files:/data",
        max_validation_files=10,
        tokenizer="owner/name",
        quality=QualityConfig(max_line_length=500, drop_exact_duplicates=True),
    )


def test_the_switch_fills_in_codeparrots_rules() -> None:
    texts = [value if isinstance(value, bool) else str(value) for value in corpus_form.codeparrot_values()]
    assert setup(**dict(zip(RULES, texts, strict=True))).config.quality == QualityConfig.as_codeparrot()


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"keywords": ()}, "give at least one"),
        ({"max_files": "1"}, "max_files is 1; keep 2 files or more"),
        ({"max_files": "<b>"}, "max_files is '<b>'; give a whole number"),
        ({"vocab_size": 5}, "vocab_size is 5"),
        ({"windows": "cut"}, "windows is 'cut'"),
        ({"window": "4"}, "window is 4"),
        ({"max_validation_files": "5"}, "name a validation_source"),
        ({"near_duplicate_jaccard": "0.1"}, "near_duplicate_jaccard is 0.1; set 0.5 to 1"),
        ({"min_alphanumeric_share": "nan"}, "give a finite number"),
        ({"workers": "0"}, "workers is 0; set 1 to 4096"),
        ({"workers": "many"}, "workers is 'many'; give a whole number"),
    ],
)
def test_an_invalid_value_is_refused_with_the_engines_message(given: dict[str, Any], refusal: str) -> None:
    with pytest.raises(InputError, match=refusal):
        setup(**given)


def test_a_scanned_corpus_is_prepared_with_the_configuration_of_its_scan(settings: Settings, home: Home) -> None:
    made = setup(workers="2", vocab_size=300, max_line_length="9")
    made.start(settings, only_scan=True)
    request = read_json(home.corpus("new").request) or {}
    assert request["only_scan"]
    write_json(home.corpus("new").status, {"request_id": request["request_id"], "state": "finished"})
    corpus_form.prepare_scanned(settings, "new")
    again = read_json(home.corpus("new").request) or {}
    assert not again["only_scan"]
    assert (again["config"], again["workforce"]) == (request["config"], request["workforce"])


REPORT = {"bytes": 1_000_000, "kept": 30, "kept_bytes": 90_000, "seconds": 2.0, "done": True}


def preview(**changes: Any) -> Scan:
    report = {**REPORT, "keywords": {word: {} for word in COURSE_KEYWORDS}}
    return Scan(**{"report": report, "samples": [], "done": False, "progress": 0.5, "source": "installed", **changes})


def forecast(home: Home, made: CorpusSetup, scan: Scan | None = None) -> corpus_form.CorpusForecast:
    return corpus_form.forecast(home, made, scan, corpus_views(home))


def test_a_preview_of_the_same_source_and_keywords_gives_a_forecast(home: Home) -> None:
    expected = forecast(home, setup(), preview())
    assert (expected.by, expected.plan.files, expected.plan.text_bytes) == ("preview", 60, 180_000)
    assert expected.plan.seconds is None, "the existing corpus was prepared elsewhere"


def test_a_preview_of_something_else_gives_no_forecast(home: Home) -> None:
    for made, scan in [
        (setup(), None),
        (setup(source="hub:a/b"), preview()),
        (setup(keywords=("pandas",)), preview()),
        (setup(match="import"), preview()),
    ]:
        assert (forecast(home, made, scan).by, forecast(home, made, scan).plan.tokens) == ("", None)


def write_scan(settings: Settings, made: CorpusSetup, **report: Any) -> None:
    made.start(settings, only_scan=True)
    folder = Home(settings.home).corpus(made.corpus)
    request = read_json(folder.request) or {}
    write_json(folder.status, {"request_id": request["request_id"], "state": "finished"})
    write_json(folder.report, {**REPORT, **report})


def test_a_scan_of_the_whole_source_takes_precedence_over_a_preview(settings: Settings, home: Home) -> None:
    made = setup(max_line_length="99")
    write_scan(settings, made, removed={"a long line": {"files": 10, "bytes": 30_000, "examples": []}})
    expected = forecast(home, made, preview())
    assert expected.by == "scan"
    assert (expected.plan.files, expected.plan.text_bytes) == (20, 60_000)
    assert expected.seen is not None
    assert expected.seen.is_filtered
    other = forecast(home, setup(corpus="other", max_line_length="99"), preview())
    assert other.by == "scan"
    assert other.seen is not None
    assert not other.seen.is_filtered, "another corpus has to filter again"
    without = forecast(home, setup(), preview())
    assert (without.by, without.plan.files) == ("preview", 60), "a scan with other rules is not used"


def test_the_throughput_is_that_of_an_earlier_preparation(home: Home) -> None:
    """Filtering 1 MB took one process 2 s, training on 4 MB took 4 s, writing 5 MB took each of two processes 1 s."""
    folder = home.corpus("ready")
    write_corpus(home, "ready")
    found = {"train_bytes": 4_000_000, "validation_bytes": 1_000_000}
    stages = {"filter": (1.0, found), "tokenizer": (4.0, {}), "tokens": (1.0, {})}
    done = {name: {"seconds": seconds, "found": facts} for name, (seconds, facts) in stages.items()}
    write_json(folder.path / "stages.json", {"done": done})
    write_json(folder.report, REPORT)
    write_json(folder.request, {"workforce": {"workers": 2}})
    (folder.path / "files-train-00000.parquet").write_bytes(b"x" * 500_000)
    throughput = corpus_form.throughput_of(folder)
    assert throughput is not None
    assert throughput.filter_seconds_per_byte == pytest.approx(2e-6)
    assert throughput.learn_seconds_per_byte == pytest.approx(1e-6)
    assert throughput.write_seconds_per_byte == pytest.approx(2 / 5_000_000)
    assert (throughput.stored_share, throughput.bytes_per_token, throughput.vocab_size) == (
        0.1,
        5_000_000 / 1_050_000,
        4_096,
    )
    expected = forecast(home, setup(), preview())
    assert expected.plan.seconds == pytest.approx(2 * 2.0 + 180_000 * 1e-6 + 180_000 * 4e-7)

    # ---- a preparation of less text is mostly startup, and gives no forecast ----
    done["filter"]["found"] = {"train_bytes": 40_000, "validation_bytes": 10_000}
    write_json(folder.path / "stages.json", {"done": done})
    assert forecast(home, setup(), preview()).plan.seconds is None
