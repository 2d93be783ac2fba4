"""The model repo on the Hub: lists the pushes on its `main` and adds a commit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.artifacts.revision import Registry, Revision
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError
from pipeline.core.paths import Home
from pipeline.core.settings import PRIVATE, TAKE_OVER
from pipeline.hub.archive import (
    EVALUATIONS,
    RunArchive,
    evaluations,
    evaluations_file,
    evaluations_in,
    open_archive,
)
from pipeline.hub.best_tag import tag_best
from pipeline.hub.card_sections import CARD, current_card, merged_card
from pipeline.hub.cards import model_card
from pipeline.hub.client import PUSH, Refusal, connect, hub_errors, odd_answer
from pipeline.hub.commits import Push, message, read_push, title
from pipeline.hub.gallery_file import NAME as GALLERY
from pipeline.hub.gallery_merge import REMOVED, fetched, is_there, merged_with_repo, note_removed

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAIN = "main"
BORN_WITH = ".gitattributes"
"""The file that the Hub itself puts into every new repo."""


class ModelRepo:
    """One repo. Raises PassingFault or Refusal when a request to the Hub fails."""

    def __init__(
        self,
        repo: str,
        *,
        answer_seconds: float,
        takes_over: bool = False,
        private: bool = False,
        hourly_price: float | None = None,
    ) -> None:
        """`takes_over`: whether to push also into a repo that holds what somebody else wrote. `private`: whether to create
        the repo as a private one, and to refuse a public one. `hourly_price`: of the hardware, in US dollars, for the card.
        """
        self.repo = repo
        self.answer_seconds = answer_seconds
        self.takes_over = takes_over
        self.private = private
        self.hourly_price = hourly_price

    def push(self, revision: Revision, archive: RunArchive | None = None) -> str | None:
        """The commit that contains the revision, made now or earlier; None when `main` has a later step of its run.
        `archive`: what the commit carries besides the model.

        Lists the existing commits first: a push that was killed after its commit, or whose response was lost, must not
        commit again. The commit names the listed head as its parent, so that of two concurrent writers the second fails
        and retries.
        """
        with hub_errors(self.repo, PUSH):
            api = connect(PUSH, answer_seconds=self.answer_seconds)
            head, pushes = self._list_pushes(api)
            done = find_push(pushes, revision)
            if done is not None:
                tag_best(api, self.repo, pushes)  # the push may have been killed before
                return done.commit
            if any(push.is_of_run(revision.run, revision.run_uid) and push.step > revision.step for push in pushes):
                return None
            self._check(api, head, pushes)
            commit = self._commit(api, revision, head, archive)
            tag_best(api, self.repo, [_push_of(revision, commit), *pushes])
            return commit

    def push_gallery(self, home: Home) -> str:
        """The commit after which `main` has the gallery; the head when it has it already."""
        from huggingface_hub import CommitOperationAdd

        with hub_errors(self.repo, PUSH):
            api = connect(PUSH, answer_seconds=self.answer_seconds)
            head, pushes = self._list_pushes(api)
            self._check(api, head, pushes)
            merged = merged_with_repo(api, self.repo, head, home, kind="model", only_approved=False)
            contents = merged.contents()
            if all(is_there(api, self.repo, head, name, content, "model") for name, content in contents.items()):
                note_removed(home, self.repo, "model", merged)
                return head
            commit = api.create_commit(
                self.repo,
                [CommitOperationAdd(name, content) for name, content in contents.items()],
                commit_message=f"Update {GALLERY}",
                revision=MAIN,
                parent_commit=head,
            ).oid
            note_removed(home, self.repo, "model", merged)
            return commit

    def push_card(self, home: Home) -> str:
        """The commit after which `main` has the figures of all evaluated revisions, and the card of its newest one with what
        is known of it now, unless that one is not on this disk; the head when there is nothing to change.
        """
        from huggingface_hub import CommitOperationAdd

        with hub_errors(self.repo, PUSH):
            api = connect(PUSH, answer_seconds=self.answer_seconds)
            head, pushes = self._list_pushes(api)
            known = {revision.revision: revision for revision in Registry(home, self.repo).revisions()}
            if not pushes:  # it was made anew since
                return head
            self._check(api, head, pushes)
            contents = self._evaluations(api, head, home)
            if revision := known.get(pushes[0].revision or ""):
                with open_archive(home, revision, with_state=False) as archive:
                    if archive is not None:
                        contents[CARD] = merged_card(self._card(revision, archive), current_card(api, self.repo, head))
            changed = {
                name: content
                for name, content in contents.items()
                if not is_there(api, self.repo, head, name, content, "model")
            }
            if not changed:
                return head
            return api.create_commit(
                self.repo,
                [CommitOperationAdd(name, content) for name, content in changed.items()],
                commit_message=f"Update {CARD if CARD in changed else EVALUATIONS}",
                revision=MAIN,
                parent_commit=head,
            ).oid

    def _evaluations(self, api: HfApi, head: str, home: Home) -> dict[str, bytes]:
        """Those of this disk, and what the repo has besides: another home may have evaluated other revisions."""
        contents = {}
        for name, own in evaluations(home, self.repo).items():
            found = fetched(api, self.repo, name, head, "model")
            row = next(iter(own.values()))
            theirs = evaluations_in(found, row["run"], row["run_uid"]) if found else {}
            contents[name] = evaluations_file({**theirs, **own})
        return contents

    def _card(self, revision: Revision, archive: RunArchive | None) -> str:
        provenance = atomic_io.read_json(revision.path / PROVENANCE) or {}
        return model_card(provenance, archive.facts if archive else None, hourly_price=self.hourly_price)

    def _check(self, api: HfApi, head: str, pushes: list[Push]) -> None:
        """Raises Refusal when nothing may be pushed into the repo."""
        if self.private:
            check_private(api, self.repo)
        if not pushes and not self.takes_over:
            check_content(api, self.repo, head)

    def pushes(self, api: HfApi) -> tuple[str, list[Push]]:
        """The head of `main` and the pushes on it, newest first."""
        commits = api.list_repo_commits(self.repo, revision=MAIN)
        if not commits:  # a new repo has an initial commit
            raise odd_answer("main has no commit", self.repo, PUSH)
        found = (read_push(commit.commit_id, commit.title, commit.message) for commit in commits)
        return commits[0].commit_id, [push for push in found if push is not None]

    def _list_pushes(self, api: HfApi) -> tuple[str, list[Push]]:
        """`pushes`, after the repo was created if there is none."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return self.pushes(api)
        except RepositoryNotFoundError:
            api.create_repo(self.repo, private=self.private or None, exist_ok=True)
            return self.pushes(api)

    def _commit(self, api: HfApi, revision: Revision, head: str, archive: RunArchive | None) -> str:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        provenance = atomic_io.read_json(revision.path / PROVENANCE) or {}
        contents: dict[str, Any] = {name: str(revision.path / name) for name in _file_names(revision.path)}
        contents[CARD] = merged_card(self._card(revision, archive), current_card(api, self.repo, head))
        superseded: list[str] = []
        if archive is not None:
            contents |= archive.contents
            superseded = superseded_state(api, self.repo, head, archive)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [CommitOperationDelete(n) for n in superseded]
        operations += [CommitOperationAdd(name, content) for name, content in contents.items()]
        info = api.create_commit(
            self.repo,
            operations,
            commit_message=title(run=revision.run, step=revision.step, final=bool(provenance.get("final"))),
            commit_description=message(revision.revision, revision.run_uid, revision.eval_loss, revision.corpus),
            revision=MAIN,
            parent_commit=head,
        )
        return info.oid


