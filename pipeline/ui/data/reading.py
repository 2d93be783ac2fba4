"""Which sources a visitor may scan: those that a stranger cannot write to. Any other needs the owner."""

from __future__ import annotations

import re

import gradio as gr

from pipeline.config.source_spec import reads_index
from pipeline.core.errors import InputError
from pipeline.core.settings import Settings
from pipeline.ui.shared.access import Access, AccessError
from pipeline.ui.shared.texts import t

COURSE_DATASETS = ("huggingface-course/codeparrot-ds-train", "transformersbook/codeparrot-train")
PUBLIC = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@main)?(?::[\w.-]+)?(?:#\S+)?", re.ASCII)
"""Only the main revision: a pull request is a revision too, and anybody can open one."""
OTHER_REVISION = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)@", re.ASCII)


def _is_public_list(source: str) -> bool:
    """Whether a source of the package index reads only projects of PROJECTS, without versions. Anybody can add other
    projects to a public index, and those of a private one are nobody's business.
    """
    from pipeline.data.sources.pypi import PROJECTS, Requirement, parsed

    try:
        wanted, _ = parsed(source)
    except InputError:
        return False
    return set(wanted) <= set(map(Requirement, PROJECTS))


class Reading:
    """Checks each request, and records the sources owners read that are not public."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._access = access

    def check(self, request: gr.Request, source: str) -> bool:
        """Returns whether the request is the owner's. Raises AccessError when it may not read `source`."""
        is_public, is_owner = self.is_public(source), self._access.of(request).allowed
        if not (is_public or is_owner):
            raise AccessError(self._refusal(source))
        if not is_public:
            self._access.require(request, "read", source)
        return is_owner

    def is_public(self, source: str) -> bool:
        """Whether everybody may read `source`."""
        if reads_index(source):
            return _is_public_list(source)
        named = PUBLIC.fullmatch(source)
        return source == "installed" or (named is not None and named["repo"] in self._datasets)

    @property
    def _datasets(self) -> tuple[str, ...]:
        return (*COURSE_DATASETS, *self._settings.public_datasets)

    def _refusal(self, source: str) -> str:
        named = OTHER_REVISION.match(source)
        if named and named["repo"] in self._datasets:
            return t("access.revision", repo=named["repo"])
        return t("access.source", names=", ".join(self._datasets))
