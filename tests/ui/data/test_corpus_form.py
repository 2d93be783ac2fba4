"""What the form of a corpus means, what the engine refuses of it, and what is expected by what is on the disk."""

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


def test_empty_fields_are_the_engines_own_figures() -> None:
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


def test_the_switch_fills_in_what_codeparrot_did() -> None:
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
def test_what_cannot_be_is_refused_in_the_engines_words(given: dict[str, Any], refusal: str) -> None:
    with pytest.raises(InputError, match=refusal):
        setup(**given)


def test_a_scanned_corpus_is_prepared_as_it_was_asked_for(settings: Settings, home: Home) -> None:
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


def look(**changes: Any) -> Scan:
    report = {**REPORT, "keywords": {word: {} for word in COURSE_KEYWORDS}}
    return Scan(**{"report": report, "samples": [], "done": False, "progress": 0.5, "source": "installed", **changes})


def forecast(home: Home, made: CorpusSetup, scan: Scan | None = None) -> corpus_form.CorpusForecast:
    return corpus_form.forecast(home, made, scan, corpus_views(home))


def test_a_look_at_the_same_source_and_keywords_foresees_the_corpus(home: Home) -> None:
    expected = forecast(home, setup(), look())
    assert (expected.by, expected.plan.files, expected.plan.text_bytes) == ("look", 60, 180_000)
    assert expected.plan.seconds is None, "the corpus that is there was made elsewhere"


def test_a_look_at_something_else_does_not(home: Home) -> None:
    for made, scan in [
        (setup(), None),
        (setup(source="hub:a/b"), look()),
        (setup(keywords=("pandas",)), look()),
        (setup(match="import"), look()),
    ]:
        assert (forecast(home, made, scan).by, forecast(home, made, scan).plan.tokens) == ("", None)


def write_scan(settings: Settings, made: CorpusSetup, **report: Any) -> None:
    made.start(settings, only_scan=True)
    folder = Home(settings.home).corpus(made.corpus)
    request = read_json(folder.request) or {}
    write_json(folder.status, {"request_id": request["request_id"], "state": "finished"})
    write_json(folder.report, {**REPORT, **report})


def test_a_scan_of_the_whole_source_counts_for_more_than_a_look(settings: Settings, home: Home) -> None:
    made = setup(max_line_length="99")
    write_scan(settings, made, removed={"a long line": {"files": 10, "bytes": 30_000, "examples": []}})
    expected = forecast(home, made, look())
    assert expected.by == "scan"
    assert (expected.plan.files, expected.plan.text_bytes) == (20, 60_000)
    assert expected.seen is not None
    assert expected.seen.is_filtered
    other = forecast(home, setup(corpus="other", max_line_length="99"), look())
    assert other.by == "scan"
    assert other.seen is not None
    assert not other.seen.is_filtered, "another corpus filters for itself"
    without = forecast(home, setup(), look())
    assert (without.by, without.plan.files) == ("look", 60), "a scan by other rules says nothing"


def test_the_pace_is_that_of_an_earlier_preparation(home: Home) -> None:
    """Filtering 1 MB took 2 s of one process; learning from 4 MB 4 s; writing 5 MB 1 s by each of two processes."""
    folder = home.corpus("ready")
    write_corpus(home, "ready")
    found = {"train_bytes": 4_000_000, "validation_bytes": 1_000_000}
    stages = {"filter": (1.0, found), "tokenizer": (4.0, {}), "tokens": (1.0, {})}
    done = {name: {"seconds": seconds, "found": facts} for name, (seconds, facts) in stages.items()}
    write_json(folder.path / "stages.json", {"done": done})
    write_json(folder.report, REPORT)
    write_json(folder.request, {"workforce": {"workers": 2}})
    (folder.path / "files-train-00000.parquet").write_bytes(b"x" * 500_000)
    pace = corpus_form.pace_of(folder)
    assert pace is not None
    assert pace.filter_seconds_per_byte == pytest.approx(2e-6)
    assert pace.learn_seconds_per_byte == pytest.approx(1e-6)
    assert pace.write_seconds_per_byte == pytest.approx(2 / 5_000_000)
    assert (pace.stored_share, pace.bytes_per_token, pace.vocab_size) == (0.1, 5_000_000 / 1_050_000, 4_096)
    expected = forecast(home, setup(), look())
    assert expected.plan.seconds == pytest.approx(2 * 2.0 + 180_000 * 1e-6 + 180_000 * 4e-7)

    # ---- one of less text took its time to start, and foretells nothing ----
    done["filter"]["found"] = {"train_bytes": 40_000, "validation_bytes": 10_000}
    write_json(folder.path / "stages.json", {"done": done})
    assert forecast(home, setup(), look()).plan.seconds is None
