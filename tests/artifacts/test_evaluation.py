from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import evaluation
from pipeline.core.atomic_io import write_json
from pipeline.core.paths import Home


def result(step: int, **changes: Any) -> dict[str, Any]:
    share = {"value": 0.5, "low": 0.25, "high": 0.75}
    tasks = {"count": 180, "parses": share, "runs": share, "pass@1": share}
    return {"run": "calm-kea", "run_uid": "u", "step": step, "samples": 10, "tasks": tasks, **changes}


def write(home: Home, name: str, value: Any) -> None:
    home.evaluations.mkdir(parents=True, exist_ok=True)
    write_json(home.evaluation(name), value)


def test_the_results_of_one_run_come_by_step(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert evaluation.of_run(home, "calm-kea", "u") == []
    for name, step in (("a", 20), ("b", 10)):
        write(home, name, result(step))
    write(home, "c", result(5, run="other"))
    write(home, "d", result(6, run_uid=None))
    rows = evaluation.of_run(home, "calm-kea", "u")
    assert [row["step"] for row in rows] == [10, 20]
    assert rows[0] == {
        "step": 10, "num_tasks": 180, "samples": 10, "parses": 0.5, "runs": 0.5, "right": 0.5, "right_low": 0.25, "right_high": 0.75,
        "suite": None, "files": None, "libraries": {}, "by_heart": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"step": "x"}, {"tasks": 3}, {"tasks": {}}, {"samples": None}, {"step": 10**400}, {"tasks": {"count": True}}],
)
def test_what_is_no_result_is_left_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    home = Home(tmp_path)
    write(home, "a", {**result(10), **changes})
    (home.evaluations / "b.json").write_text("{")
    assert evaluation.of_run(home, "calm-kea", "u") == []


@pytest.mark.parametrize("name", ["run", "run_uid", "repo", "commit", "suite"])
@pytest.mark.parametrize("value", ["a/\ud800", ["x"], 3])
def test_what_has_names_that_no_page_can_show_is_left_out(tmp_path: Path, name: str, value: object) -> None:
    home = Home(tmp_path)
    write(home, "b", result(20))
    home.evaluation("a").write_text(json.dumps(result(10, **{name: value})))
    assert [row["step"] for row in evaluation.of_run(home, "calm-kea", "u")] == [20]
    assert not evaluation.is_result(result(10, **{name: value}))


def held_out(**changes: Any) -> dict[str, Any]:
    return {"digest": "f", "loss_by_library": {"numpy": 2.0}, "bits_per_byte_by_library": {"numpy": 1.0}, **changes}


def test_the_figures_of_each_library_are_those_that_are_numbers(tmp_path: Path) -> None:
    home = Home(tmp_path)
    tasks = {**result(1)["tasks"], "pass@1_by_library": {"pandas": 0.5, "numpy": True, "<b>": 1}}
    write(home, "a", result(10, tasks=tasks, held_out=held_out(loss_by_library={"numpy": "x", "pandas": 10**400})))
    (row,) = evaluation.of_run(home, "calm-kea", "u")
    assert row["libraries"] == {
        "numpy": {"right": None, "loss": None, "bits_per_byte": 1.0},
        "pandas": {"right": 0.5, "loss": None, "bits_per_byte": None},
    }


def test_a_revision_is_once_in_its_run_whatever_corpora_it_was_measured_on(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write(home, "a", result(10, revision="a", suite="own"))
    write_json(home.evaluation("a", "other"), result(10, revision="a", suite="other"))
    assert [row["suite"] for row in evaluation.of_run(home, "calm-kea", "u")] == ["own"]


def other_model(**changes: Any) -> dict[str, Any]:
    return result(0, **{"run": "", "run_uid": None, "repo": "them/parrot", "commit": "c" * 40, **changes})


def test_the_reference_is_measured_with_the_same_tasks_and_its_loss_on_the_same_files(tmp_path: Path) -> None:
    home = Home(tmp_path)
    write(home, "own", result(10, suite="s", held_out=held_out()))
    (row,) = evaluation.of_run(home, "calm-kea", "u")
    assert evaluation.reference_of(home, row) is None
    write(home, "b", other_model(suite="another", held_out=held_out()))
    write(home, "c", other_model(suite="s", samples=3, held_out=held_out()))
    write(home, "d", other_model(suite="s", repo="local"))
    write(home, "e", other_model(suite="s", commit=None))
    assert evaluation.reference_of(home, row) is None
    write(home, "f", other_model(suite="s", held_out=held_out(digest="g")))
    found = evaluation.reference_of(home, row)
    assert found is not None and found["name"] == "them/parrot@cccccccccccc"
    assert found["libraries"]["numpy"] == {"right": None, "loss": None, "bits_per_byte": None}
    write_json(home.evaluation("f", "python"), other_model(suite="s", held_out=held_out()))
    write(home, "later", other_model(suite="s", repo="us/parrot"))
    found = evaluation.reference_of(home, row)
    assert found is not None and found["name"].startswith("them/"), "the same files come before the newest"
    assert found["libraries"]["numpy"]["bits_per_byte"] == 1.0


@pytest.mark.parametrize(
    ("kept", "shown"),
    [
        ({"files": 200, "whole": 0.0, "share": 0.25}, {"files": 200, "share": 0.25}),
        ({"files": 0, "whole": None, "share": None}, None),
        ({"files": 200, "share": "<b>"}, None),
        ({"files": 200, "share": 10**400}, None),
        (None, None),
        ([], None),
    ],
)
def test_what_is_known_by_heart_is_told_of_both_splits_or_not(tmp_path: Path, kept: Any, shown: Any) -> None:
    home = Home(tmp_path)
    whole = {"files": 100, "share": 0.5}
    write(home, "a", result(10, held_out=held_out(by_heart={"train": whole, "validation": kept})))
    write(home, "b", result(20, held_out=held_out(by_heart=kept)))
    first, second = evaluation.of_run(home, "calm-kea", "u")
    assert first["by_heart"] == (shown and {"train": whole, "validation": shown})
    assert second["by_heart"] is None


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, asked = Home(tmp_path), []
    real = evaluation.readable_json

    def counted(path: Path) -> dict[str, Any]:
        asked.append(path.name)
        return real(path)

    monkeypatch.setattr(evaluation, "readable_json", counted)
    write(home, "a", result(10, suite="s"))
    write(home, "b", other_model(suite="s"))
    write(home, "c", {"no": "result"})
    for _ in range(3):
        (row,) = evaluation.of_run(home, "calm-kea", "u")
        assert evaluation.reference_of(home, row) is not None
        row["step"] = row["name"] = "changed by a caller"
    assert sorted(asked) == ["a.json", "b.json", "c.json"]
    write(home, "a", result(11, suite="s"))
    assert [row["step"] for row in evaluation.of_run(home, "calm-kea", "u")] == [11]
    home.evaluation("b").unlink()
    assert evaluation.reference_of(home, evaluation.of_run(home, "calm-kea", "u")[0]) is None
    assert len(asked) == 4


def test_the_memory_for_figures_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "MAX_KEPT_RESULTS", 3)
    for step in range(5):
        write(Home(tmp_path), f"r{step}", result(step))
    assert len(evaluation.of_run(Home(tmp_path), "calm-kea", "u")) == 3, "else each look would read the others again"
    assert len(evaluation._results_kept) == 3
