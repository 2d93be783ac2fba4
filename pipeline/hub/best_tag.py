"""The tag `best` of a model repo: on the push with the lowest validation loss, as the commits' messages say. It is the
revision that the page and the command line call `best` (`artifacts.revision.best_of`), unless the newest push has diverged
or commits are so old that they do not name their corpus.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.artifacts.revision import BEST
from pipeline.core.errors import HubError
from pipeline.hub.client import PUSH, hub_errors
from pipeline.hub.commits import Push

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def best_push(pushes: Sequence[Push]) -> Push | None:
    """The push with the lowest loss, of equal ones the earliest, of those on the newest one's corpus. `pushes`: newest
    first; those of older commits do not name their corpus, and count as well.
    """
    corpora = {None, *(push.corpus for push in pushes[:1])}
    measured = [push for push in reversed(pushes) if push.eval_loss is not None and push.corpus in corpora]
    return min(measured, key=lambda push: push.eval_loss or 0.0, default=None)


def tag_best(api: HfApi, repo: str, pushes: Sequence[Push]) -> None:
    """Put the tag on the best of `pushes`, which are those of `main`, newest first. Never raises HubError: the tag is
    looked at again after each push, and without it the pushed checkpoints are as good.
    """
    best = best_push(pushes)
    if best is None:
        return
    try:
        with hub_errors(repo, PUSH):
            tags = {tag.name: tag.target_commit for tag in api.list_repo_refs(repo).tags}
            if tags.get(BEST) == best.commit:
                return
            if BEST in tags and tags[BEST] not in {push.commit for push in pushes}:
                print(f"The tag {BEST} of {repo} is on a commit of somebody else; it stays there.", file=sys.stderr)
                return
            if BEST in tags:
                api.delete_tag(repo, tag=BEST)  # the Hub has no request that moves one
            api.create_tag(repo, tag=BEST, revision=best.commit, exist_ok=True)
    except HubError as error:
        print(f"The tag {BEST} of {repo} was not moved: {error}", file=sys.stderr)
