"""Fetches the interpreter of the npm package `pyodide` for the tests, once: `python tests/pyodide.py` prints its folder.

The registry is npm's, or the one that npm is set to. The package has no numpy and no matplotlib: those are only in the
distribution on Pyodide's CDN, which no test asks.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
import sys
import tarfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VERSION = "314.0.7"
SHA512 = "0YvXxEhfEdpLfb/XkM2BFAeMROq0iMUX2bzzH9pOttyMcWkwq+HbE5uyuGD82LN7y2q+SNvi/6V5JEsOlD2R1A=="
"""Of the package's file, in base64, as npm's lock files have it."""
FOLDER = ROOT / ".pytest_cache" / f"pyodide-{VERSION}"
FILES = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json")
PUBLIC_REGISTRY = "https://registry.npmjs.org/"
SECONDS = 120
REMEDY = "Run `python tests/pyodide.py` where the npm registry can be reached; it fetches 5 MB."


def find() -> Path | None:
    """The folder with the interpreter's files, or None."""
    return FOLDER if FOLDER.is_dir() else None


def registry() -> str:
    """The address that npm would ask, by its environment and the user's settings."""
    own = Path.home() / ".npmrc"
    lines = own.read_text(encoding="utf-8") if own.is_file() else ""
    named = re.search(r"^registry\s*=\s*(\S+)", lines, re.MULTILINE)
    set_by = {name.lower(): value for name, value in os.environ.items()}  # npm reads both spellings
    address = set_by.get("npm_config_registry")
    return (address or (named[1] if named else PUBLIC_REGISTRY)).rstrip("/") + "/"


def install() -> None:
    """Fetch the package and keep the files that a browser needs. Raises OSError when the registry cannot be reached, and
    ValueError when its file is another one.
    """
    with urllib.request.urlopen(f"{registry()}pyodide/-/pyodide-{VERSION}.tgz", timeout=SECONDS) as answer:
        packed = answer.read()
    if base64.b64encode(hashlib.sha512(packed).digest()).decode() != SHA512:
        raise ValueError(f"pyodide-{VERSION}.tgz is not the file with the sha512 {SHA512}")
    part = FOLDER.with_name(f"{FOLDER.name}.{os.getpid()}")
    part.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(packed)) as package:
        for name in FILES:
            member = package.extractfile(f"package/{name}")
            assert member is not None, name
            (part / name).write_bytes(member.read())
    if find() is None:
        part.rename(FOLDER)  # whole, or not there
    else:
        shutil.rmtree(part)


def main() -> int:
    if find() is None:
        try:
            install()
        except (OSError, ValueError) as error:
            print(f"The interpreter for the tests of programs in the browser was not fetched ({error}). {REMEDY}")
            return 0  # only those tests are skipped
    print(find())
    return 0


if __name__ == "__main__":
    sys.exit(main())
