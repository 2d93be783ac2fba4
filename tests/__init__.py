"""The tests: one folder for each room of the package, and what several of them share."""

import os

# Before anything loads torch: its threads sleep soon instead of spinning, so that tests that share the cores with a
# browser or a trainer do not wait for each other (pipeline.training.__main__ does the same for the trainer).
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
