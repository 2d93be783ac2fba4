"""The real client, in a process of its own, pushes a corpus to the loopback Hub; the real datasets library reads it back."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from pipeline.config.quality import QualityConfig
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.paths import CorpusFolder, Home
from tests.hub.conftest import ROOT, eventually
from tests.hub.corpora import CORPUS, prepare_corpus, project
from tests.loopback_hub import TOKEN, LoopbackHub
from tests.loopback_repos import Commit, File

pytestmark = pytest.mark.slow

NAME = "me/files"
REPO = f"datasets/{NAME}"
MAIN = "import sys; from pipeline.cli.app import main\n{seam}\nsys.exit(main(sys.argv[1:]))"
LOAD = """
import json, sys
from datasets import load_dataset
print(json.dumps({split: list(rows) for split, rows in load_dataset(sys.argv[1]).items()}))
"""


@dataclass
class Pusher:
    """Runs the command line's push on one home."""

    home: Home
    hub: LoopbackHub
    folder: Path

    def environment(self, token: str | None = TOKEN) -> dict[str, str]:
        named = {"PIPELINE_HOME": str(self.home.path), "HF_DATASETS_CACHE": str(self.folder / "datasets")}
        kept = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
        return {**kept, **self.hub.environment(self.folder, token), **named}

    def command(self, *options: str, seam: str = "pass", corpus: str = CORPUS) -> list[str]:
        arguments = ["publish", "--corpus", corpus, "--dataset", NAME, *options]
        return [sys.executable, "-c", MAIN.format(seam=seam), *arguments]

    def run(self, *options: str, token: str | None = TOKEN, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options, **more),
            cwd=ROOT,
            env=self.environment(token),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def push(self, *options: str, **more: str) -> dict[str, Any]:
        done = self.run("--json", *options, **more)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)

    def refused(self, status: int, *options: str, token: str | None = TOKEN, **more: str) -> str:
        """The one sentence that a push ends with."""
        done = self.run("--json", *options, token=token, **more)
        assert (done.returncode, done.stdout) == (status, ""), done
        assert done.stderr.count("\n") == 1 and done.stderr.endswith(".\n"), done.stderr
        assert TOKEN not in done.stderr
        return done.stderr

    def load(self) -> dict[str, list[dict[str, str]]]:
        """What datasets finds in the repo."""
        command = [sys.executable, "-c", LOAD, NAME]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def pushed(self) -> list[Commit]:
        """The commits on top of the repo's own first one."""
        return self.hub.commits(REPO)[1:]

    @property
    def files(self) -> dict[str, File]:
        return self.hub.commits(REPO)[-1].files

    def uploads(self) -> int:
        return sum(request.startswith("PUT ") for request in self.hub.requests)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return project(tmp_path / "project")


@pytest.fixture
def corpus(home: Home, source: Path) -> CorpusFolder:
    return prepare_corpus(home, source)


@pytest.fixture
def pusher(home: Home, hub: LoopbackHub, tmp_path: Path) -> Pusher:
    return Pusher(home, hub, tmp_path)


def local_rows(corpus: CorpusFolder) -> dict[str, list[dict[str, str]]]:
    return {
        split: pl.read_parquet(sorted(corpus.path.glob(f"files-{split}-*.parquet"))).to_dicts()
        for split in ("train", "validation")
    }


def is_whole(pusher: Pusher, corpus: CorpusFolder) -> None:
    """The Hub holds every file of the corpus, each with the SHA-256 that the provenance tells, and no other data."""
    files = pusher.files
    told = json.loads(files["provenance.json"].content)["sha256"]
    assert {name: hashlib.sha256(files[name].content).hexdigest() for name in told} == told
    assert {*told, "provenance.json", ".gitattributes"} == set(files)
    for split in ("train", "validation"):
        local = sorted(corpus.path.glob(f"files-{split}-*.parquet"))
        names = [f"data/{split}-{number:05}-of-{len(local):05}.parquet" for number in range(len(local))]
        assert [files[name].content for name in names] == [path.read_bytes() for path in local]
        assert all(files[name].is_lfs for name in names)
    assert files["tokenizer/tokenizer.json"].content == (corpus.tokenizer / "tokenizer.json").read_bytes()


