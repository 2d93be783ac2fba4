"""Compares our splits of ordinary datasets with those of `datasets`, from one Hub on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.paths import ROOT
from pipeline.data.sources.dataset_card import Config
from pipeline.data.sources.splits import splits_of
from tests.data.dataset_hub import COMMIT, DatasetHub

COMPARE = """
import json, sys
import datasets
from pipeline.data.sources.hub import RepoFiles
datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False
found = {}
for repo in sys.argv[2:]:
    theirs = datasets.load_dataset_builder(repo, revision=sys.argv[1], token=False).config.data_files
    listing = RepoFiles.of(repo, sys.argv[1])
    ours = {split: [listing.address(name) for name in names] for split, names in listing.splits(None).items()}
    found[repo] = [ours, {str(split): list(map(str, urls)) for split, urls in theirs.items()}]
print(json.dumps(found))
"""


def card(configs: str) -> bytes:
    return f"---\nlicense: mit\nconfigs:\n{configs}\n---\n# A dataset\n---\nno front matter\n".encode()


LAYOUTS: dict[str, dict[str, bytes] | list[str]] = {
    "one-file": ["data.jsonl"],
    "beside-a-card": ["README.md", ".gitattributes", "data.jsonl"],
    "beside-other-kinds": ["data.jsonl", "labels.csv", "LICENSE.txt", "dataset_infos.json"],
    "numbered": ["file-000.json.gz", "file-001.json.gz", "file-002.json.gz"],
    "in-names": ["train.csv", "test.csv"],
    "in-names-numbered": ["train_0.csv", "train_1.csv", "dev_0.csv", "test-0.csv"],
    "in-names-behind": ["my.train.jsonl", "my.valid.jsonl", "my_eval.jsonl"],
    "words-inside-words": ["trainer.jsonl", "latest.jsonl", "contest.jsonl"],
    "in-folders": ["data/train/a.csv", "data/train/b.csv", "data/test/a.csv"],
    "in-folders-behind": ["en-train/a.parquet", "en-validation/a.parquet", "en-test/deep/a.parquet"],
    "folders-before-names": ["train/test.jsonl", "evaluation/train.jsonl"],
    "sharded": ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "other.parquet"],
    "sharded-odd-splits": [
        "data/train-00000-of-00001-8f2e.parquet",
        "data/random.b-00000-of-00001.parquet",
        "data/test-00000-of-00001.parquet",
    ],
    "text": ["a.txt", "b.txt"],
    "arrow": ["data-00000-of-00001.arrow", "dataset_info.json"],
    "hidden": ["a.jsonl", ".hidden/b.jsonl", "__special__/c.jsonl", "deep/.d.jsonl"],
    "several-words-of-a-split": ["test.jsonl", "testing.jsonl", "evaluation.jsonl", "eval.jsonl", "train.jsonl"],
    "deep": ["a/b/c/d.jsonl", "a/e.jsonl", "f.jsonl"],
    "card-one-pattern": {
        "README.md": card("- config_name: default\n  data_files: part/*.jsonl"),
        "part/a.jsonl": b"{}\n",
        "part/deep/b.jsonl": b"{}\n",
        "c.jsonl": b"{}\n",
    },
    "card-list": {
        "README.md": card("- config_name: only\n  data_files:\n  - b.jsonl\n  - 'a?.jsonl'"),
        "b.jsonl": b"{}\n",
        "a1.jsonl": b"{}\n",
        "a22.jsonl": b"{}\n",
    },
    "card-splits": {
        "README.md": card(
            "- config_name: default\n  data_files:\n  - split: train\n    path: 'data/train-*'\n"
            "  - split: validation\n    path:\n    - data/v.parquet\n    - data/**/w[0-9].parquet"
        ),
        "data/train-00000-of-00001.parquet": b"",
        "data/v.parquet": b"",
        "data/w1.parquet": b"",
        "data/a/b/w2.parquet": b"",
    },
    "card-folder": {
        "README.md": card("- config_name: default\n  data_dir: en"),
        "en/train.jsonl": b"{}\n",
        "en/test.jsonl": b"{}\n",
        "de/train.jsonl": b"{}\n",
    },
    "card-folder-and-files": {
        "README.md": card("- config_name: default\n  data_dir: en\n  data_files: x/*.jsonl"),
        "en/x/a.jsonl": b"{}\n",
        "x/a.jsonl": b"{}\n",
    },
    "card-default": {
        "README.md": card(
            "- config_name: a\n  data_files: a.jsonl\n- config_name: b\n  data_files: b.jsonl\n  default: true"
        ),
        "a.jsonl": b"{}\n",
        "b.jsonl": b"{}\n",
    },
    "card-named-default": {
        "README.md": card("- config_name: a\n  data_files: a.jsonl\n- config_name: default\n  data_files: '*.jsonl'"),
        "a.jsonl": b"{}\n",
        "b.jsonl": b"{}\n",
    },
    "card-anchors": {
        "README.md": card(
            "- config_name: default\n  data_files: &files\n  - split: train\n    path: a.jsonl\n- config_name: b\n  data_files: *files"
        ),
        "a.jsonl": b"{}\n",
        "b.jsonl": b"{}\n",
    },
    "card-hidden": {
        "README.md": card("- config_name: default\n  data_files: '.more/*.jsonl'"),
        ".more/a.jsonl": b"{}\n",
        ".more/.b.jsonl": b"{}\n",
    },
    "card-without-configs": {"README.md": b"---\nlicense: mit\n---\n", "train.jsonl": b"{}\n", "dev.jsonl": b"{}\n"},
    "card-without-front-matter": {"README.md": b"# A dataset\n---\nx: y\n---\n", "train.jsonl": b"{}\n"},
}


def files_of(layout: dict[str, bytes] | list[str]) -> dict[str, bytes]:
    return layout if isinstance(layout, dict) else dict.fromkeys(layout, b"{}\n")


@pytest.mark.slow
def test_the_files_of_ordinary_datasets_are_those_that_datasets_finds(tmp_path: Path) -> None:
    with DatasetHub({f"me/{name}": files_of(layout) for name, layout in LAYOUTS.items()}) as hub:
        done = subprocess.run(
            [sys.executable, "-c", COMPARE, COMMIT, *hub.repos],
            env={**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == len(LAYOUTS) >= 25
    for repo, (ours, theirs) in found.items():
        assert list(ours.items()) == list(theirs.items()), repo
    assert any(len(ours) == 3 for ours, _ in found.values()), "control"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["train.py", "data.jsonl"], {"train": ["data.jsonl"]}),
        (["metadata.jsonl", "1.png", "2.png"], {"train": ["metadata.jsonl"]}),
        (["train-train-0.csv"], {"train": ["train-train-0.csv"]}),
        (["weights.pt", "rows.pkl", "rows.npy", "script.py", "rows.zip"], {}),
        (["rows.ndjson.xz", "rows.jsonlines.bz2"], {"train": ["rows.jsonlines.bz2", "rows.ndjson.xz"]}),
        (["train/a.jsonl", "test/notes.md"], {"train": ["train/a.jsonl"]}),
    ],
)
def test_where_datasets_would_fail_or_repeat_rows_readable_files_are_read_once(
    files: list[str], expected: dict[str, list[str]]
) -> None:
    assert splits_of(files, Config()) == expected
