"""`python -m pipeline.data CORPUS_FOLDER`: prepares the corpus that the folder's request.json describes.

Progress goes to standard output, which the worker keeps as the job's log. The exit status of a stopped job is 0, too.
"""

from __future__ import annotations

import sys
import traceback
from functools import partial
from pathlib import Path

from pipeline.config.requests import PrepareRequest
from pipeline.core.disk_full import disk_full_in_words
from pipeline.core.environment import without_credentials
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import CorpusFolder
from pipeline.data.prepare import prepare


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 1:
            raise InputError(f"arguments are {arguments!r}; give one corpus folder: python -m pipeline.data FOLDER.")
        folder = CorpusFolder(Path(arguments[0]).absolute())
        in_words = partial(
            disk_full_in_words, folder.path, f"Corpus {folder.id} could not be prepared", "prepare it again"
        )
        with in_words(), JobProcess(folder) as job, in_words():  # the outer one covers JobProcess's own writes
            request = PrepareRequest.of(job.request)
            prepare(job, request.config, request.workforce, only_scan=request.only_scan)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except Exception:
        print(without_credentials(traceback.format_exc()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
