from __future__ import annotations

import math
import shutil
from dataclasses import asdict

import pytest

from pipeline.config.schema import RunConfig
from pipeline.core.atomic_io import locked, read_json, write_json
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import Home
from pipeline.training.run import open_run, refuse_what_is_over
from tests.training.runs import ask_to_resume, make_corpus, new_run, write_request


def test_the_configuration_is_the_preset_and_recipe_with_the_changes(home: Home) -> None:
    folder = new_run(home, recipe="trainer", seed=3)
    run = open_run(folder, read_json(folder.request) or {})
    assert (run.config.training.schedule, run.config.training.loss) == ("cosine", "plain")
    assert (run.config.training.seed, run.config.model.n_embd) == (3, 16)
    assert run.config.model.vocab_size == run.corpus.vocab_size


def test_config_json_has_everything_to_repeat_the_run(home: Home) -> None:
    folder = new_run(home, seed=3)
    run = open_run(folder, read_json(folder.request) or {})
    run.write_config({"precision": "bf16", "device": "cpu"}, "a CPU with 2 cores")
    written = read_json(folder.config) or {}
    assert RunConfig.from_dict(written) == run.config
    assert written["model"] == asdict(run.config.model)
    assert (written["run"], written["corpus"], written["seed"]) == ("run", "python", 3)
    assert written["chosen"] == {"precision": "bf16", "device": "cpu"}
    assert written["hardware"] == "a CPU with 2 cores"
    assert written["tokens_sha256"] == run.corpus.manifest["sha256"]
    assert written["parameters"] == run.config.model.num_parameters
    assert {"python", "torch", "transformers", "accelerate"} <= set(written["versions"])
    assert written["commit"] is None or len(written["commit"]) == 40
    assert written["created_at"].endswith("+00:00")


def test_a_resumed_run_uses_its_config_json_and_not_the_current_recipe(home: Home) -> None:
    folder = new_run(home)
    run = open_run(folder, read_json(folder.request) or {})
    run.write_config({"precision": "bf16", "device": "cpu"}, "a CPU with 2 cores")
    write_request(folder, recipe="keras", changes={}, resume=True)
    before = folder.config.read_bytes()
    again = open_run(folder, read_json(folder.request) or {})
    again.write_config({"precision": "fp32", "device": "cpu"}, "a CPU with 2 cores")
    assert again.config == run.config
    assert folder.config.read_bytes() == before


def test_a_resumed_run_keeps_its_precision_on_the_same_kind_of_device(home: Home) -> None:
    folder = new_run(home, precision="auto")
    open_run(folder, read_json(folder.request) or {}).write_config(
        {"precision": "bf16", "device": "cpu"}, "a CPU with 2 cores"
    )
    ask_to_resume(folder)
    again = open_run(folder, read_json(folder.request) or {})
    assert (again.chosen_before("cpu").get("precision"), again.chosen_before("cuda")) == ("bf16", {})


def test_a_run_that_was_stopped_before_it_began_is_resumed_from_its_request(home: Home) -> None:
    folder = new_run(home, seed=3)
    ask_to_resume(folder)
    assert open_run(folder, read_json(folder.request) or {}).config.training.seed == 3


def test_another_corpus_of_the_same_name_is_refused(home: Home) -> None:
    folder = new_run(home)
    open_run(folder, read_json(folder.request) or {}).write_config({}, "a CPU with 2 cores")
    ask_to_resume(folder)
    shutil.rmtree(home.corpus("python").path)
    make_corpus(home.corpus("python"), num_files=50)
    with pytest.raises(InputError, match="Corpus python is not the one that run run was trained on"):
        open_run(folder, read_json(folder.request) or {})


def test_a_corpus_that_is_not_there_is_named_with_the_remedy(home: Home) -> None:
    folder = new_run(home)
    shutil.rmtree(home.corpus("python").path)
    with pytest.raises(InputError, match="Corpus python is not prepared; prepare it with"):
        open_run(folder, read_json(folder.request) or {})


def test_a_window_that_the_validation_split_cannot_fill_is_refused_before_training(home: Home) -> None:
    manifest = read_json(home.corpus("python").manifest) or {}
    window = manifest["tokens_validation"] + 1
    folder = new_run(home, window=window, n_positions=window)
    with pytest.raises(InputError, match=rf"its {window - 1} validation tokens fill no window of {window}"):
        open_run(folder, read_json(folder.request) or {})


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused(home: Home) -> None:
    folder = new_run(home, vocab_size=100)
    with pytest.raises(InputError, match="vocab_size is 100; corpus python has 320 tokens"):
        open_run(folder, read_json(folder.request) or {})


def test_a_request_that_names_no_corpus_says_what_is_missing(home: Home) -> None:
    with pytest.raises(InputError, match="it also needs corpus, recipe"):
        open_run(home.run("run"), {"preset": "tiny"})


def test_provenance_tells_where_a_checkpoint_comes_from(home: Home) -> None:
    folder = new_run(home)
    run = open_run(folder, read_json(folder.request) or {})
    half = run.provenance(6, {"train_loss": 3.0})
    assert (half["step"], half["final"], half["eval_loss"], half["perplexity"]) == (6, False, None, None)
    assert (half["tokens"], half["window"], half["repo"], half["run"]) == (6 * 8 * 16, 16, None, "run")
    last = run.provenance(12, {"eval_loss": 2.0, "perplexity": 7.4})
    assert (last["final"], last["max_steps"], last["eval_loss"], last["perplexity"]) == (True, 12, 2.0, 7.4)


@pytest.mark.parametrize("name", ["train_loss", "eval_loss"])
def test_provenance_tells_that_a_checkpoint_has_diverged(home: Home, name: str) -> None:
    folder = new_run(home)
    run = open_run(folder, read_json(folder.request) or {})
    guess = math.log(run.config.model.vocab_size)
    assert [run.provenance(6, {name: factor * guess})["diverged"] for factor in (1.05, 1.15)] == [False, True]


@pytest.mark.parametrize("resume", [True, False])
def test_a_finished_run_is_refused_and_keeps_its_status(home: Home, resume: bool) -> None:
    folder = new_run(home)
    write_json(folder.status, {"state": "finished", "step": 12})
    with pytest.raises(InputError, match="Run run is finished; start a new run"):
        refuse_what_is_over(folder, {"resume": resume})
    assert read_json(folder.status) == {"state": "finished", "step": 12}


def test_a_run_that_was_started_before_is_not_started_over(home: Home) -> None:
    folder = new_run(home)
    write_json(folder.config, {})
    with pytest.raises(InputError, match="Run run was started before; resume it, or choose another id"):
        refuse_what_is_over(folder, {"resume": False})
    refuse_what_is_over(folder, {"resume": True})


def test_a_running_run_is_left_to_its_lock(home: Home) -> None:
    folder = new_run(home)
    write_json(folder.config, {})
    with locked(folder.lock):
        refuse_what_is_over(folder, {"resume": False})


@pytest.mark.parametrize("name", ["tokens-train.bin", "tokens-validation.bin", "tokenizer/tokenizer.json"])
def test_a_file_of_the_corpus_altered_at_the_same_size_is_refused(home: Home, name: str) -> None:
    folder = new_run(home)
    path = home.corpus("python").path / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DamagedError, match=rf"{path} does not have the SHA-256 of its manifest; delete .*/python and"):
        open_run(folder, read_json(folder.request) or {})
