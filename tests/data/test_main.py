from __future__ import annotations

import compileall
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.paths import ROOT, CorpusFolder
from tests.data.examples import code, code_folder

RUN_AND_LIST = """
import json, sys
from pipeline.data.__main__ import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_the_job_prepares_what_its_request_asks_for(folder: CorpusFolder, tmp_path: Path) -> None:
    source = f"files:{code_folder(tmp_path / 'project', 30)}"
    request = {"source": source, "keywords": ["pandas"], "vocab_size": 300, "a_key_of_the_future": 1}
    write_json(folder.request, {"request_id": "r9", "kind": "prepare", "config": request})
    done = run("-m", "pipeline.data", str(folder.path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "tokens" in done.stdout
    status = read_json(folder.status)
    assert status is not None
    assert (status["state"], status["request_id"]) == ("finished", "r9")
    assert folder.is_ready


QUOTING = """
import sys
from pipeline.data import __main__ as job
def prepare(*_, **__): raise RuntimeError("the key sesamesesame is not known")
job.prepare = prepare
sys.exit(job.main(sys.argv[1:]))
"""


def test_a_credential_in_an_error_is_not_written(folder: CorpusFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesamesesame")
    write_json(folder.request, {"request_id": "r1", "config": {"source": "installed"}})
    done = run("-c", QUOTING, str(folder.path))
    assert done.returncode == 1
    written = done.stdout + done.stderr + folder.status.read_text()
    assert "sesamesesame" not in written
    assert "Traceback" in done.stderr and written.count("the key [AWS_SECRET_ACCESS_KEY] is not known") == 2


@pytest.mark.slow
def test_an_input_error_is_one_sentence_and_a_failed_status(folder: CorpusFolder, tmp_path: Path) -> None:
    write_json(folder.request, {"request_id": "r1", "config": {"source": f"files:{tmp_path}/nowhere"}})
    done = run("-m", "pipeline.data", str(folder.path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "nowhere" in done.stderr
    status = read_json(folder.status)
    assert status is not None
    assert (status["state"], status["error"]) == ("failed", done.stderr.strip())


@pytest.mark.slow
def test_a_job_without_a_request_or_a_folder_says_what_to_do(folder: CorpusFolder) -> None:
    done = run("-m", "pipeline.data", str(folder.path))
    assert (done.returncode, "it also needs config" in done.stderr) == (2, True)
    done = run("-m", "pipeline.data")
    assert (done.returncode, "give one corpus folder" in done.stderr) == (2, True)


@pytest.mark.slow
def test_a_killed_preparation_continues_after_its_last_complete_stage(folder: CorpusFolder, tmp_path: Path) -> None:
    source = tmp_path / "project"
    for number in range(400):
        (source / f"file{number}.py").parent.mkdir(exist_ok=True)
        (source / f"file{number}.py").write_text("\n".join(code(number * 500 + line) for line in range(150)))
    request = {"source": f"files:{source}", "keywords": ["pandas"], "vocab_size": 400}
    write_json(folder.request, {"request_id": "r1", "config": request})
    command = [sys.executable, "-m", "pipeline.data", str(folder.path)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL) as process:
        while "filter" not in (read_json(folder.path / "stages.json") or {"done": {}})["done"]:
            assert process.poll() is None, "it ended by itself"
            time.sleep(0.005)
        process.kill()
    assert not folder.is_ready, "control: it was killed before it was complete"
    shards = {path: path.stat().st_ino for path in folder.path.glob("files-*.parquet")}
    assert run(*command[1:]).returncode == 0
    assert {path: path.stat().st_ino for path in folder.path.glob("files-*.parquet")} == shards
    manifest = read_json(folder.manifest)
    assert manifest is not None
    assert manifest["files_train"] + manifest["files_validation"] == 400


@pytest.mark.slow
def test_a_scan_and_a_preparation_never_import_torch(folder: CorpusFolder, tmp_path: Path) -> None:
    source = f"files:{code_folder(tmp_path / 'project', 30)}"
    write_json(folder.request, {"request_id": "r1", "config": {"source": source, "vocab_size": 300}})
    done = run("-c", RUN_AND_LIST, str(folder.path))
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stderr
    assert "polars" in modules, "control: it did its work"
    assert not {"torch", "transformers", "accelerate", "gradio"} & set(modules)


def test_opening_a_source_imports_nothing_heavy(tmp_path: Path) -> None:
    script = "import sys, pipeline.data.sources as s; s.open_source(sys.argv[1]); s.open_source('installed'); print(*sys.modules)"
    modules = {name.partition(".")[0] for name in run("-c", script, f"files:{tmp_path}").stdout.split()}
    assert "pipeline" in modules
    assert not {"polars", "numpy", "pyarrow", "datasets", "tokenizers", "huggingface_hub", "torch"} & modules


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
from pipeline.data.__main__ import main
if sys.argv[2] == "without":
    from pipeline.core import disk_full
    disk_full.says_disk_full = lambda error: False
sys.exit(main(sys.argv[3:]))
"""
IN_WORDS = (
    r"Corpus code could not be prepared: the disk is full \(\d+ MB free\); free some of it, then prepare it again\."
)


@pytest.fixture
def modules_are_compiled() -> None:
    """Python does not notice when a limit cuts off the bytecode that it writes at a first import."""
    assert compileall.compile_dir(ROOT / "pipeline", quiet=1)


@pytest.mark.slow
@pytest.mark.usefixtures("modules_are_compiled")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_told_in_words_wherever_it_happens(folder: CorpusFolder, tmp_path: Path, workers: int) -> None:
    """Kept files, merged files and token files are written by polars, pyarrow, tokenizers and Python."""
    source = f"files:{code_folder(tmp_path / 'project', 400)}"
    request = {
        "request_id": "r1",
        "config": {"source": source, "keywords": ["pandas"], "vocab_size": 300},
        "workforce": {"workers": workers},
    }
    write_json(folder.request, request)
    told, limit = set(), 2_000
    while (done := run("-c", LIMITED, str(limit), "with", str(folder.path))).returncode != 0:
        assert re.fullmatch(IN_WORDS, done.stderr.strip()), (limit, done.stderr)
        status = read_json(folder.status)
        assert status is not None
        assert re.fullmatch(IN_WORDS, status["error"]), limit
        assert not folder.is_ready
        told.add(status.get("stage"))
        limit *= 2
    assert len(told) > 1, "no stage but one met the limit"
    assert folder.is_ready


@pytest.mark.slow
@pytest.mark.usefixtures("modules_are_compiled")
def test_without_the_words_a_full_disk_is_an_error_of_a_library(folder: CorpusFolder, tmp_path: Path) -> None:
    source = f"files:{code_folder(tmp_path / 'project', 400)}"
    write_json(folder.request, {"request_id": "r1", "config": {"source": source, "vocab_size": 300}})
    done = run("-c", LIMITED, "2000", "without", str(folder.path))
    assert done.returncode == 1
    assert not re.search(IN_WORDS, done.stderr)
