"""The gallery as a content of the model repo, which the publisher pushes when it has changed (`gallery_file`)."""

from __future__ import annotations

from pipeline.core.paths import Home
from pipeline.hub.file_push import Content
from pipeline.hub.gallery_file import digest_of, gallery_file, gallery_stamp


class GalleryContent(Content):
    name = "The gallery"
    digest_of_nothing = digest_of(b"")

    def __init__(self, home: Home, repo: str) -> None:
        self._home = home
        self.marker = home.pushed_gallery(repo)
        self.folder = home.gallery

    def stamp(self) -> object:
        return gallery_stamp(self._home)

    def digest(self) -> str:
        return digest_of(gallery_file(self._home))