def test_a_corpus_arrives_whole_in_one_commit(pusher: Pusher, corpus: CorpusFolder) -> None:
    told = pusher.push()
    [commit] = pusher.pushed
    assert (told["corpus"], told["repo"], told["commit"]) == (CORPUS, NAME, commit.oid)
    assert told["url"] == f"{pusher.hub.url}/datasets/{NAME}"
    assert told["files"] == told["uploaded"] == len(pusher.files) - 1
    assert not told["private"]
    assert len([name for name in pusher.files if name.startswith("data/train-")]) > 1
    is_whole(pusher, corpus)


def test_the_provenance_tells_where_the_files_are_from(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    told, manifest = json.loads(pusher.files["provenance.json"].content), read_json(corpus.manifest) or {}
    assert (told["corpus"], told["source"], told["keywords"], told["match"]) == (
        CORPUS,
        "files",
        ["pandas"],
        "substring",
    )
    assert (told["created_at"], told["versions"]) == (manifest["created_at"], manifest["versions"])
    assert told["quality"] == manifest["config"]["quality"]
    assert told["files"] == {split: len(rows) for split, rows in local_rows(corpus).items()}
    assert told["tokens"] == {split: manifest[f"tokens_{split}"] for split in ("train", "validation")}
    assert told["licenses"] == {"": 60, "mit": 20, "gpl-3.0": 10}


def test_the_card_is_what_the_hub_and_people_read(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    card = pusher.files["README.md"].content.decode()
    _, front, text = card.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*"},
        {"split": "validation", "path": "data/validation-*"},
    ]
    assert (told["license"], told["size_categories"]) == ("other", ["n<1K"])
    for words in (f'load_dataset("{NAME}")', "| `mit` | 20 |", "| not recorded | 60 |", "`pandas`", "hide", "91 files"):
        assert words in text, words
    assert "None" not in card and "{" not in card


def test_load_dataset_finds_the_same_rows_in_each_split(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    assert pusher.load() == local_rows(corpus)


def test_pushed_again_nothing_is_uploaded(pusher: Pusher, corpus: CorpusFolder) -> None:
    first = pusher.push()
    uploads = pusher.uploads()
    again = pusher.run()
    assert again.returncode == 0, again.stderr
    assert "holds corpus code already" in again.stdout and "nothing was uploaded" in again.stdout
    told = pusher.push()
    assert (told["uploaded"], told["uploaded_bytes"], told["deleted"]) == (0, 0, 0)
    assert told["commit"] == first["commit"]
    assert (len(pusher.pushed), pusher.uploads()) == (1, uploads)
    assert not [request for request in pusher.hub.requests[-6:] if request.startswith(("PUT", "POST"))]


def test_a_changed_corpus_replaces_the_files_and_deletes_old_shards_in_the_same_commit(
    pusher: Pusher, corpus: CorpusFolder, home: Home, source: Path
) -> None:
    pusher.push()
    before = set(pusher.files)
    corpus = prepare_corpus(
        home, source, max_rows=4_096, quality=QualityConfig(drop_exact_duplicates=True), max_files=50
    )
    told = pusher.push()
    assert len(pusher.pushed) == 2
    assert told["deleted"] == len(before - set(pusher.files)) > 0
    is_whole(pusher, corpus)
    assert "`drop_exact_duplicates`" in pusher.files["README.md"].content.decode()
    assert pusher.load() == local_rows(corpus)


def test_a_corpus_that_keeps_a_file_sends_only_the_others(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    uploads = pusher.uploads()
    pusher.hub.edit(REPO, "README.md", "# somebody's own words\n")
    told = pusher.push()
    assert (told["uploaded"], pusher.uploads()) == (1, uploads), "the card alone"
    is_whole(pusher, corpus)


def test_a_hub_that_is_away_is_one_sentence(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.hub.stop()
    told = pusher.refused(1)
    assert told.startswith("The Hub cannot be reached (") and f"{NAME} is not pushed, try again later" in told


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "does not accept the token"), (403, "may not write to"), (500, "cannot take it now (500")],
)
def test_a_hub_that_says_no_is_one_sentence_and_nothing_is_there(
    pusher: Pusher, corpus: CorpusFolder, status: int, words: str
) -> None:
    pusher.hub.refuse(status, on="POST .*/commit/main", body='{"error": "no to {authorization}"}')
    told = pusher.refused(1)
    assert words in told and NAME in told and "publish again" not in told
    assert pusher.pushed == []


@pytest.mark.parametrize("on", ["GET /api/datasets", "create", "preupload", "lfs/objects", "PUT", "commit/main"])
def test_a_hub_that_stumbles_once_gets_it_all_the_same(pusher: Pusher, corpus: CorpusFolder, on: str) -> None:
    pusher.hub.refuse(500, on=on, times=1)
    pusher.push()
    assert len(pusher.pushed) == 1
    is_whole(pusher, corpus)


def test_without_a_token_it_says_so(pusher: Pusher, corpus: CorpusFolder) -> None:
    assert pusher.refused(1, token=None).startswith("HF_TOKEN is not set;")
    assert pusher.hub.requests == []


def kill_at(pusher: Pusher, reached: Callable[[], bool], *, seam: str = "pass") -> None:
    """kill -9 a push soon after `reached`."""
    process = subprocess.Popen(
        pusher.command("--json", seam=seam),
        cwd=ROOT,
        env=pusher.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(reached)
        time.sleep(0.3)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("on", "after", "num_commits"), [("PUT /_lfs", False, 0), ("/commit/main", False, 0), ("/commit/main", True, 1)]
)
def test_killed_in_the_middle_and_pushed_again_it_is_whole(
    pusher: Pusher, corpus: CorpusFolder, on: str, after: bool, num_commits: int
) -> None:
    """Before the commit nobody sees anything; after it, it is not made a second time."""
    pusher.hub.hang(on=on, times=1, after=after)
    kill_at(pusher, lambda: any(on in request for request in pusher.hub.requests))
    assert len(pusher.pushed) == num_commits
    told = pusher.push()
    assert len(pusher.pushed) == 1
    assert (told["uploaded"] == 0) == after
    is_whole(pusher, corpus)


SMALL_COMMITS = "from pipeline.hub import dataset; dataset.MOST_OPERATIONS = 2"
STUCK_AT_THE_THIRD = f"""{SMALL_COMMITS}
import time, huggingface_hub
numbers, commit = iter(range(99)), huggingface_hub.HfApi.create_commit
huggingface_hub.HfApi.create_commit = lambda *a, **b: time.sleep(600) if next(numbers) == 2 else commit(*a, **b)
"""


def test_many_files_go_in_several_commits(pusher: Pusher, corpus: CorpusFolder) -> None:
    told = pusher.push(seam=SMALL_COMMITS)
    assert len(pusher.pushed) == -(-told["uploaded"] // 2) > 2
    assert "provenance.json" in pusher.pushed[0].files, "from the first commit on the repo is known as ours"
    assert "README.md" not in pusher.pushed[-2].files
    is_whole(pusher, corpus)


def test_killed_between_commits_and_pushed_again_it_is_whole(pusher: Pusher, corpus: CorpusFolder) -> None:
    kill_at(pusher, lambda: len(pusher.pushed) == 2, seam=STUCK_AT_THE_THIRD)
    assert len(pusher.pushed) == 2
    told = pusher.push()
    assert (len(pusher.pushed), told["uploaded"]) == (3, told["files"] - 4)
    is_whole(pusher, corpus)


def everything(pusher: Pusher) -> bytes:
    """All bytes that any commit holds, and the rows of the parquet files unpacked."""
    files = [file.content for commit in pusher.hub.commits(REPO) for file in commit.files.values()]
    rows = [pl.read_parquet(content).write_json().encode() for content in files if content.startswith(b"PAR1")]
    return b"\0".join([*files, *rows, *(f"{c.title} {c.message}".encode() for c in pusher.hub.commits(REPO))])


def test_neither_the_token_nor_a_path_of_this_machine_reaches_the_hub(
    pusher: Pusher, corpus: CorpusFolder, tmp_path: Path, source: Path
) -> None:
    config = corpus.tokenizer / "tokenizer_config.json"  # as older versions of transformers leave it
    write_json(config, {**(read_json(config) or {}), "name_or_path": str(tmp_path / "gpt"), "note": TOKEN})
    stages = read_json(corpus.path / "stages.json") or {}
    stages["done"]["tokenizer"]["files"]["tokenizer/tokenizer_config.json"] = config.stat().st_size
    write_json(corpus.path / "stages.json", stages)
    manifest = read_json(corpus.manifest) or {}
    manifest["config"]["tokenizer"] = str(tmp_path / "gpt")
    write_json(corpus.manifest, manifest)

    pusher.push()
    sent = everything(pusher)
    for secret in (TOKEN, str(tmp_path), str(Path.home()) + "/", str(pusher.home.path)):
        assert secret.encode() not in sent, secret
    local = b"".join(path.read_bytes() for path in (corpus.report, corpus.manifest, config))
    for there in (b"frame['x42']", b"rows.jsonl:31", b'"a folder"', b'"name_or_path": "gpt"'):
        assert there in sent, there
    for secret in (TOKEN, str(tmp_path), f"{source}/rows.jsonl:31"):
        assert secret.encode() in local, "the control: it was there to be found"


def test_the_search_for_secrets_finds_one(pusher: Pusher, corpus: CorpusFolder, source: Path) -> None:
    """The control: with the cleaning taken out, the path is on the Hub."""
    pusher.push(seam="from pipeline.hub import dataset_files; dataset_files._source = lambda source: source")
    assert str(source).encode() in everything(pusher)


def test_a_private_dataset_is_made_private(pusher: Pusher, corpus: CorpusFolder) -> None:
    assert pusher.push("--private")["private"]
    assert pusher.hub.repos.private == {REPO}
    assert pusher.push()["private"], "and stays it"


def test_private_is_refused_where_everybody_reads(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    assert f"Dataset {NAME} is there and public" in pusher.refused(2, "--private")


@pytest.mark.parametrize("name", ["data/train-00000-of-00001.parquet", "README.md", "sales/2026.csv"])
def test_what_somebody_else_has_there_is_not_replaced(pusher: Pusher, corpus: CorpusFolder, name: str) -> None:
    pusher.hub.edit(REPO, name, "precious")
    told = pusher.refused(2)
    assert f"Dataset {NAME} holds {name} and was not written by this program; choose another name" in told
    assert {path: file.content for path, file in pusher.files.items()} == {name: b"precious"}


def test_a_repo_with_nothing_of_its_own_is_filled(pusher: Pusher, corpus: CorpusFolder) -> None:
    """As the Hub leaves one that a person made."""
    pusher.hub.edit(REPO, ".gitattributes", "*.parquet lfs\n")
    pusher.push()
    is_whole(pusher, corpus)


def test_a_provenance_of_somebody_else_does_not_make_it_ours(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.hub.edit(REPO, "provenance.json", '{"made_by": "somebody"}')
    assert "holds provenance.json and was not written by this program" in pusher.refused(2)


def test_what_cannot_be_pushed_is_refused_without_asking_the_hub(pusher: Pusher, corpus: CorpusFolder) -> None:
    assert "There is no corpus 'none'; there is code" in pusher.refused(2, corpus="none")
    (corpus.path / "files-train-00000.parquet").write_bytes(b"")
    assert "Corpus code is damaged: files-train-00000.parquet has 0 bytes" in pusher.refused(1)
    corpus.manifest.unlink()
    assert "Corpus code is not prepared" in pusher.refused(2)
    assert pusher.hub.requests == []


def test_bad_rows_of_the_validation_source_are_told_without_their_folders(pusher: Pusher, tmp_path: Path) -> None:
    held = project(tmp_path / "secret-project", 20)
    prepare_corpus(pusher.home, project(tmp_path / "open", 20), validation_source=f"files:{held}")
    pusher.push()
    report = json.loads(pusher.files["report.json"].content)
    assert report["validation"]["bad_examples"] == [{"reason": "not JSON", "where": "rows.jsonl:31"}]
    assert not [name for name, file in pusher.files.items() if str(tmp_path).encode() in file.content]
