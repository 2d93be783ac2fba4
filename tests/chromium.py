"""Finds a browser for the tests and installs one if needed: `python tests/chromium.py` prints its path.

It tries, in this order: an installed Chrome or Chromium; Debian's package, as root; Playwright's own download.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
REMEDY = "Install Chromium (Debian: `sudo apt-get install chromium`) or run `python -m playwright install chromium`."


def find() -> str | None:
    """Path of an installed browser, or None."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install() -> None:
    """Try Debian's package, then Playwright's download. Raises nothing when neither works: `find` then returns None."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], env=environment, stdout=sys.stderr, check=False)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
    if find() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], stdout=sys.stderr, check=False)


def main() -> int:
    if find() is None:
        install()
    path = find()
    print(path or f"No browser was found and none could be installed; the browser tests will fail. {REMEDY}")
    return 0  # without a browser only the browser tests fail; the rest of the suite still runs


if __name__ == "__main__":
    sys.exit(main())
