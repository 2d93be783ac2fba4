"""The page's side of the generator, against the real process."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline.errors import BusyError, InputError, PipelineError
from pipeline.generation.child import MAX_REQUESTS, ROOT
from pipeline.generation.process import Generator, generate
from pipeline.generation.settings import Sampling
from pipeline.hub.registry import Revision
from pipeline.settings import Limits, Settings
from tests.generation.conftest import LONG
from tests.generation.models import tiny_model, write_revision

pytestmark = pytest.mark.slow

PROMPT = "import pandas as pd\n"
SHORT = Sampling(max_new_tokens=8, temperature=1.5, top_p=1)
ENDLESS = Sampling(max_new_tokens=LONG - 64)


def processes_of(pid: int | None = None) -> list[psutil.Process]:
    """The generators that `pid`, or this process, has started and that still run."""
    found = []
    for process in psutil.Process(pid).children():
        if process.status() != psutil.STATUS_ZOMBIE and "pipeline.generation" in process.cmdline():
            found.append(process)
    return found


def test_the_pieces_are_what_the_model_writes(generator: Generator, revision: Revision) -> None:
    from pipeline.generation.loading import load
    from pipeline.generation.sampling import complete

    sampling = replace(SHORT, samples=3)
    texts = [""] * 3
    for piece in generator.stream(revision, PROMPT, sampling):
        texts[piece.sample] += piece.text
    assert texts == complete(*load(revision.path), PROMPT, sampling)


def test_one_process_serves_all_requests(generator: Generator, revision: Revision) -> None:
    assert processes_of() == []  # it starts with the first request
    generator.generate(revision, PROMPT, SHORT)
    (first,) = processes_of()
    generator.generate(revision, PROMPT, SHORT)
    assert processes_of() == [first]


def test_generate_says_what_wrote_it_and_how_fast(generator: Generator, revision: Revision) -> None:
    answer = generator.generate(revision, PROMPT, replace(SHORT, samples=2))
    assert len(answer["samples"]) == 2
    assert (answer["revision"], answer["run"], answer["step"]) == (revision.revision, "small-otter", 20)
    assert answer["tokens_per_second"] > 0
    assert len(answer["finish"]) == 2 and answer["note"] == ""


def test_tokens_that_did_not_fit_are_told(generator: Generator, tmp_path: Path) -> None:
    small = write_revision(tmp_path / "small", tiny_model(n_positions=32))
    answer = generator.generate(small, "(\n" * 10, replace(SHORT, max_new_tokens=40))
    assert answer["note"].startswith("Only 12 of 40 new tokens fit")


@pytest.mark.parametrize(
    ("prompt", "sampling", "reason"),
    [
        ("", SHORT, "prompt"),
        ("x" * 9_000, SHORT, "shorten it to 8,000"),
        (PROMPT, replace(SHORT, samples=5), "samples is 5; set it to 4 or less"),
    ],
)
def test_what_cannot_be_is_refused_before_a_process_is_started(
    generator: Generator, revision: Revision, prompt: str, sampling: Sampling, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        generator.generate(revision, prompt, sampling)
    assert processes_of() == []


def test_what_only_the_model_can_refuse_comes_back_as_its_sentence(
    generator: Generator, revision: Revision, copy: Path
) -> None:
    with pytest.raises(InputError, match="600 tokens long; shorten it to 255 or fewer"):
        generator.generate(revision, "(\n" * 300, SHORT)
    (copy / "config.json").write_text("{}")
    with pytest.raises(PipelineError, match="config") as refusal:
        generator.generate(replace(revision, path=copy), PROMPT, SHORT)
    assert refusal.value.exit_status == 1
    generator.generate(revision, PROMPT, SHORT)


def test_closing_the_stream_stops_the_writing(generator: Generator, endless: Revision) -> None:
    stream = generator.stream(endless, PROMPT, ENDLESS)
    next(stream)
    stream.close()
    assert list(generator.stream(endless, PROMPT, SHORT))[-1].finish == "length"  # comes when the first has ended
    assert len(processes_of()) == 1


def test_stop_ends_the_stream_with_every_sample_done(generator: Generator, endless: Revision) -> None:
    stream = generator.stream(endless, PROMPT, replace(ENDLESS, samples=2), asked_by="me")
    pieces = [next(stream)]
    generator.stop("me")
    pieces += stream
    assert [(p.sample, p.finish) for p in pieces if p.done] == [(0, "stopped"), (1, "stopped")]
    assert pieces[-2].tokens < ENDLESS.max_new_tokens
    assert pieces[-1].tokens == 0


def test_one_visitor_does_not_stop_another(generator: Generator, endless: Revision) -> None:
    """The control of the test above."""
    stream = generator.stream(endless, PROMPT, replace(SHORT, max_new_tokens=200), asked_by="me")
    pieces = [next(stream)]
    generator.stop("somebody else")
    pieces += stream
    assert (pieces[-1].finish, pieces[-1].tokens) == ("length", 200)


def test_a_request_that_waits_can_be_stopped_at_once(generator: Generator, endless: Revision) -> None:
    first = generator.stream(endless, PROMPT, ENDLESS, asked_by="first")
    next(first)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(list, generator.stream(endless, PROMPT, ENDLESS, asked_by="second"))
        while not waiting.done():
            generator.stop("second")
        assert [(p.finish, p.tokens) for p in waiting.result()] == [("stopped", 0)]
    assert not next(first).done
    first.close()


def test_many_threads_get_their_own_texts(generator: Generator, revision: Revision) -> None:
    def text(seed: int) -> str:
        return generator.generate(revision, PROMPT, replace(SHORT, seed=seed))["samples"][0]

    with ThreadPoolExecutor(MAX_REQUESTS) as pool:
        together = list(pool.map(text, range(MAX_REQUESTS)))
    assert together == [text(seed) for seed in range(MAX_REQUESTS)]
    assert len(processes_of()) == 1


def test_too_many_requests_are_refused_and_room_comes_back(generator: Generator, endless: Revision) -> None:
    first = generator.stream(endless, PROMPT, ENDLESS)
    next(first)
    with ThreadPoolExecutor(MAX_REQUESTS + 2) as pool:
        others = [pool.submit(list, generator.stream(endless, PROMPT, SHORT)) for _ in range(MAX_REQUESTS - 1 + 3)]
        refused = list(itertools.islice(as_completed(others), 3))  # the others wait as long as the first one writes
        for other in refused:
            with pytest.raises(BusyError, match=f"{MAX_REQUESTS} requests already"):
                other.result()
        first.close()
        assert all(other.result()[-1].done for other in others if other not in refused)
    assert generator.generate(endless, PROMPT, SHORT)["samples"]


def test_a_reader_that_is_slow_gets_fewer_longer_pieces(generator: Generator, endless: Revision) -> None:
    stream = generator.stream(endless, PROMPT, replace(SHORT, max_new_tokens=100))
    pieces = [next(stream)]
    generator.generate(endless, PROMPT, SHORT)  # answered after the first, which lies unread meanwhile
    pieces += stream
    assert len(pieces) == 2
    assert "".join(piece.text for piece in pieces) == " the" * 100


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_crash_in_mid_stream_is_one_sentence_and_the_next_request_works(
    generator: Generator, endless: Revision, number: signal.Signals
) -> None:
    stream = generator.stream(endless, PROMPT, ENDLESS)
    next(stream)
    (process,) = processes_of()
    process.send_signal(number)
    with pytest.raises(
        PipelineError, match=rf"^The generator ended \(killed by {number.name}\)\. Press Complete again"
    ):
        list(stream)
    assert generator.generate(endless, PROMPT, SHORT)["samples"]
    assert processes_of() != [process]


def test_without_a_crash_the_stream_comes_to_its_end(generator: Generator, endless: Revision) -> None:
    """The control: the same steps, and a signal that means nothing."""
    stream = generator.stream(endless, PROMPT, replace(SHORT, max_new_tokens=200))
    next(stream)
    (process,) = processes_of()
    process.send_signal(signal.SIGCONT)
    assert list(stream)[-1].tokens == 200
    generator.generate(endless, PROMPT, SHORT)
    assert processes_of() == [process]


def test_a_crash_between_two_requests_is_not_even_noticed(generator: Generator, revision: Revision) -> None:
    generator.generate(revision, PROMPT, SHORT)
    (process,) = processes_of()
    process.kill()
    for thread in threading.enumerate():
        if thread.name == "generator-reader":
            thread.join()
    assert generator.generate(revision, PROMPT, SHORT)["samples"]
    assert processes_of() != [process]


def test_a_process_that_says_nothing_is_ended(settings: Settings, revision: Revision) -> None:
    """Nobody imports torch and reads a model in a tenth of a second."""
    with closing(Generator(settings, silence_seconds=0.1)) as generator:
        with pytest.raises(PipelineError, match=r"it said nothing for 0\.1 seconds\)\. Press Complete again"):
            generator.generate(revision, PROMPT, SHORT)
        assert processes_of() == []


def test_put_away_frees_it_and_the_next_request_starts_it_again(generator: Generator, endless: Revision) -> None:
    stream = generator.stream(endless, PROMPT, ENDLESS)
    next(stream)
    generator.put_away()
    assert processes_of() == []
    with pytest.raises(PipelineError, match="it was put away"):
        list(stream)
    assert generator.generate(endless, PROMPT, SHORT)["samples"]


PAGE = """
import sys
from pathlib import Path
from pipeline.generation.process import Generator
from pipeline.generation.settings import Sampling
from pipeline.hub.registry import Revision
from pipeline.settings import Limits, Settings

