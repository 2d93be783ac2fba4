"""Prepares a corpus: filter, tokenizer, tokens, and the manifest last. A job: `python -m pipeline.data CORPUS_FOLDER`.

Each stage writes complete files and is not repeated once it is complete, unless what decides it has changed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from pipeline.config import DataConfig
from pipeline.data import shards, tokenizer, tokens
from pipeline.data.corpus import FORMAT
from pipeline.data.encoding import Encoder
from pipeline.data.matching import Matcher, kept
from pipeline.data.progress import Progress, Stopped
from pipeline.data.report import Report
from pipeline.data.scan import matched
from pipeline.data.sources import open_source
from pipeline.data.split import SPLITS, Splitter
from pipeline.data.stages import Stages
from pipeline.errors import InputError
from pipeline.files import read_json, sha256, write_json
from pipeline.folders import CorpusFolder
from pipeline.job import Job

VERSIONS_OF = ("polars", "tokenizers", "datasets", "numpy")

Found = tuple[dict[str, Any], list[str]]
"""What a stage found, and the names of the files it wrote."""


def prepare(job: Job, config: DataConfig) -> dict[str, Any] | None:
    """Make the corpus in the job's folder and return its manifest; None when it was stopped, which status.json then says.

    Raises InputError when the source, its keywords or the tokenizer give no corpus.
    """
    progress = Progress(job)
    try:
        manifest = _manifest(CorpusFolder(job.folder.path), config, progress)
    except Stopped:
        job.write(state="stopped", progress=None)
        return None
    facts = {name: manifest[f"{name}_train"] + manifest[f"{name}_validation"] for name in ("files", "tokens")}
    progress.end(**facts, progress=1.0)
    job.write(state="finished")
    return manifest


def _manifest(folder: CorpusFolder, config: DataConfig, progress: Progress) -> dict[str, Any]:
    """Do what is not done yet; the manifest is written when all of it is there."""
    plain = json.loads(json.dumps(dataclasses.asdict(config)))
    stages = Stages(folder.path, plain)
    if config.tokenizer is not None and not stages.is_done("tokenizer"):
        tokenizer.check_tokenizer(config.tokenizer)  # before the filter, which takes longest

    def stage(name: str, work: Callable[[], Found]) -> dict[str, Any]:
        if not stages.is_done(name):
            folder.manifest.unlink(missing_ok=True)  # what it describes is about to change
            progress.begin(name)
        found = stages.run(name, work)
        progress.end(
            stage=name, **{key: found[key] for key in ("scanned", "kept", "files", "vocab_size") if key in found}
        )
        return found

    filtered = stage("filter", lambda: _filter(folder, config, progress))
    learned = stage("tokenizer", lambda: _tokenizer(folder, config, progress, filtered["train_bytes"]))
    encoded = stage("tokens", lambda: _tokens(folder, config, progress, filtered["kept_bytes"]))
    if known := read_json(folder.manifest):
        return known
    manifest = {
        "format": FORMAT,
        "corpus": folder.id,
        "config": plain,
        "files_train": filtered["files_train"],
        "files_validation": filtered["files_validation"],
        **learned,
        **encoded,
        "seconds": stages.seconds,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{n: version(n) for n in VERSIONS_OF},
        },
    }
    write_json(folder.manifest, manifest)
    return manifest


# ---- filter ----
def _filter(folder: CorpusFolder, config: DataConfig, progress: Progress) -> Found:
    """Kept files to parquet shards by split, and the report of the whole source."""
    for old in [*folder.path.glob("files-*.parquet"), *folder.path.glob(".files-*.tmp")]:
        old.unlink()
    report, splitter = Report(config.keywords), Splitter(config.validation_share)
    writers = {split: shards.ShardWriter(folder.path, split) for split in SPLITS}
    started = time.perf_counter()
    for batch, hits in matched(
        open_source(config.source).shards(), Matcher(config.keywords), max_kept=config.max_files
    ):
        report.add(batch, hits)
        if len(rows := batch.rows.filter(kept(hits))):
            for split, part in splitter.divide(rows).items():
                writers[split].add(part)
        report.seconds = time.perf_counter() - started
        shares = [batch.progress, report.kept / config.max_files if config.max_files else None]
        share = max((share for share in shares if share is not None), default=None)
        progress(scanned=report.scanned, kept=report.kept, files=report.kept, progress=share)
    found = report.to_dict()
    write_json(folder.report, found)
    _check_kept(config, report)
    for split, part in splitter.rest().items():
        writers[split].add(part)
        writers[split].close()
    return {
        **{name: found[name] for name in ("scanned", "kept", "kept_bytes")},
        "files": report.kept,
        **{f"files_{split}": writer.num_rows for split, writer in writers.items()},
        "train_bytes": writers["train"].num_bytes,
    }, [folder.report.name, *(name for writer in writers.values() for name in writer.names)]


def _check_kept(config: DataConfig, report: Report) -> None:
    """A corpus needs a file to train on and one to hold out."""
    if report.kept >= 2:
        return
    unread = f" ({report.num_bad:,} could not be read)" if report.num_bad else ""
    raise InputError(
        f"Source {config.source!r} keeps {report.kept} of {report.scanned:,} files{unread} with the keywords "
        f"{', '.join(config.keywords)}, and a corpus needs 2 or more; choose another source or other keywords."
    )


# ---- tokenizer ----
def _tokenizer(folder: CorpusFolder, config: DataConfig, progress: Progress, train_bytes: int) -> Found:
    """The tokenizer's folder, trained on training files or copied from the one that is given."""
    staged = folder.path / ".tokenizer.tmp"
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    if config.tokenizer is None:
        learned = tokenizer.train(_training_texts(folder, progress, train_bytes), config.vocab_size)
        tokenizer.save_trained(learned, staged)
    else:
        tokenizer.save_given(config.tokenizer, staged)
    shutil.rmtree(folder.tokenizer, ignore_errors=True)
    staged.replace(folder.tokenizer)
    loaded, end_id = tokenizer.load(folder.tokenizer)
    digest = sha256(folder.tokenizer / "tokenizer.json")
    found = {"vocab_size": tokenizer.vocabulary_size(loaded), "eos_id": end_id, "tokenizer_sha256": digest}
    return found, [f"{folder.tokenizer.name}/{path.name}" for path in sorted(folder.tokenizer.iterdir())]


