"""Paths of every file in the home folder, and which process writes it: one writer per file.

    corpora/<id>/     request.json stop.json (the requester)  process.json prepare.log (worker)
                      status.json manifest.json report.json samples.json stages.json files-*.parquet
                      tokenizer/ tokens-*.bin lengths-*.bin ngram-*.bin parts/ (while it is prepared) lock (the job)
                      push/: request.json stop.json process.json push.log status.json lock (same writers)
    runs/<id>/        request.json stop.json (the requester)  process.json train.log (worker)
                      config.json status.json metrics.jsonl samples.jsonl checkpoints/ lock (trainer)
                      pushes.jsonl (publisher)  archived.json (whoever restored the run from the Hub)
                      restore/: request.json stop.json process.json restore.log status.json lock (as of other jobs)
    dry-run/          request.json stop.json process.json dry-run.log status.json lock (same writers); home/ (temporary)
    evaluate/         request.json stop.json process.json evaluate.log status.json lock (as of other jobs)
    evaluations/      <revision>.json <revision>.<corpus>.json (the evaluation)
    registry/<repo>/  <revision>/ history.jsonl commits.jsonl (publisher)
    huggingface/      what the Hub's client has downloaded, unless HF_HOME is set
    sdists/           source distributions from the package index, the newest gigabyte (whoever reads them)
    models/           models of other repos on the Hub (whoever asks for one)
    scans/            a folder for each scan process, deleted when it ends (page)
    gallery-<repo>.json card-<repo>.json (publisher)
    gallery-ids-<kind>-<repo>.json (push of the gallery, its restore: under the gallery's .lock)
    gallery/deleted.jsonl restored.jsonl (under its .lock)
    gallery/<id>.json moderation.json keeps.jsonl reports.jsonl visitors.salt (page, one process at a time: .lock)
    audit.jsonl audit.1.jsonl (page)
    restored-<repo>.json restore.json (whoever restores runs from the Hub or the archive)
    saved.json (publisher; before it, whoever restores from the archive)
    publisher-<repo>.json (publisher)  retry-<repo>.json (who asks to push again)
    worker.json (worker)  takeover.json (a worker that has another token or repo than the one at work)
    worker.lock restore.lock archive.lock publisher-<repo>.lock requests.lock worker.log publisher.log generator.log

Does not depend on torch or Gradio.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import FieldError

ROOT = Path(__file__).resolve().parents[2]
"""The folder with app.py, from which `python -m pipeline` runs."""
ASSETS = ROOT / "assets"
CORPUS_ID = "corpus id"
"""What a corpus's id is called in messages."""
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def check_id(value: str, what: str = "id") -> str:
    """Return `value` if it is a valid folder name, else raise FieldError. Every path from an id is built with it."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise FieldError(
            what, value, "use 1 to 64 lower-case letters, digits and hyphens, beginning with a letter or digit"
        )
    return value


@dataclass(frozen=True)
class JobFolder:
    """Paths that the folders of every kind of job have in common."""

    path: Path
    kind = "job"
    log_name = "job.log"
    again = "resume it"
    """What a person should do after the job was interrupted: the end of its error message."""

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
    def archived(self) -> Path:
        """Exists in a run that was restored from the Hub."""
        return self.path / "archived.json"

    @property
    def restore(self) -> RestoreFolder:
        return RestoreFolder(self.path / "restore")

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / f"step-{step:08d}"


@dataclass(frozen=True)
class RestoreFolder(JobFolder):
    """The newest restoration of one run's checkpoint and corpus from the Hub, inside the run's own folder."""

    kind = "restore"
    log_name = "restore.log"
    again = "resume the run again"

    @property
    def id(self) -> str:
        return self.path.parent.name

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.path.parent)


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
class DryRunFolder(JobFolder):
    """The newest dry run of any training run."""

    kind = "dry-run"
    log_name = "dry-run.log"
    again = "start it again"

    @property
    def home(self) -> Home:
        """A separate home folder for the files that the dry run writes; deleted when it ends."""
        return Home(self.path / "home")


@dataclass(frozen=True)
class EvaluationFolder(JobFolder):
    """The newest evaluation of revisions."""

    kind = "evaluate"
    log_name = "evaluate.log"
    again = "start it again"

    @property
    def id(self) -> str:
        return "The evaluation"


@dataclass(frozen=True)
class CorpusFolder(JobFolder):
    """One filtered, tokenized corpus. It is ready when its manifest exists, which is written last."""

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
        """Intermediate output of each shard of the source, until the corpus is complete."""
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

    def lengths(self, split: str) -> Path:
        """How many tokens of the split each of its kept files has, as uint32."""
        return self.path / f"lengths-{split}.bin"

    @property
    def is_ready(self) -> bool:
        return self.manifest.exists()


@dataclass(frozen=True)
class Home:
    """The home folder. Constructing it creates nothing on disk."""

    path: Path

    def run(self, run_id: str) -> RunFolder:
        return RunFolder(self.path / "runs" / check_id(run_id, "run id"))

    def corpus(self, corpus_id: str) -> CorpusFolder:
        return CorpusFolder(self.path / "corpora" / check_id(corpus_id, CORPUS_ID))

    def runs(self) -> list[RunFolder]:
        """Every run that was ever requested, sorted by id."""
        return [RunFolder(path) for path in _folders(self.path / "runs")]

    def corpora(self) -> list[CorpusFolder]:
        return [CorpusFolder(path) for path in _folders(self.path / "corpora")]

    @property
    def dry_run(self) -> DryRunFolder:
        return DryRunFolder(self.path / "dry-run")

    @property
    def evaluating(self) -> EvaluationFolder:
        return EvaluationFolder(self.path / "evaluate")

    def jobs(self) -> list[JobFolder]:
        """The folder of every possible job; one that was requested contains a request.json."""
        runs, corpora = self.runs(), self.corpora()
        inside = [*(run.restore for run in runs), *(corpus.push for corpus in corpora)]
        return [*runs, self.dry_run, self.evaluating, *corpora, *inside]

    @property
    def gallery(self) -> Path:
        return self.path / "gallery"

    @property
    def evaluations(self) -> Path:
        return self.path / "evaluations"

    def evaluation(self, revision: str, corpus: str | None = None) -> Path:
        """The figures of one revision, by its id; `corpus`: of held-out files of another corpus than its own."""
        return self.evaluations / (f"{revision}.{check_id(corpus, CORPUS_ID)}.json" if corpus else f"{revision}.json")

    @property
    def sdists(self) -> Path:
        return self.path / "sdists"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def scans(self) -> Path:
        return self.path / "scans"

    @property
    def audit(self) -> Path:
        """Actions of owners, and wrong keys: one line of JSON each."""
        return self.path / "audit.jsonl"

    @property
    def older_audit(self) -> Path:
        """The older lines, moved here when the file was rotated."""
        return self.path / "audit.1.jsonl"

    def registry(self, repo: str) -> Path:
        """`repo` is `owner/name` or `local`."""
        return self.path / "registry" / repo.replace("/", "--")

    @property
    def requests_lock(self) -> Path:
        """Held while a request is checked and written, so that of two concurrent requests only one can be first."""
        return self.path / "requests.lock"

    @property
    def worker_lock(self) -> Path:
        return self.path / "worker.lock"

    @property
    def worker_status(self) -> Path:
        return self.path / "worker.json"

    @property
    def takeover(self) -> Path:
        return self.path / "takeover.json"

    @property
    def worker_log(self) -> Path:
        return self.path / "worker.log"

    def publisher_lock(self, repo: str) -> Path:
        return self.path / f"publisher-{repo.replace('/', '--')}.lock"

    def publisher_status(self, repo: str) -> Path:
        """Exists while a push to `repo` is delayed."""
        return self.path / f"publisher-{repo.replace('/', '--')}.json"

    def pushed_card(self, repo: str) -> Path:
        return self.path / f"card-{repo.replace('/', '--')}.json"

    def pushed_gallery(self, repo: str) -> Path:
        return self.path / f"gallery-{repo.replace('/', '--')}.json"

    def gallery_ids(self, kind: str, repo: str) -> Path:
        """Which examples of the gallery in a repo of that kind, `model` or `dataset`, this home knows."""
        return self.path / f"gallery-ids-{kind}-{repo.replace('/', '--')}.json"

    def retry_request(self, repo: str) -> Path:
        return self.path / f"retry-{repo.replace('/', '--')}.json"

    def restored(self, repo: str) -> Path:
        """Exists once the runs of the Hub's `repo` were brought back to this disk."""
        return self.path / f"restored-{repo.replace('/', '--')}.json"

    @property
    def saved(self) -> Path:
        """What this disk has saved in the archive, or brought back from there."""
        return self.path / "saved.json"

    @property
    def archive_lock(self) -> Path:
        """Held while something is saved in the archive."""
        return self.path / "archive.lock"

    @property
    def restore_status(self) -> Path:
        """What is being restored, or why it cannot be."""
        return self.path / "restore.json"

    @property
    def restore_lock(self) -> Path:
        return self.path / "restore.lock"

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
