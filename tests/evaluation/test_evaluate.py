"""A whole evaluation: a model that knows one answer, real programs in the sandbox."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.artifacts.corpus import FORMAT
from pipeline.core.atomic_io import write_json
from pipeline.core.errors import InputError
from pipeline.core.paths import CorpusFolder, Home
from pipeline.core.settings import Settings
from pipeline.evaluation.evaluate import _held_out, _UpToItsLines, evaluate, task_figures
from pipeline.evaluation.sandbox import ProgramResult, Sandbox
from pipeline.evaluation.tasks import CodeTask
from pipeline.generation.decoder import exact
from tests.evaluation import CONFINES
from tests.evaluation.test_tasks import TASK
from tests.generation.models import insist_on, push, tiny_model, tiny_tokenizer


def task(name: str, prompt: str, check: str) -> CodeTask:
    return CodeTask(name=name, library="numpy", prompt=prompt, max_lines=1, check=check, solution="", mutants=())


@CONFINES
@pytest.mark.slow
def test_what_a_model_always_writes_is_run_and_counted(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    (token_id,) = tokenizer.encode("1")
    settings = Settings(home=tmp_path / "home")
    revision = push(settings, 10, insist_on(tiny_model(n_positions=256), token_id))
    suite = [
        task("right", "x = ", "assert str(x).startswith('11')"),
        task("wrong", "x = ", "assert x == 2"),
        task("fails", "x = None + ", ""),
        task("does-not-parse", "def ", ""),
    ]
    shown: list[tuple[str, int, int]] = []
    with Sandbox() as sandbox:
        found = evaluate(
            Home(settings.home),
            revision,
            suite,
            sandbox,
            num_samples=3,
            window=128,
            show=lambda *what: shown.append(what),
        )
    scored = found["tasks"]
    assert [(row["parses"], row["runs"], row["right"]) for row in scored["each"]] == [
        (3, 3, 3),
        (3, 3, 0),
        (3, 0, 0),
        (0,) * 3,
    ]
    assert (scored["parses"]["value"], scored["runs"]["value"], scored["pass@1"]["value"]) == (0.75, 0.5, 0.25)
    assert "pass@10" not in scored, "there are three samples"
    assert (found["revision"], found["step"], found["held_out"]) == (revision.revision, 10, None)
    assert shown[-2:] == [("run", 12, 12), ("read", 0, 1)] and ("write", 4, 4) in shown


def test_the_figures_are_means_over_the_tasks() -> None:
    passed, wrong, broken = ProgramResult("passed", ""), ProgramResult("check", "x"), ProgramResult("parse", "x")
    suite = [task("a", "", ""), task("b", "", "")]
    found = task_figures(suite, [[passed] * 5 + [wrong] * 5, [broken] * 10], 10)
    assert (found["parses"]["value"], found["runs"]["value"]) == (0.5, 0.5)
    assert (found["pass@1"]["value"], found["pass@10"]["value"]) == (0.25, 0.5)
    assert found["pass@1_by_library"] == {"numpy": 0.25}


@pytest.mark.parametrize(
    ("text", "shown", "is_over"),
    [
        ("a", "a", False),
        ("a\n", "a", False),
        ("a\nb", "a\nb", False),
        ("a\nb\n", "a\nb", True),
        ("a\n\nb\nc", "a\n\nb", True),
    ],
)
def test_a_completion_ends_with_what_is_run_of_it(text: str, shown: str, is_over: bool) -> None:
    assert _UpToItsLines(TASK).shown(text) == (shown, is_over)


def write_prepared(folder: CorpusFolder, tokenizer: PreTrainedTokenizerFast) -> None:
    """A corpus of 40 held-out files, in the tokens of `tokenizer`."""
    folder.tokenizer.mkdir(parents=True)
    tokenizer.save_pretrained(folder.tokenizer)
    tokens = [token for number in range(40) for token in (*tokenizer.encode(f"import numpy\nx = {number}\n"), 0)]
    for split in ("train", "validation"):
        np.array(tokens, dtype="<u2").tofile(folder.tokens(split))
    counts = {"tokens_train": len(tokens), "tokens_validation": len(tokens), "vocab_size": len(tokenizer)}
    digests = {"sha256": {}, "tokenizer_sha256": ""}
    write_json(folder.manifest, {"format": FORMAT, "dtype": "uint16", "eos_id": 0, **counts, **digests})


def test_another_model_is_measured_on_the_same_files_whatever_its_tokenizer_is(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    settings = Settings(home=tmp_path / "home")
    home = Home(settings.home)
    other = tiny_tokenizer(300)
    write_prepared(home.corpus("installed"), tokenizer)
    write_prepared(home.corpus("mine"), other)
    revision = push(settings, 10, tiny_model(n_positions=256))
    model = exact(tiny_model(n_positions=256))
    own = _held_out(home, revision, None, model, tokenizer, 128)
    given = _held_out(home, revision, "mine", model, tokenizer, 128)
    assert own is not None and given is not None and (own["corpus"], given["corpus"]) == ("installed", "mine")
    assert own["digest"] == given["digest"] and own["bits_per_byte"] == given["bits_per_byte"]
    assert own["by_heart"]["train"]["files"] == 0 and given["by_heart"] == {}, "it was not trained on these"
    with pytest.raises(InputError, match="gone is not prepared"):
        _held_out(home, revision, "gone", model, tokenizer, 128)
    assert _held_out(home, replace(revision, corpus="gone"), None, model, tokenizer, 128) is None
    assert _held_out(home, replace(revision, corpus=""), None, model, tokenizer, 128) is None
    (home.corpus("mine").tokenizer / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="tokenizer of corpus mine"):
        _held_out(home, revision, "mine", model, tokenizer, 128)
