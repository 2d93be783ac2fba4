"""Whole runs of a model that trains in a second, with dropout unless a test disables it."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import Checkpoint, best_of, checkpoints_of, newest_valid
from pipeline.core.atomic_io import read_json, read_lines, write_json
from pipeline.core.errors import DamagedError, DivergedError, InputError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import Home, RunFolder
from pipeline.data.tokens.windows import open_windows
from pipeline.training import checkpoints, session
from pipeline.training.loss import KeyTokens
from pipeline.training.model import build_model
from pipeline.training.run import open_run
from pipeline.training.state_file import read_state, write_state
from tests.training.runs import ask_to_resume, losses, new_run, stops_at, train_here, weights

pytestmark = pytest.mark.slow


def rows(folder: RunFolder, name: str) -> dict[int, float]:
    """The values of metric `name` by step, where it was measured."""
    return {row["step"]: row[name] for row in read_lines(folder.metrics) if name in row}


def reference_losses(folder: RunFolder, step: int) -> list[tuple[float, int]]:
    """Mean loss and number of key tokens of each window of `step`, for the untrained model, in plain Python."""
    run = open_run(folder, read_json(folder.request) or {})
    training = run.config.training
    model = build_model(run.config.model, eos_id=run.corpus.eos_id, seed=training.seed).eval()
    windows = open_windows(run.corpus, "train", run.config.model.window)
    batch = windows.batch(training.seed, (step - 1) * training.batch_size, training.batch_size)
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(batch)).logits.tolist()
    result = []
    for scores, ids in zip(logits, batch.tolist(), strict=True):
        each = [math.log(sum(map(math.exp, at))) - at[target] for at, target in zip(scores, ids[1:], strict=False)]
        result.append((sum(each) / len(each), sum(token in key_ids(folder) for token in ids)))
    return result


def key_ids(folder: RunFolder) -> list[int]:
    report = (read_json(folder.status) or {})["key_tokens"]
    return [entry["ids"][0] for entry in report if entry["counted"]]


def test_a_run_starts_near_the_logarithm_of_its_vocabulary_and_learns(home: Home) -> None:
    folder = new_run(home, max_steps=60, warmup_steps=6, eval_every_steps=20, checkpoint_every_steps=30)
    status = train_here(folder)
    evaluated = rows(folder, "eval_loss")
    assert list(evaluated) == [0, 20, 40, 60]
    assert evaluated[0] == pytest.approx(math.log(320), abs=0.3)
    assert evaluated[60] < 0.7 * evaluated[0]
    assert rows(folder, "perplexity")[60] == pytest.approx(math.exp(evaluated[60]))
    assert (status["state"], status["step"], status["error"]) == ("finished", 60, None)
    assert rows(folder, "learning_rate")[60] == pytest.approx(1e-2 / 54), "the rate of that step, not of the next one"
    assert [path.name for path in checkpoints_of(folder)] == ["step-00000030", "step-00000060"]
    assert [row["step"] for row in read_lines(folder.samples)] == [0, 20, 40, 60]


def test_rows_are_written_at_the_first_and_last_step_and_where_they_are_due(home: Home) -> None:
    folder = new_run(home, log_every_steps=5, eval_every_steps=6, checkpoint_every_steps=8)
    train_here(folder)
    assert [row["step"] for row in read_lines(folder.metrics)] == [0, 1, 5, 6, 8, 10, 12]
    assert list(rows(folder, "eval_loss")) == [0, 6, 12]
    assert [path.name for path in checkpoints_of(folder)] == ["step-00000008", "step-00000012"]


def test_the_logged_losses_are_those_of_the_step(home: Home) -> None:
    folder = new_run(home, dropout=0, alpha=0.5)
    train_here(folder)
    expected = reference_losses(folder, step=1)
    row = read_lines(folder.metrics)[1]
    assert sum(count for _, count in expected) > 0
    assert row["train_loss"] == pytest.approx(sum(loss for loss, _ in expected) / 8, rel=1e-5)
    weighted = sum(0.5 * (1 + count) * loss for loss, count in expected) / 8
    assert row["weighted_loss"] == pytest.approx(weighted, rel=1e-5)


def test_a_recipe_with_the_plain_loss_has_no_weighted_one(home: Home) -> None:
    folder = new_run(home, recipe="trainer", max_steps=2)
    status = train_here(folder)
    assert rows(folder, "weighted_loss") == {}
    assert "key_tokens" not in status


def test_the_key_tokens_and_the_control_are_reported(home: Home) -> None:
    folder = new_run(home, max_steps=1, warmup_steps=0)
    report = {entry["text"]: entry for entry in train_here(folder)["key_tokens"]}
    assert len(report) == 11
    assert report[" pd"]["counted"]
    assert (report["testtest"]["control"], report["testtest"]["counted"]) == (True, False)


def test_without_a_single_key_token_the_weighted_loss_is_the_plain_one(home: Home) -> None:
    folder = new_run(home, max_steps=2, key_tokens="testtesttest,zzzz")
    train_here(folder)
    assert rows(folder, "weighted_loss") == rows(folder, "train_loss")


@pytest.mark.parametrize("recipe", ["accelerate", "trainer"])
def test_accumulation_does_not_change_the_losses(home: Home, recipe: str) -> None:
    whole = new_run(home, "whole", recipe=recipe, dropout=0, micro_batch_size=8)
    parts = new_run(home, "parts", recipe=recipe, dropout=0, micro_batch_size=2)
    train_here(whole)
    train_here(parts)
    for name in ("train_loss", "eval_loss", "grad_norm"):
        assert rows(parts, name) == pytest.approx(rows(whole, name), rel=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_run_resumes_bit_identically(home: Home, precision: str) -> None:
    undisturbed = new_run(home, "undisturbed", precision=precision)
    train_here(undisturbed)
    stopped = new_run(home, "stopped", precision=precision)
    status = train_here(stopped, stops_at(4))
    assert (status["state"], status["step"]) == ("stopped", 4)
    assert newest_valid(stopped).step == 4
    ask_to_resume(stopped)
    assert train_here(stopped)["state"] == "finished"
    assert losses(stopped) == losses(undisturbed)
    assert weights(stopped, 12) == weights(undisturbed, 12)


def test_without_the_random_state_a_resumed_run_differs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control of the test above."""
    undisturbed, stopped = new_run(home, "undisturbed"), new_run(home, "stopped")
    train_here(undisturbed)
    train_here(stopped, stops_at(4))
    ask_to_resume(stopped)
    monkeypatch.setattr(session, "restore_random_state", lambda folder, accelerator: None)
    train_here(stopped)
    assert weights(stopped, 12) != weights(undisturbed, 12)


