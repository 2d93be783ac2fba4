"""The worker's process: `python -m pipeline.jobs`, settings from the environment."""

from __future__ import annotations

import sys

from pipeline.core.credentials import protect_secrets
from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.jobs.worker import Worker


def main() -> int:
    protect_secrets()
    try:
        Worker(Settings.from_environment()).run()
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
