"""The publisher's process: `python -m pipeline.hub`, settings from the environment.

SIGTERM and SIGINT end it at once, as a kill would: what is on disk and on the Hub is whole at every instant, and a push
that is under way is found again, or made again, by the next publisher.
"""

from __future__ import annotations

import signal
import sys
import traceback

from pipeline.core.credentials import hold
from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings
from pipeline.hub.publisher import Publisher
from pipeline.hub.token import redact


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    hold()
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