def test_a_stop_before_the_first_step_costs_nothing(home: Home) -> None:
    undisturbed, stopped = new_run(home, "undisturbed"), new_run(home, "stopped")
    train_here(undisturbed)
    write_json(stopped.stop, {"request_id": "stopped-first"})
    status = train_here(stopped)
    assert (status["state"], status["step"]) == ("stopped", 0)
    assert checkpoints_of(stopped) == []
    ask_to_resume(stopped)
    assert train_here(stopped)["state"] == "finished"
    assert weights(stopped, 12) == weights(undisturbed, 12)


def test_a_stop_of_an_earlier_request_is_ignored(home: Home) -> None:
    folder = new_run(home, max_steps=2)
    write_json(folder.stop, {"request_id": "of long ago"})
    assert train_here(folder)["state"] == "finished"


def test_an_evaluation_interrupted_by_a_stop_is_repeated_on_resume(home: Home) -> None:
    class StopsInEvaluation(JobProcess):
        @property
        def stop_requested(self) -> bool:
            return self.facts.get("message") == "evaluating" and bool(checkpoints_of(folder))

    undisturbed = new_run(home, "undisturbed", checkpoint_every_steps=5)
    train_here(undisturbed)
    folder = new_run(home, "stopped", checkpoint_every_steps=5)
    assert train_here(folder, StopsInEvaluation)["step"] == 6
    assert list(rows(folder, "eval_loss")) == [0]
    ask_to_resume(folder)
    train_here(folder)
    assert rows(folder, "eval_loss") == rows(undisturbed, "eval_loss")
    assert weights(folder, 12) == weights(undisturbed, 12)


