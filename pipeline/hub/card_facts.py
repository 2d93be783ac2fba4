"""What a model's card says of its run and corpus, besides the provenance of the revision. Read from the run's folder."""

from __future__ import annotations

from typing import Any

from pipeline.artifacts import evaluation
from pipeline.artifacts.revision import Revision
from pipeline.core import atomic_io
from pipeline.core.paths import Home, RunFolder
from pipeline.core.text import without_paths
from pipeline.hub.dataset_files import public_config

MAX_POINTS = 12
"""Rows of the table of losses."""
MAX_LICENCES = 15
MAX_PROJECTS = 8
NUM_SAMPLES = 3
_TRAINING = (
    "optimizer learning_rate matrix_learning_rate schedule warmup_steps decay_share weight_decay batch_size loss "
    "eval_every_steps seed"
).split()
_MODEL = "n_layer n_embd n_head n_positions vocab_size dropout window".split()
_CORPUS = "source keywords match".split()
_COUNTS = "files_train files_validation tokens_train tokens_validation".split()


def card_facts(
    home: Home,
    run: RunFolder,
    revision: Revision,
    config: dict[str, Any],
    *,
    state: str | None = None,
    image: str | None = None,
) -> dict[str, Any]:
    """`config`: the run's config.json. `state`: of the run. `image`: path of its `curve_image` in the repo. Facts that were not recorded are
    left out, and with them the part of the card that needs them: a checkpoint is not kept from the Hub by what an earlier
    version did not record.
    """
    trained = _has(config.get("training"), _TRAINING) and _has(config.get("model"), _MODEL)
    rows = rows_until(run, revision.step)
    return {
        "state": state,
        "model": config["model"] if trained else {},
        "training": config["training"] if trained else {},
        "chosen": {"device": None, "precision": None, "compiled": False, **(config.get("chosen") or {})},
        "hardware": without_paths(str(config.get("hardware") or "")).replace("|", "/")[:80] or None,
        "tokens_sha256": config.get("tokens_sha256") or {},
        "seconds": next(
            (row["seconds"] for row in reversed(rows) if isinstance(row.get("seconds"), int | float)), None
        ),
        "image": image,
        "tasks": evaluation.of_revision(home, revision),
        "curve": _spread([row for row in rows if _is_measured(row)], MAX_POINTS),
        "samples": _samples(run, revision.step),
        "data": _data(home, config),
    }


def rows_until(run: RunFolder, step: int) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl up to that step."""
    return [row for row in atomic_io.iterate_lines(run.metrics) if _is_until(row, step)]


def _is_until(row: dict[str, Any], step: int) -> bool:
    return type(row.get("step")) is int and row["step"] <= step


def _has(values: object, names: list[str]) -> bool:
    return isinstance(values, dict) and all(values.get(name) is not None for name in names)


def _is_measured(row: dict[str, Any]) -> bool:
    return all(isinstance(row.get(name), float) for name in ("eval_loss", "perplexity"))


def _spread(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most that many, evenly spread, with the first and the last one."""
    if len(rows) <= most:
        return rows
    return [rows[round(number * (len(rows) - 1) / (most - 1))] for number in range(most)]


def _samples(run: RunFolder, step: int) -> list[dict[str, Any]]:
    """What the model wrote at some steps, for a block of code: nothing in it can end the block."""
    rows = [row for row in atomic_io.iterate_lines(run.samples) if _is_until(row, step)]
    kept = _spread([row for row in rows if isinstance(row.get("text"), str)], NUM_SAMPLES)
    return [{**row, **{name: _harmless(str(row.get(name, ""))) for name in ("prompt", "text")}} for row in kept]


def _harmless(text: str) -> str:
    """Text that neither ends its block of code nor looks like the mark of a section."""
    return text.replace("```", "'''").replace("<!--", "<! --")


def corpus_of(home: Home, config: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None] | None:
    """The manifest of the run's corpus, without paths of this machine, and repo and commit of the dataset that it was
    pushed to, if it was. None when the corpus is gone, or was prepared anew since. `config`: the run's config.json.
    """
    folder = home.corpus(config["corpus"])
    found = atomic_io.readable_json(folder.manifest)
    if not found or found.get("sha256") != config.get("tokens_sha256"):
        return None
    push = atomic_io.readable_json(folder.push.status)
    pushed = push.get("pushed") if push.get("state") == "finished" else None
    dataset = {name: pushed.get(name) for name in ("repo", "commit")} if isinstance(pushed, dict) else None
    return {**found, "config": public_config(found.get("config") or {})}, dataset


def _data(home: Home, config: dict[str, Any]) -> dict[str, Any] | None:
    corpus = corpus_of(home, config)
    if corpus is None or not _has(corpus[0]["config"], _CORPUS) or not _has(corpus[0], _COUNTS):
        return None
    found, dataset = corpus
    report = atomic_io.readable_json(home.corpus(config["corpus"]).report)
    licences, projects = (
        [row for row in report.get(name) or () if isinstance(row, dict)] for name in ("licenses", "repositories")
    )
    if not found["config"]["source"].startswith(("pypi", "installed")):  # else they are somebody's folders
        projects = []
    return {
        **found["config"],
        **{name: found[name] for name in _COUNTS},
        "scanned": report.get("scanned"),
        "kept": report.get("kept"),
        "keep_rate": report.get("keep_rate"),
        "licences": [(without_paths(str(row.get("name") or "")), row.get("files")) for row in licences[:MAX_LICENCES]],
        "num_more_licences": max(0, len(licences) - MAX_LICENCES),
        "projects": [(str(row.get("name") or ""), row.get("files")) for row in projects[:MAX_PROJECTS]],
        "more_projects": len(projects) > MAX_PROJECTS,
        "dataset": dataset["repo"] if dataset else None,
        "dataset_commit": (dataset["commit"] or "main") if dataset else None,
    }
