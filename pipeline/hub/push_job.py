"""The push of a corpus as a job: `python -m pipeline.hub.push_job PUSH_FOLDER`, settings from the environment.

A stop or a kill ends it at once. The repo on the Hub stays consistent, and the next push does not send again what was
already uploaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pipeline.config.requests import PushRequest
from pipeline.core.credentials import protect_secrets
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import PushFolder
from pipeline.core.settings import Settings
from pipeline.hub.background import Background, for_people
from pipeline.hub.dataset import push_corpus
from pipeline.hub.token import redact

LOOK_EVERY_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 1:
            raise InputError(f"arguments are {arguments!r}; give one folder: python -m pipeline.hub.push_job FOLDER.")
        with JobProcess(PushFolder(Path(arguments[0]).absolute())) as job:
            _run(job, Settings.from_environment())
    except PipelineError as error:
        print(redact(str(error)), file=sys.stderr)
        return error.exit_status
    return 0


def _run(job: JobProcess, settings: Settings) -> None:
    request = PushRequest.of(job.request)
    messages: list[str] = []
    push = Background(
        f"push-{job.folder.id}",
        lambda: push_corpus(settings, job.folder.id, request.repo, private=request.private, say=messages.append),
    )
    push.start()
    last_message = None
    while push.is_alive():
        if job.stop_requested:
            job.write(state="stopped")
            return
        if messages and messages[-1] != last_message:
            last_message = messages[-1]
            print(last_message, flush=True)
            job.write(message=last_message)
        push.join(LOOK_EVERY_SECONDS)
    if push.error is not None:
        raise for_people(push.error, job.folder.log.name)
    assert push.result is not None, "the thread ended without an error"
    print(push.result, flush=True)
    job.write(state="finished", pushed=push.result.to_dict())


if __name__ == "__main__":
    protect_secrets()
    status = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(status)  # does not wait for the upload threads that a stop leaves running
