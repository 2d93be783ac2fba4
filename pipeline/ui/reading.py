"""Which sources a visitor may have read: those that a stranger cannot fill. Any other needs the owner."""

from __future__ import annotations

import re

import gradio as gr

from pipeline.settings import Settings
from pipeline.ui.access import Access, AccessError
from pipeline.ui.texts import t

COURSE_DATASETS = ("huggingface-course/codeparrot-ds-train", "transformersbook/codeparrot-train")
PUBLIC = re.compile(r"hub:(?P<repo>[\w.-]+/[\w.-]+)(?:@main)?(?::[\w.-]+)?(?:#\S+)?", re.ASCII)
"""No other revision: anybody can open a pull request, which is one."""


class Reading:
    """Decides for each request."""

    def __init__(self, settings: Settings, access: Access) -> None:
        self._settings = settings
        self._access = access

    def check(self, request: gr.Request, source: str) -> bool:
        """Whether it is the owner who asks. Raises AccessError unless `source` is open to whoever asks."""
        if self._access.of(request).allowed:
            return True
        if not self.is_public(source):
            names = ", ".join((*COURSE_DATASETS, *self._settings.public_datasets))
            raise AccessError(t("access.source", names=names))
        return False

    def is_public(self, source: str) -> bool:
        """Whether everybody may have it read."""
        named = PUBLIC.fullmatch(source)
        repo = named["repo"] if named else None
        return source == "installed" or repo in (*COURSE_DATASETS, *self._settings.public_datasets)
