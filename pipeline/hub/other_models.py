"""Models of other repos on the Hub, to complete prompts beside the pushed revisions: `OWNER/NAME` or `OWNER/NAME@REVISION`.

A repo is read without the owner's token, and only the files that a plain GPT-2 needs: nothing in it can run code or name
another file. They are kept in `models/` of the home folder, as a revision with a manifest.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.artifacts.revision import Revision
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError, HubError, InputError, require
from pipeline.core.paths import Home
from pipeline.core.repo_names import HOW, is_owned
from pipeline.core.settings import Settings
from pipeline.hub.client import DOWNLOAD, connect, hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
OPTIONAL = ("tokenizer_config.json", "special_tokens_map.json")
MAX_BYTES = 4 * 10**9
MAX_CONFIG_BYTES = 1_000_000
ANSWER_SECONDS = 10.0
LOOK_AGAIN_SECONDS = 600.0
REVISION = re.compile(r"[\w./-]{1,120}", re.ASCII)
READ = replace(DOWNLOAD, named_by="its name", is_anonymous=True)
NEVER = "1970-01-01T00:00:00+00:00"


_downloading = threading.Lock()


@dataclass(frozen=True)
class OtherModel:
    """A model on the Hub that can be used."""

    repo: str
    commit: str
    files: Mapping[str, tuple[int, str | None]]
    """Size and, of large files, SHA-256, by name."""

    @property
    def num_bytes(self) -> int:
        return sum(size for size, _ in self.files.values())

    @property
    def name(self) -> str:
        """With which `find_model` finds this commit again."""
        return f"{self.repo}@{self.commit}"


def is_other(name: str) -> bool:
    """Whether `name` names a repo, and not a revision of this instance."""
    return "/" in name


def find_model(name: str) -> OtherModel:
    """Raises InputError for a malformed name and for a repo that has no plain GPT-2 with safetensors, HubError when the
    Hub cannot be read or has no such public repo.
    """
    repo, _, revision = name.strip().partition("@")
    require(is_owned(repo), "revision", name, f"{HOW}, with @ and a commit, branch or tag if it is not the newest")
    require(
        not revision or REVISION.fullmatch(revision) is not None,
        "revision",
        name,
        "write a commit, branch or tag after @",
    )
    with hub_errors(repo, READ):
        api = _connect()
        info = api.model_info(repo, revision=revision or None, files_metadata=True)
        files = {entry.rfilename: entry for entry in info.siblings or () if entry.rfilename in (*NEEDED, *OPTIONAL)}
        found = OtherModel(repo, str(info.sha), {name: _facts(entry) for name, entry in files.items()})
        _check_files(found)
        _check_config(api, found)
    return found


def fetch_model(home: Home, model: OtherModel) -> Revision:
    """The model as a revision on this disk; it is downloaded if missing. Raises HubError when the Hub cannot be read,
    DamagedError when a file is not what the Hub says.
    """
    folder = home.models / model.repo.replace("/", "--") / model.commit[:12]
    with _downloading:  # of two who ask for it at once, one downloads it
        if not (folder / manifest.NAME).exists():
            _download(model, folder)
    facts = atomic_io.read_json(folder / PROVENANCE) or {}
    return Revision.from_facts(facts, commit=model.commit, path=folder)


def on_disk(home: Home, name: str) -> Revision | None:
    """The model that `name` names with its commit, if it was downloaded before: it needs no Hub."""
    repo, _, revision = name.partition("@")
    folder = home.models / repo.replace("/", "--") / revision[:12]
    if not is_owned(repo) or not re.fullmatch(r"[0-9a-f]{12,40}", revision) or not (folder / manifest.NAME).exists():
        return None
    facts = atomic_io.read_json(folder / PROVENANCE) or {}
    return Revision.from_facts(facts, commit=facts.get("commit"), path=folder)


def _connect() -> HfApi:
    """Without a token: a visitor must not read what only the owner may."""
    from huggingface_hub import HfApi

    api = connect(READ, answer_seconds=ANSWER_SECONDS)
    return HfApi(endpoint=api.endpoint, token=False)


def _facts(entry: Any) -> tuple[int, str | None]:
    lfs = entry.lfs
    return int(entry.size or 0), lfs.sha256 if lfs else None


def _check_files(model: OtherModel) -> None:
    for name in NEEDED:
        if name not in model.files:
            raise InputError(
                f"{model.repo} has no {name}; choose a repo with a GPT-2 in safetensors and a tokenizer.json."
            )
    if model.num_bytes > MAX_BYTES:
        raise InputError(
            f"{model.repo} has {model.num_bytes / 1e9:.1f} GB, and {MAX_BYTES / 1e9:.0f} are the most; choose a smaller model."
        )


def _check_config(api: HfApi, model: OtherModel) -> None:
    """Look at the model's type before its weights are downloaded."""
    require(model.files["config.json"][0] <= MAX_CONFIG_BYTES, "config.json", model.repo, "choose another repo")
    config = atomic_io.readable_json(Path(api.hf_hub_download(model.repo, "config.json", revision=model.commit)))
    kind = config.get("model_type")
    if kind != "gpt2":
        raise InputError(
            f"{model.repo} is of type {str(kind)[:40]!r}; choose a GPT-2, which is what this program runs."
        )


