"""Malicious dataset repositories: the contents of each, as {path: bytes}.

In `escapes`, the card, names or files point out of the repository; in `bombs`, small files decompress to large ones.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from tests.data.sources.hostile import gz_bomb, line_of, text_of, zst_bomb

MB = 2**20
Files = dict[str, bytes]


@dataclass(frozen=True)
class Targets:
    """What the repositories of `escapes` try to reach."""

    file: Path
    """A file in the working directory."""
    token: Path
    """The Hub client's token file."""
    hub: str
    """The Hub's address."""
    private: str
    """A repository that needs the token and contains `secret.txt`."""
    listener: str
    """host:port of another server."""


@dataclass(frozen=True)
class Repo:
    files: Files
    is_refused: bool = True
    """Whether nothing in it may be read; otherwise only its harmless parts are read."""


def card(data_files: str, *, name: str = "default", more: str = "") -> bytes:
    """A card with one config, whose `data_files` are this YAML."""
    return f"---\nconfigs:\n- config_name: {name}\n  data_files: {data_files}\n{more}---\n# Data\n".encode()


def quoted(text: str) -> str:
    return json.dumps(text)


def chain(layer: str, target: str, name: str, ending: str = "txt") -> Files:
    """A card that `datasets` takes for a path in its own repository, but that leads to `target` by a reference file."""
    inside = f"../hf:/datasets/{name}@main/a.{ending}"
    refs = {key: [target] for key in (inside, inside.replace("hf:/", "hf://"))}
    return {
        "README.md": card(quoted(f"{layer}://{inside}::reference://::hf://datasets/{name}@main/ref.json")),
        "ref.json": json.dumps({"version": 1, "refs": refs}).encode(),
    }


def escapes(owner: str, targets: Targets) -> dict[str, Repo]:
    """Repository name of `owner` -> repository."""
    found = {
        **_chains(owner, targets),
        **_addresses(targets),
        **_forms(targets),
        **_folders(targets),
        **_yaml(),
        **_elsewhere(targets),
    }
    return {f"{owner}/{name}": repo for name, repo in found.items()}


def _chains(owner: str, targets: Targets) -> dict[str, Repo]:
    goals = {
        "environ": "file:///proc/self/environ",
        "file": f"file://{targets.file}",
        "path": str(targets.file),
        "token": f"file://{targets.token}",
        "private": f"hf://datasets/{targets.private}@main/secret.txt",
        "http": f"http://{targets.listener}/x.txt",
        "webhdfs": f"webhdfs://{targets.listener}/x.txt",
        "ftp": f"ftp://{targets.listener}/x.txt",
    }
    found = {}
    for goal, target in goals.items():
        for layer in ("simplecache", "filecache") if goal in ("environ", "private", "file") else ("simplecache",):
            name = f"chain-{layer}-{goal}"
            found[name] = Repo(chain(layer, target, f"{owner}/{name}"))
    for scheme in ("webhdfs", "ftp"):
        name = f"chain-straight-{scheme}"
        pattern = f"simplecache://../hf:/datasets/{owner}/{name}@main/a.txt::{scheme}://{targets.listener}/"
        found[name] = Repo({"README.md": card(quoted(pattern))})
    template = {
        "version": 1,
        "templates": {"t": "{{ cycler.__init__.__globals__.os.environ }}"},
        "refs": {"a.txt": "{{t}}"},
    }
    name = "chain-template"
    files = chain("simplecache", "{{t}}", f"{owner}/{name}")
    found[name] = Repo({**files, "ref.json": json.dumps(template).encode()})
    return found


def _addresses(targets: Targets) -> dict[str, Repo]:
    """Patterns that are not a path inside a repository, or no longer are once they are resolved."""
    own, file = targets.listener, targets.file
    patterns = {
        "absolute": str(file),
        "absolute-environ": "/proc/self/environ",
        "absolute-glob": f"{file.parent}/*",
        "home": "~/hf/token",
        "home-of-root": "~root/.ssh/*",
        "up": "../" * 12 + str(file).lstrip("/"),
        "up-inside": "data/../../" + file.name,
        "up-last": "data/..",
        "up-backslash": "..\\..\\" + file.name,
        "up-encoded": "%2e%2e/%2e%2e/" + file.name,
        "drive": "C:/windows/win.ini",
        "file-address": f"file://{file}",
        "local-address": f"local://{file}",
        "file-address-upper": f"FILE://{file}",
        "file-glob": f"file://{file.parent}/*.txt",
        "cached-file": f"simplecache::file://{file}",
        "zip-in-file": f"zip://*::file://{file}",
        "gz-in-file": f"gzip://x::{file}",
        "dir": f"dir://{file.name}::file://{file.parent}",
        "private": f"hf://datasets/{targets.private}@main/secret.txt",
        "private-by-http": f"{targets.hub}/datasets/{targets.private}/resolve/main/secret.txt",
        "bucket": "hf://buckets/me/private/secret.txt",
        "http": f"http://{own}/x.txt",
        "http-cached": f"filecache::http://{own}/x.txt",
        "webhdfs": f"webhdfs://{own}/x.txt",
        "ftp": f"ftp://{own}/x.txt",
        "sftp": f"sftp://{own}/x.txt",
        "s3": f"s3://bucket/x.txt?endpoint=http://{own}",
        "github": "github://me:repo@main/x.txt",
        "memory": "memory://x.txt",
        "data": "data:text/plain,x",
        "only-colons": "data::a.txt",
        "colon-at-end": "a.txt::",
        "nul": "a.txt\x00/../../" + file.name,
        "newline": "a.txt\n../" + file.name,
        "empty-part": "data//a.txt",
        "endless": "a/" * 2_000 + "a.txt",
    }
    return {f"path-{name}": Repo({"README.md": card(quoted(one)), "a.txt": b"x\n"}) for name, one in patterns.items()}


