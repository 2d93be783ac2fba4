"""One run as requested: its request, its configuration, its corpus; new, or resumed from its own config.json.

Does not depend on torch.
"""

from __future__ import annotations

import platform
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from pipeline.artifacts.checkpoint import complete_checkpoints
from pipeline.artifacts.corpus import Corpus
from pipeline.config.recipes import run_config
from pipeline.config.requests import RunRequest
from pipeline.config.schema import RunConfig
from pipeline.core.atomic_io import is_locked, read_json, readable_json, write_json
from pipeline.core.errors import InputError, require
from pipeline.core.paths import ROOT, Home, RunFolder
from pipeline.data.tokens.windows import open_windows
from pipeline.training.divergence import is_diverged

FORMAT = 1
PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True)
class Run:
    """One run, ready to be trained."""

    folder: RunFolder
    config: RunConfig
    corpus: Corpus
    earlier: dict[str, Any] | None
    """config.json as an earlier part of the run wrote it; None for a new run."""
    uid: str | None
    """16 hexadecimal digits, unique to this run whatever its name; None for a run older than this field."""

    def write_config(self, chosen: dict[str, Any], hardware: str) -> None:
        """Write config.json: everything needed to repeat the run. `chosen`: the settings chosen for this machine.
        `hardware`: its name.

        A resumed run keeps its existing file.
        """
        if self.earlier is not None:
            return
        manifest = self.corpus.manifest
        write_json(
            self.folder.config,
            {
                "format": FORMAT,
                "run": self.folder.id,
                "run_uid": self.uid,
                **self.config.to_dict(),
                "seed": self.config.training.seed,
                "parameters": self.config.model.num_parameters,
                "chosen": chosen,
                "hardware": hardware,
                "tokens_sha256": manifest["sha256"],
                "tokenizer_sha256": manifest["tokenizer_sha256"],
                "versions": versions(),
                "commit": _commit(),
                "created_at": now(),
            },
        )

    def update_config(self, **fields: Any) -> None:
        """Replace `fields` of the existing config.json: `chosen`, or `data_offset`."""
        write_json(self.folder.config, {**(read_json(self.folder.config) or {}), **fields})

    @property
    def data_offset(self) -> dict[str, int] | None:
        """The fields of DataOffset after the run's last roll-back. None if an earlier part had none."""
        return (self.earlier or {}).get("data_offset")

    def chosen_before(self, device: str) -> dict[str, Any]:
        """The settings the run started with on this kind of device, so that it continues unchanged; empty if none."""
        chosen = (self.earlier or {}).get("chosen", {})
        return chosen if chosen.get("device") == device else {}

    def provenance(self, step: int, row: Mapping[str, float], *, evaluated_later: bool = False) -> dict[str, Any]:
        """Content of a checkpoint's provenance.json. `row`: the metrics measured at exactly this step;
        `evaluated_later`: whether the step was saved before without them.
        """
        model, training = self.config.model, self.config.training
        return {
            "repo": None,
            "run": self.folder.id,
            "run_uid": self.uid,
            "step": step,
            "max_steps": training.max_steps,
            "final": step == training.max_steps,
            "corpus": self.config.corpus,
            "preset": self.config.preset,
            "recipe": self.config.recipe,
            "eval_loss": row.get("eval_loss"),
            "perplexity": row.get("perplexity"),
            "diverged": is_diverged(self.config, row),
            "evaluated_later": evaluated_later,
            "tokens": step * training.batch_size * model.window,
            "window": model.window,
            "parameters": model.num_parameters,
            "versions": versions(),
            "created_at": now(),
        }


def refuse_what_is_over(folder: RunFolder, request: dict[str, Any]) -> None:
    """Raise InputError for a run that cannot be started or resumed as requested, before its status is changed.

    Does nothing while another process runs it: that process's lock prevents a second start.
    """
    if is_locked(folder.lock):
        return
    if readable_json(folder.status).get("state") == "finished":
        raise InputError(f"Run {folder.id} is finished; start a new run to train further.")
    if folder.config.exists() and not request.get("resume"):
        raise InputError(f"Run {folder.id} was started before; resume it, or choose another id.")


def open_run(folder: RunFolder, request: dict[str, Any]) -> Run:
    """The run that `request` asks for. Raises InputError when its corpus is missing, too small, or has changed,
    DamagedError when a file of the corpus does not have the SHA-256 of its manifest.
    """
    run_request = RunRequest.of(request)
    home = Home(folder.path.parent.parent)
    earlier = read_json(folder.config) if run_request.resume else None
    _refuse_lost_checkpoints(folder)
    corpus = Corpus.open(home.corpus(earlier["corpus"] if earlier else run_request.corpus))
    config = RunConfig.from_dict(earlier) if earlier else _new_config(run_request, corpus)
    if earlier and earlier["tokens_sha256"] != corpus.manifest["sha256"]:
        raise InputError(
            f"Corpus {corpus.id} is not the one that run {folder.id} was trained on (its token files have other "
            "SHA-256 sums); restore that one, or start a new run."
        )
    _check_fit(config, corpus)
    corpus.verify()  # on every rank: each reads its own files, and none waits for another
    uid = earlier.get("run_uid") if earlier else secrets.token_hex(8)
    return Run(folder, config, corpus, earlier, uid)


def _refuse_lost_checkpoints(folder: RunFolder) -> None:
    """Raise InputError for a run that was restored from the Hub without its checkpoint: it would begin anew, and drop
    the metrics that it has.
    """
    if folder.archived.exists() and not complete_checkpoints(folder):
        error = readable_json(folder.restore.status).get("error")
        raise InputError(
            f"Run {folder.id} has no checkpoint on this disk{f' ({error})' if error else ''}; resume it again."
        )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages used for training."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def now() -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _new_config(run_request: RunRequest, corpus: Corpus) -> RunConfig:
    return run_config(
        corpus=corpus.id,
        preset=run_request.preset,
        recipe=run_request.recipe,
        vocab_size=corpus.vocab_size,
        train_tokens=corpus.num_tokens("train"),
        validation_tokens=corpus.num_tokens("validation"),
        changes=run_request.changes,
    )


def _check_fit(config: RunConfig, corpus: Corpus) -> None:
    """Raise InputError for a mismatch that would only fail in the middle of the run."""
    require(
        config.model.vocab_size >= corpus.vocab_size,
        "vocab_size",
        config.model.vocab_size,
        f"corpus {corpus.id} has {corpus.vocab_size} tokens; leave it out, or set at least that",
    )
    for split in ("train", "validation"):
        open_windows(corpus, split, config.model.window)


def _commit() -> str | None:
    """The commit of this project; None if it is not a git clone."""
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # git is missing, or refuses a clone that another user owns
        return None
