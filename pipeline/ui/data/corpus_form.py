"""What the form of a corpus means, and what preparing it will take by all that is known here.

Knows nothing of Gradio: values come in as a browser sends them, empty fields as None.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.config.parsing import known, parse_value, parsed
from pipeline.config.quality import QualityConfig, quality_config
from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.atomic_io import readable_json
from pipeline.core.paths import CorpusFolder, Home
from pipeline.core.settings import Settings
from pipeline.jobs import corpus_requests, views
from pipeline.jobs.views import CorpusView
from pipeline.planning import MOST_LEARNED_BYTES, CorpusPlan, Pace, Seen, plan_corpus

if TYPE_CHECKING:
    from pipeline.data.preview.scan import Scan

RULES = tuple(rule.name for rule in dataclasses.fields(QualityConfig))
"""Rules of quality, in the order of the form."""
SWITCHES = tuple(rule.name for rule in dataclasses.fields(QualityConfig) if isinstance(rule.default, bool))
"""Those that are on or off; the others have a figure."""
FIELDS = (
    "vocab_size",
    "max_files",
    "windows",
    "window",
    "validation_share",
    "validation_source",
    "max_validation_files",
    "tokenizer",
)
"""Fields of the data's configuration that the form offers beside the source's, in the order of its inputs."""
LEAST_PACE_BYTES = 2_000_000
"""A preparation of less text than this took its time to start."""
FILTERS = ("source", "keywords", "match", "quality")
"""What decides which files a scan of the whole source counts."""


@dataclass(frozen=True, kw_only=True)
class CorpusSetup:
    """One corpus as it is set up on the page."""

    corpus: str
    config: DataConfig
    workforce: ExecutionConfig

    @classmethod
    def of_inputs(
        cls, source: str, keywords: tuple[str, ...], match: str, name: str | None, workers: Any, values: list[Any]
    ) -> CorpusSetup:
        """`values`: of FIELDS and RULES. Raises InputError for a value that cannot be."""
        given = {
            field: value for field, value in zip((*FIELDS, *RULES), values, strict=True) if value not in (None, "")
        }
        rules = {rule: value for rule, value in given.items() if rule in RULES}
        changes = {field: value for field, value in given.items() if field in FIELDS}
        config = DataConfig(
            source=source,
            keywords=keywords,
            match=match,
            quality=quality_config(rules, as_codeparrot=False),
            **parsed(changes, DataConfig),
        )
        count = ExecutionConfig.workers if workers in (None, "") else parse_value("workers", workers, int)
        return cls(corpus=(name or "").strip(), config=config, workforce=ExecutionConfig(workers=count))

    def start(self, settings: Settings, *, only_scan: bool = False) -> str:
        """Ask for it; returns its id."""
        return corpus_requests.start_preparing(
            settings, config=self.config, corpus_id=self.corpus, workforce=self.workforce, only_scan=only_scan
        )


def codeparrot_values() -> list[Any]:
    """What the fields of RULES hold when they are as CodeParrot's."""
    return [getattr(QualityConfig.as_codeparrot(), rule) for rule in RULES]


def plain_values() -> list[Any]:
    """What they hold when no rule is applied."""
    return [False if rule in SWITCHES else "" for rule in RULES]


def prepare_scanned(settings: Settings, corpus: str) -> str:
    """Prepare a corpus that was scanned, as it was asked for then; what the scan has filtered is not done again."""
    folder = corpus_requests.find_corpus(settings, corpus)
    asked = readable_json(folder.request)
    return corpus_requests.start_preparing(
        settings,
        config=DataConfig(**known(DataConfig, asked.get("config") or {})),
        corpus_id=folder.id,
        workforce=ExecutionConfig(**known(ExecutionConfig, asked.get("workforce") or {})),
    )


@dataclass(frozen=True, kw_only=True)
class CorpusForecast:
    """What a set-up will take, and how that is known."""

    plan: CorpusPlan
    seen: Seen | None
    by: str
    """Where the figures are from: `look`, `scan` or, when there are none, empty."""
    pace: Pace | None


def forecast(home: Home, setup: CorpusSetup, scan: Scan | None, corpora: list[CorpusView]) -> CorpusForecast:
    """By the scan of the whole source if there is one, else by the last look; at the pace of an earlier preparation."""
    seen, by = _of_corpora(home, setup, corpora), "scan"
    if seen is None:
        seen, by = _of_look(setup.config, scan), "look"
    pace = find_pace(home, setup.config, corpora)
    plan = plan_corpus(setup.config, workers=setup.workforce.workers, seen=seen, pace=pace, home=home.path)
    return CorpusForecast(plan=plan, seen=seen, by=by if plan.files is not None else "", pace=pace)


