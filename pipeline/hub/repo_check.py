"""Checks before a run that its checkpoints can be pushed: a wrong token or name is found at the start, not hours later."""

from __future__ import annotations

from typing import Any

from pipeline.core.settings import Settings
from pipeline.hub.client import PUSH, PassingFault, Refusal, connect, hub_errors, odd_answer
from pipeline.hub.model_repo import ModelRepo, check_content, check_private
from pipeline.hub.token import VARIABLE

ANSWER_SECONDS = 10.0


def check_model_repo(settings: Settings) -> None:
    """Raises Refusal when the Hub would refuse pushes to the repo of `settings`: no token, one that is not valid or may
    only read, a repo that cannot be created, is none, or holds what somebody else wrote. A Hub that does not answer
    stops nothing: pushes wait for it.
    """
    if settings.hub_repo is None:
        return
    try:
        with hub_errors(settings.hub_repo, PUSH):
            _check(settings.hub_repo, settings)
    except PassingFault:
        return


def _check(repo: str, settings: Settings) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    api = connect(PUSH, answer_seconds=ANSWER_SECONDS)
    role, names = identity(api.whoami(), repo)
    if role == "read":
        raise Refusal(f"{VARIABLE} may only read; set it to a token that may write to {repo}, then start again.")
    try:
        head, pushes = ModelRepo(repo, answer_seconds=ANSWER_SECONDS).pushes(api)
    except RepositoryNotFoundError:
        owner = repo.partition("/")[0]
        if owner not in names:
            raise Refusal(
                f"The Hub has no repo {repo} that this token may see, and the token cannot create it: it is that of "
                f"{', '.join(names)}; set PIPELINE_HUB_REPO to {names[0]}/NAME, then start again."
            ) from None
        return
    if settings.hub_private:
        check_private(api, repo)
    if not pushes and not settings.hub_take_over:
        check_content(api, repo, head)


def identity(answer: Any, repo: str) -> tuple[str, list[str]]:
    """The token's role, and the user and organizations that it is for."""
    try:
        role = answer["auth"]["accessToken"]["role"]
        return role, [answer["name"], *(organization["name"] for organization in answer["orgs"])]
    except (KeyError, TypeError) as error:
        raise odd_answer(f"whoami: {type(error).__name__}", repo, PUSH) from error
