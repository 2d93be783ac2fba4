"""Where every file lies below the home folder, and who writes it. One writer per file.

    corpora/<id>/     request.json stop.json (whoever asks)  process.json prepare.log (worker)
                      status.json manifest.json report.json samples.json stages.json files-*.parquet
                      tokenizer/ tokens-*.bin parts/ (while it is prepared) lock (the job)
                      push/: request.json stop.json process.json push.log status.json lock, likewise
    runs/<id>/        request.json stop.json (whoever asks)  label.json (page)  process.json train.log (worker)
                      config.json status.json metrics.jsonl samples.jsonl checkpoints/ lock (trainer)
                      pushes.jsonl (publisher)
    registry/<repo>/  <revision>/ history.jsonl commits.jsonl (publisher)
    scans/            a folder for each process that scans; gone with it (page)
    gallery/<id>.json moderation.json keeps.jsonl reports.jsonl visitors.salt (page, one process at a time: .lock)
    audit.jsonl audit.1.jsonl (page)
    worker.lock publisher-<repo>.lock requests.lock worker.log publisher.log generator.log

Knows nothing of torch or Gradio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
"""The folder with app.py: `python -m pipeline` works from it."""
ASSETS = ROOT / "assets"
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def check_id(value: str, what: str = "id") -> str:
    """`value`, if it may name a folder. Raises InputError otherwise; nothing else in the project builds such a path."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise InputError(
            f"{what} is {value!r}; use 1 to 64 lower-case letters, digits and hyphens, beginning with a letter or digit."
        )
    return value


@dataclass(frozen=True)
class JobFolder:
    """What a prepare job, a training run and the push of a corpus have in common."""

    path: Path
    kind = "job"
    log_name = "job.log"
    again = "resume it"
    """What a person does after it was cut off."""

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def request(self) -> Path:
        return self.path / "request.json"

    @property
    def stop(self) -> Path:
        return self.path / "stop.json"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def log(self) -> Path:
        return self.path / self.log_name


@dataclass(frozen=True)
class RunFolder(JobFolder):
    """One training run."""

    kind = "train"
    log_name = "train.log"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def pushes(self) -> Path:
        return self.path / "pushes.jsonl"

    @property
    def label(self) -> Path:
        return self.path / "label.json"

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}"


@dataclass(frozen=True)
class PushFolder(JobFolder):
    """The newest push of one corpus to the Hub as a dataset, inside the corpus's own folder."""

    kind = "push"
    log_name = "push.log"
    again = "push it again"

    @property
    def id(self) -> str:
        return self.path.parent.name


@dataclass(frozen=True)
class CorpusFolder(JobFolder):
    """One filtered, tokenized corpus. It is ready when its manifest is there: that file is written last."""

    kind = "prepare"
    log_name = "prepare.log"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def report(self) -> Path:
        return self.path / "report.json"

    @property
    def samples(self) -> Path:
        return self.path / "samples.json"

    @property
    def parts(self) -> Path:
        """What was made of each shard of the source, until the corpus is complete."""
        return self.path / "parts"

    @property
    def push(self) -> PushFolder:
        return PushFolder(self.path / "push")

    @property
    def tokenizer(self) -> Path:
        return self.path / "tokenizer"

    def tokens(self, split: str) -> Path:
        """`split` is train or validation."""
        return self.path / f"tokens-{split}.bin"

    @property
    def is_ready(self) -> bool:
        return self.manifest.exists()


@dataclass(frozen=True)
class Home:
    """The home folder. Making one creates nothing."""

    path: Path

    def run(self, run_id: str) -> RunFolder:
        return RunFolder(self.path / "runs" / check_id(run_id, "run id"))

    def corpus(self, corpus_id: str) -> CorpusFolder:
        return CorpusFolder(self.path / "corpora" / check_id(corpus_id, "corpus id"))

    def runs(self) -> list[RunFolder]:
        """Every run that was ever asked for, by id."""
        return [RunFolder(path) for path in _folders(self.path / "runs")]

    def corpora(self) -> list[CorpusFolder]:
        return [CorpusFolder(path) for path in _folders(self.path / "corpora")]

    @property
    def gallery(self) -> Path:
        return self.path / "gallery"

    @property
    def scans(self) -> Path:
        return self.path / "scans"

    @property
    def audit(self) -> Path:
        """What owners did, and wrong keys, one line of JSON each."""
        return self.path / "audit.jsonl"

    @property
    def older_audit(self) -> Path:
        """The lines before those, since the file was rotated."""
        return self.path / "audit.1.jsonl"

    def registry(self, repo: str) -> Path:
        """`repo` is `owner/name` or `local`."""
        return self.path / "registry" / repo.replace("/", "--")

    @property
    def requests_lock(self) -> Path:
        """Held while a request is decided and written, so that two starters cannot both be first."""
        return self.path / "requests.lock"

    @property
    def worker_lock(self) -> Path:
        return self.path / "worker.lock"

    @property
    def worker_log(self) -> Path:
        return self.path / "worker.log"

    def publisher_lock(self, repo: str) -> Path:
        return self.path / f"publisher-{repo.replace('/', '--')}.lock"

    @property
    def publisher_log(self) -> Path:
        return self.path / "publisher.log"

    @property
    def generator_log(self) -> Path:
        return self.path / "generator.log"


def _folders(parent: Path) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if ID.fullmatch(path.name) and path.is_dir())
    except FileNotFoundError:
        return []
