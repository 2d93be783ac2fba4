"""A host on loopback that serves the interpreter of tests/pyodide.py with small stand-ins for numpy and matplotlib, which
the npm package does not have, records what it is asked for, and can keep a file back.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TYPES = {".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
NUMPY = {
    "numpy/__init__.py": """
class random:
    @staticmethod
    def randn(count):
        return [((7 * number) % 13 - 6) / 3 for number in range(count)]
""",
}
PYPLOT = '''
"""Figures with a bar for each thing that was drawn, as real PNG files."""
import struct
import zlib

FILES = {}
"""By figure number: what it is saved as instead, for tests of what is no PNG file."""


class Figure:
    def __init__(self, number):
        self.number = number
        self.drawn = []

    def savefig(self, file, **settings):
        file.write(FILES.get(self.number) or png(len(self.drawn)))


figures = {}


def png(bars, width=320, height=200):
    rows = bytearray()
    for y in range(height):
        row = bytearray(b"\\xff" * (3 * width))
        for bar in range(bars):
            if y > 40:
                row[3 * (40 + 60 * bar):3 * (80 + 60 * bar)] = b"\\x0a\\x75\\x57" * 40
        rows += b"\\0" + row
    chunk = lambda name, data: (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b"")


def figure(number=None):
    number = number or len(figures) + 1
    return figures.setdefault(number, Figure(number))


def draw(*things, **settings):
    figure(max(figures, default=1)).drawn.append(things)


plot = scatter = bar = hist = draw


def get_fignums():
    return sorted(figures)


def close(which=None):
    figures.clear()


def show():
    raise AssertionError("the harness replaces it")
'''
MATPLOTLIB = {"matplotlib/__init__.py": "", "matplotlib/pyplot.py": PYPLOT}


def wheel(name: str, modules: dict[str, str]) -> bytes:
    """A wheel of pure Python."""
    info = {
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.0.dist-info/RECORD": "",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for path, text in {**modules, **info}.items():
            file.writestr(path, text)
    return packed.getvalue()


@dataclass
class PyodideHost:
    """Serves below /full/, to every origin, as the CDN does."""

    folder: Path
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and headers of each request."""
    kept_back: str = ""
    """A file that is not sent until `release`."""
    wrong: str = ""
    """A file that is sent with another content."""
    release: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        lock = json.loads((self.folder / "pyodide-lock.json").read_text(encoding="utf-8"))
        self.own: dict[str, bytes] = {}
        for name, modules, depends in (("numpy", NUMPY, []), ("matplotlib", MATPLOTLIB, ["numpy"])):
            data, file_name = wheel(name, modules), f"{name}-1.0-py3-none-any.whl"
            self.own[file_name] = data
            lock["packages"][name] |= {
                "file_name": file_name,
                "depends": depends,
                "version": "1.0",
                "sha256": hashlib.sha256(data).hexdigest(),
                "unvendored_tests": False,
            }
        self.own["pyodide-lock.json"] = json.dumps(lock).encode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/full/"

    @property
    def files(self) -> list[str]:
        return [path.removeprefix("/full/") for path, _ in self.asked]

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def reset(self) -> None:
        self.asked.clear()
        self.kept_back = self.wrong = ""
        self.release.clear()

    def _content(self, name: str) -> bytes | None:
        if name in self.own:
            return self.own[name]
        path = self.folder / name
        return path.read_bytes() if "/" not in name and path.is_file() else None

    def _handler(host) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append((self.path, dict(self.headers)))
                name = self.path.removeprefix("/full/")
                content = host._content(name)
                if name == host.kept_back:
                    host.release.wait(60)
                if name == host.wrong and content:
                    content = content[:-1] + bytes([content[-1] ^ 1])
                self.send_response(200 if content is not None else 404)
                self.send_header("Access-Control-Allow-Origin", "*")
                self.send_header("Content-Type", TYPES.get(Path(name).suffix, "application/octet-stream"))
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        return Handler
