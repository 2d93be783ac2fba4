"""What comes back from a model repo after the disk was wiped, also from one in which somebody else wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.recipes import run_config
from pipeline.core.atomic_io import read_json, read_lines, write_json
from pipeline.core.paths import ROOT, Home
from pipeline.core.settings import Settings
from pipeline.hub.commits import message, title
from pipeline.jobs.restoring import resume_interrupted
from tests.artifacts.test_evaluation import result
from tests.homes import write_run
from tests.hub.conftest import REPO
from tests.loopback_hub import LoopbackHub

UID = "0123456789abcdef"


def record(run: str, /, **changes: Any) -> dict[str, str]:
    """The files of one archived run. `changes`: of run.json."""
    request = {"request_id": "r1", "requested_at": 5.0, "corpus": "mine", "preset": "tiny", "recipe": "accelerate"}
    values = {
        "format": 1,
        "run": run,
        "run_uid": UID,
        "step": 20,
        "revision": "0123456789ab",
        "request": request,
        "status": {"request_id": "r1", "state": "running", "step": 20, "max_steps": 100, "train_loss": 6.5},
        "corpus": {},
        **changes,
    }
    config = run_config(
        corpus="mine", preset="tiny", recipe="accelerate", vocab_size=300, train_tokens=10**6, changes={}
    )
    rows = [{"step": step, "train_loss": 8.0 - step / 10} for step in (0, 10, 20)]
    return {
        f"runs/{run}/run.json": json.dumps(values),
        f"runs/{run}/config.json": json.dumps({**config.to_dict(), "run": run, "run_uid": UID}),
        f"runs/{run}/metrics.jsonl": "".join(f"{json.dumps(row)}\n" for row in rows),
        f"runs/{run}/train.log": "step 20\n",
    }


def listed(hub: LoopbackHub, folder: Path, *, status: int = 0) -> tuple[list[dict[str, Any]], str]:
    """What `runs --json` prints with this Hub, and what it says beside."""
    named = {"PIPELINE_HOME": str(folder / "home"), "PIPELINE_HUB_REPO": REPO}
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "runs", "--json"],
        cwd=ROOT,
        env={**os.environ, **hub.environment(folder), **named},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout), done.stderr


def test_the_record_of_a_run_comes_back_once(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "Training in progress step 20 (run parrot)", record("parrot"))
    ((row,), _) = listed(hub, tmp_path)
    assert (row["run"], row["state"], row["step"], row["max_steps"]) == ("parrot", "interrupted", 20, 100)
    assert row["pushed_step"] == 20
    assert row["error"] == (
        "parrot was training when it was pushed last. Its training state was not pushed; start a new run, with "
        "PIPELINE_HUB_STATE=1 to push it too."
    )
    assert row["can_resume"] is False
    run = Home(tmp_path / "home").run("parrot")
    assert [row["step"] for row in read_lines(run.metrics)] == [0, 10, 20]
    assert (read_json(run.config) or {})["run_uid"] == UID
    assert run.log.read_text() == "step 20\n"
    assert (read_json(run.archived) or {})["state_step"] is None
    num_requests = len(hub.requests)
    listed(hub, tmp_path)
    assert len(hub.requests) == num_requests, "asked once for each disk"


def test_a_run_of_this_disk_is_not_replaced(hub: LoopbackHub, tmp_path: Path) -> None:
    write_run(Home(tmp_path / "home"), "parrot")
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "Training in progress step 20 (run parrot)", record("parrot") | record("other"))
    rows, _ = listed(hub, tmp_path)
    assert {row["run"]: row["state"] for row in rows} == {"parrot": "finished", "other": "interrupted"}


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"run": "other"},
        {"run": 3},
        {"step": "20"},
        {"status": []},
        {"status": {"state": 3}},
        {"status": {"state": "running", "step": "x"}},
        {"request": {}},
        {"request": {"corpus": 3, "preset": "tiny", "recipe": "fast"}},
        {"request": {"corpus": "mine", "preset": "tiny", "recipe": "fast", "changes": [1]}},
        {"request": {"corpus": "mine", "preset": "tiny", "recipe": "fast", "requested_at": "now"}},
        {"corpus": None},
        {"status": {"state": "training"}},
        {"status": {"state": "running", "step": 10**400}},
        {"corpus": {"manifest": {"corpus": "another"}}},
        {"request": {"corpus": "mine", "preset": "tiny", "recipe": "fast", "processes": 10**6}},
        {"request": {"corpus": "mine", "preset": "tiny", "recipe": "fast", "requested_at": 1e300}},
    ],
)
def test_a_record_that_is_not_well_formed_is_left_out(
    hub: LoopbackHub, tmp_path: Path, changes: dict[str, Any]
) -> None:
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "Training in progress step 20 (run good)", record("good") | record("parrot", **changes))
    rows, said = listed(hub, tmp_path)
    assert [row["run"] for row in rows] == ["good"]
    assert f"Run parrot of {REPO} is not restored" in said
    assert sorted(path.name for path in (tmp_path / "home" / "runs").iterdir()) == ["good"], "nothing half done"


@pytest.mark.parametrize(
    "files",
    [
        {"runs/../../evil/run.json": "{}"},
        {"runs/.hidden/run.json": "{}", "runs/UPPER/run.json": "{}"},
        {"runs/parrot/run.json": "{"},
        {"runs/parrot/run.json": "[1]"},
        {"runs/parrot": "a file"},
        {"runs/parrot/config.json": "{}"},
        {**record("parrot"), "runs/parrot/config.json": '{"training": 3}'},
        {**record("parrot"), "runs/parrot/config.json": "null"},
    ],
)
def test_files_of_somebody_else_make_no_run(hub: LoopbackHub, tmp_path: Path, files: dict[str, str]) -> None:
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "Training in progress step 20 (run good)", {**record("good"), **files})
    rows, _ = listed(hub, tmp_path)
    assert [row["run"] for row in rows] == ["good"]
    assert not (tmp_path / "evil").exists()


def test_rows_that_no_chart_can_draw_are_dropped(hub: LoopbackHub, tmp_path: Path) -> None:
    torn = '{"step": 0, "train_loss": 8.0}\n[1]\n{"step": "x"}\n{"loss": 1}\n{"step": 10'
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "a", {**record("parrot"), "runs/parrot/metrics.jsonl": torn})
    listed(hub, tmp_path)
    assert read_lines(Home(tmp_path / "home").run("parrot").metrics) == [{"step": 0, "train_loss": 8.0}]


OWN = {"run": "parrot", "run_uid": UID}
FIRST, SECOND = "a" * 12, "b" * 12


def commit_pushes(hub: LoopbackHub, evaluations: str) -> None:
    """Two pushed revisions of a run, and what an evaluation left beside them."""
    hub.commit(REPO, "init", {"x": ""})
    for step, revision in ((10, FIRST), (20, SECOND)):
        files = {**record("parrot"), "runs/parrot/evaluations.jsonl": evaluations}
        hub.commit(REPO, title(run="parrot", step=step, final=False), files, message(revision, UID, 2.5, "mine"))


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def test_the_figures_of_its_evaluated_revisions_come_back_and_nothing_else(hub: LoopbackHub, tmp_path: Path) -> None:
    """Somebody who may write to the repo names other runs, other files, or what is no result."""
    other = "c" * 12
    home = Home(tmp_path / "home")
    home.evaluations.mkdir(parents=True)
    write_json(home.evaluation(SECOND), {"kept": True})
    rows = [
        {**result(10, **OWN), "file": f"{FIRST}.mine"},
        {**result(20, **OWN), "file": SECOND},
        {**result(10, **OWN), "file": other},  # of no revision of the run
        {**result(10, run="crow", run_uid=UID), "file": FIRST},
        {**result(10, run="parrot", run_uid="x"), "file": FIRST},
        {**result(10, **OWN, tasks=3), "file": FIRST},
        {**result(10, **OWN, seconds=float("nan")), "file": FIRST},
        {**result(10, **OWN, repo="\ud800"), "file": FIRST},
        {**result(10, **OWN, repo=["x"]), "file": FIRST},
        *({**result(10, **OWN), "file": name} for name in ("../evil", f"{FIRST}/..", f"{FIRST}.../x", "", 3, None)),
        {**result(10, **OWN)},
    ]
    commit_pushes(hub, lines(rows) + '{"file":' * 100_000 + "\n" + lines([{**result(10, **OWN), "file": FIRST}]))
    listed(hub, tmp_path)
    assert {path.name for path in home.evaluations.iterdir()} == {
        f"{FIRST}.json", f"{FIRST}.mine.json", f"{SECOND}.json",
    }  # fmt: skip
    assert read_json(home.evaluation(FIRST)) == result(10, **OWN)
    assert read_json(home.evaluation(SECOND)) == {"kept": True}, "what this disk has stays"


def test_a_kill_between_the_evaluations_of_a_run_loses_none(hub: LoopbackHub, tmp_path: Path) -> None:
    """A run that is there is not restored again: its evaluations come first."""
    corpora = [f"{FIRST}.c{number}" for number in range(20)]
    commit_pushes(hub, lines([{**result(10, **OWN), "file": name} for name in corpora]))
    killed = """
