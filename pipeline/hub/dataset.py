"""Pushes a prepared corpus to the Hub as a dataset, in one commit; makes none when the repo is already up to date."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.core import atomic_io
from pipeline.core.errors import DamagedError, InputError, require
from pipeline.core.paths import Home
from pipeline.core.repo_names import HOW, is_owned
from pipeline.core.settings import Settings
from pipeline.hub.background import Say
from pipeline.hub.card_sections import CARD, current_card, merged_card
from pipeline.hub.client import HubOperation, PassingFault, connect, find_token, hub_errors
from pipeline.hub.dataset_files import FOLDERS, MADE_BY, Item, bundle, card_of
from pipeline.hub.model_repo import BORN_WITH, MAIN
from pipeline.hub.prepared import Prepared
from pipeline.hub.uploader import Patience

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

DATASET = "dataset"
ATTEMPTS = 3
MAX_OPERATIONS = 1_000
"""Files per commit; the Hub's own uploader uses no more. Between several commits the repo mixes old and new files."""
FILES_TOGETHER = 20
"""Files uploaded between two progress messages."""
PUSH_DATASET = HubOperation(
    needs_token=True,
    what="push to",
    right="write to",
    now="take it",
    later="is not pushed, try again later",
    again="push again",
    named_by="its name",
)


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """The result of a push."""

    corpus: str
    repo: str
    commit: str
    """The commit on the Hub's `main` that contains the corpus, made by this push or an earlier one."""
    url: str
    files: int
    """Files of the dataset, including its card."""
    uploaded: int
    """Those of them that the repo lacked or that had changed."""
    uploaded_bytes: int
    deleted: int
    """Files of an earlier push that are no longer part of it."""
    private: bool

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        if not self.uploaded and not self.deleted:
            return f"{self.url} holds corpus {self.corpus} already (commit {self.commit[:12]}); nothing was uploaded."
        return (
            f"Corpus {self.corpus} is at {self.url} (commit {self.commit[:12]}): {self.uploaded} of {self.files} files, "
            f"{self.uploaded_bytes / 1e6:.1f} MB, uploaded, {self.deleted} deleted."
        )


def check_push(repo: str) -> None:
    """Check a push without a request to the Hub. Raises InputError for a malformed `repo`, HubError without a token."""
    require(is_owned(repo), "dataset", repo, HOW)
    find_token(PUSH_DATASET)


def push_corpus(
    settings: Settings,
    corpus_id: str,
    repo: str,
    *,
    private: bool = False,
    say: Say = lambda text: None,
    patience: Patience | None = None,
) -> Pushed:
    """Make the dataset `repo` contain the corpus; a missing repo is created, privately if `private`.

    Raises InputError when the corpus is not ready, the repo contains something else, or `private` is set for a public
    repo; DamagedError when a file of the corpus is not what was written; HubError when the Hub refuses, or is still
    unreachable after ATTEMPTS attempts.
    """
    from huggingface_hub.utils import logging

    patience = patience or Patience()
    logging.set_verbosity_error()  # each retry would write two lines to stderr, which is for one sentence
    check_push(repo)
    folder = Home(settings.home).corpus(corpus_id)
    with hub_errors(repo, PUSH_DATASET):
        api = connect(PUSH_DATASET, answer_seconds=patience.answer_seconds)
    prepared = Prepared.open(folder)
    say(f"Corpus {corpus_id} is whole: {sum(prepared.num_rows.values()):,} files.")
    push = _Push(api, prepared, repo, private, say)
    for failures in range(1, ATTEMPTS):
        try:
            return push.run()
        except PassingFault:
            time.sleep(patience.retry_seconds(failures))
    return push.run()


