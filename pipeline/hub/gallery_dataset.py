"""The gallery as a dataset on the Hub: the examples that the owner has approved, as JSON lines with a card.

Turned on by PIPELINE_GALLERY_REPO. What is deleted, hidden or no longer approved leaves the repo with its history: the
commit that takes it away is followed by a squash of all commits. A push that was killed between the two finds that
commit by its title and squashes first. Several homes may push to one repo (`gallery_merge`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.core import atomic_io
from pipeline.core.paths import ASSETS, Home
from pipeline.core.settings import GALLERY_REPO, Settings
from pipeline.hub import gallery_file
from pipeline.hub.card_sections import CARD
from pipeline.hub.client import DOWNLOAD, PUSH, Refusal, connect, hub_errors, odd_answer
from pipeline.hub.gallery_merge import REMOVED, fetched, is_there, merged_with_repo, note_known, note_removed
from pipeline.hub.model_repo import BORN_WITH, MAIN, check_private

if TYPE_CHECKING:
    from huggingface_hub import HfApi

KIND = "dataset"
PREFIX = "datasets/"
UPDATE, TAKE_AWAY = "Update the gallery", "Take examples out of the gallery"
"""Titles of commits."""
ANSWER_SECONDS = 10.0
SEND, FETCH = replace(PUSH, named_by=GALLERY_REPO), replace(DOWNLOAD, named_by=GALLERY_REPO)


def push_dataset(home: Home, repo: str, *, private: bool, answer_seconds: float) -> str:
    """The commit after which the repo has the gallery. Raises PassingFault, as when another home pushed meanwhile, or
    Refusal.
    """
    from huggingface_hub import CommitOperationAdd

    with hub_errors(repo, SEND):
        api = connect(SEND, answer_seconds=answer_seconds)
        head = _squashed(api, repo, _titles(api, repo, private=private))
        if private:
            check_private(api, repo, KIND)
        _check_content(api, repo, head)
        merged = merged_with_repo(api, repo, head, home, kind=KIND, only_approved=True)
        contents = {**merged.contents(), CARD: _card(repo, len(merged.rows))}
        changed = {name: data for name, data in contents.items() if not is_there(api, repo, head, name, data, KIND)}
        if not changed:
            note_removed(home, repo, KIND, merged)
            return head
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(name, content) for name, content in changed.items()],
            commit_message=TAKE_AWAY if merged.takes_away else UPDATE,
            repo_type=KIND,
            revision=MAIN,
            parent_commit=head,
        ).oid
        note_removed(home, repo, KIND, merged)
        return _squashed(api, repo, _titles(api, repo, private=private)) if merged.takes_away else commit


def is_due(settings: Settings) -> bool:
    """Whether the dataset was never looked at since this disk is in use."""
    repo = settings.gallery_repo
    return repo is not None and not Home(settings.home).restored(PREFIX + repo).exists()


def restore_dataset(settings: Settings, say: Callable[[str], None] = lambda text: None) -> list[str]:
    """Bring back the approved examples that this disk does not have, once for each disk and repo. Raises HubError when
    the Hub cannot be read; then it is still due.
    """
    repo, home = settings.gallery_repo, Home(settings.home)
    if repo is None or not is_due(settings):
        return []
    with atomic_io.locked(home.restore_lock), hub_errors(repo, FETCH):
        api = connect(FETCH, answer_seconds=ANSWER_SECONDS)
        if not is_due(settings) or not api.repo_exists(repo, repo_type=KIND):
            return []
        say(f"Restoring the gallery from {repo} ...")
        if source := fetched(api, repo, gallery_file.NAME, MAIN, KIND):
            gallery_file.restore_gallery(home, source, are_approved=True)
            note_known(home, repo, KIND, source)
        note_restored(home, repo)
    return []


def note_restored(home: Home, repo: str) -> None:
    """Record that this disk has what the repo has."""
    atomic_io.write_json(home.restored(PREFIX + repo), {"time": time.time()})


def _titles(api: HfApi, repo: str, *, private: bool) -> list[tuple[str, str]]:
    """Id and title of the commits on `main`, newest first, after the repo was created if there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        commits = api.list_repo_commits(repo, repo_type=KIND, revision=MAIN)
    except RepositoryNotFoundError:
        api.create_repo(repo, repo_type=KIND, private=private or None, exist_ok=True)
        commits = api.list_repo_commits(repo, repo_type=KIND, revision=MAIN)
    if not commits:
        raise odd_answer("main has no commit", repo, SEND)
    return [(commit.commit_id, commit.title) for commit in commits]


def _squashed(api: HfApi, repo: str, commits: list[tuple[str, str]]) -> str:
    """The head, after all commits were made one if a commit has taken something away."""
    if not any(title == TAKE_AWAY for _, title in commits):
        return commits[0][0]
    api.super_squash_history(repo, repo_type=KIND, branch=MAIN, commit_message=UPDATE)
    return api.list_repo_commits(repo, repo_type=KIND, revision=MAIN)[0].commit_id


def _check_content(api: HfApi, repo: str, head: str) -> None:
    """Raises Refusal when the repo holds something else, and no gallery yet. What is added to one later, as a license, stays
    there, and keeps no removal from being pushed.
    """
    names = {entry.path for entry in api.list_repo_tree(repo, revision=head, repo_type=KIND)}
    others = names - {BORN_WITH, CARD, gallery_file.NAME, REMOVED}
    if gallery_file.NAME not in names and (others or CARD in names):
        raise Refusal(
            f"Dataset {repo} holds {min(others or names)}, not written by this program; set {GALLERY_REPO} to another name."
        )


def _card(repo: str, num_examples: int) -> bytes:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(loader=FileSystemLoader(ASSETS), undefined=StrictUndefined, keep_trailing_newline=True)
    size = next(name for name, limit in SIZES if num_examples < limit)
    return env.get_template("gallery_card.md.j2").render(repo=repo, num_examples=num_examples, size=size).encode()


SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 10**9))
