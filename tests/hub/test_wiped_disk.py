"""A Space that restarts: every process is killed and the disk is wiped; what was pushed comes back, and the run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pipeline.artifacts import manifest
from pipeline.core.atomic_io import read_json, read_lines, sha256
from pipeline.core.paths import ROOT, Home
from pipeline.data.verbatim import ngram_index
from pipeline.jobs.state import job_state
from tests.loopback_hub import LoopbackHub
from tests.page import Page
from tests.waiting import eventually

REPO, DATASET = "me/parrot", "me/code"
STEPS = 600
SMALL = "n_layer=2 n_embd=64 n_head=2 window=32 batch_size=8 eval_every_steps=60 checkpoint_every_steps=60 device=cpu precision=fp32"


class Space:
    """The command line with one home folder and the loopback Hub."""

    def __init__(self, folder: Path, hub: LoopbackHub) -> None:
        self.folder = folder
        self.hub = hub
        self.home = Home(folder / "home")

    def environment(self, **variables: str) -> dict[str, str]:
        named = {"PIPELINE_HOME": str(self.home.path), "PIPELINE_HUB_REPO": REPO, "PIPELINE_HUB_STATE": "1"}
        return {**os.environ, **self.hub.environment(self.folder), **named, **variables}

    def run(self, *arguments: str, status: int = 0, **variables: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *arguments],
            cwd=ROOT,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def shown(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def wipe(self) -> None:
        """Kill every process that writes below the folder, then delete home and caches."""
        while pids := writers(self.folder):
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.home.path)
        shutil.rmtree(self.folder / "hf", ignore_errors=True)


AnySpace = TypeVar("AnySpace", bound=Space)


def writers(folder: Path) -> set[int]:
    """Processes with an open file below `folder`: their logs and locks."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            is_inside = os.readlink(link).startswith(f"{folder}/")  # noqa: PTH115 - a deleted file has no path
        except OSError:
            continue
        if is_inside and (pid := int(link.parts[2])) != os.getpid():
            found.add(pid)
    return found


@contextlib.contextmanager
def prepared(kind: type[AnySpace], folder: Path) -> Iterator[AnySpace]:
    """A space with the corpus `mine`, made of files in `folder`; its processes are killed at the end."""
    code = folder / "code"
    code.mkdir()
    for number in range(60):
        text = f"import pandas as pd\n\ndef load_{number}(path):\n    return pd.read_csv(path, skiprows={number})\n"
        (code / f"f{number}.py").write_text(text * 8)
    with LoopbackHub() as hub:
        made = kind(folder, hub)
        made.run("prepare", "--source", f"files:{code}", "--corpus", "mine", "--vocab-size", "300")
        yield made
        for pid in writers(folder):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with prepared(Space, tmp_path) as made:
        yield made


def undisturbed(space: Space) -> dict[str, Any]:
    """Losses and weights of the same run, never disturbed, in another home."""
    elsewhere = Space(space.folder, space.hub)
    elsewhere.home = Home(space.folder / "undisturbed")
    shutil.copytree(space.home.path, elsewhere.home.path)
    start = ["train", "--corpus", "mine", "--run-id", "parrot", "--max-steps", str(STEPS), "--set", *SMALL.split()]
    elsewhere.run(*start, PIPELINE_HUB_REPO="")
    return outcome(elsewhere.home)


def outcome(home: Home) -> dict[str, Any]:
    run = home.run("parrot")
    rows = {row["step"]: (row.get("train_loss"), row.get("eval_loss")) for row in read_lines(run.metrics)}
    return {"losses": rows, "weights": sha256(run.checkpoint(STEPS) / "model.safetensors")}


def train_until_pushed(space: Space, num_pushes: int) -> None:
    start = ["train", "--corpus", "mine", "--run-id", "parrot", "--max-steps", str(STEPS), "--detach", "--set"]
    space.run(*start, *SMALL.split())
    eventually(lambda: len(space.hub.titles(REPO)) >= num_pushes and has_state(space.hub), "pushes")


def has_state(hub: LoopbackHub) -> bool:
    return "runs/parrot/training/manifest.json" in hub.commits(REPO)[-1].files


def index_of(home: Home) -> dict[str, str]:
    folder = home.corpus("mine").path
    return {name: sha256(folder / name) for name in (*ngram_index.FILES, "lengths-train.bin")}


