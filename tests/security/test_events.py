"""Every event of the page, posted by a stranger by number and by name, through every route, with odd values."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.shares import shares
from tests.odd_values import ODD
from tests.posts import events
from tests.security.conftest import Figures, Weaken
from tests.security.public import CANARY, PublicPage
from tests.security.strangers import WAYS, Post, kept_example, owner_posts, sent, usual_values

pytestmark = pytest.mark.slow

MAX_MEGABYTES = 100
POSTERS = 6


def tries(page: PublicPage, odd: tuple[Any, ...]) -> Iterator[Post]:
    """Each odd value in each field, with the usual values in the others. The routes take turns."""
    ways = itertools.cycle(WAYS)
    for event in events(page):
        usual = usual_values(event)
        for field, value in itertools.product(range(len(usual)), odd):
            yield Post(event, next(ways), [*usual[:field], value, *usual[field + 1 :]])
        for value in odd if event["collects_event_data"] else ():
            yield Post(event, next(ways), usual, {"value": value})


@shares("odd", ODD[::18], ODD, pytest.mark.security)
def test_a_stranger_changes_nothing_and_sees_no_fault(
    public: PublicPage, odd: tuple[Any, ...], figures: Figures
) -> None:
    [first] = [event for event in events(public) if event["api_name"] == "look"]
    sent(public, Post(first, "queue", usual_values(first)), "first")  # loads what is loaded only once
    tree, modules, faults, before = public.tree(), public.modules(), public.faults(), public.megabytes()
    answers, bad = Counter[int](), []
    with ThreadPoolExecutor(POSTERS) as pool:
        everything = list(tries(public, odd))
        for one, (status, text) in zip(
            everything,
            pool.map(lambda n: sent(public, everything[n], f"stranger-{n}"), range(len(everything))),
            strict=True,
        ):
            answers[status] += 1
            # The samples contain code of installed packages, which may contain "Traceback".
            head = text.partition('"samples"')[0]
            if status >= 500 or "Traceback" in head or CANARY in text or "root:x:" in text:
                bad.append((one.event["api_name"], one.way, one.data, one.told, status, text[:300]))
    grown = public.megabytes() - before
    figures(posts=answers.total(), statuses=dict(sorted(answers.items())), bad=len(bad), grown_mb=round(grown))
    assert not bad, bad[:5]
    assert answers[200] > 50 and answers[422] > 100, answers
    assert public.faults() == faults
    assert (public.tree(), public.modules()) == (tree, modules)
    assert grown < MAX_MEGABYTES


def test_what_only_the_owner_may_do_is_refused_to_strangers(public: PublicPage, figures: Figures) -> None:
    example = kept_example(public)
    tree, modules = public.tree(), public.modules()
    answers = Counter[str]()
    for one in owner_posts(public, example):
        status, text = sent(public, one, "owner-posts")
        assert status < 500, (one, text)
        answers["asks for the owner" if "for the owner" in text else str(status)] += 1
    figures(posts=answers.total(), answers=dict(answers))
    assert answers["asks for the owner"] >= 15, answers
    assert (public.tree(), public.modules()) == (tree, modules)


def test_control_without_require_a_stranger_hides_an_example(weaken: Weaken) -> None:
    page = weaken("owner")
    example = kept_example(page)
    tree = page.tree()
    for one in owner_posts(page, example):
        if one.told == {"value": f"hide {example}"}:
            sent(page, one, "owner-posts")
    assert page.tree() != tree
