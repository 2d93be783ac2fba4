"""The tests: one folder per package of `pipeline`, and shared helpers."""

import os

# Set before torch is imported: its idle threads then sleep soon instead of spinning, so that tests do not slow down a
# browser or a trainer on the same cores (pipeline.training.__main__ does the same for the trainer).
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