def _training_texts(folder: CorpusFolder, progress: Progress, train_bytes: int) -> Iterator[str]:
    """Every text of the training split, or every n-th, so that they hold no more than a vocabulary needs."""
    every = max(1, math.ceil(train_bytes / tokenizer.MAX_TRAINING_BYTES))
    number = size = 0
    for group in shards.texts(folder.path, "train"):
        for text in group:
            if number % every == 0:
                yield text
            number += 1
        size += sum(map(len, group))
        progress(progress=min(1.0, size / max(1, train_bytes)))


# ---- tokens ----
def _tokens(folder: CorpusFolder, config: DataConfig, progress: Progress, kept_bytes: int) -> Found:
    """One token file per split."""
    encoder = Encoder.open(folder.tokenizer)
    dtype = tokens.dtype_for(encoder.vocab_size)
    written: dict[str, tokens.TokenFile] = {}
    num_read = num_tokens = 0

    def show(characters: int, new_tokens: int) -> None:
        nonlocal num_read, num_tokens
        num_read, num_tokens = num_read + characters, num_tokens + new_tokens
        progress(tokens=num_tokens, progress=min(1.0, num_read / max(1, kept_bytes)))

    for split in SPLITS:
        written[split] = tokens.write_tokens(
            folder.tokens(split),
            shards.texts(folder.path, split),
            encoder,
            dtype=dtype,
            window=config.window if config.windows == "drop" else None,
            on_group=show,
        )
        if not written[split].num_tokens:
            raise InputError(
                f"No {split} file fills a window of {config.window} tokens; use windows join, or a smaller window."
            )
    return {
        **{f"tokens_{split}": file.num_tokens for split, file in written.items()},
        "tokens_dropped": sum(file.num_dropped for file in written.values()),
        "dtype": dtype,
        "sha256": {folder.tokens(split).name: file.sha256 for split, file in written.items()},
    }, [folder.tokens(split).name for split in SPLITS]
