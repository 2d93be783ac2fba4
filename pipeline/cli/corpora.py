"""Commands about corpora: preview, prepare, corpora, delete."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.console import Console
from pipeline.cli.options import (
    Detach,
    Json,
    Keywords,
    MatchOption,
    SourceOption,
    changes_of,
    check_ended,
)
from pipeline.cli.restored import restore_archive_if_due
from pipeline.config.quality import quality_config
from pipeline.config.schema import COURSE_KEPT_RATE, COURSE_KEYWORDS, DataConfig, ExecutionConfig
from pipeline.config.source_spec import corpus_id_of, reads_index
from pipeline.core.atomic_io import readable_json
from pipeline.core.errors import InputError, require
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs import views
from pipeline.jobs.corpora import delete_corpus, find_corpus, resumable_on, start_preparing
from pipeline.jobs.follow import follow
from pipeline.jobs.job import stop_job
from pipeline.jobs.state import ACTIVE


def preview(
    source: SourceOption = DataConfig.source,
    keyword: Keywords = None,
    match: MatchOption = DataConfig.match,
    limit: Annotated[int, typer.Option(help="Rows to scan.")] = 2_000,
    json: Json = False,
) -> None:
    """Scan the first rows of a source and show how many are kept, and samples of them."""
    from pipeline.data.preview.scan import scan
    from pipeline.data.sources import open_source

    console = Console(as_json=json)
    require(limit >= 1, "limit", limit, "scan 1 row or more")
    data = DataConfig(source=source, keywords=tuple(keyword or COURSE_KEYWORDS), match=match)
    for current in scan(open_source(data.source), data.keywords, match=data.match, limit=limit):
        console.progress(f"{current.report['scanned']:,} files scanned, {current.report['kept']:,} kept")
        last = current
    report, extent = last.report, last.extent
    if extent is not None:
        size = f", {extent.num_bytes / 1e6:,.1f} MB" if extent.num_bytes else ""
        what = "archive" if reads_index(data.source) else "file"  # of an index, whole archives are counted
        console.line(f"{data.source}: {extent.num_files:,} {what}{'' if extent.num_files == 1 else 's'}{size}")
    _show_report(console, report)
    for sample in last.samples[:5]:
        console.line(f"kept: {sample.repo_name} {sample.path} ({sample.license}; {', '.join(sample.keywords)})")
    console.document({**report, "samples": [sample.to_dict() for sample in last.samples]})


def prepare(
    source: SourceOption = DataConfig.source,
    keyword: Keywords = None,
    match: MatchOption = DataConfig.match,
    corpus: Annotated[
        str | None, typer.Option(help="Id of the corpus to make; else it is named after the source.")
    ] = None,
    validation_source: Annotated[
        str | None, typer.Option(help="Another source, all of it held out; else a share of the kept files.")
    ] = None,
    max_files: Annotated[int | None, typer.Option(help="Stop after this many kept files.")] = None,
    max_validation_files: Annotated[
        int | None, typer.Option(help="The same for the files of --validation-source.")
    ] = None,
    as_codeparrot: Annotated[
        bool, typer.Option("--as-codeparrot", help="Remove duplicates and poor files as CodeParrot did.")
    ] = False,
    quality: Annotated[
        list[str] | None, typer.Option("--quality", help="key=value: a rule that removes files; see QualityConfig.")
    ] = None,
    windows: Annotated[
        str, typer.Option(help="join: nothing is lost; drop: the course's windows.")
    ] = DataConfig.windows,
    tokenizer: Annotated[str | None, typer.Option(help="A tokenizer's folder or Hub id; else one is trained.")] = None,
    vocab_size: Annotated[int, typer.Option(help="Size of the vocabulary that is trained.")] = DataConfig.vocab_size,
    workers: Annotated[int, typer.Option(help="Processes that filter and tokenize.")] = ExecutionConfig.workers,
    engine: Annotated[
        str, typer.Option(help="local: of this machine; ray: of a Ray cluster.")
    ] = ExecutionConfig.engine,
    parts: Annotated[
        str | None, typer.Option(help="Folder that every worker sees, a path or s3://...; else the corpus's own.")
    ] = None,
    only_scan: Annotated[
        bool, typer.Option("--only-scan", help="Only filter and report; a later prepare goes on from there.")
    ] = False,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Filter a source, train a tokenizer on what is kept, and turn it into tokens."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_archive_if_due(settings, console)
    data = DataConfig(
        source=source,
        keywords=tuple(keyword or COURSE_KEYWORDS),
        match=match,
        validation_source=validation_source,
        max_files=max_files,
        max_validation_files=max_validation_files,
        quality=quality_config(changes_of("--quality", quality or []), as_codeparrot=as_codeparrot),
        windows=windows,
        tokenizer=tokenizer,
        vocab_size=vocab_size,
    )
    workforce = ExecutionConfig(engine=engine, workers=workers, parts=parts)
    corpus = corpus or corpus_id_of(source)
    start_preparing(settings, config=data, corpus_id=corpus, workforce=workforce, only_scan=only_scan)
    home = Home(settings.home)
    if not detach:
        with console.stop_on_signal(lambda: stop_job(settings, find_corpus(settings, corpus))):
            follow(settings, lambda: views.corpus_view(home, corpus), console.show_corpus)
    view = views.corpus_view(home, corpus)
    check_ended(view)
    report = readable_json(home.corpus(corpus).report) or None
    if report is not None and not detach:
        _show_report(console, report)
    for warning in view.warnings:
        console.line(f"warning: {warning}")
    if view.state == "finished":
        console.line(f"Corpus {corpus} is ready; train on it with `python -m pipeline train --corpus {corpus}`.")
    elif view.state in ACTIVE:
        console.line(f"Corpus {corpus} goes on by itself; look at it with `python -m pipeline corpora`.")
    console.document({**view.to_dict(), "report": report} if only_scan else view.to_dict())


def corpora(json: Json = False) -> None:
    """List every corpus, newest first, and the disk space it uses."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_archive_if_due(settings, console)
    found = views.corpus_views(Home(settings.home))
    console.table(
        ("corpus", "state", "files", "training tokens", "MB", "source"),
        [(v.corpus, v.state, v.files, v.tokens_train, f"{v.bytes_on_disk / 1e6:.1f}", v.source) for v in found],
    )
    console.document([view.to_dict() for view in found])


