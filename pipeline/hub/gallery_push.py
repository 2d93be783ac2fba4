"""The gallery as a content of the model repo, and of its own dataset, which the publisher pushes when it has changed
(`gallery_file`). The dataset, `datasets/OWNER/NAME`, gets what the owner has approved.
"""

from __future__ import annotations

from pipeline.core.paths import Home
from pipeline.hub.file_push import Content
from pipeline.hub.gallery_dataset import PREFIX
from pipeline.hub.gallery_file import digest_of, gallery_file, gallery_stamp


class GalleryContent(Content):
    name = "The gallery"
    digest_of_nothing = digest_of(b"")

    def __init__(self, home: Home, repo: str) -> None:
        self._home = home
        self._only_approved = repo.startswith(PREFIX)
        self.marker = home.pushed_gallery(repo)
        self.folder = home.gallery

    def stamp(self) -> object:
        return gallery_stamp(self._home)

    def digest(self) -> str:
        return digest_of(gallery_file(self._home, only_approved=self._only_approved))