def _download(model: OtherModel, folder: Path) -> None:
    staged = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    staged.mkdir(parents=True)
    try:
        with hub_errors(model.repo, READ):
            api = _connect()
            for name, (size, sha256) in model.files.items():
                atomic_io.link_or_copy(
                    Path(api.hf_hub_download(model.repo, name, revision=model.commit)).resolve(), staged / name
                )
                same = (staged / name).stat().st_size == size
                if not same or (sha256 and atomic_io.sha256(staged / name) != sha256):
                    raise DamagedError(f"{name} of {model.repo} is not what the Hub says; try again later.")
        facts = {
            "repo": model.repo,
            "revision": model.commit[:12],
            "commit": model.commit,
            "run": "",
            "step": 0,
            "corpus": "",
            "pushed_at": NEVER,
            "eval_loss": None,
        }
        atomic_io.write_json(staged / PROVENANCE, facts)
        manifest.seal(staged, 0)
        if not folder.exists():
            staged.rename(folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


class OfferedModels:
    """The models that this page offers beside its revisions: those of the settings, looked up in a thread, and those that
    its owner has added since it was started.
    """

    def __init__(self, settings: Settings) -> None:
        self._names = settings.models
        self._found: dict[str, OtherModel] = {}
        self._added: dict[str, OtherModel] = {}
        self._looked_at: float | None = None
        self._looking = threading.Lock()

    def known(self, wait_seconds: float = 0.0) -> list[OtherModel]:
        """Those that are found by now; a thread looks for the others, and is waited for that long at most."""
        is_due = self._looked_at is None or time.monotonic() - self._looked_at >= LOOK_AGAIN_SECONDS
        if len(self._found) < len(self._names) and is_due and self._looking.acquire(blocking=False):
            self._looked_at = time.monotonic()
            threading.Thread(target=self._look, name="models", daemon=True).start()
        if wait_seconds and self._looking.acquire(timeout=wait_seconds):
            self._looking.release()
        own = [self._found[name] for name in self._names if name in self._found]
        return own + [model for model in list(self._added.values()) if model not in own]

    def add(self, model: OtherModel) -> None:
        """Offer this one too."""
        self._added[model.name] = model

    def _look(self) -> None:
        try:
            for name in self._names:
                if name not in self._found:
                    self._find(name)
        finally:
            self._looking.release()

    def _find(self, name: str) -> None:
        with contextlib.suppress(HubError, InputError):  # it is offered once the Hub has it
            self._found[name] = find_model(name)


@cache
def offered_models(settings: Settings) -> OfferedModels:
    """One instance for each process."""
    return OfferedModels(settings)