def _push_of(revision: Revision, commit: str) -> Push:
    return Push(
        commit,
        revision.run,
        revision.step,
        revision.revision,
        run_uid=revision.run_uid,
        eval_loss=revision.eval_loss,
        corpus=revision.corpus,
    )


def superseded_state(api: HfApi, repo: str, head: str, archive: RunArchive) -> list[str]:
    """Files of the repo with the training state of an earlier push, which this one replaces."""
    from huggingface_hub.errors import RemoteEntryNotFoundError

    if not archive.replaces_state:
        return []
    try:
        entries = list(api.list_repo_tree(repo, archive.state_folder, revision=head))
    except RemoteEntryNotFoundError:
        return []
    return [entry.path for entry in entries if archive.is_superseded(entry.path)]


def check_private(api: HfApi, repo: str, kind: str = "model") -> None:
    """Raises Refusal when anybody may read the repo."""
    if not api.repo_info(repo, repo_type=kind).private:
        noun = "Model repo" if kind == "model" else "Dataset"
        raise Refusal(
            f"{noun} {repo} is public, and {PRIVATE} is 1; make it private in its settings on the Hub, or leave "
            f"{PRIVATE} out."
        )


def check_content(api: HfApi, repo: str, head: str) -> None:
    """Raises Refusal when a repo without a push of ours holds files of somebody else."""
    names = {entry.path for entry in api.list_repo_tree(repo, revision=head)} - {BORN_WITH, GALLERY, REMOVED}
    if names and PROVENANCE not in names:
        more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
        raise Refusal(
            f"Model repo {repo} holds {min(names)}{more}, not written by this program; set PIPELINE_HUB_REPO to another "
            f"name, or {TAKE_OVER}=1 to push into it all the same."
        )


def find_push(pushes: list[Push], revision: Revision) -> Push | None:
    """The commit that contains exactly this revision, if any; one without a revision id is matched by run and step."""

    def matches(push: Push) -> bool:
        if push.revision is None:
            return (push.run, push.step) == (revision.run, revision.step)
        return push.revision == revision.revision

    return next(filter(matches, pushes), None)


def _file_names(folder: Path) -> list[str]:
    """The revision's files and its manifest, with which a download can be verified. Raises DamagedError when it lists a
    file that is not in the folder: nothing else may get to the Hub.
    """
    entries = manifest.entries_of(atomic_io.read_json(folder / manifest.NAME) or {})
    names = [*(entries or ()), manifest.NAME]
    if entries is None or not all((folder / name).resolve().is_relative_to(folder.resolve()) for name in names):
        raise DamagedError(f"Revision {folder.name} lists files that are not its own; it is not pushed.")
    return names
