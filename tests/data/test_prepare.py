from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline.artifacts.corpus import STAGE_FIELDS, Corpus
from pipeline.config.quality import QualityConfig
from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.atomic_io import read_json, sha256, write_json
from pipeline.core.errors import InputError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import CorpusFolder, Home
from pipeline.data.filter import parquet_shards, shard_filter
from pipeline.data.prepare import prepare
from pipeline.data.report.removals import Removed
from pipeline.data.report.samples import Samples
from pipeline.data.report.scan_report import Report
from pipeline.data.sources import local_files
from pipeline.data.sources.walk import LocalFile, Pattern
from pipeline.data.tokens import tokenizer
from pipeline.data.tokens.windows import open_windows
from tests.data.conftest import Prepare
from tests.data.examples import code, code_folder, json_lines, row


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    return DataConfig(source=f"files:{code_folder(tmp_path / 'project', 60)}", keywords=("pandas",), vocab_size=300)


def test_a_corpus_is_whole_and_its_manifest_is_true(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    manifest = prepared(config)
    assert manifest is not None
    assert manifest == read_json(folder.manifest)
    assert manifest["corpus"] == "code"
    assert manifest["config"] == json.loads(json.dumps(dataclasses.asdict(config)))
    assert manifest["files_train"] + manifest["files_validation"] == 60
    assert manifest["vocab_size"] == 300
    assert manifest["tokens_dropped"] == 0
    for split in ("train", "validation"):
        path = folder.tokens(split)
        assert manifest["sha256"][path.name] == sha256(path)
        assert path.stat().st_size == 2 * manifest[f"tokens_{split}"]
    assert manifest["tokenizer_sha256"] == sha256(folder.tokenizer / "tokenizer.json")
    assert not [path.name for path in folder.path.iterdir() if path.name.startswith(".")]


def test_results_of_files_that_have_changed_are_not_used(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, tmp_path: Path, handlers: None
) -> None:
    write_json(folder.request, {"request_id": "r1", "config": dataclasses.asdict(config)})
    with JobProcess(folder) as job:
        report = prepare(job, config, only_scan=True)
    assert report is not None and report["kept"] == 60
    for path in (tmp_path / "project").rglob("file*.py"):
        if path.name != "file1.py" and path.name != "file2.py":
            path.write_text(path.read_text().replace("pandas", "pandaz"))  # of the same size
    manifest = prepared(config)
    assert manifest is not None
    assert manifest["files_train"] + manifest["files_validation"] == 2


def test_the_next_preparation_deletes_what_a_killed_worker_was_writing(
    folder: CorpusFolder, handlers: None, config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = folder.parts / "key" / "00000"
    part.parent.mkdir(parents=True)
    part.with_name("00001.live.tmp").write_text("{}")  # as earlier versions named it
    with monkeypatch.context() as patch:
        patch.setattr(shard_filter, "LIVE_SECONDS", 0.0)
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            shard_filter._Live(str(part)).show(shard_filter.Part(Report(["pandas"]), Samples(), Removed(), 0.0))
    assert len(list(folder.parts.rglob("*.tmp"))) == 2
    write_json(folder.request, {"request_id": "r1", "config": dataclasses.asdict(config)})
    with JobProcess(folder) as job:
        prepare(job, config, only_scan=True)
    assert not list(folder.parts.rglob("*.tmp"))


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_tokens_are_the_kept_files_each_in_one_split(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    manifest = prepared(config)
    assert manifest is not None
    loaded, end_id = tokenizer.load(folder.tokenizer)
    found = {}
    for split in ("train", "validation"):
        ids = np.fromfile(folder.tokens(split), dtype="<u2")
        texts = [loaded.decode(part.tolist()) for part in np.split(ids, np.flatnonzero(ids == end_id) + 1)]
        assert texts.pop() == "", "the last file has its end too"
        found[split] = texts
        assert len(texts) == manifest[f"files_{split}"]
        (shard,) = folder.path.glob(f"files-{split}-*.parquet")
        assert pl.read_parquet(shard)["content"].to_list() == texts
    assert sorted(found["train"] + found["validation"]) == sorted(code(number) for number in range(60))


def test_the_report_and_the_status_say_what_was_found(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    prepared(config)
    report, status = read_json(folder.report), read_json(folder.status)
    assert report is not None
    assert status is not None
    assert (report["scanned"], report["kept"], report["skipped"]) == (61, 60, 0)
    assert {name: status[name] for name in ("state", "stage", "progress", "scanned", "kept", "files", "error")} == {
        "state": "finished",
        "stage": "index",
        "progress": 1.0,
        "scanned": 61,
        "kept": 60,
        "files": 60,
        "error": None,
    }
    assert status["tokens"] > 0
    assert status["seconds"] > 0


def test_preparing_again_changes_nothing_and_another_configuration_starts_over(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    first = prepared(config)
    inode = folder.tokens("train").stat().st_ino
    assert prepared(config) == first
    assert folder.tokens("train").stat().st_ino == inode, "nothing was written again"
    other = prepared(DataConfig(source=config.source, keywords=("mean",), vocab_size=280, max_files=20))
    assert other is not None
    assert other["vocab_size"] == 280
    assert other["files_train"] + other["files_validation"] == 20


def inodes(folder: CorpusFolder) -> dict[str, tuple[int, int]]:
    return {
        path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(folder.path.glob("files-*.parquet"))
    }


def test_an_impossible_tokenizer_is_refused_before_the_filter(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    with pytest.raises(InputError, match=r"There is no tokenizer '\./missing'"):
        prepared(DataConfig(**{**vars(config), "tokenizer": "./missing"}))
    assert not inodes(folder)


def test_correcting_the_tokenizer_or_the_vocabulary_does_not_filter_again(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        prepared(DataConfig(**{**vars(config), "tokenizer": str(tmp_path)}))
    before = inodes(folder)
    for size in (300, 290):
        manifest = prepared(DataConfig(**{**vars(config), "vocab_size": size}))
        assert manifest is not None
        assert manifest["vocab_size"] == size
    assert inodes(folder) == before
    prepared(DataConfig(**{**vars(config), "keywords": ("mean",)}))
    assert inodes(folder) != before, "control"


def test_the_same_input_makes_the_same_tokens(tmp_path: Path, handlers: None, config: DataConfig) -> None:
    from pipeline.data.prepare import prepare

    digests = []
    for name in ("a", "b"):
        folder = CorpusFolder(tmp_path / "home" / "corpora" / name)
        with JobProcess(folder) as job:
            manifest = prepare(job, config)
        assert manifest is not None
        digests.append((manifest["sha256"], manifest["tokenizer_sha256"]))
    assert digests[0] == digests[1]


class StopAt(JobProcess):
    """A job that is asked to stop once it is in `stage`."""

    stage = ""

    @property
    def stop_requested(self) -> bool:
        return self.facts.get("stage") == self.stage


@pytest.mark.parametrize("stage", list(STAGE_FIELDS))
def test_a_stopped_preparation_continues_after_its_last_complete_stage(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, stage: str
) -> None:
    from pipeline.data.prepare import prepare

    with StopAt(folder) as job:
        job.stage = stage
        assert prepare(job, config) is None
    status = read_json(folder.status)
    assert status is not None
    assert (status["state"], status["stage"]) == ("stopped", stage)
    assert not folder.is_ready
    done = list((read_json(folder.path / "stages.json") or {"done": {}})["done"])
    names = list(STAGE_FIELDS)
    assert done == names[: names.index(stage)]
    before = {path: path.stat().st_ino for path in folder.path.glob("files-*.parquet")} if done else {}
    manifest = prepared(config)
    assert manifest is not None
    assert all(path.stat().st_ino == inode for path, inode in before.items()), "what was complete was not done again"


def test_stop_json_of_another_request_stops_nothing(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    write_json(folder.stop, {"request_id": "an older one"})
    assert prepared(config) is not None
    write_json(folder.stop, {"request_id": "r1"})
    assert prepared(DataConfig(source=config.source, keywords=("mean",), vocab_size=300)) is None


@pytest.mark.parametrize("num_files", [0, 1])
def test_too_few_kept_files_are_refused_with_the_figures(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path, num_files: int
) -> None:
    source = code_folder(tmp_path / "small", num_files) if num_files else tmp_path
    (tmp_path / "bad.jsonl").write_text("{\n")
    with pytest.raises(InputError, match=rf"keeps {num_files} of .* 2 or more; choose another source"):
        prepared(DataConfig(source=f"files:{source}", keywords=("pandas",)))
    status = read_json(folder.status)
    assert status is not None
    assert status["state"] == "failed"
    assert f"keeps {num_files} of" in status["error"]
    assert not folder.is_ready


def test_two_files_are_enough(folder: CorpusFolder, prepared: Prepare, tmp_path: Path) -> None:
    manifest = prepared(DataConfig(source=f"files:{code_folder(tmp_path / 'two', 2)}", keywords=("pandas",)))
    assert manifest is not None
    assert (manifest["files_train"], manifest["files_validation"]) == (1, 1)


def test_bad_rows_are_in_the_report_and_good_ones_in_the_corpus(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path
) -> None:
    lines = json_lines(row(number) for number in range(200)).splitlines(keepends=True)
    lines[5] = b'{"content": null}\n'
    lines[6] = b"\xff\n"
    (tmp_path / "dump.json.gz").write_bytes(gzip.compress(b"".join(lines)))
    manifest = prepared(DataConfig(source=f"files:{tmp_path}/dump.json.gz", keywords=("pandas",), vocab_size=300))
    assert manifest is not None
    assert manifest["files_train"] + manifest["files_validation"] == 198
    report = read_json(folder.report)
    assert report is not None
    assert sum(report["bad_rows"].values()) == 2


def test_dropped_windows_are_whole_and_too_large_a_window_is_refused(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig
) -> None:
    manifest = prepared(DataConfig(**{**vars(config), "windows": "drop", "window": 16}))
    assert manifest is not None
    assert manifest["tokens_train"] % 16 == manifest["tokens_validation"] % 16 == 0
    assert manifest["tokens_dropped"] > 0
    assert open_windows(Corpus.open(folder), "train", 16).take(np.arange(1)).min() > 0, "no end-of-text in it"
    with pytest.raises(InputError, match="use windows join, or a smaller window"):
        prepared(DataConfig(**{**vars(config), "windows": "drop", "window": 512}))
    assert not folder.is_ready


def test_a_given_tokenizer_is_used_and_kept(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, tmp_path: Path
) -> None:
    given = tmp_path / "given"
    given.mkdir()
    tokenizer.save_trained(tokenizer.train(iter([code(1)]), 270), given)
    manifest = prepared(DataConfig(**{**vars(config), "tokenizer": str(given)}))
    assert manifest is not None
    assert manifest["vocab_size"] == 270
    assert sha256(folder.tokenizer / "tokenizer.json") == sha256(given / "tokenizer.json")


def write_files(folder: Path, texts: dict[str, str]) -> str:
    folder.mkdir()
    for name, text in texts.items():
        (folder / name).write_text(text)
    return f"files:{folder}"


@pytest.mark.parametrize("quality", [{}, {"drop_exact_duplicates": True}, {"max_line_length": 70}], ids=str)
def test_the_report_counts_nothing_behind_the_last_file(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path, quality: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In three shards; the limit ends the second one."""
    monkeypatch.setattr(local_files, "SHARD_BYTES", 1)
    rows = [row(number, content=code(number // 2)) for number in range(300)]
    for number in range(3):
        (tmp_path / f"part{number}.jsonl").write_bytes(json_lines(rows[number * 100 :][:100]))
    manifest = prepared(
        DataConfig(
            source=f"files:{tmp_path}/*.jsonl",
            keywords=("pandas",),
            vocab_size=300,
            max_files=60 if "drop_exact_duplicates" in quality else 120,
            quality=QualityConfig(**quality),
        )
    )
    report = read_json(folder.report)
    assert report is not None and manifest is not None
    # Each text stands there twice: the last of 60 different ones is in row 119.
    seen = 119 if "drop_exact_duplicates" in quality else 120
    assert (report["scanned"], report["kept"]) == (seen, seen)
    assert sum(found["files"] for found in report["removed"].values()) == (
        59 if "drop_exact_duplicates" in quality else 0
    )


def test_quality_rules_remove_kept_files_and_report_which(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path
) -> None:
    good = {f"good{number}.py": code(number) + f"total = {number}\nother = total\n" * 3 for number in range(20)}
    source = write_files(
        tmp_path / "mixed",
        {
            **good,
            "again.py": good["good3.py"].replace(" ", "  "),
            "generated.py": "# Auto-generated by a tool\n" + good["good4.py"],
            "long.py": good["good5.py"] + "x = '" + "a" * 2_000 + "'\n",
        },
    )
    rules = QualityConfig(drop_exact_duplicates=True, drop_generated=True, max_line_length=1_000)
    manifest = prepared(DataConfig(source=source, keywords=("pandas",), vocab_size=300, quality=rules))
    assert manifest is not None
    assert manifest["files_train"] + manifest["files_validation"] == 20
    report = read_json(folder.report) or {}
    assert report["kept"] == 23, "what the keywords keep"
    assert {rule: found["files"] for rule, found in report["removed"].items()} == {
        "a long line": 1,
        "auto-generated": 1,
        "exact duplicate": 1,
    }
    (example,) = report["removed"]["exact duplicate"]["examples"]
    assert {example["path"], example["of"]} == {"good3.py", "mixed/again.py"}, "the first in the source's order stays"
    everything = prepared(DataConfig(source=source, keywords=("pandas",), vocab_size=300))
    assert everything is not None
    assert everything["files_train"] + everything["files_validation"] == 23, "control"


def test_files_of_few_characters_per_token_are_left_out_of_the_tokens_and_counted(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path
) -> None:
    texts = {f"good{number}.py": code(number) * 9 for number in range(30)}
    source = write_files(tmp_path / "dense", {**texts, "noise.py": "pandas" + "".join(map(chr, range(161, 1_500)))})
    config = DataConfig(source=source, keywords=("pandas",), vocab_size=400)
    plain = prepared(config)
    assert plain is not None
    rules = QualityConfig(min_characters_per_token=1.5)
    strict = prepared(dataclasses.replace(config, quality=rules))
    assert strict is not None
    assert (plain["files_dense"], strict["files_dense"]) == (0, 1)
    assert sum(strict[f"files_{split}"] for split in ("train", "validation")) == 30
    assert strict["tokens_train"] + strict["tokens_validation"] < plain["tokens_train"] + plain["tokens_validation"]


def test_a_validation_source_is_all_held_out(folder: CorpusFolder, prepared: Prepare, tmp_path: Path) -> None:
    train = code_folder(tmp_path / "train", 30)
    held_out = write_files(tmp_path / "held", {f"v{number}.py": code(1_000 + number) for number in range(9)})
    config = DataConfig(
        source=f"files:{train}",
        validation_source=held_out,
        keywords=("pandas",),
        vocab_size=300,
        max_files=20,
        max_validation_files=5,
    )
    manifest = prepared(config)
    assert manifest is not None
    assert (manifest["files_train"], manifest["files_validation"]) == (20, 5)
    found = [
        text
        for path in parquet_shards.files(folder.path, "validation")
        for group in parquet_shards.texts(path)
        for text in group
    ]
    assert found == [code(1_000 + number) for number in range(5)]


def test_files_after_the_limit_remove_none_of_the_validation_source(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path
) -> None:
    """They are in no corpus, so nothing duplicates them. What was removed is reported for each source separately."""
    texts = {f"f{number:02}.py": code(number) for number in range(12)}
    again = {**texts, "g.py": code(11)}
    held_out = json_lines([*(row(1_000 + n, content=text) for n, text in enumerate(again.values()))]) + b"{oh\n"
    (tmp_path / "held.jsonl").write_bytes(held_out)
    config = DataConfig(
        source=write_files(tmp_path / "train", texts),
        validation_source=f"files:{tmp_path / 'held.jsonl'}",
        keywords=("pandas",),
        vocab_size=300,
        max_files=2,
        quality=QualityConfig(drop_exact_duplicates=True),
    )
    manifest = prepared(config)
    assert manifest is not None
    assert (manifest["files_train"], manifest["files_validation"]) == (2, 10)
    report = read_json(folder.report) or {}
    assert report["removed"] == {}
    assert report["max_files"] == 2
    assert (report["validation"]["scanned"], report["validation"]["bad_rows"]) == (13, {"not JSON": 1})
    assert report["validation"]["removed"]["exact duplicate"]["files"] == 3


def test_corpora_that_share_an_address_for_parts_do_not_interfere(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path, handlers: None
) -> None:
    config = DataConfig(source=f"files:{code_folder(tmp_path / 'one', 30)}", keywords=("pandas",), vocab_size=300)
    prepared(config)
    workforce = ExecutionConfig(parts=f"file://{tmp_path}/parts")
    config = dataclasses.replace(config, tokenizer=str(folder.tokenizer))
    other = dataclasses.replace(config, source=f"files:{code_folder(tmp_path / 'other', 40)}")
    contents: list[dict[Path, str]] = []
    for name, asked in (("one", config), ("other", other)):
        made = Home(tmp_path / "home").corpus(name)
        made.path.mkdir()
        write_json(made.request, {"request_id": "r1", "config": dataclasses.asdict(asked)})
        with JobProcess(made) as job:
            assert prepare(job, asked, workforce) is not None
        contents.append({path: sha256(path) for path in (tmp_path / "parts").rglob("*") if path.is_file()})
    assert len(contents[1]) > len(contents[0]), "control: both were there"
    assert contents[0].items() <= contents[1].items()


def test_a_scan_leaves_a_report_and_a_preparation_continues_from_its_parts(
    folder: CorpusFolder, config: DataConfig, handlers: None
) -> None:
    from pipeline.data.prepare import prepare

    with JobProcess(folder) as job:
        report = prepare(job, config, only_scan=True)
    assert report is not None
    assert (report["scanned"], report["kept"], report["done"]) == (61, 60, True)
    assert not folder.is_ready
    assert len((read_json(folder.samples) or {})["samples"]) == 50
    parts = {path: path.stat().st_ino for path in folder.parts.rglob("*.parquet")}
    assert parts
    seen: dict[Path, int] = {}

    class Watching(JobProcess):
        def write(self, **facts: object) -> None:
            if facts.get("stage") == "tokenizer":
                seen.update({path: path.stat().st_ino for path in parts})
            super().write(**facts)

    with Watching(folder) as job:
        manifest = prepare(job, config)
    assert manifest is not None
    assert seen == parts, "nothing was filtered again"
    assert not folder.parts.exists(), "and the parts are gone when the corpus is whole"


def test_a_tokenizer_with_another_end_of_text_makes_tokens_of_its_own(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path, handlers: None
) -> None:
    """Even if both have the same address for parts and the same vocabulary."""
    source = f"files:{code_folder(tmp_path / 'one', 30)}"
    prepared(DataConfig(source=source, keywords=("pandas",), vocab_size=300))
    other = tmp_path / "other"
    shutil.copytree(folder.tokenizer, other)
    settings = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps({**settings, "eos_token": "e"}))
    ends = []
    for name, path in (("first", folder.tokenizer), ("second", other)):
        made = Home(tmp_path / "home").corpus(name)
        made.path.mkdir()
        asked = DataConfig(source=source, keywords=("pandas",), tokenizer=str(path))
        write_json(made.request, {"request_id": "r1", "config": dataclasses.asdict(asked)})
        with JobProcess(made) as job:
            manifest = prepare(job, asked, ExecutionConfig(parts=f"file://{tmp_path}/parts"))
        assert manifest is not None
        last = int(np.fromfile(made.tokens("train"), manifest["dtype"])[-1])
        assert last == manifest["eos_id"]
        ends.append(last)
    assert ends[0] != ends[1]


def test_a_first_row_without_text_does_not_make_its_path_the_text(
    folder: CorpusFolder, prepared: Prepare, tmp_path: Path
) -> None:
    rows = [
        {"path": "pandas/a.py"},
        *({"path": f"pandas/{n}.py", "content": f"import pandas\nx = {n}\n"} for n in range(60)),
    ]
    path = tmp_path / "late.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = prepared(DataConfig(source=f"files:{path}", keywords=("pandas",), vocab_size=300))
    assert manifest is not None
    assert manifest["files_train"] + manifest["files_validation"] == 60
    kept = pl.concat(pl.read_parquet(found) for found in folder.path.glob("files-*.parquet"))
    assert kept["content"].str.starts_with("import pandas").all()


def lossy_tokenizer(folder: Path) -> str:
    """A byte-level tokenizer that has not seen all bytes: it loses the letters that are not in CODE."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[tokenizer.END_OF_TEXT])
    made.train_from_iterator([code(number) for number in range(100)], trainer)
    folder.mkdir()
    tokenizer.save_trained(made, folder)
    return str(folder)


def test_a_given_tokenizer_is_tried_on_the_corpus(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, tmp_path: Path
) -> None:
    given = lossy_tokenizer(tmp_path / "given")

    def made_of(line: str, name: str) -> dict[str, Any] | None:
        source = write_files(tmp_path / name, {f"{number}.py": code(number) + line for number in range(40)})
        return prepared(DataConfig(source=source, keywords=("pandas",), tokenizer=given))

    whole, few = made_of("", "whole"), made_of("# é\n", "few")
    assert whole is not None and whole["round_trip"] == 1
    assert few is not None and 0.9 < few["round_trip"] < 1
    with pytest.raises(InputError, match=rf"Tokenizer '{given}' writes back only \d+% of the text"):
        made_of(f"# {'é' * 500}\n", "much")
    assert not folder.is_ready


def test_a_preparation_is_stopped_while_its_files_are_listed(
    folder: CorpusFolder, prepared: Prepare, config: DataConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(pattern: Pattern, is_over: Callable[[], bool]) -> Iterator[LocalFile]:
        write_json(folder.stop, {"request_id": "r1"})
        for _ in range(1_000):
            if is_over():
                return
            time.sleep(0.01)
        raise AssertionError("the listing was not ended")
        yield

    monkeypatch.setattr(local_files, "walk", endless)
    assert prepared(config) is None
    assert (read_json(folder.status) or {})["state"] == "stopped"
