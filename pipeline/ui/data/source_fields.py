"""The fields that name a source: which ones a kind of source needs, and how messages name them. Does not depend on Gradio."""

from __future__ import annotations

from typing import Any

from pipeline.ui.shared.field_errors import Field, Fields
from pipeline.ui.shared.texts import t

KINDS = ("pypi", "installed", "files", "hub")
"""The kinds of sources, in the order of their buttons."""
FIRST_KIND = "installed"
"""The kind of source that is chosen until the page knows whether there is a package index."""


def repo_field(kind: str) -> dict[str, Any]:
    """The properties of the field for a dataset on the Hub, or for projects of the package index."""
    if kind == "pypi":
        choices = [(t("data.projects.examples"), "#examples"), (t("data.projects.all"), "#all")]
        return {"choices": choices, "value": "#examples", "label": t("data.projects"), "info": t("data.projects.info")}
    names = [t("data.repo.course"), t("data.repo.all")]
    choices = [(name, name) for name in names]
    return {"choices": choices, "value": names[0], "label": t("data.repo"), "info": t("data.repo.info")}


def source_fields(kind: str) -> Fields:
    """The source card's fields; `kind` is the chosen kind of source."""
    keywords = Field(t("data.keywords"), "keywords")
    found = {
        "keywords": keywords,
        "keyword": keywords._replace(label=t("data.keyword"), remedy=t("data.keyword.remedy")),
        "match": Field(t("data.match"), "match"),
    }
    if kind == "files":
        found["source"] = Field(t("data.path"), "source-path", t("data.path.remedy"))
    elif kind == "hub":
        found["source"] = Field(t("data.repo"), "source-repo", t("data.repo.remedy"))
    elif kind == "pypi":
        found["source"] = Field(t("data.projects"), "source-repo", t("data.projects.remedy"))
    return found
