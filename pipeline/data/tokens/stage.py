"""The stage `tokens` of a preparation: encodes every shard of kept files, with any engine, to one token file per split."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

from pipeline.artifacts.corpus import dtype_for
from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.atomic_io import sha256
from pipeline.core.errors import InputError
from pipeline.core.paths import CorpusFolder
from pipeline.data.execution import open_executor, storage
from pipeline.data.filter import parquet_shards
from pipeline.data.filter.split import SPLITS
from pipeline.data.progress import Progress
from pipeline.data.tokens import token_file
from pipeline.data.tokens.token_file import EncodeTask


class TokenStage:
    def __init__(
        self, folder: CorpusFolder, config: DataConfig, workforce: ExecutionConfig, progress: Progress
    ) -> None:
        self._folder = folder
        self._config = config
        self._engine = open_executor(workforce.engine, workforce.workers, parts=workforce.parts)
        self._parts = workforce.parts
        self._progress = progress
        self._num_tokens = self._num_done = 0

    def run(self, vocab_size: int, files: dict[str, str]) -> tuple[dict[str, Any], list[str]]:
        """Facts about the tokens, and the names of the files written. `files`: SHA-256 of the shards of kept files.
        Raises InputError when a split has no tokens: no file fills a window, or all have too few characters per token.
        """
        folder, config = self._folder, self._config
        dtype = dtype_for(vocab_size)
        tasks = self._tasks(dtype, files)
        everything = [task for split in SPLITS for task in tasks[split]]
        self._engine.run(
            token_file.encode_shard,
            everything,
            token_file.is_done,
            lambda task: self._show(task, len(everything)),
            lambda: self._progress.stop_requested,
        )
        written = {
            split: token_file.join(folder.tokens(split), folder.lengths(split), tasks[split]) for split in SPLITS
        }
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
        }, [path.name for split in SPLITS for path in (folder.tokens(split), folder.lengths(split))]

    def _tasks(self, dtype: str, files: dict[str, str]) -> dict[str, list[EncodeTask]]:
        """The tasks by split, in the order of its files. Everything that determines the tokens is in the target's name,
        so that corpora with the same address for parts share only identical ones.
        """
        folder, config = self._folder, self._config
        window = config.window if config.windows == "drop" else None
        ratio = config.quality.min_characters_per_token
        digest, tokenizer_address = self._sent_tokenizer()
        settings = f"{token_file.FORMAT}-{config.windows}-{window or 0}-{ratio or 0}"
        target = f"{self._parts or folder.parts}/tokens-{digest}-{settings}"
        return {
            split: [
                EncodeTask(
                    source=self._sent(path, f"files/{files[path.name]}.parquet"),
                    tokenizer=tokenizer_address,
                    target=f"{target}/{files[path.name]}",
                    dtype=dtype,
                    window=window,
                    min_characters_per_token=ratio,
                )
                for path in parquet_shards.files(folder.path, split)
            ]
            for split in SPLITS
        }

    def _sent_tokenizer(self) -> tuple[str, str]:
        """A digest of the tokenizer's files, and the address of a folder of them that every worker can read. The digest
        covers all files, because the end-of-text token is set in another file than the vocabulary.
        """
        paths = [self._folder.tokenizer / name for name in token_file.TOKENIZER_FILES]
        digest = hashlib.sha256("".join(map(sha256, paths)).encode()).hexdigest()[:32]
        sent = [self._sent(path, f"tokenizers/{digest}/{path.name}") for path in paths]
        return digest, sent[0].rpartition("/")[0]

    def _sent(self, path: Path, name: str) -> str:
        """Address of a file that every worker can read: the file itself, or its copy beside the parts, under a `name`
        that identifies the content.
        """
        if self._parts is None:
            return str(path)
        address = f"{self._parts}/{name}"
        if not storage.exists(address):
            with path.open("rb") as file:
                storage.write_atomically(address, lambda copy: shutil.copyfileobj(file, copy, token_file.COPY_BYTES))
            self._progress.check()
        return address

    def _show(self, task: EncodeTask, num_tasks: int) -> None:
        self._num_tokens += token_file.encoded_facts(task).num_tokens
        self._num_done += 1
        self._progress.show(tokens=self._num_tokens, progress=self._num_done / num_tasks)
