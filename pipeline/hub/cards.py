"""The model card (README.md) of a pushed revision, from its provenance and assets/model_card.md.j2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.hub.token import redact

TEMPLATE = Path(__file__).resolve().parents[2] / "assets" / "model_card.md.j2"

NAMES = (
    "repo revision run step max_steps corpus preset recipe eval_loss perplexity parameters tokens window created_at final"
).split()


def model_card(provenance: dict[str, Any]) -> str:
    """What the revision is, how good it is, how to use it, where it comes from. What was not recorded is said to be so."""
    from jinja2 import Environment

    environment = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return redact(template.render(_facts(provenance)))


def _facts(provenance: dict[str, Any]) -> dict[str, Any]:
    """Every name that the template uses; None for what was not recorded."""
    return {**{name: provenance.get(name) for name in NAMES}, "versions": provenance.get("versions") or {}}
