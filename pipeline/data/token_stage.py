"""The last stage of a preparation: every shard of kept files encoded, by whoever works, and one token file per split."""

from __future__ import annotations

from typing import Any, BinaryIO

from pipeline.config import DataConfig, Workforce
from pipeline.data import places, shards, tokens
from pipeline.data.engines import open_engine
from pipeline.data.progress import Progress
from pipeline.data.split import SPLITS
from pipeline.data.tokens import EncodeTask
from pipeline.errors import InputError
from pipeline.folders import CorpusFolder


class TokenStage:
    def __init__(self, folder: CorpusFolder, config: DataConfig, workforce: Workforce, progress: Progress) -> None:
        self._folder = folder
        self._config = config
        self._engine = open_engine(workforce.engine, workforce.workers, parts=workforce.parts)
        self._parts = workforce.parts
        self._progress = progress
        self._num_tokens = self._num_done = 0

    def run(self, vocab_size: int, tokenizer_sha256: str) -> tuple[dict[str, Any], list[str]]:
        """What was written, and the names of the files. Raises InputError when a split has no whole window."""
        folder, config = self._folder, self._config
        dtype = tokens.dtype_for(vocab_size)
        window = config.window if config.windows == "drop" else None
        # Named by what decides the tokens, beside the files themselves: those a new filter stage has written are newer.
        target = f"{self._parts or folder.parts}/tokens-{tokenizer_sha256[:16]}-{config.windows}-{window or 0}-{config.quality.min_characters_per_token or 0}"
        sources = {split: shards.files(folder.path, split) for split in SPLITS}
        where = self._shared(target, [path for paths in sources.values() for path in paths])
        tasks = {
            split: [
                EncodeTask(
                    source=f"{where}/{path.name}",
                    tokenizer=f"{where}/{folder.tokenizer.name}",
                    target=f"{target}/{path.stem}-{path.stat().st_size}-{path.stat().st_mtime_ns}",
                    dtype=dtype,
                    window=window,
                    min_characters_per_token=config.quality.min_characters_per_token,
                )
                for path in paths
            ]
            for split, paths in sources.items()
        }
        everything = [task for split in SPLITS for task in tasks[split]]
        self._engine.run(
            tokens.encode_shard,
            everything,
            tokens.is_done,
            lambda task: self._show(task, len(everything)),
            lambda: self._progress.stop_requested,
        )
        written = {split: tokens.join(folder.tokens(split), tasks[split]) for split in SPLITS}
        for split, file in written.items():
            if not file.num_tokens:
                if config.windows == "join":
                    raise InputError(
                        f"Every {split} file has fewer characters per token than min_characters_per_token; lower it."
                    )
                raise InputError(
                    f"No {split} file fills a window of {config.window} tokens; use windows join, or a smaller window."
                )
        return {
            **{f"tokens_{split}": file.num_tokens for split, file in written.items()},
            **{f"dense_{split}": file.num_dense for split, file in written.items()},
            "tokens_dropped": sum(file.num_dropped for file in written.values()),
            "dtype": dtype,
            "sha256": {folder.tokens(split).name: file.sha256 for split, file in written.items()},
        }, [folder.tokens(split).name for split in SPLITS]

    def _shared(self, target: str, paths: list[Any]) -> str:
        """Where every worker finds the kept files and the tokenizer: here, or sent to where the parts are."""
        if self._parts is None:
            return str(self._folder.path)
        for path in [*paths, *(self._folder.tokenizer / name for name in tokens.TOKENIZER_FILES)]:
            place = f"{target}/{path.relative_to(self._folder.path)}"
            with path.open("rb") as file:
                places.write_atomically(place, lambda sent, file=file: _copy(file, sent))  # type: ignore[misc]
            self._progress.check()
        return target

    def _show(self, task: EncodeTask, num_tasks: int) -> None:
        self._num_tokens += tokens.encoded_facts(task).num_tokens
        self._num_done += 1
        self._progress.show(tokens=self._num_tokens, progress=self._num_done / num_tasks)


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    while data := source.read(tokens.COPY_BYTES):
        target.write(data)
