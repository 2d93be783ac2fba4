"""The push of a corpus as a job: `python -m pipeline.hub.push_job PUSH_FOLDER`, settings from the environment.

A stop or a kill ends it at once. The repo on the Hub stays consistent, and the next push does not send again what was
already uploaded.
"""

from __future__ import annotations

import sys

from pipeline.config.requests import PushRequest
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import PushFolder
from pipeline.core.settings import Settings
from pipeline.hub.background import main, run_in_job
from pipeline.hub.dataset import push_corpus


def run(job: JobProcess) -> None:
    request, settings, corpus_id = PushRequest.of(job.request), Settings.from_environment(), job.folder.id
    pushed = run_in_job(
        job, lambda say: push_corpus(settings, corpus_id, request.repo, private=request.private, say=say)
    )
    if pushed is not None:
        print(pushed, flush=True)
        job.write(state="finished", pushed=pushed.to_dict())


if __name__ == "__main__":
    main("pipeline.hub.push_job", sys.argv[1:], PushFolder, run)
