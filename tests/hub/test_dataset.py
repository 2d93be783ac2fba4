"""The real client, in a separate process, pushes a corpus to the loopback Hub; the real datasets library reads it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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
from pipeline.hub.dataset import Pushed
from tests.hub.conftest import ROOT
from tests.hub.corpora import CORPUS, prepare_corpus, project
from tests.loopback_hub import TOKEN, LoopbackHub
from tests.loopback_repos import Commit, File
from tests.waiting import eventually

pytestmark = pytest.mark.slow

NAME = "me/files"
REPO = f"datasets/{NAME}"
MAIN = """
import json, sys
from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.hub.dataset import push_corpus
{seam}
corpus, repo, *options = sys.argv[1:]
try:
    pushed = push_corpus(Settings.from_environment(), corpus, repo, private="--private" in options, say=lambda text: None)
except PipelineError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
print(json.dumps(pushed.to_dict()))
"""
LOAD = """
import json, sys
from datasets import load_dataset
print(json.dumps({split: list(rows) for split, rows in load_dataset(sys.argv[1]).items()}))
"""


@dataclass
class Pusher:
    """Pushes corpora of one home, each in a process of its own."""

    home: Home
    hub: LoopbackHub
    folder: Path

    def environment(self, token: str | None = TOKEN) -> dict[str, str]:
        named = {"PIPELINE_HOME": str(self.home.path), "HF_DATASETS_CACHE": str(self.folder / "datasets")}
        kept = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
        return {**kept, **self.hub.environment(self.folder, token), **named}

    def command(self, *options: str, seam: str = "pass", corpus: str = CORPUS) -> list[str]:
        return [sys.executable, "-c", MAIN.format(seam=seam), corpus, NAME, *options]

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
        done = self.run(*options, **more)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return json.loads(done.stdout)

    def refused(self, status: int, *options: str, token: str | None = TOKEN, **more: str) -> str:
        """The one-sentence error of a push that must exit with `status`."""
        done = self.run(*options, token=token, **more)
        assert (done.returncode, done.stdout) == (status, ""), done
        assert done.stderr.count("\n") == 1 and done.stderr.endswith(".\n"), done.stderr
        assert TOKEN not in done.stderr
        return done.stderr

    def load(self) -> dict[str, list[dict[str, str]]]:
        """The rows that `load_dataset` reads from the repo."""
        command = [sys.executable, "-c", LOAD, NAME]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, check=False, timeout=240
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @property
    def pushed(self) -> list[Commit]:
        """All commits but the repo's initial one."""
        return self.hub.commits(REPO)[1:]

    @property
    def files(self) -> dict[str, File]:
        return self.hub.commits(REPO)[-1].files

    def uploads(self) -> int:
        return sum(request.startswith("PUT ") for request in self.hub.requests)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CorpusFolder]:
    """The source, and the corpus made of it. Read only."""
    folder = tmp_path_factory.mktemp("prepared")
    source = project(folder / "project")
    return source, prepare_corpus(Home(folder / "home"), source)


@pytest.fixture
def source(prepared: tuple[Path, CorpusFolder]) -> Path:
    return prepared[0]


@pytest.fixture
def corpus(home: Home, prepared: tuple[Path, CorpusFolder]) -> CorpusFolder:
    """A copy that the test may change."""
    folder = home.corpus(CORPUS)
    shutil.copytree(prepared[1].path, folder.path)
    return folder


@pytest.fixture
def pusher(home: Home, hub: LoopbackHub, tmp_path: Path) -> Pusher:
    return Pusher(home, hub, tmp_path)


def local_rows(corpus: CorpusFolder) -> dict[str, list[dict[str, str]]]:
    return {
        split: pl.read_parquet(sorted(corpus.path.glob(f"files-{split}-*.parquet"))).to_dicts()
        for split in ("train", "validation")
    }


