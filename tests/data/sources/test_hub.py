from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.core.paths import ROOT
from tests.data.dataset_hub import COMMIT, DatasetHub
from tests.data.examples import json_lines, row

SCAN = """
import json, sys
from pipeline.data.preview.scan import scan
from pipeline.data.sources import open_source
from pipeline.core.errors import PipelineError
found = {}
for spec in sys.argv[1:]:
    try:
        for last in scan(open_source(spec.removeprefix("public "), builders=not spec.startswith("public ")), ["pandas"]):
            pass
        found[spec] = {**last.report, "first": last.samples[0].path if last.samples else None}
    except PipelineError as error:
        found[spec] = {"error": str(error), "exit_status": error.exit_status}
print(json.dumps({"found": found, "torch": "torch" in sys.modules}))
"""


def parquet(rows: list[dict[str, Any]]) -> bytes:
    target = io.BytesIO()
    pl.DataFrame(rows).write_parquet(target, row_group_size=100)
    return target.getvalue()


EVERYTHING = b"---\nconfigs:\n- config_name: default\n  data_files: '*'\n---\n"
CONFIGS = b"---\nconfigs:\n- {config_name: python, data_files: py.jsonl}\n- {config_name: java, data_dir: java}\n---\n"


def arrow(rows: list[dict[str, Any]]) -> bytes:
    target = io.BytesIO()
    pl.DataFrame(rows).write_ipc_stream(target, compat_level=pl.CompatLevel.oldest())
    return target.getvalue()


def repos() -> dict[str, dict[str, bytes]]:
    rows = [row(number) for number in range(600)]
    lines = json_lines(rows)
    bad = lines.replace(b'"src/file300.py"', b"src/file300.py")
    return {
        "me/lines": {"README.md": b"# data", "data/train-0.jsonl": lines, "data/train-1.jsonl": lines},
        "me/gz": {"file-000.json.gz": gzip.compress(lines), "file-001.json.gz": gzip.compress(lines)[:-900]},
        "me/tables": {"data/train-0.parquet": parquet(rows), "data/validation-0.parquet": parquet(rows[:7])},
        "me/only": {"data/validation-0.parquet": parquet(rows[:7])},
        "me/bad": {"a.jsonl": bad + b'{"content": null}\n{"content": 7}\n'},
        "me/numbers": {"a.parquet": parquet([{"x": 1}])},
        "me/other": {"a.parquet": parquet([{"name": f"f{n}", "body": "import pandas"} for n in range(9)])},
        "me/single": {"a.parquet": parquet([{"body": "import pandas", "n": 1}])},
        "me/named": {"a.jsonl": b'{"body": "import pandas", "content": "x"}\n' * 5},
        "me/csv": {"train.csv.gz": gzip.compress(b"n,content\n1,import pandas\n2\n"), "test.csv": b"content\nx\n"},
        "me/text": {"a.txt": b"import pandas\nx\n"},
        "me/arrow": {"a.arrow": arrow(rows[:5]), "b.arrow": arrow(rows[5:8])},
        "me/mixed": {"README.md": EVERYTHING, "a.jsonl": lines, "b.arrow": arrow(rows[:5])},
        "me/pickled": {"a.pkl": b"x", "a.npy": b"x", "a.pt": b"x"},
        "me/gone": {"README.md": b"---\nconfigs:\n- config_name: a\n  data_files: no.jsonl\n---\n", "a.jsonl": lines},
        "me/configs": {
            "README.md": CONFIGS,
            "py.jsonl": json_lines(rows[:9]),
            "java/train.jsonl": json_lines(rows[:5]),
            "java/test.jsonl": b'{"body": "import pandas", "content": "x"}\n' * 2,
        },
        "me/empty": {"README.md": b"# nothing yet"},
    }


@pytest.fixture(scope="module")
def hub() -> Iterator[DatasetHub]:
    with DatasetHub(repos()) as server:
        yield server


