"""The files of a prepared corpus that are pushed to the Hub, and their paths in the repo. They contain no path of this
machine and no token.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.core import atomic_io
from pipeline.hub.cards import dataset_card
from pipeline.hub.prepared import SPLITS, Prepared
from pipeline.hub.token import redact

MADE_BY = "codeparrot-studio"
"""Marks a dataset repo as one whose files a push may replace."""
REPORT = "report.json"
FOLDERS = ("data/", "tokenizer/")
LOCAL_TOKENIZER = "a folder"
"""A push owns these folders: it deletes files in them that are not part of it."""


@dataclass(frozen=True)
class Item:
    """One file of the dataset."""

    content: Path | bytes
    sha256: str
    num_bytes: int

    @classmethod
    def of(cls, content: Path | bytes) -> Item:
        if isinstance(content, Path):
            return cls(content, atomic_io.sha256(content), content.stat().st_size)
        return cls(content, hashlib.sha256(content).hexdigest(), len(content))

    def is_blob(self, oid: str) -> bool:
        """Whether `oid` is the content's git blob id."""
        data = self.content.read_bytes() if isinstance(self.content, Path) else self.content
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == oid


def bundle(prepared: Prepared) -> dict[str, Item]:
    """Path in the repo -> file, of all but the card, which may be edited there. Deterministic: the same corpus gives the
    same bytes at any time and on any machine.
    """
    items = {name: Item.of(content) for name, content in _contents(prepared).items()}
    hashes = {name: item.sha256 for name, item in items.items()}
    items[PROVENANCE] = Item.of(_json({**_facts(prepared), "sha256": dict(sorted(hashes.items()))}))
    return items


def card_of(prepared: Prepared, repo: str) -> str:
    """The card as this program writes it."""
    return dataset_card(repo, _facts(prepared), json.loads(_report(prepared)))


def public_config(config: dict[str, Any]) -> dict[str, Any]:
    """A corpus's configuration (as DataConfig) without paths of this machine."""
    sources = {name: _source(config.get(name)) for name in ("source", "validation_source")}
    return {**config, **sources, "tokenizer": _tokenizer(config.get("tokenizer"))}


def _contents(prepared: Prepared) -> dict[str, Path | bytes]:
    found: dict[str, Path | bytes] = {REPORT: _report(prepared)}
    for split in SPLITS:
        paths = prepared.shards[split]
        for number, path in enumerate(paths):
            found[f"data/{split}-{number:05}-of-{len(paths):05}.parquet"] = path
    for path in prepared.tokenizer:
        is_config = path.name == "tokenizer_config.json"
        found[f"tokenizer/{path.name}"] = _json(_without_paths(atomic_io.read_json(path))) if is_config else path
    return found


def _facts(prepared: Prepared) -> dict[str, Any]:
    """The provenance without the hashes."""
    manifest = prepared.manifest
    return {
        "made_by": MADE_BY,
        "corpus": prepared.folder.id,
        **public_config(manifest["config"]),
        "created_at": manifest["created_at"],
        "versions": manifest["versions"],
        "files": prepared.num_rows,
        "bytes": prepared.num_bytes,
        "tokens": {split: manifest[f"tokens_{split}"] for split in SPLITS},
        "tokens_dropped": manifest["tokens_dropped"],
        "files_dense": manifest.get("files_dense", 0),
        "vocab_size": manifest["vocab_size"],
        "eos_id": manifest["eos_id"],
        "licenses": dict(sorted(prepared.licenses.items(), key=lambda item: (-item[1], item[0]))),
    }


def _report(prepared: Prepared) -> bytes:
    """The report; the paths of its bad rows are cut to file names."""
    config = prepared.manifest["config"]
    report = _without_folders(prepared.report, config["source"])
    if validation := report.get("validation"):
        report["validation"] = _without_folders(validation, config.get("validation_source") or "")
    return _json(report)


def _without_folders(report: dict[str, Any], source: str) -> dict[str, Any]:
    if source.startswith("hub:"):
        return dict(report)
    examples = report.get("bad_examples", [])
    return {**report, "bad_examples": [{**one, "where": PurePath(one["where"]).name} for one in examples]}


def _source(source: str | None) -> str | None:
    return "files" if source is not None and source.startswith("files:") else source


def _tokenizer(name: str | None) -> str | None:
    """A Hub name unchanged; for a local folder only LOCAL_TOKENIZER."""
    return LOCAL_TOKENIZER if name is not None and (_is_path(name) or Path(name).is_dir()) else name


def _without_paths(value: Any) -> Any:
    """`value` with local paths, at any depth, cut to their last part: transformers stores some in its config."""
    if isinstance(value, dict):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_paths(item) for item in value]
    return PurePath(value).name if isinstance(value, str) and _is_path(value) else value


def _is_path(text: str) -> bool:
    return text.startswith((".", "~", "/")) and text.count("/") >= 1 and len(text) > 2


def _json(value: Any) -> bytes:
    return redact(json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()