@pytest.mark.parametrize("step", [6, 12])
def test_a_step_whose_evaluation_a_stop_prevented_is_saved_again_with_its_loss(home: Home, step: int) -> None:
    """At the last step too: it is the one that people use."""
    straight, folder = new_run(home, "straight"), new_run(home, "stopped", micro_batch_size=8)
    train_here(straight)
    assert train_here(folder, stops_at(step - 1))["state"] == "stopped"
    before = Checkpoint.open(folder.checkpoint(step))
    assert before.provenance["eval_loss"] is None
    ask_to_resume(folder)
    assert train_here(folder)["state"] == "finished"
    after = Checkpoint.open(folder.checkpoint(step))
    assert after.provenance["eval_loss"] == losses(folder)[step]["eval_loss"]
    assert after.revision != before.revision, "it is published again"
    assert best_of(folder) in (folder.checkpoint(6), folder.checkpoint(12))
    assert newest_valid(folder).step == 12
    assert weights(folder, step) == before.files["model.safetensors"]["sha256"]


def test_the_tokenizer_of_a_checkpoint_knows_the_length_of_the_model(home: Home) -> None:
    folder = new_run(home)
    train_here(folder, stops_at(6))
    config = read_json(folder.checkpoint(6) / "config.json") or {}
    tokenizer = read_json(folder.checkpoint(6) / "tokenizer_config.json") or {}
    assert tokenizer["model_max_length"] == config["n_positions"]


def test_a_resumed_step_that_has_its_loss_is_not_saved_again(home: Home) -> None:
    folder = new_run(home)
    train_here(folder, stops_at(6))
    manifest = folder.checkpoint(6) / "manifest.json"
    saved = (manifest.stat().st_ino, manifest.stat().st_mtime_ns)
    ask_to_resume(folder)
    train_here(folder, stops_at(8))
    assert (manifest.stat().st_ino, manifest.stat().st_mtime_ns) == saved


def test_rows_logged_after_the_checkpoint_are_dropped_and_written_again(home: Home) -> None:
    undisturbed = new_run(home, "undisturbed")
    train_here(undisturbed)
    folder = new_run(home, "killed")
    train_here(folder, stops_at(8))
    checkpoints.quarantine_after(folder, 6)  # as after a kill at step 8 without a checkpoint there
    ask_to_resume(folder)
    train_here(folder)
    assert [row["step"] for row in read_lines(folder.metrics)] == list(range(13))
    assert losses(folder) == losses(undisturbed)
    assert weights(folder, 12) == weights(undisturbed, 12)


def test_a_sample_missing_after_a_kill_is_written_on_resume(home: Home) -> None:
    folder = new_run(home)
    train_here(folder, stops_at(6))
    samples = folder.samples.read_text().splitlines(keepends=True)
    folder.samples.write_text(samples[0])  # of step 0; that of step 6 is lost
    ask_to_resume(folder)
    train_here(folder)
    assert [row["step"] for row in read_lines(folder.samples)] == [0, 6, 12]
    assert folder.samples.read_text().splitlines()[1].split('"time"')[0] == samples[1].split('"time"')[0]


