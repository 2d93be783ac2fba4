"""The card (README.md) of a pushed revision or corpus, from its provenance and a template in assets/."""

from __future__ import annotations

import re
from typing import Any

from pipeline.core.paths import ASSETS
from pipeline.hub.token import redact

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
    ("model", "training", "chosen", "hardware", "tokens_sha256", "seconds", "image", "data")
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
    return _rendered(
        "model_card.md.j2",
        {
            **_facts(provenance),
            **facts,
            "cost": _cost(facts["seconds"], hourly_price),
            "hub_dataset": _hub_dataset(source),
            "sources": {"source": _in_words(source), "validation": _in_words(validation) if validation else ""},
            "evaluated_on": _evaluated_on(data),
            "keywords": [_cell(word) for word in data.get("keywords") or ()],
            "licences": [(_cell(name), files) for name, files in data.get("licences") or ()],
        },
    )


def _cost(seconds: float | None, hourly_price: float | None) -> str | None:
    if not seconds or not hourly_price:
        return None
    return f"about ${seconds / 3_600 * hourly_price:,.2f}, at ${hourly_price:,.2f} an hour"


def _evaluated_on(data: dict[str, Any]) -> str:
    if not data:
        return ""
    if data.get("validation_source"):
        return f", from {_in_words(data['validation_source'])}"
    return ", from the same source as the training files"


def _in_words(source: str | None) -> str:
    """Where files come from."""
    known = {
        None: "a source that was not recorded",
        "files": "files of somebody's own disk",
        "installed": "the Python packages installed on a machine",
        "pypi": "examples of data-science projects on the package index",
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
    text = (ASSETS / template).read_text(encoding="utf-8")
    return redact(environment.from_string(text).render(facts))


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
