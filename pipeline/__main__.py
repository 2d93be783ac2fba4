"""`python -m pipeline COMMAND`: see pipeline.cli.app."""

import sys

from pipeline.cli.app import main

sys.exit(main())
