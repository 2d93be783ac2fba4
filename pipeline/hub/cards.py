"""The card (README.md) of a pushed revision or corpus, from its provenance and a template in assets/."""

from __future__ import annotations

import re
from typing import Any

from pipeline.config.prompts import SAMPLE_TEMPERATURE, SAMPLE_TOKENS
from pipeline.core.paths import ASSETS
from pipeline.hub.token import redact

PROGRAM = "CodeParrot Studio"
NOT_REMOVED, EXACT_REMOVED = "not removed", "exact ones were removed"
MAX_LICENSES = 20
"""Rows of a dataset card's licence table; provenance.json lists all licences."""
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)

NAMES = (
    "repo revision run step max_steps corpus preset recipe eval_loss perplexity parameters tokens window created_at final"
).split()


NO_FACTS: dict[str, Any] = dict.fromkeys(
    ("state", "model", "training", "chosen", "hardware", "tokens_sha256", "seconds", "image", "data", "tasks")
) | {
    "curve": [],
    "samples": [],
}
"""`card_facts.card_facts` of a run that is gone."""


def model_card(
    provenance: dict[str, Any], facts: dict[str, Any] | None = None, *, hourly_price: float | None = None
) -> str:
    """What the revision is, how good it is, how to use it, what it was trained on, where it comes from. Names facts that
    were not recorded. `facts`: as `card_facts.card_facts`. `hourly_price`: of the hardware, in US dollars.
    """
    facts = facts or NO_FACTS
    data = facts["data"] or {}
    source, validation = data.get("source"), data.get("validation_source")
    training = facts["training"] or {}
    return _rendered(
        "model_card.md.j2",
        {
            **_facts(provenance),
            **facts,
            "cost": _cost(facts["seconds"], hourly_price),
            "hub_dataset": _hub_dataset(source),
            "sources": {"source": _in_words(source), "validation": _in_words(validation) if validation else ""},
            "evaluated": _evaluated(data, training),
            "duplicates": _duplicates(data),
            "schedule": _schedule(training),
            "tokenizer": _tokenizer(data),
            "program": PROGRAM,
            "sample_temperature": SAMPLE_TEMPERATURE,
            "sample_tokens": SAMPLE_TOKENS,
            "projects": [(_cell(name), files) for name, files in data.get("projects") or () if isinstance(files, int)],
            "keywords": [_cell(word) for word in data.get("keywords") or ()],
            "licences": [(_cell(name), files) for name, files in data.get("licences") or ()],
        },
    )


def _cost(seconds: float | None, hourly_price: float | None) -> str | None:
    if not seconds or not hourly_price:
        return None
    return f"about ${seconds / 3_600 * hourly_price:,.2f}, at ${hourly_price:,.2f} an hour"


def _evaluated(data: dict[str, Any], training: dict[str, Any]) -> dict[str, str]:
    """What the validation loss is a mean of, and what makes it lower than on other code."""
    most = training.get("eval_windows")
    windows = "windows" if not training else f"up to {most:,} evenly spaced windows" if most else "all windows"
    if not data:
        return {"windows": windows, "source": "", "copies": ""}
    validation = data.get("validation_source")
    return {
        "windows": windows,
        "source": f", from {_in_words(validation)}" if validation else ", from the same source as the training files",
        "copies": {
            NOT_REMOVED: "Copies of files were not removed, so held-out text can also be in the training files. ",
            EXACT_REMOVED: "Only exact copies of files were removed, so held-out text can also be in the training files. ",
        }.get(_duplicates(data), ""),
    }


def _duplicates(data: dict[str, Any]) -> str:
    """What the preparation did about files that are the same."""
    rules = data.get("quality")
    rules = rules if isinstance(rules, dict) else {}
    near = rules.get("near_duplicate_jaccard")
    if isinstance(near, int | float):
        return f"near ones were removed, from a Jaccard similarity of {near:g}"
    return EXACT_REMOVED if rules.get("drop_exact_duplicates") else NOT_REMOVED


def _schedule(training: dict[str, Any]) -> str:
    if not training:
        return ""
    fall = {
        "linear": "then a straight line down to zero",
        "cosine": "then a cosine down to zero",
        "flat": f"then constant, then a straight line down to zero over the last {training['decay_share']:.0%} of the steps",
    }
    return f"{training['warmup_steps']:,} steps of warm-up, {fall.get(training['schedule'], training['schedule'])}"


def _tokenizer(data: dict[str, Any]) -> str:
    if not data:
        return ""
    given = data.get("tokenizer")
    return f"`{_cell(given)}`, which was given" if given else "byte-level BPE, made from the training files"


def _in_words(source: str | None) -> str:
    """Where files come from."""
    known = {
        None: "a source that was not recorded",
        "files": "files of somebody's own disk",
        "installed": "the Python packages installed on a machine",
        "pypi": "examples of data-science projects on the Python package index",
    }
    return known.get(source) or f"`{_cell(source or '')}`"


def _hub_dataset(source: str | None) -> str | None:
    """The dataset's repo, of a source `hub:OWNER/NAME...`."""
    found = re.match(r"hub:([\w.-]+/[\w.-]+)", source or "")
    return found[1] if found else None


def dataset_card(repo: str, provenance: dict[str, Any], report: dict[str, Any]) -> str:
    """What is in the dataset, its source, how files were selected, how to load it, and what its numbers hide."""
    total = sum(provenance["files"].values())
    licenses = [(_cell(name) or "not recorded", files) for name, files in provenance["licenses"].items()]
    names = {name: _cell(provenance[name]) for name in ("source", "validation_source", "tokenizer") if provenance[name]}
    facts = {
        **provenance,
        **names,
        "source_in_words": _in_words(provenance["source"]),
        "repo": repo,
        "size": next((size for limit, size in SIZES if total < limit), "10M<n<100M"),
        "keywords": [_cell(word) for word in provenance["keywords"]],
        "rules": {name: value for name, value in (provenance.get("quality") or {}).items() if value},
        "licenses": licenses[:MAX_LICENSES],
        "num_more_licenses": max(0, len(licenses) - MAX_LICENSES),
        "report": report,
        "removed": {rule: found["files"] for rule, found in (report.get("removed") or {}).items()},
        "num_bad": sum((report.get("bad_rows") or {}).values()),
    }
    return _rendered("dataset_card.md.j2", facts)


def _rendered(template: str, facts: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    environment.filters["quoted"] = _quoted
    text = (ASSETS / template).read_text(encoding="utf-8")
    return redact(environment.from_string(text).render(facts))


def _quoted(value: object) -> str:
    """Text for the front matter: YAML reads `2024-01-01` as a date, and `a: b` as a mapping, unless it is quoted."""
    import yaml

    return yaml.safe_dump(str(value), default_style='"', allow_unicode=True, width=float("inf")).strip()


def _cell(text: str, max_length: int = 60) -> str:
    """Untrusted text, made safe for inline code in a Markdown table cell."""
    return " ".join(text.replace("`", "'").replace("|", "/").split())[:max_length]


def _facts(provenance: dict[str, Any]) -> dict[str, Any]:
    """Every variable of the template; None for facts that were not recorded."""
    values = {name: provenance.get(name) for name in NAMES}
    versions = provenance.get("versions")
    return {
        **{name: _cell(value) if isinstance(value, str) else value for name, value in values.items()},
        "versions": {_cell(str(name)): _cell(str(value)) for name, value in versions.items()} if versions else {},
    }
