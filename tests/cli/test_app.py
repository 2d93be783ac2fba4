"""The command line as scripts use it: one JSON document on stdout, one sentence on stderr, the right exit status."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli import corpora
from pipeline.cli.app import _repeat_lists, main
from pipeline.core.environment import num_cores
from pipeline.core.paths import ROOT, Home
from pipeline.jobs import worker
from tests.gpus import T4, fake_smi
from tests.homes import write_corpus
from tests.package_index import PackageIndex, plot, sdist

COMMANDS = "preview prepare train runs status stop resume logs revisions generate score publish demo".split()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PIPELINE_HUB_REPO", raising=False)


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    out = capsys.readouterr().out
    return json.loads(out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The error of a command that must exit with 2: one line on stderr, nothing on stdout."""
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, captured.err
    assert captured.err.rstrip().endswith((".", "?"))
    return captured.err


def test_a_list_option_takes_its_values_after_one_name_or_several() -> None:
    once = ["preview", "--keyword", "a", "b", "--limit", "3"]
    repeated = ["preview", "--keyword", "a", "--keyword", "b", "--limit", "3"]
    assert _repeat_lists(once) == repeated
    assert _repeat_lists(repeated) == repeated
    assert _repeat_lists(["generate", "x = 1", "--seed", "1"]) == ["generate", "x = 1", "--seed", "1"]


def test_every_fixed_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if f"  {command} " not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["nonsense", "--help"]),
        ([], ["--help"]),
        (["preview", "--wrong"], ["--wrong"]),
        (["preview", "--limit", "many"], ["limit"]),
        (["preview", "--limit", "0"], ["limit", "0"]),
        (["preview", "--source", "nonsense"], ["source", "nonsense", "installed"]),
        (["preview", "--source", "files:/not/there"], ["/not/there"]),
        (["preview", "--keyword", " "], ["keyword"]),
        (["train", "--corpus", "none", "--json"], ["corpus", "'none'", "prepare"]),
        (["train", "--corpus", "../x"], ["corpus id", "'../x'"]),
        (["train", "--set", "learning_rate"], ["--set", "key=value"]),
        (["train", "--max-steps", "0"], ["corpus"]),
        (["status", "none", "--json"], ["run", "'none'"]),
        (["stop", "none"], ["'none'"]),
        (["resume", "none"], ["'none'"]),
        (["logs", "none"], ["'none'"]),
        (["status"], ["RUN"]),
        (["generate", "x = ", "--revision", "abcdef"], ["no revision", "abcdef"]),
        (["generate", "   "], ["prompt"]),
        (["score", "absent.py"], ["no file", "absent.py"]),
        (["generate", "./absent"], ["no file", "./absent"]),
        (["generate", "x" * 100_000], ["prompt", "100,000"]),
        (["generate", "x", "--temperature", "-1"], ["temperature", "-1"]),
        (["generate", "x", "--samples", "0"], ["samples", "0"]),
        (["generate", "x", "--top-p", "2"], ["top_p", "2"]),
        (["publish", "--corpus", "mine"], ["--corpus", "--dataset"]),
        (["publish", "--dataset", "me/files", "--json"], ["--dataset", "--corpus"]),
        (["publish", "--private"], ["--private", "--corpus"]),
        (["publish", "--corpus", "none", "--dataset", "me/files"], ["corpus", "'none'"]),
        (["publish", "--corpus", "../x", "--dataset", "me/files"], ["corpus id", "'../x'"]),
    ],
)
def test_an_error_that_the_caller_can_fix_is_one_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    message = refused(capsys, *arguments)
    assert all(word in message for word in words), message
    assert not (tmp_path / "home" / "runs").exists(), "nothing was written"


def test_a_home_of_another_user_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed(self: Home) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(self.path / "runs"))

    monkeypatch.setattr(Home, "runs", closed)
    assert f"PIPELINE_HOME ({tmp_path / 'home'}) holds files of another user" in refused(capsys, "runs")


def test_a_bad_environment_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_HUB_REPO", "no--name")
    assert "PIPELINE_HUB_REPO" in refused(capsys, "revisions")