def assert_complete(pusher: Pusher, corpus: CorpusFolder) -> None:
    """The Hub has every file of the corpus, each but the card with its SHA-256 in the provenance, and no other."""
    files = pusher.files
    hashes = json.loads(files["provenance.json"].content)["sha256"]
    assert {name: hashlib.sha256(files[name].content).hexdigest() for name in hashes} == hashes
    assert {*hashes, "provenance.json", "README.md", ".gitattributes"} == set(files)
    for split in ("train", "validation"):
        local = sorted(corpus.path.glob(f"files-{split}-*.parquet"))
        names = [f"data/{split}-{number:05}-of-{len(local):05}.parquet" for number in range(len(local))]
        assert [files[name].content for name in names] == [path.read_bytes() for path in local]
        assert all(files[name].is_lfs for name in names)
    assert files["tokenizer/tokenizer.json"].content == (corpus.tokenizer / "tokenizer.json").read_bytes()


def test_a_corpus_is_pushed_completely_in_one_commit(pusher: Pusher, corpus: CorpusFolder) -> None:
    result = pusher.push()
    [commit] = pusher.pushed
    assert (result["corpus"], result["repo"], result["commit"]) == (CORPUS, NAME, commit.oid)
    assert result["url"] == f"{pusher.hub.url}/datasets/{NAME}"
    assert result["files"] == result["uploaded"] == len(pusher.files) - 1
    assert not result["private"]
    assert len([name for name in pusher.files if name.startswith("data/train-")]) > 1
    assert_complete(pusher, corpus)


