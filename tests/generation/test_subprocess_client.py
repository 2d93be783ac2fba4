"""The generator as a process: its environment, how it ends, and recovery after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import PipelineError
from pipeline.core.paths import ROOT
from pipeline.core.settings import Settings
from pipeline.generation import subprocess_client
from pipeline.generation.process import Generator
from pipeline.generation.settings import Sampling
from pipeline.generation.subprocess_client import environment
from tests.generation.conftest import LONG
from tests.waiting import eventually, is_gone

PROMPT = "import pandas as pd\n"
SHORT = Sampling(max_new_tokens=8)
ENDLESS = Sampling(max_new_tokens=LONG - 64)


FAKE = "tests.generation.fake_generator"


def processes_of(pid: int | None = None, module: str = "pipeline.generation") -> list[psutil.Process]:
    """Generator processes started by `pid`, or by this process, that still run."""
    found = []
    for process in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):  # it may end between two questions
            if process.status() != psutil.STATUS_ZOMBIE and module in process.cmdline():
                found.append(process)
    return found


def test_the_environment_has_no_token_and_no_key() -> None:
    seen = environment(
        {
            "PATH": "/bin",
            "HF_" + "TOKEN": "hf_secret",
            "PIPELINE_OWNER_KEY": "secret",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "CUDA_VISIBLE_DEVICES": "1",
            "LC_ALL": "C.UTF-8",
        }
    )
    assert not any("secret" in value for value in seen.values())
    assert (seen["PATH"], seen["CUDA_VISIBLE_DEVICES"], seen["LC_ALL"]) == ("/bin", "1", "C.UTF-8")
    assert seen["HF_HUB_OFFLINE"] == "1"


def test_it_finds_the_project_from_anywhere() -> None:
    assert environment({})["PYTHONPATH"] == str(ROOT)
    assert environment({"PYTHONPATH": "/mine"})["PYTHONPATH"] == f"{ROOT}:/mine"
    assert (ROOT / "pipeline" / "generation" / "__main__.py").exists()


@pytest.mark.slow
def test_one_process_serves_all_requests(generator: Generator, revision: Revision) -> None:
    assert processes_of() == []  # it starts with the first request
    generator.generate(revision, PROMPT, SHORT)
    (first,) = processes_of()
    generator.generate(revision, PROMPT, SHORT)
    assert processes_of() == [first]


@pytest.mark.slow
def test_a_kill_in_mid_stream_is_one_sentence_and_the_next_request_works(
    generator: Generator, endless: Revision
) -> None:
    stream = generator.stream(endless, PROMPT, ENDLESS)
    next(stream)
    (process,) = processes_of()
    process.kill()
    with pytest.raises(PipelineError, match=r"^The generator ended \(killed by SIGKILL\)\. Ask again"):
        list(stream)
    assert generator.generate(endless, PROMPT, SHORT)["samples"]
    assert processes_of() != [process]


@pytest.mark.slow
def test_without_a_kill_the_stream_comes_to_its_end(generator: Generator, endless: Revision) -> None:
    """The control: the same steps with a signal that has no effect."""
    stream = generator.stream(endless, PROMPT, replace(SHORT, max_new_tokens=200))
    next(stream)
    (process,) = processes_of()
    process.send_signal(signal.SIGCONT)
    assert list(stream)[-1].tokens == 200
    generator.generate(endless, PROMPT, SHORT)
    assert processes_of() == [process]


@pytest.mark.slow
def test_a_kill_between_two_requests_does_not_fail_the_next_request(generator: Generator, revision: Revision) -> None:
    generator.generate(revision, PROMPT, SHORT)
    (process,) = processes_of()
    process.kill()
    for thread in threading.enumerate():
        if thread.name == "generator-reader":
            thread.join()
    assert generator.generate(revision, PROMPT, SHORT)["samples"]
    assert processes_of() != [process]


@pytest.mark.slow
def test_a_silent_process_is_killed(settings: Settings, revision: Revision) -> None:
    """Importing torch and loading a model takes longer than 0.1 seconds."""
    with closing(Generator(settings, silence_seconds=0.1)) as generator:
        with pytest.raises(PipelineError, match=r"it said nothing for 0\.1 seconds\)\. Ask again"):
            generator.generate(revision, PROMPT, SHORT)
        assert processes_of() == []


@pytest.mark.slow
def test_unload_ends_the_process_and_the_next_request_restarts_it(generator: Generator, endless: Revision) -> None:
    stream = generator.stream(endless, PROMPT, ENDLESS)
    next(stream)
    generator.unload()
    assert processes_of() == []
    with pytest.raises(PipelineError, match="it was unloaded"):
        list(stream)
    assert generator.generate(endless, PROMPT, SHORT)["samples"]


@pytest.mark.parametrize(
    "line",
    ["no JSON", "[1]", "{}", '{"id": 1}', '{"id": "1", "done": true}', '{"id": 1, "chunk": {"x": 1}}', "[" * 7_000],
)
def test_a_malformed_line_is_one_sentence_and_the_next_request_works(
    settings: Settings, revision: Revision, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """A reader that dies of it would leave its requests without an answer for SILENCE_SECONDS."""
    monkeypatch.setattr(subprocess_client, "MODULE", FAKE)
    with closing(Generator(settings)) as generator:
        with pytest.raises(PipelineError, match=r"ended \(it wrote a line that is no answer\)\. Ask again"):
            generator.generate(revision, f"raw:{line}", SHORT)
        assert processes_of(module=FAKE) == []
        assert generator.generate(revision, PROMPT, SHORT)["samples"] == ["cpu"]


PAGE = """
import sys
from pathlib import Path
from pipeline.generation.process import Generator
from pipeline.generation.settings import Sampling
from pipeline.artifacts.revision import Revision
from pipeline.core.settings import Limits, Settings

generator = Generator(Settings(home=Path(sys.argv[1]), limits=Limits(new_tokens=10_000)))
revision = Revision(repo="local", revision="0" * 12, run="r", step=1, corpus="c", pushed_at="", eval_loss=None,
                    commit=None, path=Path(sys.argv[2]))
stream = generator.stream(revision, "import", Sampling(max_new_tokens=10_000))
next(stream)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "tokenizers"}), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_it_ends_when_its_page_is_killed_and_the_page_never_imports_torch(endless: Revision, tmp_path: Path) -> None:
    page = subprocess.Popen(
        [sys.executable, "-c", PAGE, str(tmp_path / "home"), str(endless.path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with page:
        assert page.stdout is not None
        assert page.stdout.readline() == "[]\n"
        (process,) = processes_of(page.pid)  # the control: it lives as long as its page
        page.kill()
        page.wait()
        eventually(lambda: is_gone(process.pid))


@pytest.mark.slow
def test_it_ends_with_a_page_that_ends_by_itself(endless: Revision, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PAGE, str(tmp_path / "home"), str(endless.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_a_pipeline_folder_in_the_current_directory_is_not_imported(
    generator: Generator, revision: Revision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    monkeypatch.chdir(tmp_path)
    assert generator.generate(revision, PROMPT, SHORT)["samples"]


@pytest.mark.slow
def test_its_log_is_in_the_home_and_holds_no_noise(
    generator: Generator, settings: Settings, revision: Revision
) -> None:
    generator.generate(revision, PROMPT, SHORT)
    assert (settings.home / "generator.log").read_text() == ""
