"""One run as it was asked for: its request, its configuration, its corpus; new, or resumed from its own config.json.

Knows nothing of torch.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from pipeline.artifacts.corpus import Corpus
from pipeline.config.recipes import run_config
from pipeline.config.schema import RunConfig
from pipeline.core.atomic_io import is_locked, read_json, write_json
from pipeline.core.errors import InputError, require
from pipeline.core.paths import ROOT, Home, RunFolder
from pipeline.data.tokens.windows import open_windows

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

    def write_config(self, chosen: dict[str, Any]) -> None:
        """Write config.json: everything to run this again. `chosen`: what was found good on this machine.

        A resumed run keeps the one it has.
        """
        if self.earlier is not None:
            return
        manifest = self.corpus.manifest
        write_json(
            self.folder.config,
            {
                "format": FORMAT,
                "run": self.folder.id,
                **self.config.to_dict(),
                "seed": self.config.training.seed,
                "parameters": self.config.model.num_parameters,
                "chosen": chosen,
                "tokens_sha256": manifest["sha256"],
                "tokenizer_sha256": manifest["tokenizer_sha256"],
                "versions": versions(),
                "commit": _commit(),
                "created_at": now(),
            },
        )

    def write_chosen(self, chosen: dict[str, Any]) -> None:
        """Put other choices into config.json, which is there."""
        write_json(self.folder.config, {**(read_json(self.folder.config) or {}), "chosen": chosen})

    def chosen_before(self, device: str) -> dict[str, Any]:
        """What the run was begun with on this kind of device, so that it goes on the same; empty where nothing was."""
        chosen = (self.earlier or {}).get("chosen", {})
        return chosen if chosen.get("device") == device else {}

    def provenance(self, step: int, row: Mapping[str, float]) -> dict[str, Any]:
        """What a checkpoint says of where it comes from. `row`: what was measured at this very step."""
        model, training = self.config.model, self.config.training
        return {
            "repo": None,
            "run": self.folder.id,
            "step": step,
            "max_steps": training.max_steps,
            "final": step == training.max_steps,
            "corpus": self.config.corpus,
            "preset": self.config.preset,
            "recipe": self.config.recipe,
            "eval_loss": row.get("eval_loss"),
            "perplexity": row.get("perplexity"),
            "tokens": step * training.batch_size * model.window,
            "window": model.window,
            "parameters": model.num_parameters,
            "versions": versions(),
            "created_at": now(),
        }


def refuse_what_is_over(folder: RunFolder, request: dict[str, Any]) -> None:
    """Raise InputError for a run that cannot be started or resumed as asked, before its status is touched.

    Says nothing while another process runs it: that one's lock does.
    """
    if is_locked(folder.lock):
        return
    if (read_json(folder.status) or {}).get("state") == "finished":
        raise InputError(f"Run {folder.id} is finished; start a new run to train further.")
    if folder.config.exists() and not request.get("resume"):
        raise InputError(f"Run {folder.id} was started before; resume it, or choose another id.")


def open_run(folder: RunFolder, request: dict[str, Any]) -> Run:
    """The run that `request` asks for. Raises InputError when its corpus is missing, too small, or no longer the same."""
    missing = [name for name in ("corpus", "preset", "recipe") if name not in request]
    require(not missing, "request.json", sorted(request), f"it also needs {', '.join(missing)}")
    home = Home(folder.path.parent.parent)
    earlier = read_json(folder.config) if request.get("resume") else None
    corpus = Corpus.open(home.corpus((earlier or request)["corpus"]))
    config = RunConfig.from_dict(earlier) if earlier else _new_config(request, corpus)
    if earlier and earlier["tokens_sha256"] != corpus.manifest["sha256"]:
        raise InputError(
            f"Corpus {corpus.id} is not the one that run {folder.id} was trained on (its token files have other "
            "SHA-256 sums); restore that one, or start a new run."
        )
    _check_fit(config, corpus)
    return Run(folder, config, corpus, earlier)


def versions() -> dict[str, str]:
    """What this was trained with."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}


def now() -> str:
    """ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _new_config(request: dict[str, Any], corpus: Corpus) -> RunConfig:
    return run_config(
        corpus=corpus.id,
        preset=request["preset"],
        recipe=request["recipe"],
        vocab_size=corpus.vocab_size,
        train_tokens=corpus.manifest["tokens_train"],
        changes=request.get("changes"),
    )


def _check_fit(config: RunConfig, corpus: Corpus) -> None:
    """Refuse what would only fail in the middle of the run."""
    require(
        config.model.vocab_size >= corpus.vocab_size,
        "vocab_size",
        config.model.vocab_size,
        f"corpus {corpus.id} has {corpus.vocab_size} tokens; leave it out, or set at least that",
    )
    for split in ("train", "validation"):
        open_windows(corpus, split, config.model.window)


def _commit() -> str | None:
    """The project's own commit, or None where it is not a clone."""
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # no git here, or a clone of somebody else's
        return None
