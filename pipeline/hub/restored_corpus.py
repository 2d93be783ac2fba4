"""Brings a corpus back from the dataset that it was pushed to (`dataset`): its kept files and its tokenizer, as if its
preparation had been stopped before the last stage. Preparing it again then encodes the same tokens.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.artifacts.corpus import stage_settings
from pipeline.config.parsing import known
from pipeline.config.schema import DataConfig
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.core.paths import CorpusFolder
from pipeline.hub.client import DOWNLOAD, connect, hub_errors
from pipeline.hub.dataset import DATASET
from pipeline.hub.dataset_files import FOLDERS, MADE_BY, PROVENANCE, REPORT
from pipeline.hub.prepared import SPLITS

ANSWER_SECONDS = 10.0
LEARNED = ("vocab_size", "eos_id", "tokenizer_sha256", "round_trip")
"""Facts of the manifest that the stage `tokenizer` has found."""


def restore_corpus(
    folder: CorpusFolder, repo: str, commit: str, manifest: dict[str, Any], say: Callable[[str], None]
) -> None:
    """Download the dataset's files into a new corpus folder, unless there is one. `manifest`: that of the corpus as it
    was. Raises HubError, and DamagedError when a file is not the one that was pushed, or the dataset is not ours.
    """
    if (folder.path / "stages.json").exists():
        return
    staged = CorpusFolder(folder.path.with_name(f".restored-{folder.id}-{secrets.token_hex(4)}"))
    staged.path.mkdir(parents=True)
    try:
        with hub_errors(repo, DOWNLOAD):
            api = connect(DOWNLOAD, answer_seconds=ANSWER_SECONDS)
            facts = atomic_io.read_json(_fetch(api, repo, commit, PROVENANCE)) or {}
            hashes = facts.get("sha256")
            if facts.get("made_by") != MADE_BY or not isinstance(hashes, dict):
                raise DamagedError(f"Dataset {repo} is not a corpus of this program; prepare {folder.id} again.")
            names = [name for name in hashes if name == REPORT or name.startswith(FOLDERS)]
            for number, name in enumerate(names):
                say(f"Restoring corpus {folder.id} from {repo}: {number:,} of {len(names):,} files")
                _place(_fetch(api, repo, commit, name), staged.path / _local_name(name), hashes[name])
        _write_stages(staged, facts, manifest)
        _move(staged, folder)
    finally:
        shutil.rmtree(staged.path, ignore_errors=True)


def _fetch(api: Any, repo: str, commit: str, name: str) -> Path:
    return Path(api.hf_hub_download(repo, name, revision=commit, repo_type=DATASET))


def _local_name(name: str) -> str:
    """`files-train-00000.parquet` of `data/train-00000-of-00003.parquet`; the same for all others."""
    if not name.startswith("data/"):
        return name
    split, number, *_ = name.removeprefix("data/").split("-")
    if split not in SPLITS or not number.isdecimal():
        raise DamagedError(f"The dataset names a file {name}, which no corpus has.")
    return f"files-{split}-{number}.parquet"


def _place(source: Path, target: Path, sha256: str) -> None:
    if ".." in target.parts:
        raise DamagedError(f"The dataset names a file {target.name} outside its folder.")
    target.parent.mkdir(exist_ok=True)
    atomic_io.link_or_copy(source.resolve(), target)
    if atomic_io.sha256(target) != sha256:
        raise DamagedError(f"{target.name} of the dataset is not the file that was pushed.")


def _write_stages(folder: CorpusFolder, facts: dict[str, Any], manifest: dict[str, Any]) -> None:
    """Write stages.json: the stages `filter` and `tokenizer` are complete."""
    config = json.loads(json.dumps(dataclasses.asdict(DataConfig(**known(DataConfig, manifest["config"])))))
    report = atomic_io.read_json(folder.report) or {}
    paths = sorted(folder.path.glob("files-*.parquet"))
    num_files, num_bytes = facts["files"], facts["bytes"]
    filtered = {
        **{name: report[name] for name in ("scanned", "kept")},
        "files": sum(num_files.values()),
        **{f"files_{split}": num_files[split] for split in SPLITS},
        **{f"{split}_bytes": num_bytes[split] for split in SPLITS},
        "sha256": {path.name: atomic_io.sha256(path) for path in paths},
    }
    learned = {name: manifest[name] for name in LEARNED if name in manifest}
    tokenizer = sorted(path for path in folder.tokenizer.iterdir())
    stages = {"filter": (filtered, [folder.report, *paths]), "tokenizer": (learned, tokenizer)}
    done = {
        stage: {
            "config": stage_settings(config, stage),
            "found": found,
            "files": {path.relative_to(folder.path).as_posix(): path.stat().st_size for path in files},
            "seconds": 0.0,
        }
        for stage, (found, files) in stages.items()
    }
    atomic_io.write_json(folder.path / "stages.json", {"done": done})


def _move(staged: CorpusFolder, folder: CorpusFolder) -> None:
    """Move the files into the corpus's folder, which a request may have made already; stages.json last."""
    folder.path.mkdir(parents=True, exist_ok=True)
    for path in sorted(staged.path.iterdir(), key=lambda path: path.name == "stages.json"):
        target = folder.path / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.rename(target)
