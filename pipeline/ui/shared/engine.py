"""The rooms behind the page, each opened when it is first used, so that the page itself starts at once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.ui.data.reading import Reading
from pipeline.ui.data.scans import Scans
from pipeline.ui.shared.access import Access
from pipeline.ui.shared.recent import Recent
from pipeline.ui.shared.visitors import visitor_of

if TYPE_CHECKING:
    import gradio as gr

    from pipeline.artifacts.revision import Registry
    from pipeline.gallery.examples import Examples
    from pipeline.generation.process import Generator


class Engine:
    """What every tab is given."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = Home(settings.home)
        self.access = Access(settings)
        self.reading = Reading(settings, self.access)
        self.scans = Scans(settings.limits, self.home.scans)
        self.recent = Recent()

    def abandon(self, session_hash: str, cookie: str) -> None:
        """End what the page with this session waits for: nobody listens any more."""
        self.scans.stop(session_hash)
        if "generator" in vars(self):
            self.generator.stop(page_key(session_hash, cookie))

    def close(self) -> None:
        """End what the page has started for itself."""
        self.scans.close()

    def visitor_key(self, request: gr.Request) -> str:
        """Whom quotas count: the visitor's address; "" for the owner, whom none counts."""
        if self.access.of(request).allowed:
            return ""
        address = visitor_of(request.request, self.settings).address if request.request else ""
        return address or "unknown"  # such visitors share one quota rather than have none

    def page_key(self, request: gr.Request) -> str:
        """What a page's requests to the generator are stopped by; "" without a session, which stops nothing.

        A session's hash is the browser's own invention and no secret; the cookie is one.
        """
        assert request.request is not None, "Gradio gives every handler its request"
        return page_key(request.session_hash or "", visitor_of(request.request, self.settings).cookie)

    @cached_property
    def registry(self) -> Registry:
        from pipeline.artifacts.revision import Registry

        return Registry(self.home, self.settings.repo)

    @cached_property
    def examples(self) -> Examples:
        from pipeline.gallery.examples import Examples

        return Examples(self.home.gallery, self.settings.limits)

    @cached_property
    def generator(self) -> Generator:
        from pipeline.generation.process import Generator

        return Generator(self.settings)


def page_key(session_hash: str, cookie: str) -> str:
    return f"{cookie}:{session_hash}" if session_hash else ""
