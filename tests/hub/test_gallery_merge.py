"""The gallery of a repo after pushes of several homes: nobody drops what another one put there."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from pipeline.hub.gallery_file import NAME
from pipeline.hub.gallery_merge import REMOVED, Merged, merge

NONE: frozenset[str] = frozenset()


class HomeOfTest:
    """One home's public rows and its record, as `merged_with_repo` keeps it."""

    def __init__(self) -> None:
        self.rows: set[str] = set()
        self.known, self.removed, self.reported = NONE, NONE, NONE

    def push(self, repo: RepoOfTest) -> Merged:
        merged = merge(
            [row(name) for name in self.rows], [row(name) for name in repo.rows],
            removed=repo.removed, taken=self.known - self.rows - self.reported, own_removed=self.removed,
        )  # fmt: skip
        self.known, self.removed = self.known | self.rows, merged.own_removed
        files = merged.contents()
        repo.rows = {row["id"] for row in map(json.loads, files[NAME].splitlines())}
        if REMOVED in files:  # else it stays as it is
            repo.removed = frozenset(json.loads(files[REMOVED])["ids"])
        return merged


class RepoOfTest:
    def __init__(self) -> None:
        self.rows: set[str] = set()
        self.removed = NONE


def row(name: str) -> dict[str, Any]:
    return {"id": name, "created_at": name}


@pytest.fixture
def repo() -> RepoOfTest:
    return RepoOfTest()


def test_two_homes_keep_each_others_examples(repo: RepoOfTest) -> None:
    one, two = HomeOfTest(), HomeOfTest()
    one.rows, two.rows = {"a", "b"}, {"c"}
    for home in (one, two, one, two):
        assert not home.push(repo).takes_away
    assert repo.rows == {"a", "b", "c"}


def test_what_one_takes_away_the_other_does_not_put_back(repo: RepoOfTest) -> None:
    one, two = HomeOfTest(), HomeOfTest()
    one.rows = {"a", "b"}
    one.push(repo)
    two.rows = {"a", "b", "c"}  # it was restored from the repo
    two.push(repo)
    one.rows.remove("a")
    assert one.push(repo).takes_away
    two.push(repo)
    assert (repo.rows, repo.removed) == ({"b", "c"}, {"a"})


def test_what_is_shown_again_comes_back(repo: RepoOfTest) -> None:
    one, two = HomeOfTest(), HomeOfTest()
    one.rows = {"a"}
    one.push(repo)
    one.rows = set()
    one.push(repo)
    two.push(repo)
    assert repo.rows == set()
    one.rows = {"a"}
    one.push(repo)
    two.push(repo)
    assert (repo.rows, repo.removed) == ({"a"}, set())
    two.rows = {"a"}  # it was restored from the repo
    two.push(repo)
    two.rows = set()
    two.push(repo)
    one.push(repo)
    assert (repo.rows, repo.removed, one.removed) == (set(), {"a"}, set()), "it was the other's to take away"


def test_what_a_stranger_has_reported_stays_as_it_is(repo: RepoOfTest) -> None:
    one, two = HomeOfTest(), HomeOfTest()
    one.rows = {"a", "b"}
    one.push(repo)
    two.known, two.reported = frozenset({"a", "b"}), frozenset({"a"})
    two.rows = {"b"}
    assert not two.push(repo).takes_away
    assert (repo.rows, repo.removed) == ({"a", "b"}, NONE)


def test_what_was_never_pushed_leaves_no_trace(repo: RepoOfTest) -> None:
    one = HomeOfTest()
    one.known = frozenset({"a"})
    assert one.push(repo).removed == NONE


@pytest.mark.parametrize("seed", range(200))
def test_any_order_of_pushes_ends_with_what_each_home_shows(repo: RepoOfTest, seed: int) -> None:
    """Each home has examples of its own; keeps, deletes, and pushes come in any order."""
    numbers = random.Random(seed)
    homes = [HomeOfTest() for _ in range(3)]
    for number in range(60):
        home = numbers.choice(homes)
        action = numbers.choice(["keep", "delete", "push"])
        if action == "keep":
            home.rows.add(f"{homes.index(home)}-{number}")
        elif action == "delete" and home.rows:
            home.rows.remove(numbers.choice(sorted(home.rows)))
        else:
            home.push(repo)
    for home in homes:
        home.push(repo)
    assert repo.rows == set().union(*(home.rows for home in homes))