def test_a_wiped_run_goes_on_bit_identically_and_its_corpus_comes_back_from_the_dataset(space: Space) -> None:
    reference = undisturbed(space)
    space.run("publish", "--corpus", "mine", "--dataset", DATASET)
    train_until_pushed(space, 2)
    index = index_of(space.home)
    space.wipe()

    (shown,) = space.shown("runs")
    assert (shown["run"], shown["state"], shown["corpus"]) == ("parrot", "interrupted", "mine")
    assert shown["pushed_step"] >= 60 and shown["eval_loss"] > 0
    run = space.home.run("parrot")
    assert [row["step"] for row in read_lines(run.metrics) if row.get("eval_loss")][:2] == [0, 60]
    assert read_lines(run.samples)[0]["text"]
    assert space.run("logs", "parrot")
    assert [row["run"] for row in space.shown("revisions")] == ["parrot"] * len(space.shown("revisions"))
    num_pushed = len(space.hub.titles(REPO))

    said = space.run("resume", "parrot")
    assert "Restoring" in said or "queue" in said
    assert outcome(space.home) == reference
    assert (read_json(space.home.corpus("mine").manifest) or {})["config"]["source"] == "files"
    assert index_of(space.home) == index, "so that copies are still found in it"
    titles = space.hub.titles(REPO)
    assert len(set(titles)) == len(titles), "nothing is pushed twice"
    assert titles[-1] == f"Training in progress step {STEPS}: run parrot ended"
    assert len(titles) > num_pushed
    assert not has_state(space.hub), "a finished run needs none"


def test_what_is_pushed_names_no_path_of_this_machine_and_no_token(space: Space) -> None:
    train_until_pushed(space, 2)
    files = space.hub.commits(REPO)[-1].files
    names = {name.removeprefix("runs/parrot/") for name in files if name.startswith("runs/parrot/")}
    record = {"run.json", "config.json", "metrics.jsonl", "samples.jsonl", "train.log", "curve.png"}
    assert record <= names
    state = {name for name in names if name.startswith("training/")}
    assert {Path(name).suffix for name in state} == {".json", ".safetensors"}
    listed = json.loads(files[f"runs/parrot/training/{manifest.NAME}"].content)
    assert {f"training/{name}" for name in listed["files"]} == state - {f"training/{manifest.NAME}"}
    for name, file in files.items():
        assert str(space.folder).encode() not in file.content, name
        assert str(ROOT).encode() not in file.content, name
        assert b"hf_loopback" not in file.content, name


def test_without_the_state_a_wiped_run_is_shown_but_not_begun_anew(space: Space) -> None:
    start = ["train", "--corpus", "mine", "--run-id", "parrot", "--max-steps", str(STEPS), "--detach", "--set"]
    space.run(*start, *SMALL.split(), PIPELINE_HUB_STATE="0")
    eventually(lambda: len(space.hub.titles(REPO)) >= 1, "a push")
    assert not has_state(space.hub)
    space.wipe()
    assert "PIPELINE_HUB_STATE=1" in space.run("resume", "parrot", status=2)
    (shown,) = space.shown("runs")
    assert (shown["state"], shown["can_resume"]) == ("interrupted", False)


def test_a_corpus_of_local_files_that_was_not_pushed_is_asked_for(space: Space) -> None:
    train_until_pushed(space, 1)
    space.wipe()
    assert "prepare it again from the same files as mine" in space.run("resume", "parrot", status=2)
    space.run("prepare", "--source", f"files:{space.folder / 'code'}", "--corpus", "mine", "--vocab-size", "300")
    space.run("resume", "parrot")
    assert space.shown("status", "parrot")["state"] == "finished"


def test_a_state_that_is_not_what_was_pushed_is_refused(space: Space) -> None:
    space.run("publish", "--corpus", "mine", "--dataset", DATASET)
    train_until_pushed(space, 1)
    space.wipe()
    space.hub.edit(REPO, "runs/parrot/training/schedule.json", '{"state": {"dict": []}}')
    said = space.run("resume", "parrot", status=2)
    assert "schedule.json" in said and "manifest" in said
    assert space.shown("runs")[0]["state"] == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False])
def test_a_page_brings_the_runs_back_and_resumes_them_if_the_owner_asked_for_it(space: Space, asked: bool) -> None:
    space.run("publish", "--corpus", "mine", "--dataset", DATASET)
    train_until_pushed(space, 1)
    space.wipe()
    switch = {"PIPELINE_AUTO_RESUME": "1"} if asked else {}
    environment = {name: value for name, value in space.environment(**switch).items() if name not in os.environ}
    page = Page(space.home.path, **environment)
    page.start()
    try:
        run = space.home.run("parrot")
        eventually(lambda: read_json(run.archived), "the record")
        assert (read_json(run.status) or {})["state"] == "running", "as it was pushed; nobody holds its lock"
        if asked:
            eventually(lambda: job_state(run).state == "finished", "the end")
        else:
            time.sleep(3)
            assert job_state(run).state == "interrupted"
    finally:
        page.kill()


@pytest.mark.faults
@pytest.mark.parametrize("number", range(10))
def test_a_run_wiped_at_a_random_moment_goes_on_bit_identically(space: Space, number: int) -> None:
    reference = undisturbed(space)
    space.run("publish", "--corpus", "mine", "--dataset", DATASET)
    train_until_pushed(space, random.Random(number).randint(1, 3))
    space.wipe()
    space.run("resume", "parrot")
    assert outcome(space.home) == reference
    titles = space.hub.titles(REPO)
    assert len(set(titles)) == len(titles)
