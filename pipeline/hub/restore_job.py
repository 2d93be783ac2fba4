"""Brings back what a run needs to be resumed, as a job: `python -m pipeline.hub.restore_job RESTORE_FOLDER`.

It is queued before the run. A stop or a kill ends it at once, and leaves nothing half done.
"""

from __future__ import annotations

import sys

from pipeline.core.errors import InputError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import Home, RestoreFolder
from pipeline.core.settings import Settings
from pipeline.hub.background import Say, main, run_in_job
from pipeline.hub.restore import Archived, restore_checkpoint
from pipeline.hub.restored_corpus import restore_corpus


def run(job: JobProcess) -> None:
    folder, home = RestoreFolder(job.folder.path), Home(Settings.from_environment().home)
    archived = Archived.of(folder.run)
    if archived is None:
        raise InputError(f"Run {folder.id} was not restored from the Hub; nothing is to be brought back.")
    if run_in_job(job, lambda say: _restore(home, folder, archived, say)):
        job.write(state="finished", message=None)


def _restore(home: Home, folder: RestoreFolder, archived: Archived, say: Say) -> bool:
    restore_checkpoint(folder.run, archived, say)
    corpus, dataset = archived.corpus, archived.corpus.get("dataset")
    if dataset:
        restore_corpus(
            home.corpus(corpus["manifest"]["corpus"]), dataset["repo"], dataset["commit"], corpus["manifest"], say
        )
    say(f"Run {folder.id} is back from {archived.repo}.")
    return True


if __name__ == "__main__":
    main("pipeline.hub.restore_job", sys.argv[1:], RestoreFolder, run)
