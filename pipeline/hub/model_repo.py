"""The model repo on the Hub: what was pushed to its `main`, and one more commit on top of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.artifacts.revision import Revision
from pipeline.core import atomic_io
from pipeline.hub.cards import model_card
from pipeline.hub.client import PUSH, connect, hub_errors
from pipeline.hub.commits import Push, message, read_push, title

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"
CARD = "README.md"


class Remote:
    """One repo. Whatever it asks of the Hub raises PassingFault or Refusal when it fails."""

    def __init__(self, repo: str, *, answer_seconds: float) -> None:
        self.repo = repo
        self.answer_seconds = answer_seconds

    def push(self, revision: Revision) -> str | None:
        """The commit that holds the revision, made now or before; None when `main` has a later step of its run already.

        Looks first, every time: whoever was killed after its commit, or never heard the answer, commits no second
        time. The commit names the head that was seen, so that of two writers the second is told to look again.
        """
        with hub_errors(self.repo, PUSH):
            api = connect(PUSH, answer_seconds=self.answer_seconds)
            head, pushes = self._look(api)
            done = find_push(pushes, revision)
            if done is not None:
                return done.commit
            if any(push.run == revision.run and push.step > revision.step for push in pushes):
                return None
            return self._commit(api, revision, head)

    def _look(self, api: HfApi) -> tuple[str, list[Push]]:
        """The head of `main` and the pushes it holds, newest first; makes the repo when there is none."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            commits = api.list_repo_commits(self.repo, revision=MAIN)
        except RepositoryNotFoundError:
            api.create_repo(self.repo, exist_ok=True)
            commits = api.list_repo_commits(self.repo, revision=MAIN)
        found = (read_push(commit.commit_id, commit.title, commit.message) for commit in commits)
        return commits[0].commit_id, [push for push in found if push is not None]

    def _commit(self, api: HfApi, revision: Revision, head: str) -> str:
        from huggingface_hub import CommitOperationAdd

        provenance = atomic_io.read_json(revision.path / PROVENANCE) or {}
        contents: dict[str, Any] = {name: str(revision.path / name) for name in _names(revision.path)}
        contents[CARD] = model_card(provenance).encode()
        info = api.create_commit(
            self.repo,
            [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in contents.items()],
            commit_message=title(run=revision.run, step=revision.step, final=bool(provenance.get("final"))),
            commit_description=message(revision.revision),
            revision=MAIN,
            parent_commit=head,
        )
        return info.oid


def find_push(pushes: list[Push], revision: Revision) -> Push | None:
    """The commit that holds this very revision, if there is one; run and step must do where its id was lost."""

    def holds(push: Push) -> bool:
        if push.revision is None:
            return (push.run, push.step) == (revision.run, revision.step)
        return push.revision == revision.revision

    return next(filter(holds, pushes), None)


def _names(folder: Path) -> list[str]:
    """The revision's files, and its manifest: whoever downloads them can check them."""
    return [*(atomic_io.read_json(folder / manifest.NAME) or {})["files"], manifest.NAME]
