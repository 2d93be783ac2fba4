"""Preparations whose Hub connections are closed in mid-stream: the real client, real jobs, a Hub on loopback."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.atomic_io import read_json, sha256, write_json
from pipeline.core.environment import child_environment
from pipeline.core.paths import CorpusFolder, Home
from tests.data.dataset_hub import DatasetHub
from tests.data.examples import code, json_lines, row

NUM_SHARDS = 4
ROWS = 300
JOB = """
import sys
import datasets
from pipeline.data.__main__ import main
datasets.config.STREAMING_READ_MAX_RETRIES = 4  # instead of 20 attempts, 5 seconds apart
datasets.config.STREAMING_READ_RETRY_INTERVAL = 0
import huggingface_hub.utils._http as http
http.time.sleep = lambda seconds: None
sys.exit(main(sys.argv[1:]))
"""


def text(number: int) -> str:
    """One in five is short and mentions pandas; the others are long and hard to compress."""
    return code(number) if number % 5 == 0 else "# " + random.Random(number).randbytes(4_000).hex()


def repos() -> dict[str, dict[str, bytes]]:
    shards = [[row(n, content=text(n)) for n in range(s * ROWS, (s + 1) * ROWS)] for s in range(NUM_SHARDS)]
    packed = {f"data/train-{s}.json.gz": gzip.compress(json_lines(rows), 1) for s, rows in enumerate(shards)}
    return {
        "me/lines": packed,
        "me/tables": {f"data/train-{s}.parquet": parquet(rows) for s, rows in enumerate(shards)},
    }


def parquet(rows: list[dict[str, Any]]) -> bytes:
    target = io.BytesIO()
    pl.DataFrame(rows).write_parquet(target, row_group_size=100)
    return target.getvalue()


@pytest.fixture(scope="module")
def hub() -> Iterator[DatasetHub]:
    with DatasetHub(repos()) as server:
        yield server


def prepare(hub: DatasetHub, folder: Path, repo: str) -> tuple[int, str, list[tuple[str, int]]]:
    """Exit status, standard error, and what was fetched: (file, first byte)."""
    corpus = CorpusFolder(Home(folder).corpus("code").path)
    corpus.path.mkdir(parents=True, exist_ok=True)
    config = {"source": f"hub:{repo}", "keywords": ["pandas"], "vocab_size": 300}
    write_json(corpus.request, {"request_id": "r1", "kind": "prepare", "config": config})
    hub.fetched.clear()
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(corpus.path)],
        env={
            **child_environment(),
            "HF_ENDPOINT": hub.endpoint,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_DISABLE_XET": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr, list(hub.fetched)


def made(folder: Path) -> dict[str, Any]:
    """All of the corpus except times."""
    corpus = CorpusFolder(Home(folder).corpus("code").path)
    found = [
        *corpus.path.glob("files-*.parquet"),
        *corpus.path.glob("tokens-*.bin"),
        *corpus.tokenizer.iterdir(),
        corpus.samples,
    ]
    report = read_json(corpus.report)
    assert report is not None
    assert len(found) >= 7
    numbers = {key: value for key, value in report.items() if key not in ("seconds", "bytes_per_second")}
    return {"report": numbers, **{str(p.relative_to(corpus.path)): sha256(p) for p in found}}


@pytest.mark.slow
@pytest.mark.parametrize(("repo", "ending"), [("me/lines", "json.gz"), ("me/tables", "parquet")])
def test_a_connection_that_is_closed_in_mid_stream_changes_nothing(
    repo: str, ending: str, hub: DatasetHub, tmp_path: Path
) -> None:
    cut, size = f"data/train-2.{ending}", len(hub.repos[repo][f"data/train-2.{ending}"])
    status, errors, fetched = prepare(hub, tmp_path / "undisturbed", repo)
    assert (status, errors) == (0, "")
    undisturbed, expected = [first for path, first in fetched if path == cut], made(tmp_path / "undisturbed")
    assert expected["report"]["scanned"] == NUM_SHARDS * ROWS
    assert expected["report"]["kept"] == NUM_SHARDS * ROWS // 5

    # ---- closed several times: the client requests the rest ----
    hub.cuts[cut] = [size // 3, 0, size // 10, 1]
    status, errors, fetched = prepare(hub, tmp_path / "cut", repo)
    assert (status, hub.cuts[cut]) == (0, []), errors
    offsets = [first for path, first in fetched if path == cut]
    assert len(offsets) > len(undisturbed), "control: it tried again"
    assert made(tmp_path / "cut") == expected

    # ---- closed at every attempt: one sentence, and complete shards are not fetched again ----
    hub.walls[cut] = size // 2
    status, errors, fetched = prepare(hub, tmp_path / "wall", repo)
    failed = read_json(CorpusFolder(Home(tmp_path / "wall").corpus("code").path).status)
    assert failed is not None
    assert (status, failed["state"]) == (1, "failed")
    assert failed["error"].startswith(f"Dataset {repo!r} could not be read from the Hub (")
    assert errors.splitlines()[-1] == failed["error"]
    assert "Traceback" not in errors
    assert {path for path, _ in fetched} >= {f"data/train-{n}.{ending}" for n in range(3)}
    del hub.walls[cut]
    status, errors, fetched = prepare(hub, tmp_path / "wall", repo)
    assert status == 0, errors
    assert {path for path, _ in fetched} == {f"data/train-{n}.{ending}" for n in (2, 3)}
    assert made(tmp_path / "wall") == expected