def _of_look(config: DataConfig, scan: Scan | None) -> Seen | None:
    if scan is None or (scan.source, tuple(scan.report["keywords"]), scan.match) != (
        config.source,
        config.keywords,
        config.match,
    ):
        return None
    return Seen(
        num_bytes=scan.report["bytes"],
        kept=scan.report["kept"],
        kept_bytes=scan.report["kept_bytes"],
        share=scan.progress,
        knows_rules=config.quality.is_none,
    )


def _of_corpora(home: Home, setup: CorpusSetup, corpora: list[CorpusView]) -> Seen | None:
    """From the report of a corpus that has filtered the same whole source in the same way: its own first."""
    for view in sorted(corpora, key=lambda view: view.corpus != setup.corpus):
        folder = home.corpus(view.corpus)
        asked = readable_json(folder.request).get("config") or {}
        if view.state not in ("scanned", "finished") or asked.get("max_files") is not None:
            continue
        theirs = {name: asked.get(name) for name in FILTERS}
        if theirs == {name: _plain(getattr(setup.config, name)) for name in FILTERS}:
            report = views.report(folder)
            if report and report.get("done"):
                is_filtered = view.state == "scanned" and view.corpus == setup.corpus
                return _seen(report, is_filtered=is_filtered)
    return None


def _seen(report: dict[str, Any], *, is_filtered: bool) -> Seen:
    removed = report.get("removed", {}).values()
    return Seen(
        num_bytes=report["bytes"],
        kept=report["kept"] - sum(rule["files"] for rule in removed),
        kept_bytes=report["kept_bytes"] - sum(rule["bytes"] for rule in removed),
        share=1.0,
        is_filtered=is_filtered,
    )


def _plain(value: Any) -> Any:
    """As JSON holds it."""
    if isinstance(value, QualityConfig):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def find_pace(home: Home, config: DataConfig, corpora: list[CorpusView]) -> Pace | None:
    """Of the newest preparation here that is finished: one with the same vocabulary and source, if there is one."""
    paces = [
        (view.vocab_size == config.vocab_size, view.source == config.source, pace)
        for view in corpora
        if view.state == "finished"
        and (pace := pace_of(home.corpus(view.corpus)))
        and pace.text_bytes >= LEAST_PACE_BYTES
    ]
    return max(paces, key=lambda found: found[:2])[2] if paces else None  # max takes the first of equals: the newest


def pace_of(folder: CorpusFolder) -> Pace | None:
    """What preparing it took; None for a corpus that was made elsewhere, or with a tokenizer that was given."""
    manifest, report = readable_json(folder.manifest), views.report(folder) or {}
    done = readable_json(folder.path / "stages.json").get("done", {})
    if not report.get("bytes") or not {"filter", "tokenizer", "tokens"} <= set(done):
        return None
    if (manifest.get("config") or {}).get("tokenizer") is not None:
        return None
    found = done["filter"]["found"]
    text = found["train_bytes"] + found["validation_bytes"]
    tokens = manifest["tokens_train"] + manifest["tokens_validation"] + manifest["tokens_dropped"]
    stored = sum(path.stat().st_size for path in folder.path.glob("files-*.parquet"))
    workers = (readable_json(folder.request).get("workforce") or {}).get("workers", 1)
    if not text or not tokens:
        return None
    # A filter that went on from a scan took no time of its own; its report knows what the reading took.
    held_out = report.get("validation") or {"bytes": 0, "seconds": 0.0}
    filter_seconds = max(done["filter"]["seconds"] * workers, report["seconds"] + held_out["seconds"])
    return Pace(
        corpus=folder.id,
        filter_seconds_per_byte=filter_seconds / (report["bytes"] + held_out["bytes"]),
        learn_seconds_per_byte=done["tokenizer"]["seconds"] / min(found["train_bytes"] or 1, MOST_LEARNED_BYTES),
        write_seconds_per_byte=done["tokens"]["seconds"] * workers / text,
        stored_share=stored / text,
        bytes_per_token=text / tokens,
        vocab_size=manifest["vocab_size"],
        text_bytes=text,
    )