def _forms(targets: Targets) -> dict[str, Repo]:
    """The same path in every part of a card that may contain one."""
    path = quoted(str(targets.file))
    forms = {
        "list": f"[a.txt, {path}]",
        "mapping": f"{{train: {path}}}",
        "mapping-of-lists": f"{{train: [a.txt, {path}]}}",
        "splits": f"[{{split: train, path: {path}}}]",
        "splits-of-lists": f"[{{split: train, path: [a.txt, {path}]}}]",
        "other-split": f"[{{split: train, path: a.txt}}, {{split: test, path: {path}}}]",
        "nested": f"[[{path}]]",
        "number": "[1, 2]",
        "null": "[null]",
        "object": f"[{{path: {path}}}]",
    }
    found = {f"form-{name}": card(form) for name, form in forms.items()}
    found["form-anchor"] = card("*outside", more=f"other: &outside {path}\n").replace(
        b"---\nconfigs", f"---\nx: &outside {path}\nconfigs".encode(), 1
    )
    found["form-merge"] = (
        f"---\nx: &x\n  data_files: {path}\nconfigs:\n- config_name: default\n  <<: *x\n---\n".encode()
    )
    found["form-block"] = card("|-\n    " + str(targets.file))
    found["form-tag"] = card(f"!!str {targets.file}")
    found["form-twice"] = card("a.txt", more=f"  data_files: {path}\n")
    return {name: Repo({"README.md": data, "a.txt": b"x\n"}) for name, data in found.items()}


def _folders(targets: Targets) -> dict[str, Repo]:
    folders = {
        "absolute": str(targets.file.parent),
        "root": "/",
        "home": "~",
        "up": "../..",
        "address": f"file://{targets.file.parent}",
        "chain": f"simplecache::file://{targets.file.parent}",
        "private": f"hf://datasets/{targets.private}@main",
    }
    return {
        f"folder-{name}": Repo(
            {
                "README.md": f"---\nconfigs:\n- config_name: default\n  data_dir: {quoted(folder)}\n---\n".encode(),
                "a.txt": b"x\n",
            }
        )
        for name, folder in folders.items()
    }