class _Push:
    """One push of one corpus. `run` may be repeated after a fault: what the Hub already has is not sent again."""

    def __init__(self, api: HfApi, prepared: Prepared, repo: str, private: bool, say: Say) -> None:
        self.api = api
        self.prepared = prepared
        self.repo = repo
        self.private = private
        self.say = say
        self.items = bundle(prepared)

    def run(self) -> Pushed:
        with hub_errors(self.repo, PUSH_DATASET):
            head, is_private = self._head()
            remote = self._remote_files(head)
            card = current_card(self.api, self.repo, head, DATASET) if CARD in remote else None
        self.items[CARD] = Item.of(merged_card(card_of(self.prepared, self.repo), card))
        new = [name for name, item in self.items.items() if not _is_same(remote.get(name), item)]
        old = [name for name in remote if name.startswith(FOLDERS) and name not in self.items]
        additions = self._additions(sorted(new, key=_order))
        with hub_errors(self.repo, PUSH_DATASET):
            self._upload(additions)
            commit = self._commit(head, additions, old)
        return Pushed(
            corpus=self.prepared.folder.id,
            repo=self.repo,
            commit=commit,
            url=f"{self.api.endpoint}/datasets/{self.repo}",
            files=len(self.items),
            uploaded=len(new),
            uploaded_bytes=sum(self.items[name].num_bytes for name in new),
            deleted=len(old),
            private=is_private,
        )

    def _head(self) -> tuple[str, bool]:
        """The newest commit of `main`, and whether the repo is private; creates the repo when there is none."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.api.dataset_info(self.repo)
        except RepositoryNotFoundError:
            self.api.create_repo(self.repo, repo_type=DATASET, private=self.private or None, exist_ok=True)
            info = self.api.dataset_info(self.repo)
        if self.private and not info.private:
            raise InputError(
                f"Dataset {self.repo} is there and public; make it private in its settings, or leave --private out."
            )
        assert info.sha is not None, "every repo has a first commit"
        return info.sha, bool(info.private)

    def _remote_files(self, head: str) -> dict[str, RepoFile]:
        """Path -> file in the repo. Raises InputError when the repo has files and was not written by this program."""
        from huggingface_hub.hf_api import RepoFile

        tree = self.api.list_repo_tree(self.repo, recursive=True, revision=head, repo_type=DATASET)
        remote = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
        names = sorted(remote.keys() - {BORN_WITH})
        if names and not self._is_ours(remote, head):
            more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            raise InputError(
                f"Dataset {self.repo} holds {names[0]}{more} and was not written by this program; choose another name, "
                "or delete its files on the Hub."
            )
        return remote

    def _is_ours(self, remote: dict[str, RepoFile], head: str) -> bool:
        if PROVENANCE not in remote:
            return False
        path = self.api.hf_hub_download(self.repo, PROVENANCE, revision=head, repo_type=DATASET)
        return atomic_io.readable_json(Path(path)).get("made_by") == MADE_BY

    def _additions(self, names: Sequence[str]) -> list[CommitOperationAdd]:
        """Raises DamagedError when a file has changed since it was read: the corpus is being prepared or deleted."""
        from huggingface_hub import CommitOperationAdd

        try:
            additions = [CommitOperationAdd(name, self.items[name].content) for name in names]
        except (OSError, ValueError) as error:
            raise self._changed() from error
        for addition in additions:
            if addition.upload_info.sha256.hex() != self.items[addition.path_in_repo].sha256:
                raise self._changed()
        return additions

    def _changed(self) -> DamagedError:
        return DamagedError(
            f"Corpus {self.prepared.folder.id} changed while it was pushed, and {self.repo} is as it was; push it again."
        )

    def _upload(self, additions: list[CommitOperationAdd]) -> None:
        """Upload the contents; the commit makes them visible. What the Hub already has is not sent."""
        for start in range(0, len(additions), FILES_TOGETHER):
            batch = additions[start : start + FILES_TOGETHER]
            self.api.preupload_lfs_files(self.repo, batch, repo_type=DATASET, revision=MAIN)
            self.say(f"{start + len(batch):,} of {len(additions):,} new files are uploaded.")

    def _commit(self, head: str, additions: list[CommitOperationAdd], old: list[str]) -> str:
        """Commit all changes and return the last commit; `head` when there is nothing to change."""
        from huggingface_hub import CommitOperationDelete

        operations: list[CommitOperationAdd | CommitOperationDelete] = [*additions]
        operations += [CommitOperationDelete(name) for name in old]
        for start in range(0, len(operations), MAX_OPERATIONS):
            head = self.api.create_commit(
                self.repo,
                operations[start : start + MAX_OPERATIONS],
                commit_message=self._title(),
                repo_type=DATASET,
                revision=MAIN,
                parent_commit=head,  # of two concurrent writers, the second gets a 412 and retries
            ).oid
        return head

    def _title(self) -> str:
        train, validation = self.prepared.num_rows.values()
        return f"Corpus {self.prepared.folder.id}: {train} files to train on, {validation} held out"


def _order(name: str) -> tuple[bool, bool, str]:
    """Sort key: provenance first, so that the first of several commits marks the repo as ours; the card last."""
    return name == CARD, name != PROVENANCE, name


def _is_same(remote: RepoFile | None, item: Item) -> bool:
    if remote is None or remote.size != item.num_bytes:
        return False
    return remote.lfs.sha256 == item.sha256 if remote.lfs else item.is_blob(remote.blob_id)