def ask(endpoint: str, folder: Path, *specs: str) -> dict[str, Any]:
    """Scans `specs` in a separate process, because the Hub's client reads its address when it is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder),
        "HF_TOKEN": "hf_secret",
        "HF_HUB_DISABLE_XET": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCAN, *specs], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_datasets_stream_in_every_format_and_keep_their_good_rows(hub: DatasetHub, tmp_path: Path) -> None:
    answer = ask(
        hub.endpoint,
        tmp_path,
        "hub:me/lines",
        "hub:me/gz",
        "hub:me/tables",
        "hub:me/tables:validation",
        f"hub:me/tables@{COMMIT}:validation",
        "hub:me/only",
        "hub:me/bad",
    )
    found = answer["found"]
    assert found["hub:me/lines"]["kept"] == 1_200
    assert 600 < found["hub:me/gz"]["kept"] < 1_200
    assert found["hub:me/gz"]["bad_rows"] == {"file ends too early": 1}
    assert found["hub:me/tables"]["kept"] == 600
    assert found["hub:me/tables:validation"]["kept"] == 7
    assert found[f"hub:me/tables@{COMMIT}:validation"]["kept"] == 7
    assert found["hub:me/only"]["kept"] == 7
    assert found["hub:me/tables"]["first"] == found["hub:me/lines"]["first"], "the sample depends only on the files"
    assert found["hub:me/bad"]["kept"] == 599
    assert found["hub:me/bad"]["bad_rows"] == {"not JSON": 1, "text is null": 1, "text is not a string": 1}
    assert found["hub:me/bad"]["bad_examples"][0]["where"] == "a.jsonl:301"
    assert not answer["torch"], "reading a dataset imports torch by default"
    assert not hub.tokens, "public data is requested without the token"


@pytest.mark.slow
def test_missing_data_on_the_hub_is_reported_in_one_sentence(hub: DatasetHub, tmp_path: Path) -> None:
    specs = [
        "hub:me/missing",
        "hub:me/tables@nope",
        "hub:me/tables:test",
        "hub:me/empty",
        "hub:me/numbers",
        "hub:me/other",
        "hub:me/other#nope",
        "hub:me/text#body",
        "hub:me/pickled",
        "hub:me/gone",
    ]
    found = ask(hub.endpoint, tmp_path, *specs)["found"]
    for spec, words in zip(
        specs,
        [
            "no such public repository",
            "no such revision",
            "train, validation",
            "no data files",
            "columns x; say which",
            "columns name, body; say which",
            "no 'nope'",
            "columns text, and no 'body'",
            "no data files",
            "'no.jsonl', which is not among its files",
        ],
        strict=True,
    ):
        assert words in found[spec]["error"], spec
        assert found[spec]["exit_status"] == 2
        assert "\n" not in found[spec]["error"]


@pytest.mark.slow
def test_the_text_is_in_the_requested_column_or_in_the_only_text_column(hub: DatasetHub, tmp_path: Path) -> None:
    specs = [
        "hub:me/other#body",
        f"hub:me/other@{COMMIT}:train#name",
        "hub:me/single",
        "hub:me/named#body",
        "hub:me/named",
    ]
    found = ask(hub.endpoint, tmp_path, *specs)["found"]
    assert [found[spec]["kept"] for spec in specs] == [9, 0, 1, 5, 0]
    assert [found[spec]["scanned"] for spec in specs] == [9, 9, 1, 5, 5]


@pytest.mark.slow
def test_csv_files_and_text_files_are_read(hub: DatasetHub, tmp_path: Path) -> None:
    found = ask(hub.endpoint, tmp_path, "hub:me/csv", "hub:me/csv#n", "hub:me/text")["found"]
    assert [found[spec]["kept"] for spec in ("hub:me/csv", "hub:me/csv#n", "hub:me/text")] == [1, 0, 1]
    assert found["hub:me/csv"]["bad_rows"] == {"more or fewer fields than the header": 1}
    assert found["hub:me/csv"]["bad_examples"][0]["where"] == "train.csv.gz:3"
    assert found["hub:me/text"]["scanned"] == 2


@pytest.mark.slow
def test_formats_that_only_datasets_reads_need_the_owner(hub: DatasetHub, tmp_path: Path) -> None:
    specs = ("hub:me/arrow", "public hub:me/arrow", "hub:me/mixed", "public hub:me/mixed")
    found = ask(hub.endpoint, tmp_path, *specs)["found"]
    assert found["hub:me/arrow"]["kept"] == 8
    assert "only the page's owner may read .arrow" in found["public hub:me/arrow"]["error"]
    assert found["public hub:me/arrow"]["exit_status"] == 2
    assert (found["hub:me/mixed"]["kept"], found["public hub:me/mixed"]["kept"]) == (605, 600)
    assert found["public hub:me/mixed"]["bad_rows"] == {"only the page's owner may read .arrow": 1}
    assert found["public hub:me/mixed"]["bad_examples"][0]["where"] == "b.arrow"


@pytest.mark.slow
def test_without_a_network_it_fails_in_one_sentence(tmp_path: Path) -> None:
    found = ask("http://127.0.0.1:9", tmp_path, "hub:me/lines")["found"]["hub:me/lines"]
    assert found["exit_status"] == 1
    assert "could not be read from the Hub" in found["error"]
    assert "\n" not in found["error"]


@pytest.mark.slow
def test_a_config_is_named_behind_the_repository(hub: DatasetHub, tmp_path: Path) -> None:
    every = f"hub:me/configs/java@{COMMIT}:test#body"
    specs = ["hub:me/configs/python", "hub:me/configs/java", every, "hub:me/configs", "hub:me/configs/go"]
    found = ask(hub.endpoint, tmp_path, *specs)["found"]
    assert [found[spec].get("kept") for spec in specs] == [9, 5, 2, None, None]
    assert "several configs and no default: 'python', 'java'" in found["hub:me/configs"]["error"]
    assert "has no config 'go'" in found["hub:me/configs/go"]["error"]
    assert {found[spec]["exit_status"] for spec in specs[3:]} == {2}
