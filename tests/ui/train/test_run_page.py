"""The run that a page shows and its HTML, all from files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.core.atomic_io import append_line, locked, read_json, write_json
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.ui.shared import charts
from pipeline.ui.train import run_page
from pipeline.ui.train.run_page import RunPage
from tests.artifacts.test_evaluation import held_out, other_model, result
from tests.homes import write_run


def test_the_run_shown_is_the_chosen_else_the_active_else_the_newest(home: Home) -> None:
    write_run(home, "old-kea", age_seconds=300)
    with locked(write_run(home, "busy-kea", age_seconds=200, state="running").lock):
        write_run(home, "new-kea", age_seconds=100)
        for chosen, shown in (("old-kea", "old-kea"), (None, "busy-kea"), ("gone", "busy-kea")):
            view = RunPage.of(home, chosen, is_owner=True).view
            assert view is not None
            assert view.run == shown
    view = RunPage.of(home, None, is_owner=True).view
    assert view is not None
    assert view.run == "new-kea"


def test_nothing_has_run_yet(settings: Settings) -> None:
    page = RunPage.of(Home(settings.home), None, is_owner=True)
    assert "press Start training" in run_page.strip(page)
    visitors = run_page.strip(RunPage.of(Home(settings.home), None, is_owner=False))
    assert "The owner of this page starts trainings" in visitors
    assert "press Start" not in visitors, "a visitor has no such button"
    assert run_page.problem(page) == ""
    assert "No runs yet" in run_page.runs_table(page)
    assert "Nothing written yet" in run_page.story(page)


def test_the_strip_shows_state_step_losses_and_the_newest_revision(home: Home) -> None:
    folder = write_run(home, "calm-kea", train_loss=6.3, eval_loss=6.25, perplexity=518.0)
    for step, state in ((10, "pushed"), (20, "refused")):
        append_line(folder.pushes, {"step": step, "state": state, "revision": f"{step:012x}", "repo": "local"})
    text = run_page.strip(RunPage.of(home, None, is_owner=True))
    for shown in ("calm-kea", "Finished", "step 20", "6.300", "6.250", "518", f"{10:012x}"[:8]):
        assert shown in text
    assert 'aria-live="polite"' in text


def test_the_live_region_changes_with_state_and_evaluation_and_not_each_second(home: Home) -> None:
    folder = write_run(home, "calm-kea", state="running")
    with locked(folder.lock):
        before = live_region(home)
        append_line(folder.metrics, {"step": 21, "train_loss": 5.0})
        assert live_region(home) == before
        append_line(folder.metrics, {"step": 22, "eval_loss": 4.75})
        assert "4.750 at step 22" in live_region(home)


def test_a_failed_run_says_what_failed_what_is_safe_and_what_to_press(home: Home) -> None:
    folder = write_run(home, "calm-kea", state="failed", error="Loss is nan at step 20; lower learning_rate.")
    text = run_page.problem(RunPage.of(home, None, is_owner=True))
    assert "Loss is nan" in text
    assert "press Resume" in text
    append_line(folder.pushes, {"step": 10, "state": "registered", "revision": "ab" * 6, "repo": "local"})
    assert "revision of step 10 is safe" in run_page.problem(RunPage.of(home, None, is_owner=True))


PROMPTS = {"one": "# create some data\n", "two": "# another\n"}


def test_the_story_follows_one_prompt_from_the_first_to_the_last_evaluation(home: Home) -> None:
    folder = write_run(home, "calm-kea")
    for step in range(0, 200, 10):
        for name in ("one", "two"):
            append_line(
                folder.samples, {"step": step, "prompt_name": name, "prompt": PROMPTS[name], "text": f"{name} {step}"}
            )
    text = run_page.story(RunPage.of(home, None, is_owner=True))
    assert text.count("<li") == run_page.MAX_SAMPLES
    assert "one" in text
    assert "two" not in text
    assert text.count("create some data") == 1, "the prompt, above its completions"
    assert text.index("create some data") < text.index("<li")
    assert "step 0<" in text
    assert text.index("step 190<") < text.index("step 0<")  # the newest is first, where the strip begins


def test_the_strip_has_as_many_lines_during_an_evaluation_as_before_it(home: Home) -> None:
    folder = write_run(home, "calm-kea", state="running")
    with locked(folder.lock):
        before = run_page.strip(RunPage.of(home, None, is_owner=True))
        write_run(home, "calm-kea", state="running", message="evaluating")
        during = run_page.strip(RunPage.of(home, None, is_owner=True))
    assert '<p class="note">tiny · accelerate · corpus ready</p>' in before
    assert '<p class="note">evaluating</p>' in during
    assert re.sub("[^<>]", "", before) == re.sub("[^<>]", "", during)


@pytest.mark.parametrize(("num", "max_rows", "kept"), [(3, 8, [0, 1, 2]), (20, 3, [0, 10, 19]), (9, 2, [0, 8])])
def test_the_kept_rows_are_evenly_spaced(num: int, max_rows: int, kept: list[int]) -> None:
    assert run_page.evenly(list(range(num)), max_rows) == kept


def test_heads_show_the_newest_of_each_series(home: Home, tmp_path: Path) -> None:
    folder = write_run(home, "calm-kea")
    append_line(folder.metrics, {"step": 30, "train_loss": 2.0, "learning_rate": 0.001, "tokens_per_second": 2_905.0})
    drawn = run_page.drawings(RunPage.of(home, None, is_owner=True))
    heads = {name: charts.head(drawing) for name, drawing in drawn.items()}
    assert "2.000" in heads["loss"]
    assert "6.300" in heads["loss"]  # the last evaluation, ten steps before
    assert "7.39" in heads["perplexity"]
    assert "1.0e-03" in heads["rate"]
    assert "2,905" in heads["speed"]


def live_region(home: Home) -> str:
    text = run_page.strip(RunPage.of(home, None, is_owner=True))
    return text[text.index('aria-live="polite"') :]


def test_a_gpu_that_the_run_does_not_use_is_named_while_it_trains(home: Home) -> None:
    problem = "This machine has a GPU, Tesla T4, but training uses the CPU: torch is a build without CUDA."
    folder = write_run(home, "slow-kea", state="running", gpu_problem=problem)
    with locked(folder.lock):
        shown = run_page.problem(RunPage.of(home, None, is_owner=True))
    assert problem in shown and "warn" in shown
    assert problem not in run_page.problem(RunPage.of(home, None, is_owner=True)), "it has ended"


def test_evaluations_are_a_chart_of_the_run_they_belong_to(home: Home) -> None:
    folder = write_run(home, "calm-kea")
    assert run_page.evaluations(RunPage.of(home, None, is_owner=False)) == ""
    uid = (read_json(folder.config) or {}).get("run_uid")
    home.evaluations.mkdir()
    for number, step in enumerate((10, 20), start=1):
        write_json(home.evaluation(f"{number:012x}"), result(step, run="calm-kea", run_uid=uid))
    text = run_page.evaluations(RunPage.of(home, None, is_owner=False))
    assert "Does its code run?" in text and "for 180 tasks" in text
    assert (
        'data-steps="10 20"' in text
        and "Step 20: 50.0 %" in text
        and text.count("<b>50.0 %</b>") == 3
        and "25.0 % to 75.0 %" in text
    )
    write_run(home, "other-kea")
    assert run_page.evaluations(RunPage.of(home, "other-kea", is_owner=False)) == ""


def test_another_model_is_a_line_across_the_chart_and_columns_of_the_table(home: Home) -> None:
    folder = write_run(home, "calm-kea")
    uid = (read_json(folder.config) or {}).get("run_uid")
    home.evaluations.mkdir()
    tasks = {**result(1)["tasks"], "pass@1_by_library": {"numpy": 0.25}}
    write_json(home.evaluation("a"), result(10, run="calm-kea", run_uid=uid, tasks=tasks, held_out=held_out()))
    alone = run_page.evaluations(RunPage.of(home, None, is_owner=False))
    assert '<path class="level" d=""/>' in alone and "For comparison" not in alone
    assert "<td>25 %</td><td>2.000</td><td>1.000</td></tr>" in alone
    right = {"value": 0.75, "low": 0.7, "high": 0.8}
    write_json(
        home.evaluation("b"),
        other_model(tasks={**tasks, "pass@1": right}, held_out=held_out(bits_per_byte_by_library={"numpy": 0.5})),
    )
    text = run_page.evaluations(RunPage.of(home, None, is_owner=False))
    assert "For comparison them/parrot@cccccccccccc: 75.0 % right (70.0 % to 80.0 %)" in text
    assert re.search(r'<path class="level" d="M0 [\d.]+H400"/>', text)
    assert "<td>25 %</td><td>2.000</td><td>1.000</td><td>25 %</td><td>0.500</td></tr>" in text
