"""The publisher's process: `python -m pipeline.hub`, settings from the environment.

SIGTERM and SIGINT end it at once, like SIGKILL. Disk and Hub are in a consistent state at every instant. The next
publisher finds the commit of an interrupted push, or pushes again.
"""

from __future__ import annotations

import signal
import sys
import traceback

from pipeline.core.credentials import protect_secrets
from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.hub.publisher import Publisher
from pipeline.hub.token import redact


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    protect_secrets()
    try:
        Publisher(Settings.from_environment()).run()
    except PipelineError as error:
        print(redact(str(error)), file=sys.stderr)
        return error.exit_status
    except Exception:
        print(redact(traceback.format_exc()), file=sys.stderr)  # a traceback may quote a header with the token
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
