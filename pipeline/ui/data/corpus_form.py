"""The configuration that the corpus form describes, and a forecast of what preparing it will take.

Does not depend on Gradio: takes values as a browser sends them; an empty field is None or "".
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.config.parsing import known, parse_value, parsed
from pipeline.config.quality import QualityConfig, quality_config
from pipeline.config.schema import MAX_TOKENIZER_BYTES, DataConfig, ExecutionConfig
from pipeline.core.atomic_io import readable_json
from pipeline.core.paths import CorpusFolder, Home
from pipeline.core.settings import Settings
from pipeline.jobs.corpora import find_corpus, start_preparing
from pipeline.jobs.view_types import CorpusView
from pipeline.planning import CorpusPlan, CorpusThroughput, SourceFigures, plan_corpus

if TYPE_CHECKING:
    from pipeline.data.preview.scan import Scan

RULES = tuple(rule.name for rule in dataclasses.fields(QualityConfig))
"""Names of the quality rules, in the order of the form."""
SWITCHES = tuple(rule.name for rule in dataclasses.fields(QualityConfig) if isinstance(rule.default, bool))
"""The boolean rules; the others are numbers."""
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
"""Fields of DataConfig that the form offers besides those of the source card, in the order of its inputs."""
MIN_MEASURED_BYTES = 2_000_000
"""A preparation of less text than this gives no throughput: its time is mostly startup."""
FILTERS = ("source", "keywords", "match", "quality")
"""Fields of DataConfig that decide which files a scan of the whole source counts."""


@dataclass(frozen=True, kw_only=True)
class CorpusSetup:
    """One corpus as configured on the page."""

    corpus: str
    config: DataConfig
    workforce: ExecutionConfig

    @classmethod
    def of_inputs(
        cls, source: str, keywords: tuple[str, ...], match: str, name: str | None, workers: Any, values: list[Any]
    ) -> CorpusSetup:
        """`values`: those of FIELDS, then those of RULES. Raises InputError for an invalid value."""
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
        """Submit the preparation, or with `only_scan` the scan; returns the corpus id."""
        return start_preparing(
            settings, config=self.config, corpus_id=self.corpus, workforce=self.workforce, only_scan=only_scan
        )


def codeparrot_values() -> list[Any]:
    """CodeParrot's values for the fields of RULES."""
    return [getattr(QualityConfig.as_codeparrot(), rule) for rule in RULES]


def plain_values() -> list[Any]:
    """Values for the fields of RULES when no rule is applied."""
    return [False if rule in SWITCHES else "" for rule in RULES]


def prepare_scanned(settings: Settings, corpus: str) -> str:
    """Prepare a scanned corpus with the configuration of its scan. Reuses the files that the scan filtered."""
    folder = find_corpus(settings, corpus)
    requested = readable_json(folder.request)
    return start_preparing(
        settings,
        config=DataConfig(**known(DataConfig, requested.get("config") or {})),
        corpus_id=folder.id,
        workforce=ExecutionConfig(**known(ExecutionConfig, requested.get("workforce") or {})),
    )


@dataclass(frozen=True, kw_only=True)
class CorpusForecast:
    """What a set-up will take, and which figures that is estimated from."""

    plan: CorpusPlan
    seen: SourceFigures | None
    by: str
    """Source of the figures: `scan` (whole source), `preview` (its first rows), or empty when there are none."""
    throughput: CorpusThroughput | None


def forecast(home: Home, setup: CorpusSetup, scan: Scan | None, corpora: list[CorpusView]) -> CorpusForecast:
    """Based on a scan of the whole source, else on the last preview, and the throughput of an earlier preparation."""
    seen, by = _from_reports(home, setup, corpora), "scan"
    if seen is None:
        seen, by = _from_preview(setup.config, scan), "preview"
    throughput = find_throughput(home, setup.config, corpora)
    plan = plan_corpus(setup.config, workers=setup.workforce.workers, seen=seen, throughput=throughput, home=home.path)
    return CorpusForecast(plan=plan, seen=seen, by=by if plan.files is not None else "", throughput=throughput)


def _from_preview(config: DataConfig, scan: Scan | None) -> SourceFigures | None:
    if scan is None or (scan.source, tuple(scan.report["keywords"]), scan.match) != (
        config.source,
        config.keywords,
        config.match,
    ):
        return None
    return SourceFigures(
        num_bytes=scan.report["bytes"],
        kept=scan.report["kept"],
        kept_bytes=scan.report["kept_bytes"],
        share=scan.progress,
        knows_rules=config.quality.is_none,
    )


def _from_reports(home: Home, setup: CorpusSetup, corpora: list[CorpusView]) -> SourceFigures | None:
    """From the report of a corpus, preferably this one, that filtered the same whole source in the same way."""
    for view in sorted(corpora, key=lambda view: view.corpus != setup.corpus):
        folder = home.corpus(view.corpus)
        requested = readable_json(folder.request).get("config") or {}
        if view.state not in ("scanned", "finished") or requested.get("max_files") is not None:
            continue
        filters = {name: requested.get(name) for name in FILTERS}
        if filters == {name: _as_json(getattr(setup.config, name)) for name in FILTERS}:
            report = readable_json(folder.report)
            if report and report.get("done"):
                is_filtered = view.state == "scanned" and view.corpus == setup.corpus
                return _source_figures(report, is_filtered=is_filtered)
    return None


def _source_figures(report: dict[str, Any], *, is_filtered: bool) -> SourceFigures:
    removed = report.get("removed", {}).values()
    return SourceFigures(
        num_bytes=report["bytes"],
        kept=report["kept"] - sum(rule["files"] for rule in removed),
        kept_bytes=report["kept_bytes"] - sum(rule["bytes"] for rule in removed),
        share=1.0,
        is_filtered=is_filtered,
    )


def _as_json(value: Any) -> Any:
    """`value` as it reads back from JSON."""
    if isinstance(value, QualityConfig):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def find_throughput(home: Home, config: DataConfig, corpora: list[CorpusView]) -> CorpusThroughput | None:
    """Throughput of the newest finished preparation, preferably with the same vocabulary size, then the same source."""
    throughputs = [
        (view.vocab_size == config.vocab_size, view.source == config.source, throughput)
        for view in corpora
        if view.state == "finished"
        and (throughput := throughput_of(home.corpus(view.corpus)))
        and throughput.text_bytes >= MIN_MEASURED_BYTES
    ]
    # max returns the first of equal items, and `corpora` has the newest first.
    return max(throughputs, key=lambda found: found[:2])[2] if throughputs else None


def throughput_of(folder: CorpusFolder) -> CorpusThroughput | None:
    """Measured by preparing the corpus. None for a corpus prepared elsewhere or with a given tokenizer."""
    manifest, report = readable_json(folder.manifest), readable_json(folder.report)
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
    # A filter stage that resumed from a scan took no time itself; the report has the time of the reading.
    held_out = report.get("validation") or {"bytes": 0, "seconds": 0.0}
    filter_seconds = max(done["filter"]["seconds"] * workers, report["seconds"] + held_out["seconds"])
    return CorpusThroughput(
        corpus=folder.id,
        filter_seconds_per_byte=filter_seconds / (report["bytes"] + held_out["bytes"]),
        learn_seconds_per_byte=done["tokenizer"]["seconds"] / min(found["train_bytes"] or 1, MAX_TOKENIZER_BYTES),
        write_seconds_per_byte=done["tokens"]["seconds"] * workers / text,
        stored_share=stored / text,
        bytes_per_token=text / tokens,
        vocab_size=manifest["vocab_size"],
        text_bytes=text,
    )