def test_the_provenance_records_where_the_files_are_from(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    provenance, manifest = json.loads(pusher.files["provenance.json"].content), read_json(corpus.manifest) or {}
    assert (provenance["corpus"], provenance["source"], provenance["keywords"], provenance["match"]) == (
        CORPUS,
        "files",
        ["pandas"],
        "substring",
    )
    assert (provenance["created_at"], provenance["versions"]) == (manifest["created_at"], manifest["versions"])
    assert provenance["quality"] == manifest["config"]["quality"]
    assert provenance["files"] == {split: len(rows) for split, rows in local_rows(corpus).items()}
    assert provenance["tokens"] == {split: manifest[f"tokens_{split}"] for split in ("train", "validation")}
    assert provenance["licenses"] == {"": 60, "mit": 20, "gpl-3.0": 10}


def test_the_card_has_the_metadata_and_text_for_the_hub(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    card = pusher.files["README.md"].content.decode()
    _, front, text = card.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*"},
        {"split": "validation", "path": "data/validation-*"},
    ]
    assert (metadata["license"], metadata["size_categories"]) == ("other", ["n<1K"])
    for words in (f'load_dataset("{NAME}")', "| `mit` | 20 |", "| not recorded | 60 |", "`pandas`", "hide", "91 files"):
        assert words in text, words
    assert "None" not in card and "{" not in card


def test_load_dataset_finds_the_same_rows_in_each_split(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    assert pusher.load() == local_rows(corpus)


def test_pushed_again_nothing_is_uploaded(pusher: Pusher, corpus: CorpusFolder) -> None:
    first = pusher.push()
    uploads = pusher.uploads()
    told = str(Pushed(**pusher.push()))
    assert "holds corpus code already" in told and "nothing was uploaded" in told
    result = pusher.push()
    assert (result["uploaded"], result["uploaded_bytes"], result["deleted"]) == (0, 0, 0)
    assert result["commit"] == first["commit"]
    assert (len(pusher.pushed), pusher.uploads()) == (1, uploads)
    assert not [
        request
        for request in pusher.hub.requests[-6:]
        if request.startswith(("PUT", "POST")) and "/paths-info/" not in request  # it asks for the size of the card
    ]


def test_a_changed_corpus_replaces_the_files_and_deletes_old_shards_in_the_same_commit(
    pusher: Pusher, corpus: CorpusFolder, home: Home, source: Path
) -> None:
    pusher.push()
    before = set(pusher.files)
    corpus = prepare_corpus(
        home, source, max_rows=4_096, quality=QualityConfig(drop_exact_duplicates=True), max_files=50
    )
    result = pusher.push()
    assert len(pusher.pushed) == 2
    assert result["deleted"] == len(before - set(pusher.files)) > 0
    assert_complete(pusher, corpus)
    assert "`drop_exact_duplicates`" in pusher.files["README.md"].content.decode()
    assert pusher.load() == local_rows(corpus)


def test_unchanged_files_are_not_sent_again(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    uploads = pusher.uploads()
    pusher.hub.edit(REPO, "README.md", "# somebody's own words\n")
    result = pusher.push()
    assert (result["uploaded"], pusher.uploads()) == (1, uploads), "the card alone"
    card = pusher.files["README.md"].content.decode()
    assert "# somebody's own words\n" in card and "## Licences" in card
    assert pusher.push()["uploaded"] == 0
    assert_complete(pusher, corpus)


def test_an_unreachable_hub_gives_a_one_sentence_error(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.hub.stop()
    message = pusher.refused(1)
    assert message.startswith("The Hub cannot be reached (") and f"{NAME} is not pushed, try again later" in message


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "does not accept the token"), (403, "may not write to"), (500, "cannot take it now (500")],
)
def test_a_hub_error_at_the_commit_gives_a_one_sentence_error_and_no_commit(
    pusher: Pusher, corpus: CorpusFolder, status: int, words: str
) -> None:
    pusher.hub.refuse(status, on="POST .*/commit/main", body='{"error": "no to {authorization}"}')
    message = pusher.refused(1)
    assert words in message and NAME in message and "publish again" not in message
    assert pusher.pushed == []


@pytest.mark.parametrize("on", ["GET /api/datasets", "create", "preupload", "lfs/objects", "PUT", "commit/main"])
def test_one_passing_fault_does_not_fail_the_push(pusher: Pusher, corpus: CorpusFolder, on: str) -> None:
    pusher.hub.refuse(500, on=on, times=1)
    pusher.push()
    assert len(pusher.pushed) == 1
    assert_complete(pusher, corpus)


def test_without_a_token_it_says_so(pusher: Pusher, corpus: CorpusFolder) -> None:
    assert pusher.refused(1, token=None).startswith("HF_TOKEN is not set;")
    assert pusher.hub.requests == []


def kill_at(pusher: Pusher, reached: Callable[[], bool], *, seam: str = "pass") -> None:
    """kill -9 a push soon after `reached()` is true."""
    process = subprocess.Popen(
        pusher.command(seam=seam),
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
    """Killed before the commit, nothing is visible on the Hub; killed after it, the next push does not commit again."""
    pusher.hub.hang(on=on, times=1, after=after)
    kill_at(pusher, lambda: any(on in request for request in pusher.hub.requests))
    assert len(pusher.pushed) == num_commits
    result = pusher.push()
    assert len(pusher.pushed) == 1
    assert (result["uploaded"] == 0) == after
    assert_complete(pusher, corpus)


SMALL_COMMITS = "from pipeline.hub import dataset; dataset.MAX_OPERATIONS = 2"
STUCK_AT_THE_THIRD = f"""{SMALL_COMMITS}
import time, huggingface_hub
numbers, commit = iter(range(99)), huggingface_hub.HfApi.create_commit
huggingface_hub.HfApi.create_commit = lambda *a, **b: time.sleep(600) if next(numbers) == 2 else commit(*a, **b)
"""


def test_many_files_go_in_several_commits(pusher: Pusher, corpus: CorpusFolder) -> None:
    result = pusher.push(seam=SMALL_COMMITS)
    assert len(pusher.pushed) == -(-result["uploaded"] // 2) > 2
    assert "provenance.json" in pusher.pushed[0].files, "the first commit marks the repo as ours"
    assert "README.md" not in pusher.pushed[-2].files
    assert_complete(pusher, corpus)


def test_killed_between_commits_and_pushed_again_it_is_whole(pusher: Pusher, corpus: CorpusFolder) -> None:
    kill_at(pusher, lambda: len(pusher.pushed) == 2, seam=STUCK_AT_THE_THIRD)
    assert len(pusher.pushed) == 2
    result = pusher.push()
    assert (len(pusher.pushed), result["uploaded"]) == (3, result["files"] - 4)
    assert_complete(pusher, corpus)


def everything(pusher: Pusher) -> bytes:
    """All bytes of all commits, including the decoded rows of the parquet files."""
    files = [file.content for commit in pusher.hub.commits(REPO) for file in commit.files.values()]
    rows = [pl.read_parquet(content).write_json().encode() for content in files if content.startswith(b"PAR1")]
    return b"\0".join([*files, *rows, *(f"{c.title} {c.message}".encode() for c in pusher.hub.commits(REPO))])


def test_neither_the_token_nor_a_path_of_this_machine_reaches_the_hub(
    pusher: Pusher, corpus: CorpusFolder, tmp_path: Path, source: Path
) -> None:
    config = corpus.tokenizer / "tokenizer_config.json"  # as older versions of transformers write it
    write_json(config, {**(read_json(config) or {}), "name_or_path": str(tmp_path / "gpt"), "note": TOKEN})
    stages = read_json(corpus.path / "stages.json") or {}
    stages["done"]["tokenizer"]["files"]["tokenizer/tokenizer_config.json"] = config.stat().st_size
    write_json(corpus.path / "stages.json", stages)
    manifest = read_json(corpus.manifest) or {}
    manifest["config"]["tokenizer"] = str(tmp_path / "gpt")
    write_json(corpus.manifest, manifest)

    pusher.push()
    sent = everything(pusher)
    for secret in (TOKEN, str(tmp_path), str(source.parent), str(Path.home()) + "/", str(pusher.home.path)):
        assert secret.encode() not in sent, secret
    local = b"".join(path.read_bytes() for path in (corpus.report, corpus.manifest, config))
    for kept in (b"frame['x42']", b"rows.jsonl:31", b'"a folder"', b'"name_or_path": "gpt"'):
        assert kept in sent, kept
    for secret in (TOKEN, str(tmp_path), f"{source}/rows.jsonl:31"):
        assert secret.encode() in local, "the control: the local files contain it"


def test_the_search_for_secrets_finds_one(pusher: Pusher, corpus: CorpusFolder, source: Path) -> None:
    """The control: without the redaction, the path reaches the Hub."""
    pusher.push(seam="from pipeline.hub import dataset_files; dataset_files._source = lambda source: source")
    assert str(source).encode() in everything(pusher)


def test_a_private_dataset_is_made_private(pusher: Pusher, corpus: CorpusFolder) -> None:
    assert pusher.push("--private")["private"]
    assert pusher.hub.repos.private == {REPO}
    assert pusher.push()["private"], "and stays it"


def test_private_is_refused_for_a_public_dataset(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.push()
    assert f"Dataset {NAME} is there and public" in pusher.refused(2, "--private")


@pytest.mark.parametrize("name", ["data/train-00000-of-00001.parquet", "README.md", "sales/2026.csv"])
def test_files_of_somebody_else_are_not_replaced(pusher: Pusher, corpus: CorpusFolder, name: str) -> None:
    pusher.hub.edit(REPO, name, "precious")
    message = pusher.refused(2)
    assert f"Dataset {NAME} holds {name} and was not written by this program; choose another name" in message
    assert {path: file.content for path, file in pusher.files.items()} == {name: b"precious"}


def test_an_empty_repo_is_accepted(pusher: Pusher, corpus: CorpusFolder) -> None:
    """As the Hub creates it when a person makes the repo by hand."""
    pusher.hub.edit(REPO, ".gitattributes", "*.parquet lfs\n")
    pusher.push()
    assert_complete(pusher, corpus)


def test_a_provenance_of_somebody_else_does_not_make_it_ours(pusher: Pusher, corpus: CorpusFolder) -> None:
    pusher.hub.edit(REPO, "provenance.json", '{"made_by": "somebody"}')
    assert "holds provenance.json and was not written by this program" in pusher.refused(2)


def test_what_cannot_be_pushed_is_refused_without_asking_the_hub(pusher: Pusher, corpus: CorpusFolder) -> None:
    assert "Corpus none is not prepared" in pusher.refused(2, corpus="none")
    (corpus.path / "files-train-00000.parquet").write_bytes(b"")
    assert "Corpus code is damaged: files-train-00000.parquet has 0 bytes" in pusher.refused(1)
    corpus.manifest.unlink()
    assert "Corpus code is not prepared" in pusher.refused(2)
    assert pusher.hub.requests == []


def test_bad_rows_of_the_validation_source_are_reported_without_their_folders(pusher: Pusher, tmp_path: Path) -> None:
    held = project(tmp_path / "secret-project", 20)
    prepare_corpus(pusher.home, project(tmp_path / "open", 20), validation_source=f"files:{held}")
    pusher.push()
    report = json.loads(pusher.files["report.json"].content)
    assert report["validation"]["bad_examples"] == [{"reason": "not JSON", "where": "rows.jsonl:31"}]
    assert not [name for name, file in pusher.files.items() if str(tmp_path).encode() in file.content]
