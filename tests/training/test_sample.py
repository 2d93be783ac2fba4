from __future__ import annotations

import pytest
import torch
from accelerate.state import AcceleratorState

from pipeline.config.prompts import course_prompts
from pipeline.core.atomic_io import read_json, read_lines
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import Home
from pipeline.training.run import open_run
from pipeline.training.run_logger import RunLogger
from pipeline.training.sample import write_sample
from pipeline.training.session import open_session
from tests.training.runs import new_run


@pytest.mark.parametrize("n_positions", [256, 16])
def test_a_sample_neither_changes_the_random_state_nor_fails_the_run(home: Home, n_positions: int) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    folder = new_run(home, n_positions=n_positions)
    with JobProcess(folder) as job:
        run = open_run(folder, read_json(folder.request) or {})
        session, logger = open_session(run), RunLogger(folder, job, run.config)
        session.resume(None)
        expected = torch.rand(4)
        session.resume(None)
        write_sample(session, logger, 6)
        assert torch.equal(torch.rand(4), expected)
        assert session.model.training
    rows = read_lines(folder.samples)
    if n_positions == 16:  # the course's prompt does not fit, which is only logged
        assert rows == []
    else:
        assert [(row["step"], row["prompt"]) for row in rows] == [(6, course_prompts()[0].text)]
