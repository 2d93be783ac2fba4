"""`python -m pipeline.data CORPUS_FOLDER`: prepares the corpus that the folder's request.json asks for.

Progress goes to standard output, which the worker keeps as the job's log. Ends with 0 also when it was stopped.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from pipeline.config.parsing import known
from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.environment import without_credentials
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.job_process import Job
from pipeline.core.paths import CorpusFolder
from pipeline.data.prepare import prepare


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 1:
            raise InputError(f"arguments are {arguments!r}; give one corpus folder: python -m pipeline.data FOLDER.")
        with Job(CorpusFolder(Path(arguments[0]).absolute())) as job:
            asked = job.request
            workforce = ExecutionConfig(**known(ExecutionConfig, asked.get("workforce") or {}))
            prepare(job, _config(job), workforce, only_scan=bool(asked.get("only_scan")))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except Exception:
        print(without_credentials(traceback.format_exc()), file=sys.stderr)
        return 1
    return 0


def _config(job: Job) -> DataConfig:
    """What was asked for; keys of a newer version are left out."""
    asked = job.request.get("config")
    if not isinstance(asked, dict):
        raise InputError(f"{job.folder.request} has no config; ask for a corpus with `python -m pipeline prepare`.")
    return DataConfig(**known(DataConfig, asked))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