def test_a_damaged_checkpoint_is_skipped_and_written_again(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    undisturbed = new_run(home, "undisturbed")
    train_here(undisturbed)
    folder = new_run(home, "damaged")
    train_here(folder, stops_at(9))
    file = folder.checkpoint(9) / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    ask_to_resume(folder)
    train_here(folder)
    said = capsys.readouterr().out
    assert "Checkpoint step-00000009 of run damaged is damaged: model.safetensors" in said
    assert "going on from step 6" in said
    assert losses(folder) == losses(undisturbed)
    assert weights(folder, 12) == weights(undisturbed, 12)


@pytest.mark.parametrize(("name", "value", "saved"), [("n_embd", 32, 16), ("n_head", 4, 2), ("n_layer", 3, 2)])
def test_a_model_edited_in_the_config_of_a_run_is_refused_on_resume(
    home: Home, name: str, value: int, saved: int
) -> None:
    folder = new_run(home)
    train_here(folder, stops_at(6))
    config = read_json(folder.config) or {}
    config["model"][name] = value
    write_json(folder.config, config)
    ask_to_resume(folder)
    with pytest.raises(
        DamagedError, match=rf"config\.json has {name} {value}, and step-00000006 has {saved}; set it back"
    ):
        train_here(folder)


def test_a_non_finite_loss_fails_the_run_and_is_never_saved(home: Home) -> None:
    folder = new_run(home, alpha=1e300)  # more than a float32 holds: the weighted loss is infinite
    with pytest.raises(DivergedError):
        train_here(folder)
    status = read_json(folder.status) or {}
    assert status["state"] == "failed"
    assert status["error"].startswith("Run run diverged at step 1: weighted_loss is inf; start a new run with")
    assert checkpoints_of(folder) == []
    assert read_lines(folder.metrics)[-1]["weighted_loss"] is None


def poison(folder: RunFolder, step: int) -> None:
    """Make the optimizer state infinite: the next loss is still finite, the weights after it are not."""
    checkpoint = folder.checkpoint(step)
    state = read_state(checkpoint / "training", "optimizer")
    state["state"][0]["exp_avg"].fill_(torch.inf)
    write_state(checkpoint / "training", "optimizer", state)
    (checkpoint / manifest.NAME).unlink()
    manifest.seal(checkpoint, step)


def test_non_finite_weights_are_never_saved(home: Home) -> None:
    folder = new_run(home, checkpoint_every_steps=1)
    train_here(folder, stops_at(4))
    poison(folder, 4)
    ask_to_resume(folder)
    with pytest.raises(DivergedError, match="Run run diverged at step 5: some weights are nan or infinite"):
        train_here(folder)
    newest = newest_valid(folder)
    assert newest.step == 4
    assert all(bool(torch.isfinite(w).all()) for w in load_file(folder.checkpoint(4) / "model.safetensors").values())


def test_a_stop_in_the_middle_of_a_step_saves_no_non_finite_weights(home: Home) -> None:
    """They become non-finite at step 5, which writes no row, and step 6 is dropped."""
    folder = new_run(home, checkpoint_every_steps=4, log_every_steps=100, eval_every_steps=100)
    train_here(folder, stops_at(4))
    poison(folder, 4)
    ask_to_resume(folder)
    asked = 0

    class StopsInStep6(JobProcess):
        @property
        def stop_requested(self) -> bool:
            nonlocal asked
            asked += 1
            return asked >= 4  # the earlier three calls: one at step 4, two at step 5

    with pytest.raises(DivergedError, match="Run run diverged at step 5: some weights are nan or infinite"):
        train_here(folder, StopsInStep6)
    assert [path.name for path in checkpoints_of(folder)] == ["step-00000004"]


def test_a_wrong_value_fails_the_run_before_anything_is_written(home: Home) -> None:
    folder = new_run(home, learning_rate=11)
    with pytest.raises(InputError, match="learning_rate is 11"):
        train_here(folder)
    assert (read_json(folder.status) or {})["state"] == "failed"
    assert not folder.config.exists() and not folder.metrics.exists()


def test_old_checkpoints_are_deleted_once_published_and_the_newest_stay(home: Home) -> None:
    class Publishes(JobProcess):
        """Marks each checkpoint in the ledger as the publisher does."""

        @property
        def stop_requested(self) -> bool:
            for path in checkpoints_of(folder):
                with folder.pushes.open("a") as ledger:
                    ledger.write(json.dumps({"step": int(path.name[5:]), "state": "registered"}) + "\n")
            return False

    folder = new_run(home, checkpoint_every_steps=2)
    train_here(folder, Publishes)
    assert [path.name for path in checkpoints_of(folder)] == ["step-00000010", "step-00000012"]


def test_gradients_are_clipped_and_their_norm_before_that_is_logged(home: Home) -> None:
    free = new_run(home, "free", max_steps=3, dropout=0, max_grad_norm=0)
    clipped = new_run(home, "clipped", max_steps=3, dropout=0, max_grad_norm=1e-3)
    train_here(free)
    train_here(clipped)
    assert rows(free, "grad_norm")[1] == pytest.approx(rows(clipped, "grad_norm")[1])
    assert rows(free, "grad_norm")[1] > 1e-2


def test_the_report_of_key_tokens_is_a_line_of_the_log(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    folder = new_run(home, max_steps=1, warmup_steps=0)
    train_here(folder)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("key tokens:"))
    assert "'testtest' is" in line and line.endswith("not counted (control)")
    assert str(KeyTokens([])) not in line