generator = Generator(Settings(home=Path(sys.argv[1]), limits=Limits(new_tokens=10_000)))
revision = Revision(repo="local", revision="0" * 12, run="r", step=1, corpus="c", pushed_at="", eval_loss=None,
                    commit=None, path=Path(sys.argv[2]))
stream = generator.stream(revision, "import", Sampling(max_new_tokens=10_000))
next(stream)
print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "tokenizers"}), flush=True)
sys.stdin.read()
"""


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
        psutil.wait_procs([process], timeout=60)
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_ends_with_a_page_that_ends_by_itself(endless: Revision, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PAGE, str(tmp_path / "home"), str(endless.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_of_the_same_name_where_it_is_started_is_not_taken_for_ours(
    generator: Generator, revision: Revision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    monkeypatch.chdir(tmp_path)
    assert generator.generate(revision, PROMPT, SHORT)["samples"]


def test_its_log_is_in_the_home_and_holds_no_noise(
    generator: Generator, settings: Settings, revision: Revision
) -> None:
    generator.generate(revision, PROMPT, SHORT)
    assert (settings.home / "generator.log").read_text() == ""


def test_the_command_lines_way_needs_a_pushed_revision(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, limits=Limits())
    with pytest.raises(InputError, match=r"No checkpoint has been pushed yet; train a model first"):
        generate(settings, PROMPT)
    assert processes_of() == []
