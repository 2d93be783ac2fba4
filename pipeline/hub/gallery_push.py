"""The gallery as a content of the model repo, and of its own dataset, which the publisher pushes when it has changed
(`gallery_file`). The dataset, `datasets/OWNER/NAME`, gets what the owner has approved.
"""

from __future__ import annotations

from pipeline.core.paths import Home
from pipeline.hub.file_push import Content
from pipeline.hub.gallery_dataset import KIND, PREFIX
from pipeline.hub.gallery_file import digest_of, gallery_stamp
from pipeline.hub.gallery_merge import shared_digest


class GalleryContent(Content):
    name = "The gallery"
    digest_of_nothing = digest_of(b"")

    def __init__(self, home: Home, repo: str) -> None:
        self._home = home
        self._repo = repo
        self.marker = home.pushed_gallery(repo)
        self.folder = home.gallery

    def stamp(self) -> object:
        return gallery_stamp(self._home)

    def digest(self) -> str:
        is_dataset = self._repo.startswith(PREFIX)
        name, kind = self._repo.removeprefix(PREFIX), KIND if is_dataset else "model"
        return shared_digest(self._home, name, kind, only_approved=is_dataset)
