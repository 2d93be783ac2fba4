"""Prepares a corpus: filter, tokenizer, tokens, index, and the manifest last. A job: `python -m pipeline.data CORPUS_FOLDER`.

Each stage writes complete files. A complete stage is not repeated unless the settings that determine it have changed.
Within filter and tokens, complete shards are not repeated either.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from typing import Any

from pipeline.artifacts.corpus import FORMAT, open_tokens
from pipeline.config.schema import MAX_TOKENIZER_BYTES, DataConfig, ExecutionConfig
from pipeline.core.atomic_io import read_json, sha256, write_json
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import CorpusFolder
from pipeline.data.filter import parquet_shards
from pipeline.data.filter.split import SPLITS
from pipeline.data.filter.stage import FilterStage
from pipeline.data.progress import Progress, Stopped
from pipeline.data.stages import Stages
from pipeline.data.tokens import tokenizer
from pipeline.data.tokens.stage import TokenStage
from pipeline.data.verbatim import ngram_index

ROUND_TRIP_BYTES = 2**20
"""Text on which a tokenizer is tried."""
VERSIONS_OF = ("polars", "tokenizers", "tiktoken", "datasets", "numpy")

Found = tuple[dict[str, Any], list[str]]
"""Facts that a stage reports, and the names of the files it wrote."""


def prepare(
    job: JobProcess, config: DataConfig, workforce: ExecutionConfig | None = None, *, only_scan: bool = False
) -> dict[str, Any] | None:
    """Make the corpus in the job's folder and return its manifest; None when it was stopped, as status.json then says.

    With `only_scan`, filter the source and return the report; a later preparation continues from there. Raises
    InputError when no corpus can be made from the source, its keywords or the tokenizer.
    """
    progress = Progress(job)
    preparation = _Preparation(CorpusFolder(job.folder.path), config, workforce or ExecutionConfig(), progress)
    try:
        found = preparation.scan() if only_scan else preparation.run()
    except Stopped:
        job.write(state="stopped", progress=None)
        return None
    job.write(state="finished")
    return found


class _Preparation:
    def __init__(
        self, folder: CorpusFolder, config: DataConfig, workforce: ExecutionConfig, progress: Progress
    ) -> None:
        self._folder = folder
        self._config = config
        self._workforce = workforce
        self._progress = progress
        self._plain = json.loads(json.dumps(dataclasses.asdict(config)))
        self._stages = Stages(folder.path, self._plain)

    def scan(self) -> dict[str, Any]:
        self._progress.begin("filter")
        report = FilterStage(self._folder, self._config, self._workforce, self._progress).scan()
        kept = report["kept"] - sum(rule["files"] for rule in report["removed"].values())
        files = min(kept, self._config.max_files or kept)
        self._progress.end(stage="filter", scanned=report["scanned"], kept=kept, files=files, progress=1.0)
        return report

    def run(self) -> dict[str, Any]:
        """Run the stages that are not complete; the manifest is written when all are."""
        folder, config = self._folder, self._config
        if config.tokenizer is not None and not self._stages.is_done("tokenizer"):
            tokenizer.check_tokenizer(config.tokenizer)  # before the filter, which takes longest
        filtering = FilterStage(folder, config, self._workforce, self._progress)
        filtered = self._stage("filter", filtering.run)
        learned = self._stage("tokenizer", lambda: self._tokenizer(filtered["train_bytes"]))
        if not all(self._folder.lengths(split).exists() for split in SPLITS):
            self._stages.forget("tokens")  # an earlier version did not write them
        encoded = self._stage("tokens", lambda: self._encoded(filtered, learned))
        self._stage("index", lambda: self._indexed(encoded["dtype"]))
        filtering.clean_up()
        manifest = read_json(folder.manifest) or self._manifest(filtered, learned, encoded)
        facts = {name: manifest[f"{name}_train"] + manifest[f"{name}_validation"] for name in ("files", "tokens")}
        self._progress.end(**facts, progress=1.0)
        return manifest

    def _stage(self, name: str, work: Callable[[], Found]) -> dict[str, Any]:
        if not self._stages.is_done(name):
            if name != "index":
                self._folder.manifest.unlink(missing_ok=True)  # what it describes is about to change
            self._progress.begin(name)
        found = self._stages.run(name, work)
        facts = {key: found[key] for key in ("scanned", "kept", "files", "vocab_size") if key in found}
        self._progress.end(stage=name, **facts)
        return found

    def _manifest(self, filtered: dict[str, Any], learned: dict[str, Any], encoded: dict[str, Any]) -> dict[str, Any]:
        dense = {split: encoded[f"dense_{split}"] for split in SPLITS}
        manifest = {
            "format": FORMAT,
            "corpus": self._folder.id,
            "config": self._plain,
            **{f"files_{split}": filtered[f"files_{split}"] - dense[split] for split in SPLITS},
            "files_dense": sum(dense.values()),
            **learned,
            **{name: value for name, value in encoded.items() if not name.startswith("dense_")},
            "seconds": self._stages.seconds,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"python": platform.python_version(), **{n: version(n) for n in VERSIONS_OF}},
        }
        write_json(self._folder.manifest, manifest)
        return manifest

    def _tokenizer(self, train_bytes: int) -> Found:
        """Write the tokenizer's folder: trained on the training files, or copied from the tokenizer in the settings."""
        folder, config = self._folder, self._config
        staged = folder.path / ".tokenizer.tmp"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        if config.tokenizer is None:
            learned = tokenizer.train(self._training_texts(train_bytes), config.vocab_size)
            tokenizer.save_trained(learned, staged)
        else:
            tokenizer.save_given(config.tokenizer, staged)
        loaded, end_id = tokenizer.load(staged)
        found = {
            "vocab_size": tokenizer.vocabulary_size(loaded),
            "eos_id": end_id,
            "tokenizer_sha256": sha256(staged / "tokenizer.json"),
            "round_trip": tokenizer.check_round_trip(loaded, self._first_texts(ROUND_TRIP_BYTES), config.tokenizer),
        }
        shutil.rmtree(folder.tokenizer, ignore_errors=True)
        staged.replace(folder.tokenizer)
        return found, [f"{folder.tokenizer.name}/{path.name}" for path in sorted(folder.tokenizer.iterdir())]

    def _encoded(self, filtered: dict[str, Any], learned: dict[str, Any]) -> Found:
        stage = TokenStage(self._folder, self._config, self._workforce, self._progress)
        return stage.run(learned["vocab_size"], filtered["sha256"])

    def _indexed(self, dtype: str) -> Found:
        tokens = open_tokens(self._folder.tokens("train"), dtype)
        if len(tokens) > ngram_index.MAX_TOKENS:
            print(f"No index is built of more than {ngram_index.MAX_TOKENS:,} tokens.", flush=True)
            return {}, []
        paths = ngram_index.build(tokens, self._folder.path, show=lambda share: self._progress(progress=share))
        return {}, [path.name for path in paths]

    def _first_texts(self, num_bytes: int) -> Iterator[str]:
        """The first texts of the training split, up to about `num_bytes`."""
        size = 0
        for path in parquet_shards.files(self._folder.path, "train"):
            for text in chain.from_iterable(parquet_shards.texts(path)):
                yield text
                size += len(text)
                if size >= num_bytes:
                    return

    def _training_texts(self, train_bytes: int) -> Iterator[str]:
        """Every text of the training split, or every n-th, so that they are about MAX_TOKENIZER_BYTES at most."""
        every = max(1, math.ceil(train_bytes / MAX_TOKENIZER_BYTES))
        number = size = 0
        for path in parquet_shards.files(self._folder.path, "train"):
            for group in parquet_shards.texts(path):
                for text in group:
                    if number % every == 0:
                        yield text
                    number += 1
                size += sum(map(len, group))
                self._progress(progress=min(1.0, size / max(1, train_bytes)))
