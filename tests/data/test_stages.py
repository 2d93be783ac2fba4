from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts.corpus import STAGE_FIELDS
from pipeline.config.schema import DataConfig
from pipeline.data.stages import Stages

NAMES = list(STAGE_FIELDS)


class Work:
    """A stage that writes one file and counts how often it was run."""

    def __init__(self, folder: Path, name: str = "out.bin") -> None:
        self.times = 0
        self._path = folder / name

    def __call__(self) -> tuple[dict[str, int], list[str]]:
        self.times += 1
        self._path.write_bytes(b"12345")
        return {"time": self.times}, [self._path.name]


def config(**changes: Any) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(DataConfig(**changes))))


def done_again(folder: Path, works: dict[str, Work], **changes: Any) -> list[str]:
    """Run all stages in order. Returns those that did their work again."""
    before = {name: work.times for name, work in works.items()}
    stages = Stages(folder, config(**changes))
    for name, work in works.items():
        stages.run(name, work)
    return [name for name, work in works.items() if work.times > before[name]]


def all_works(folder: Path) -> dict[str, Work]:
    works = {name: Work(folder, f"{name}.bin") for name in NAMES}
    assert done_again(folder, works) == NAMES
    return works


def test_a_complete_stage_is_not_done_again(tmp_path: Path) -> None:
    assert done_again(tmp_path, all_works(tmp_path)) == []
    assert Stages(tmp_path, config()).seconds >= 0


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({"source": "files:/code"}, "filter"),
        ({"keywords": ("numpy",)}, "filter"),
        ({"max_files": 9}, "filter"),
        ({"validation_share": 0.1}, "filter"),
        ({"tokenizer": "gpt2"}, "tokenizer"),
        ({"vocab_size": 999}, "tokenizer"),
        ({"windows": "drop"}, "tokens"),
        ({"window": 64}, "tokens"),
    ],
)
def test_another_setting_repeats_only_the_stages_it_determines(
    tmp_path: Path, changes: dict[str, Any], first: str
) -> None:
    works = all_works(tmp_path)
    assert done_again(tmp_path, works, **changes) == NAMES[NAMES.index(first) :]
    assert done_again(tmp_path, works) == NAMES[NAMES.index(first) :], "and back"


def test_every_setting_determines_some_stage() -> None:
    assert sorted(sum(STAGE_FIELDS.values(), ())) == sorted(field.name for field in dataclasses.fields(DataConfig))


@pytest.mark.parametrize("data", [None, b"1234"])
def test_a_stage_whose_output_is_gone_or_truncated_is_repeated_with_those_after_it(
    tmp_path: Path, data: bytes | None
) -> None:
    works = all_works(tmp_path)
    (tmp_path / "tokenizer.bin").unlink()
    if data is not None:
        (tmp_path / "tokenizer.bin").write_bytes(data)
    assert done_again(tmp_path, works) == ["tokenizer", "tokens", "index"]


def test_a_stage_that_fails_is_not_complete_nor_are_those_after_it(tmp_path: Path) -> None:
    def fail() -> tuple[dict[str, int], list[str]]:
        raise ValueError

    all_works(tmp_path)
    with pytest.raises(ValueError):
        Stages(tmp_path, config(vocab_size=999)).run("tokenizer", fail)
    afterwards = Stages(tmp_path, config())
    assert [name for name in NAMES if afterwards.is_done(name)] == ["filter"]