import os, sys
from pipeline.core import atomic_io
real, count = atomic_io.write_json, 0
def write_json(path, value):
    global count
    count += path.parent.name == "evaluations"
    if count == 5:
        os._exit(9)
    real(path, value)
atomic_io.write_json = write_json
from pipeline.cli.app import main
main(["runs"])
"""
    named = {"PIPELINE_HOME": str(tmp_path / "home"), "PIPELINE_HUB_REPO": REPO}
    done = subprocess.run(
        [sys.executable, "-c", killed], cwd=ROOT, env={**os.environ, **hub.environment(tmp_path), **named}, check=False
    )
    home = Home(tmp_path / "home")
    assert done.returncode == 9 and len(list(home.evaluations.glob("*.json"))) == 4
    listed(hub, tmp_path)
    assert {path.stem for path in home.evaluations.iterdir()} == set(corpora)


@pytest.mark.parametrize("status", [401, 403, 500, 503])
def test_a_hub_that_cannot_be_read_is_a_note_and_asked_again(hub: LoopbackHub, tmp_path: Path, status: int) -> None:
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "Training in progress step 20 (run parrot)", record("parrot"))
    hub.refuse(status, on="/commits/main")
    assert listed(hub, tmp_path)[0] == []
    hub.heal()
    assert [row["run"] for row in listed(hub, tmp_path)[0]] == ["parrot"]


def test_an_empty_repo_and_none_at_all_bring_nothing_back(hub: LoopbackHub, tmp_path: Path) -> None:
    assert listed(hub, tmp_path)[0] == []
    hub.commit("me/empty", "init", {"x": ""})
    assert listed(hub, tmp_path / "second")[0] == []


@pytest.mark.parametrize(
    "name", ["run.json", "config.json", "metrics.jsonl", "training/manifest.json", "evaluations.jsonl"]
)
def test_what_is_nested_too_deeply_hides_no_other_run(hub: LoopbackHub, tmp_path: Path, name: str) -> None:
    hub.commit(REPO, "init", {"x": ""})
    deep = {f"runs/deep/{name}": '{"a":' * 100_000 + "\n"}
    hub.commit(REPO, "Training in progress step 20 (run parrot)", record("parrot") | record("deep") | deep)
    rows, _ = listed(hub, tmp_path)
    assert "parrot" in {row["run"] for row in rows}


def test_a_title_with_a_step_of_many_digits_is_not_one_of_ours(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "Training in progress step 20 (run parrot)", record("parrot"))
    hub.commit(REPO, f"Training in progress step {'9' * 5_000} (run parrot)", {"y": ""})
    ((row,), _) = listed(hub, tmp_path)
    assert row["pushed_step"] == 20


@pytest.mark.parametrize(
    "config",
    [
        {"source": "files:/etc"},
        {"source": "installed", "validation_source": "files:/etc"},
        {"source": "/etc"},
        {"source": "installed", "tokenizer": "/etc"},
        {"source": "installed", "tokenizer": "./home"},
        {"source": "installed", "tokenizer": 3},
        {"source": 3},
    ],
)
@pytest.mark.parametrize("dataset", [None, {"repo": "me/code", "commit": "0" * 40}], ids=["alone", "with a dataset"])
def test_a_record_cannot_have_files_of_this_machine_read(
    hub: LoopbackHub, tmp_path: Path, config: dict[str, Any], dataset: dict[str, str] | None
) -> None:
    manifest = {"corpus": "mine", "config": {"keywords": ["a"], **config}}
    files = record("parrot", corpus={"manifest": manifest, "dataset": dataset})
    state = {"runs/parrot/training/manifest.json": json.dumps({"step": 20})}
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "Training in progress step 20 (run parrot)", files | state)
    listed(hub, tmp_path)
    home = Home(tmp_path / "home")
    assert resume_interrupted(Settings(home=home.path, hub_repo=REPO)) == []
    assert not home.corpus("mine").path.exists()


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("metrics.jsonl", {"step": 10**30, "train_loss": 1.0}),
        ("metrics.jsonl", {"step": 30, "train_loss": 10**400}),
        ("metrics.jsonl", {"step": 30, "train_loss": 1e305}),
        ("metrics.jsonl", {"step": 30, "more": [{"x": "\ud800"}]}),
        ("samples.jsonl", {"step": 30, "text": "x"}),
        ("samples.jsonl", {"step": 30, "prompt_name": 3, "prompt": "x", "text": "x"}),
    ],
)
def test_a_row_that_no_page_can_show_is_left_out(
    hub: LoopbackHub, tmp_path: Path, name: str, row: dict[str, Any]
) -> None:
    files = record("parrot")
    files[f"runs/parrot/{name}"] = files.get(f"runs/parrot/{name}", "") + json.dumps(row) + "\n"
    hub.commit(REPO, "init", {"x": ""})
    hub.commit(REPO, "Training in progress step 20 (run parrot)", files)
    listed(hub, tmp_path)
    run = Home(tmp_path / "home").run("parrot")
    assert [row["step"] for row in read_lines(run.metrics)] == [0, 10, 20]
    assert read_lines(run.samples) == []
