"""The packages behind the page, each loaded on first use, so that the page itself starts at once."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.jobs.state import RUNNING, in_order
from pipeline.ui.data.reading import Reading
from pipeline.ui.data.scans import Scans
from pipeline.ui.shared.access import Access
from pipeline.ui.shared.live_home import LiveHome
from pipeline.ui.shared.offer import Offer
from pipeline.ui.shared.recent import Recent
from pipeline.ui.shared.visitors import visitor_of

if TYPE_CHECKING:
    import gradio as gr

    from pipeline.gallery.examples import Examples
    from pipeline.generation.process import Generator, Training
    from pipeline.hub.other_models import OfferedModels
    from pipeline.hub.revision_store import RevisionStore


FIRST_ANSWER_SECONDS = 3.0
"""How long a request waits for the Hub, the first time, to know the models that are offered, and their sizes."""


class Engine:
    """The objects that every tab uses."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = Home(settings.home)
        self.access = Access(settings)
        self.reading = Reading(settings, self.access)
        self.scans = Scans(settings.limits, self.home.scans, self.home.sdists)
        self.recent = Recent()
        self.offer = Offer()
        self.live = LiveHome(self.home, self.offer.known)

    def abandon(self, session_hash: str, cookie: str) -> None:
        """Stop the work that this session waits for: nobody listens any more."""
        self.scans.stop(session_hash)
        if "generator" in vars(self):
            self.generator.stop(page_key(session_hash, cookie))

    def close(self) -> None:
        """End the processes of the scans."""
        self.scans.close()

    def visitor_key(self, request: gr.Request) -> str:
        """The key of quotas: the visitor's address; "" for the owner, who has no quota."""
        if self.access.of(request).allowed:
            return ""
        address = visitor_of(request.request, self.settings).address if request.request else ""
        return address or "unknown"  # visitors without an address share one quota instead of having none

    def page_key(self, request: gr.Request) -> str:
        """The key by which a page's requests to the generator are stopped; "" without a session, which stops nothing.

        The browser makes up the session hash, which is not secret; the cookie is.
        """
        assert request.request is not None, "Gradio gives every handler its request"
        return page_key(request.session_hash or "", visitor_of(request.request, self.settings).cookie)

    def check_model(self, request: gr.Request, name: str) -> str:
        """The name to use for the revision that a request names. Raises AccessError when a visitor names a model on the Hub
        that this page does not offer, or another commit of one: it would be downloaded. A visitor who names an offered
        one without its commit gets the offered commit, as its owner may make a new one every minute.
        """
        if "/" not in name:
            return name
        models = self.models.known(wait_seconds=FIRST_ANSWER_SECONDS if name in self.settings.models else 0)
        offered = {model.name: model.name for model in models} | {model.repo: model.name for model in models}
        if name not in offered or self.access.of(request).allowed:
            self.access.require(request, "model", name)
            return name
        return offered[name]

    @cached_property
    def models(self) -> OfferedModels:
        from pipeline.hub.other_models import offered_models

        return offered_models(self.settings)

    @cached_property
    def revisions(self) -> RevisionStore:
        from pipeline.hub.revision_store import RevisionStore

        return RevisionStore(self.settings)

    @cached_property
    def examples(self) -> Examples:
        from pipeline.gallery.examples import Examples

        return Examples(self.home.gallery, self.settings.limits)

    @cached_property
    def generator(self) -> Generator:
        from pipeline.generation.process import Generator

        return Generator(self.settings, training=lambda: training_now(self.home))


def training_now(home: Home) -> Training | None:
    """The run, or dry run, that trains now. Its device is the configured CPU, or what it has reported since it started."""
    from pipeline.generation.process import Training

    for job in in_order(home):
        if job.kind in ("train", "dry-run") and job.state in RUNNING:
            is_own = job.status.get("request_id") == job.request_id
            asked = (job.request.get("changes") or {}).get("device")
            device = "cpu" if asked == "cpu" else job.status.get("device") if is_own else None
            return Training(request_id=job.request_id, run=job.id, device=device)
    return None


def page_key(session_hash: str, cookie: str) -> str:
    return f"{cookie}:{session_hash}" if session_hash else ""