def test_preview_reports_what_it_scanned(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("import pandas as pd\n")
    (tmp_path / "code" / "b.py").write_text("import numpy as np\n")
    (tmp_path / "code" / "c.py").write_bytes(b"import pandas\xff\n")
    assert main(["preview", "--source", f"files:{tmp_path / 'code'}", "--keyword", "pandas", "os", "--json"]) == 0
    seen = document(capsys)
    assert (seen["scanned"], seen["kept"], seen["keep_rate"]) == (2, 1, 0.5)
    assert {word: (hits["files"], hits["rate"]) for word, hits in seen["keywords"].items()} == {
        "pandas": (1, 0.5),
        "os": (0, 0.0),
    }
    assert sum(seen["bad_rows"].values()) == 1
    assert [sample["path"] for sample in seen["samples"]] == ["a.py"]
    assert seen["seconds"] >= 0


def test_preview_counts_the_archives_of_an_index_and_the_files_of_a_folder(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {
        name: [sdist(name, "1.0", {"examples/a.py": plot(1), "examples/b.py": plot(2)})] for name in ("one", "two")
    }
    with PackageIndex(found) as index:
        for name, value in index.environment().items():
            monkeypatch.setenv(name, value)
        assert main(["preview", "--source", "pypi:one,two#examples"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("pypi:one,two#examples: 2 archives") for line in lines), lines
    assert "4 files scanned" in "\n".join(lines)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("import pandas as pd\n")
    assert main(["preview", "--source", f"files:{tmp_path / 'code'}"]) == 0
    assert "code: 1 file, " in capsys.readouterr().out


def test_an_empty_home_lists_nothing_but_the_starter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--json"]) == 0
    assert document(capsys) == []
    assert main(["revisions", "--json"]) == 0
    assert [row["repo"] for row in document(capsys)] == ["starter"]


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a real process, as a script would."""
    environment = {**os.environ, "PIPELINE_HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder of small files, enough for a vocabulary of 300."""
    folder = tmp_path / "code"
    folder.mkdir()
    for number in range(40):
        lines = [
            f"import pandas as pd\n\ndef load_{number}(path):\n",
            f"    return pd.read_csv(path, skiprows={number})\n",
        ]
        (folder / f"f{number}.py").write_text("".join(lines) * 12)
    return folder


@pytest.mark.slow
def test_all_stages_on_the_command_line(tmp_path: Path, code: Path) -> None:
    home = tmp_path / "home"
    made = run(home, "prepare", "--source", f"files:{code}", "--corpus", "mine", "--vocab-size", "300", "--json")
    assert made.returncode == 0, made.stderr
    corpus = json.loads(made.stdout)
    assert {"corpus", "files", "tokens_train", "tokens_validation", "tokens_dropped", "vocab_size", "seconds"} <= set(
        corpus
    )
    assert (corpus["corpus"], corpus["files"], corpus["vocab_size"]) == ("mine", 40, 300)

    small = ["n_layer=1", "n_embd=32", "n_head=2", "n_positions=64", "window=32", "batch_size=8", "device=cpu"]
    trained = run(home, "train", "--corpus", "mine", "--run-id", "a", "--max-steps", "12", "--set", *small, "--json")
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["state"] == "finished"

    status = json.loads(run(home, "status", "a", "--json").stdout)
    assert (status["run"], status["step"], status["max_steps"], status["error"]) == ("a", 12, 12, None)
    assert status["eval_loss"] < 5.7

    pushed = json.loads(run(home, "revisions", "--json").stdout)
    assert (pushed[0]["run"], pushed[0]["step"], pushed[0]["corpus"]) == ("a", 12, "mine")
    assert len(pushed) >= 2

    asked = ["generate", "import pandas", "--max-new-tokens", "8", "--seed", "3", "--samples", "2", "--json"]
    written = json.loads(run(home, *asked).stdout)
    assert (len(written["samples"]), written["revision"], written["run"], written["step"]) == (
        2,
        pushed[0]["revision"],
        "a",
        12,
    )
    assert json.loads(run(home, *asked).stdout)["samples"] == written["samples"], "the same seed writes the same text"

    scored = json.loads(run(home, "score", "import pandas as pd", "--json").stdout)
    assert (scored["revision"], scored["tokens_scored"]) == (pushed[0]["revision"], scored["tokens"] - 1)
    assert 0 < scored["loss"] < 6

    finished = run(home, "resume", "a")
    assert (finished.returncode, "a is finished" in finished.stderr) == (2, True)
    assert "a" in run(home, "runs").stdout
    assert Home(home).run("a").log.exists()
    assert run(home, "logs", "a").stdout.strip()


@pytest.mark.slow
def test_an_input_error_found_by_the_job_also_exits_with_2(tmp_path: Path, code: Path) -> None:
    ended = run(tmp_path / "home", "prepare", "--source", f"files:{code}", "--keyword", "zzzqqq", "--json")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert all(word in ended.stderr for word in ("keeps 0 of 40 files", "zzzqqq")), ended.stderr


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("detach", "words"),
    [
        (False, "Corpus mine is ready; train on it with `python -m pipeline train --corpus mine`."),
        (True, "Corpus mine goes on by itself; look at it with `python -m pipeline corpora`."),
    ],
)
def test_prepare_ends_with_the_next_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    detach: bool,
    words: str,
    as_json: bool,
) -> None:
    monkeypatch.setattr(worker, "wake", lambda settings: None)
    monkeypatch.setattr(corpora, "follow", lambda *rest: write_corpus(Home(tmp_path / "home"), "mine"))
    options = [*(["--detach"] if detach else []), *(["--json"] if as_json else [])]
    assert main(["prepare", "--source", "installed", "--corpus", "mine", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (words in lines) is not as_json
    assert as_json or lines[-1] == words


@pytest.mark.slow
def test_of_two_simultaneous_train_commands_one_runs_and_the_other_names_it(tmp_path: Path, code: Path) -> None:
    home = tmp_path / "home"
    assert run(home, "prepare", "--source", f"files:{code}", "--corpus", "mine", "--vocab-size", "300").returncode == 0
    command = [sys.executable, "-m", "pipeline", "train", "--corpus", "mine", "--max-steps", "3", "--json", "--set"]
    command += ["n_layer=1", "n_embd=32", "n_head=2", "n_positions=64", "window=32", "batch_size=8", "device=cpu"]
    environment = {**os.environ, "PIPELINE_HOME": str(home)}
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [(*process.communicate(timeout=300), process.returncode) for process in both]
    won, lost = sorted(ended, key=lambda end: end[2])
    assert (won[2], lost[2]) == (0, 2)
    run_id = json.loads(won[0])["run"]
    assert f"Run {run_id} " in lost[1]
    assert lost[0] == ""
    assert [folder.id for folder in Home(home).runs()] == [run_id]


@pytest.mark.slow
def test_a_run_of_two_processes_is_one_run(tmp_path: Path, code: Path) -> None:
    home = tmp_path / "home"
    assert run(home, "prepare", "--source", f"files:{code}", "--corpus", "mine", "--vocab-size", "300").returncode == 0
    command = [
        "train",
        "--corpus",
        "mine",
        "--max-steps",
        "4",
        "--json",
        "--run-id",
        "two",
        "--processes",
        "2",
        "--set",
    ]
    command += ["n_layer=1", "n_embd=32", "n_head=2", "n_positions=64", "window=32", "batch_size=8", "device=cpu"]
    refused = run(home, *command[:9], "3", *command[10:])
    assert refused.returncode == 2 and "processes is 3; set a number that divides the batch of 8" in refused.stderr
    done = run(home, *command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "finished"
    threads = os.environ.get("OMP_NUM_THREADS", max(1, num_cores() // 2))
    assert f"2 process(es) on cpu:0, {threads} threads" in Home(home).run("two").log.read_text()
    assert [row["step"] for row in json.loads(run(home, "revisions", "--json").stdout)] == [4, 3, 2, 1]


@pytest.mark.slow
def test_a_dry_run_estimates_the_run_and_creates_none(tmp_path: Path, code: Path) -> None:
    home = tmp_path / "home"
    assert run(home, "prepare", "--source", f"files:{code}", "--corpus", "mine", "--vocab-size", "300").returncode == 0
    asked = ["--set", "n_layer=1", "n_embd=32", "n_head=2", "window=32", "batch_size=8", "device=cpu"]
    found = run(home, "train", "--corpus", "mine", "--dry-run", "--recipe", "fast", "--json", *asked)
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    assert answer["plan"]["steps"] == 300 and answer["measured"]["step_seconds"] > 0
    assert run(home, "runs", "--json").stdout.strip() == "[]"


@pytest.mark.slow
def test_a_gpu_that_a_run_cannot_use_is_named(tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    fake_smi(tmp_path, monkeypatch, T4, driver="550.54.15")  # before `prepare`, whose worker may take the run
    assert run(home, "prepare", "--source", f"files:{code}", "--corpus", "mine", "--vocab-size", "300").returncode == 0
    small = ["--max-steps", "2", "--set", "n_layer=1", "n_embd=32", "n_head=2", "window=32", "batch_size=8"]
    started = run(home, "train", "--corpus", "mine", "--run-id", "slow", *small)
    assert "Note: This machine has a GPU, Tesla T4 " in started.stdout, started.stderr
    shown = json.loads(run(home, "status", "slow", "--json").stdout)
    assert "whl/cu126" in shown["gpu_problem"]
    assert shown["gpu_problem"] in Home(home).run("slow").log.read_text()
    other = json.loads(run(home, "train", "--corpus", "mine", *small, "device=cpu", "--json").stdout)
    assert other["gpu_problem"] is None, "nobody asked for it"


@pytest.mark.slow
def test_a_run_that_is_held_is_started_by_hand(tmp_path: Path, code: Path) -> None:
    home = tmp_path / "home"
    assert run(home, "prepare", "--source", f"files:{code}", "--corpus", "mine", "--vocab-size", "300").returncode == 0
    asked = ["--set", "n_layer=1", "n_embd=32", "n_head=2", "window=32", "batch_size=8", "device=cpu"]
    held = run(home, "train", "--corpus", "mine", "--run-id", "big", "--max-steps", "2", "--hold", "--json", *asked)
    assert json.loads(held.stdout)["state"] == "stopped"
    again = run(home, "resume", "big", "--json")
    assert (again.returncode, json.loads(again.stdout)["state"]) == (0, "stopped")
    time.sleep(2)
    assert not (Home(home).run("big").status).exists(), "nobody started it"
    ranks = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "pipeline.training"]
    done = subprocess.run(
        [sys.executable, *ranks, str(Home(home).run("big").path)], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(run(home, "status", "big", "--json").stdout)["state"] == "finished"
    assert run(home, "publish", "--json").returncode == 0
    assert [row["step"] for row in json.loads(run(home, "revisions", "--json").stdout)] == [2, 1]