def _yaml() -> dict[str, Repo]:
    """Cards that crash a reader, or make it do more than read."""
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    merges = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    bodies = {
        "aliases": bomb + "configs: *a9\n",
        "merges": merges,
        "itself": "configs: &x [*x]\n",
        "deep": "configs: " + "[" * 200_000 + "\n",
        "deep-blocks": "".join(" " * n + "a:\n" for n in range(900)),
        "large": "x: [" + "1, " * 600_000 + "1]\n",
        "number": "x: 1" + ":1" * 400_000 + "\n",
        "date": "x: 2020-99-99\n",
        "python": "configs: !!python/object/apply:os.system ['touch opened-by-yaml']\n",
        "list-as-key": "? [a]\n: b\n",
        "no-end": "configs:\n- config_name: 'default\n",
    }
    found = {f"yaml-{name}": f"---\n{body}---\n".encode() for name, body in bodies.items()}
    found["yaml-of-2-mb"] = b"---\n" + b"# comment\n" * (2 * MB // 10)
    return {name: Repo({"README.md": data, "a.txt": b"x\n"}) for name, data in found.items()}


def _elsewhere(targets: Targets) -> dict[str, Repo]:
    """Attacks in other files, or in their names. All of them are ignored or read as text."""
    file = str(targets.file)
    config = f"configs:\n- config_name: default\n  data_files: {quoted(file)}\n"
    infos = {"default": {"download_checksums": {file: {}}, "data_files": {"train": [file]}}}
    good = {"data.jsonl": b'{"content": "good"}\n'}
    names = {
        f"simplecache::file:{file}.jsonl": b'{"content": "x"}\n',
        f"file://{file}": b"x",
        "data::reference::a.jsonl": b'{"content": "x"}\n',
        "../up.jsonl": b'{"content": "x"}\n',
        "~/home.jsonl": b'{"content": "x"}\n',
        "star*.jsonl": b'{"content": "x"}\n',
        "back\\slash.jsonl": b'{"content": "x"}\n',
        "line\nend.jsonl": b'{"content": "x"}\n',
    }
    return {
        "other-yaml": Repo({**good, ".huggingface.yaml": config.encode()}, is_refused=False),
        "other-infos": Repo({**good, "dataset_infos.json": json.dumps(infos).encode()}, is_refused=False),
        "other-info-of-card": Repo(
            {**good, "README.md": b"---\ndataset_info:\n  data_files: /x\n---\n"}, is_refused=False
        ),
        "other-script": Repo({**good, "other-script.py": b"open('opened-by-script', 'w')"}, is_refused=False),
        "other-setup": Repo({**good, "dataset.py": b"1", "setup.py": b"1", "state.json": b"{}"}, is_refused=False),
        "other-names": Repo({**good, **names}, is_refused=False),
        "other-reference": Repo(
            {"refs.json": json.dumps({"version": 1, "refs": {"a.txt": [f"file://{file}"]}}).encode()}, is_refused=False
        ),
        "other-symlink": Repo({"train.txt": file.encode(), "test.txt": b"/proc/self/environ"}, is_refused=False),
        "other-folder-named-as-file": Repo({"train.txt/../../../etc/passwd": b"x", **good}, is_refused=False),
        "other-pickle": Repo({"rows.pkl": _pickled(), "rows.pt": _pickled(), "rows.npy": _pickled()}),
        "other-archive": Repo({"rows.zip": b"PK\x03\x04", "rows.tar": b"x", "rows.h5": b"x", "rows.lance": b"x"}),
    }


class _Opens:
    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("opened-by-pickle", "w")


def _pickled() -> bytes:
    return pickle.dumps(_Opens())


def bombs() -> dict[str, Files]:
    """Name -> small files whose text or values are large."""
    gz, zst = gz_bomb, zst_bomb
    line = b"x" * (64 * MB)
    text, header = gzip.compress(b"first\n"), gzip.compress(b"content\nfirst\n")
    return {
        "line-of-1500-mb-txt-gz": {"a.txt.gz": text + gz(b"x", 24)},
        "line-of-1500-mb-txt-bz2": {"a.txt.bz2": bz2.compress(b"first\n") + bz2_bomb() * 24},
        "line-of-1500-mb-txt-xz": {"a.txt.xz": lzma.compress(line, preset=0) * 24},
        "line-of-1500-mb-txt-zst": {"a.txt.zst": zst(b"x")},
        "line-of-1500-mb-csv-gz": {"a.csv.gz": header + gz(b"x", 24)},
        "line-of-1500-mb-tsv-bz2": {"a.tsv.bz2": bz2.compress(b"content\nfirst\n") + bz2_bomb() * 24},
        "line-of-1500-mb-jsonl-gz": {
            "a.jsonl.gz": gzip.compress(b'{"content": "first"}\n{"content": "') + gz(b"x", 24)
        },
        "line-of-1500-mb-ndjson-xz": {"a.ndjson.xz": lzma.compress(line, preset=0) * 24},
        "header-csv-gz": {"a.csv.gz": gz(b",", 24)},
        "commas-csv-gz": {"a.csv.gz": header + gz(b",", 24)},
        "quotes-csv-gz": {"a.csv.gz": header + gz(b'"', 24)},
        "pairs-csv-gz": {"a.csv.gz": header + gz(b'"",', 2)},
        "unclosed-csv-gz": {"a.csv.gz": gzip.compress(b'n,content\n1,"') + gzip.compress(b"x,y\n" * (8 * MB), 1)},
        "open-and-close-csv-gz": {"a.csv.gz": header + gzip.compress(b'x","a' * 9 + b"\n" + b'x","aaaaaaaa\n' * MB, 1)},
        "line-ends-txt-gz": {"a.txt.gz": gzip.compress(b"\n" * (32 * MB), 1)},
        "line-ends-csv-gz": {"a.csv.gz": header + gz(b"\n", 24)},
        "zeros-csv": {"a.csv": b"content\n" + bytes(40 * MB)},
        "document-json-gz": {"a.json.gz": gzip.compress(b"[" + b"[]," * (20 * MB) + b"[]]", 1)},
        "deep-json-gz": {"a.json.gz": gzip.compress(b"[" * (60 * MB), 1)},
        "parquet-text": {"a.parquet": text_of(300 * MB)},
        "gz-in-gz": {"a.jsonl.gz": gzip.compress(gzip.compress(gz(b"x", 24)))},
        "long-lines-txt-gz": {"a.txt.gz": text + gzip.compress((line_of(15 * MB)) * 8, 1)},
        "arrow": {"a.arrow": arrow()},
    }


@cache
def bz2_bomb() -> bytes:
    return bz2.compress(b"x" * (64 * MB))


def arrow() -> bytes:
    target = io.BytesIO()
    pl.DataFrame({"content": ["x" * (100 * MB)]}).write_ipc_stream(target, compression="zstd")
    return target.getvalue()