def delete(
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help="Id of a corpus.")],
    force: Annotated[bool, typer.Option("--force", help="Also when a run could still be resumed on it.")] = False,
    json: Json = False,
) -> None:
    """Delete a corpus: its kept files, tokenizer and tokens."""
    settings, console = Settings.from_environment(), Console(as_json=json)
    folder = find_corpus(settings, corpus)
    runs = resumable_on(Home(settings.home), corpus)
    if runs and not force:
        raise InputError(
            f"Corpus {corpus} is needed to resume {', '.join(runs)}; give --force to delete it all the same."
        )
    freed = views.corpus_bytes(folder)
    delete_corpus(settings, corpus)
    console.line(f"Corpus {corpus} is deleted; {freed / 1e6:.1f} MB are free again.")
    console.document({"corpus": corpus, "bytes": freed})


def _show_report(console: Console, report: dict[str, Any]) -> None:
    console.line(
        f"{report['scanned']:,} files scanned, kept rate {report['keep_rate']:.2%} (the course's: {COURSE_KEPT_RATE:.2%})"
    )
    console.table(
        ("keyword", "files", "rate"),
        [(k, f"{v['files']:,}", f"{v['rate']:.2%}") for k, v in report["keywords"].items()],
    )
    for reason, count in report["bad_rows"].items():
        console.line(f"not read: {count:,} x {reason}")
