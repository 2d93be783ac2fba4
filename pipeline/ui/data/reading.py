"""Which sources a visitor may have read: those that a stranger cannot fill. Any other needs the owner."""

from __future__ import annotations

import re

import gradio as gr

from pipeline.core.settings import Settings
from pipeline.ui.shared.access import Access, AccessError
from pipeline.ui.shared.texts import t

COURSE_DATASETS = ("huggingface-course/codeparrot-ds-train", "transformersbook/codeparrot-train")
PUBLIC = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@main)?(?::[\w.-]+)?(?:#\S+)?", re.ASCII)
"""No other revision: anybody can open a pull request, which is one."""
OTHER_REVISION = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)@", re.ASCII)


class Reading:
    """Decides for each request, and records what owners have read that is not public."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._access = access

    def check(self, request: gr.Request, source: str) -> bool:
        """Whether it is the owner who asks. Raises AccessError unless `source` is open to whoever asks."""
        is_public, is_owner = self.is_public(source), self._access.of(request).allowed
        if not (is_public or is_owner):
            raise AccessError(self._refusal(source))
        if not is_public:
            self._access.require(request, "read", source)
        return is_owner

    def is_public(self, source: str) -> bool:
        """Whether everybody may have it read."""
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
