from __future__ import annotations

import pytest

from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import CorpusFolder
from pipeline.data.progress import Progress, Stopped


def test_a_stage_and_its_last_facts_are_in_the_status(
    folder: CorpusFolder, handlers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    with JobProcess(folder) as job:
        progress = Progress(job)
        progress.begin("filter")
        for number in range(1_000):
            progress(scanned=number, progress=number / 1_000)
        progress.end(scanned=1_000, progress=1.0)
    status = read_json(folder.status)
    assert status is not None
    assert (status["state"], status["stage"], status["scanned"], status["progress"]) == (
        "running",
        "filter",
        1_000,
        1.0,
    )
    log = capsys.readouterr().out.splitlines()
    assert log[0].endswith("filter begins")
    assert log[-1].endswith("filter: 1,000 scanned, 100% done")
    assert len(log) < 10, "not a line for each step of work"


def test_a_request_to_stop_is_noticed_at_the_next_step_of_work(folder: CorpusFolder, handlers: None) -> None:
    write_json(folder.request, {"request_id": "r1"})
    with JobProcess(folder) as job:
        progress = Progress(job)
        progress(scanned=1)
        write_json(folder.stop, {"request_id": "r1"})
        with pytest.raises(Stopped):
            progress(scanned=2)
