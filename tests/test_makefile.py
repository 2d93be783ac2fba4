"""`make run`: what it installs from where, and what it says when the index of the CPU build is away."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT
from tests.ctrl_c import hearing
from tests.page import free_port

PYTHON = """#!/bin/sh
# Stands in for Python: notes its arguments, and makes an environment whose Python is itself.
echo "$@" >> {log}
case "$*" in
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  *"{fails}"*) echo "WARNING: Retrying after connection broken" >&2; exit 1 ;;
esac
"""


def cpu_torch() -> str:
    """What pip is asked for with CPU=1."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    torch = next(line for line in lines if line.startswith("torch=="))
    return f"{torch}+cpu" if sys.platform == "linux" else torch


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with what `make` reads."""
    for name in ("Makefile", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def environment() -> dict[str, str]:
    """Of a shell: these tests may run under `make test`, and a machine's own settings of pip may name other places."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PIP_"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull}


def make(project: Path, *arguments: str, python: str = "./python3") -> subprocess.CompletedProcess[str]:
    command = ["make", *arguments, f"PYTHON={python}"]
    return subprocess.run(
        command, cwd=project, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )


def stand_in(project: Path, fails: str = "nothing fails") -> None:
    (project / "python3").write_text(PYTHON.format(log=project / "calls", fails=fails))
    (project / "python3").chmod(0o755)


def calls(project: Path) -> list[str]:
    return (project / "calls").read_text().splitlines()


def test_run_installs_once_and_shows_what(project: Path) -> None:
    stand_in(project)
    done = make(project, "run")
    assert done.returncode == 0, done.stderr
    venv, install, start = calls(project)
    assert (venv, start) == ("-m venv .venv", "app.py")
    assert install.endswith("-c constraints.txt -r requirements.txt")
    assert "--quiet" not in install and "-q" not in install.split()
    assert "Installing the packages of requirements.txt into .venv" in done.stdout
    make(project, "run")
    assert calls(project)[3:] == ["app.py"]


def test_cpu_takes_torch_alone_from_pytorchs_index_and_all_else_from_the_usual_one(project: Path) -> None:
    stand_in(project)
    assert make(project, "run", "CPU=1").returncode == 0
    _, torch, install, _ = calls(project)
    assert torch.split()[-3:] == ["--index-url", "https://download.pytorch.org/whl/cpu", cpu_torch()]
    assert "--no-deps" in torch
    assert "index" not in install
    make(project, "run")  # keeps it
    make(project, "run", "CPU=1")
    assert calls(project)[4:] == ["app.py", "app.py"]


def test_cpu_replaces_another_build_that_is_installed(project: Path) -> None:
    stand_in(project)
    make(project, "run")
    make(project, "run", "CPU=1")
    assert [cpu_torch() in call for call in calls(project)] == [False, False, False, True, False, False]


def test_an_index_that_is_away_is_one_sentence(project: Path) -> None:
    stand_in(project, fails="--index-url")
    done = make(project, "run", "CPU=1")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert said == [
        f"{cpu_torch()} could not be installed from https://download.pytorch.org/whl/cpu (pip's reason is in "
        ".venv/cpu-torch.log); try again when that address can be reached, or run make without CPU=1."
    ]
    assert "Retrying" in (project / ".venv" / "cpu-torch.log").read_text()
    assert [call for call in calls(project) if "requirements.txt" in call or call == "app.py"] == []


FAILING = """#!/bin/sh
# Stands in for the environment's Python: pytest ends with the first status, and what has failed with the second.
echo "$@" >> {log}
case "$*" in
  *--last-failed*) exit {again} ;;
  *pytest*) exit {first} ;;
esac
"""


@pytest.mark.parametrize(
    ("first", "again", "passes", "num_tries"),
    [(0, 1, True, 1), (1, 0, True, 2), (1, 1, False, 2), (2, 0, False, 1), (3, 0, False, 1), (5, 0, False, 1)],
)
def test_what_has_failed_is_tried_once_more_and_fails_when_it_fails_twice(
    project: Path, first: int, again: int, passes: bool, num_tries: int
) -> None:
    stand_in(project)
    for name in ("tests", ".venv/bin"):
        (project / name).mkdir(parents=True)
    for name in ROOT.glob("requirements-*.txt"):
        shutil.copy(ROOT / name, project)
    (project / "tests/requirements.txt").touch()
    make(project, ".venv/development")
    (project / ".venv/bin/python").write_text(FAILING.format(log=project / "calls", first=first, again=again))
    (project / "calls").unlink()
    done = make(project, "test")
    assert (done.returncode == 0) == passes
    tries = [call for call in calls(project) if "-m pytest" in call]
    assert len(tries) == num_tries and all("--last-failed" in call for call in tries[1:])


@pytest.mark.slow
def test_pip_itself_ends_soon_when_the_index_is_away(project: Path) -> None:
    index = f"TORCH_INDEX=http://127.0.0.1:{free_port()}/"
    done = make(project, ".venv/cpu-torch", index, python=sys.executable)
    assert done.returncode != 0
    assert "could not be installed from http://127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "No matching distribution" in (project / ".venv" / "cpu-torch.log").read_text()


@pytest.mark.parametrize("target", ["run", "demo"])
@pytest.mark.parametrize("status", [0, 130])
def test_ctrl_c_ends_it_without_an_error_of_make(project: Path, target: str, status: int) -> None:
    stand_in(project)
    assert make(project, target).returncode == 0
    (project / ".venv/bin/python").write_text(
        f"#!/bin/sh\ntrap 'exit {status}' INT\necho up\nwhile :; do sleep 0.1; done\n"
    )
    started = subprocess.Popen(
        hearing("make", target, "PYTHON=./python3"),
        cwd=project,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "up\n"
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    out, error = started.communicate(timeout=30)
    assert (out, error) == ("", "")
