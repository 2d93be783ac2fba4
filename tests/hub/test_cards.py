from __future__ import annotations

import copy
import shutil
from typing import Any

import pytest
import yaml

from pipeline.artifacts.revision import Registry
from pipeline.config.recipes import run_config
from pipeline.core.atomic_io import append_line, read_json, write_json
from pipeline.core.paths import Home, RunFolder
from pipeline.hub.card_facts import card_facts
from pipeline.hub.cards import dataset_card, model_card
from tests.checkpoints import write_checkpoint


def card(home: Home, run: RunFolder, **options: Any) -> str:
    revision = Registry(home, "me/parrot").add(write_checkpoint(run, 500, **options))
    return model_card(read_json(revision.path / "provenance.json") or {})


def test_the_front_matter_is_what_the_hub_reads(home: Home, run: RunFolder) -> None:
    _, front, _ = card(home, run).split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "text-generation"
    assert metadata["license"] == "other"
    assert metadata["license_name"]
    assert "code" in metadata["tags"]


def test_the_card_names_run_step_loss_and_corpus(home: Home, run: RunFolder) -> None:
    text = card(home, run, eval_loss=2.5)
    for fact in ("`alpha`", "500 of 600", "2.5000", "12.18", "`python`", "4,242,432", 'model="me/parrot"', "2.13.0"):
        assert fact in text


@pytest.mark.parametrize(("final", "expected"), [(False, "training in progress"), (True, "the run has ended")])
def test_the_card_says_whether_the_run_goes_on(home: Home, run: RunFolder, final: bool, expected: str) -> None:
    assert expected in card(home, run, final=final)


def test_the_card_of_a_stopped_run_does_not_say_that_it_trains(home: Home, trained: RunFolder) -> None:
    revision = Registry(home, "me/parrot").add(write_checkpoint(trained, 500))
    provenance = read_json(revision.path / "provenance.json") or {}
    for state, said in (
        ("running", "training in progress"),
        ("stopped", "was stopped before"),
        ("failed", "failed before"),
    ):
        text = model_card(provenance, card_facts(home, trained, revision, read_json(trained.config) or {}, state=state))
        assert said in text and ("training in progress" in text) is ("moves on with training" in text) is (
            state == "running"
        )


def test_a_diverged_loss_without_a_perplexity_is_pushed(home: Home, run: RunFolder) -> None:
    revision = Registry(home, "me/parrot").add(write_checkpoint(run, 500))
    provenance = {**(read_json(revision.path / "provenance.json") or {}), "eval_loss": 800.0, "perplexity": None}
    text = model_card(provenance)
    assert "800.0000 per token" in text and "model-index" not in text


def test_the_card_says_when_the_loss_was_not_measured(home: Home, run: RunFolder) -> None:
    text = card(home, run, eval_loss=None)
    assert text.count("not measured at this step") == 2
    assert "None" not in text


def test_the_same_revision_always_has_the_same_card(home: Home, run: RunFolder) -> None:
    assert card(home, run) == card(home, run)


def test_the_token_never_reaches_a_card(home: Home, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "accelerate" in card(home, run)
    monkeypatch.setenv("HF_TOKEN", "accelerate")
    assert "accelerate" not in card(home, run)


DATASET = {
    "corpus": "code", "created_at": "2026-11-24T12:00:00+00:00", "source": "hub:owner/name", "validation_source": None,
    "keywords": ["pandas"], "match": "import", "max_files": None, "validation_share": 0.05, "quality": {},
    "tokenizer": None, "vocab_size": 300, "files": {"train": 900, "validation": 100}, "versions": {"polars": "2.1"},
    "bytes": {"train": 10_000, "validation": 1_000}, "tokens": {"train": 5_000, "validation": 500},
    "files_dense": 0, "licenses": {"mit": 1_000},
}  # fmt: skip
REPORT = {"scanned": 40_000, "kept": 1_000, "keep_rate": 0.025, "bad_rows": {"not JSON": 3}, "removed": {}}


def about(**changes: Any) -> str:
    return dataset_card("me/files", {**DATASET, **changes}, REPORT)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "- 1K<n<10K"),
        ({}, "40,000 files, of which 1,000 (2.50 %) match; 3 more rows could not be read"),
        ({}, "a file that has `pandas` in a line that imports it"),
        ({}, "Rules of quality: none"),
        ({}, "Copies of a file can stand in both splits"),
        ({"source": "files"}, "Source: files of somebody's own disk."),
        ({"source": "installed"}, "Source: the Python packages installed"),
        ({"max_files": 1_000}, "read until 1,000 files were kept"),
        ({"keywords": ["a", "b`|\n"]}, "one of `a`, `b'/`"),
        ({"validation_source": "hub:owner/held"}, "Held out: all that match of `hub:owner/held`"),
        ({"validation_source": "files"}, "Held out: all that match of other files of somebody's own disk"),
        ({"tokenizer": "a folder"}, "one that was given, from a folder"),
        ({"tokenizer": "gpt2"}, "Tokenizer: `gpt2`"),
        ({"quality": {"drop_generated": True, "min_assignments": 5}}, "`drop_generated`, `min_assignments` = 5."),
        ({"quality": {"drop_exact_duplicates": True}}, "Near copies of a file can stand in both splits"),
        ({"quality": {"near_duplicate_jaccard": 0.85}}, "Files of one repository can stand in both"),
        ({"files_dense": 7}, "7 of the files needed too many tokens"),
        ({"licenses": {f"l{n}": 1 for n in range(25)}}, "5 more, all in `provenance.json`"),
        ({"licenses": {"a|b\nc`": 1}}, "| `a/b c'` | 1 |"),
    ],
)
def test_a_dataset_card_tells_how_the_corpus_was_made(changes: dict[str, Any], expected: str) -> None:
    text = about(**changes)
    assert expected in text
    assert not [word for word in ("None", "{", "}", "\n\n\n", " ,", "..") if word in text.split("## How to load it")[1]]


def test_a_dataset_card_counts_what_the_rules_removed() -> None:
    report = {**REPORT, "removed": {"drop_generated": {"files": 4}, "min_assignments": {"files": 5}}}
    text = dataset_card("me/files", {**DATASET, "quality": {"drop_generated": True}}, report)
    assert "They removed 4 by `drop_generated`, 5 by `min_assignments`." in text


NAMES = [
    "2024-01-01",
    "1e3",
    "no",
    "null",
    "0x10",
    "12:30",
    "a: b",
    "x # y",
    "- z",
    '"q',
    "a{b",
    "*x",
    "!!int x",
    "ü 🦜\x7f",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_in_the_front_matter_whatever_it_looks_like(name: str) -> None:
    facts = {"step": 1, "revision": "a" * 12, "run": "alpha", "eval_loss": 2.5, "perplexity": 9.0}
    front = model_card({**facts, "repo": f"me/{name}", "corpus": name}).split("---\n")[1]
    (model,) = yaml.safe_load(front)["model-index"]
    assert model["name"] == name
    assert model["results"][0]["dataset"]["type"] == name
    assert model["results"][0]["dataset"]["name"] == f"held-out files of corpus {name}"
    assert yaml.safe_load(front)["license_link"] == f"https://huggingface.co/me/{name}#what-it-was-trained-on"
    assert yaml.safe_load(about(corpus=name).split("---\n")[1])["pretty_name"] == f"Python files of corpus {name}"


# ---- what a model's card says of its run and corpus ----


@pytest.fixture
def trained(home: Home, run: RunFolder) -> RunFolder:
    """A run with its corpus, as their jobs leave them."""
    write_json(
        home.corpus("python").manifest,
        {
            "corpus": "python",
            "config": {"source": "files:/srv/secret/code", "keywords": ["pandas", "a|b`c"], "match": "import"},
            "files_train": 90,
            "files_validation": 10,
            "tokens_train": 40_000,
            "tokens_validation": 4_000,
            "sha256": {"tokens-train.bin": "ab" * 32},
        },
    )
    report = {"scanned": 200, "kept": 100, "keep_rate": 0.5}
    licences = [{"name": "mit", "files": 60}, {"name": "a | b\n# c", "files": 39}, {"name": "", "files": 1}]
    write_json(home.corpus("python").report, {**report, "licenses": licences})
    config = run_config(
        corpus="python", preset="tiny", recipe="fast", vocab_size=4_096, train_tokens=10**6, changes={"seed": 7}
    )
    chosen = {"device": "cpu", "precision": "bf16", "compiled": False}
    own = {"chosen": chosen, "tokens_sha256": {"tokens-train.bin": "ab" * 32}}
    write_json(run.config, {**config.to_dict(), **own})
    for step in (0, 250, 500, 600):
        loss = 8.0 - step / 100
        append_line(run.metrics, {"step": step, "eval_loss": loss, "perplexity": 9.0, "seconds": 1.2 * step})
        append_line(run.samples, {"step": step, "prompt": "# x", "text": f"plt.{step}()\n```\n# out"})
    return run


def whole_card(home: Home, run: RunFolder, hourly_price: float | None = None, **changes: Any) -> str:
    revision = Registry(home, "me/parrot").add(write_checkpoint(run, 500))
    provenance = {**(read_json(revision.path / "provenance.json") or {}), "tokens": 80_000, **changes}
    facts = card_facts(home, run, revision, read_json(run.config) or {}, image="runs/alpha/curve.png")
    return model_card(provenance, facts, hourly_price=hourly_price)


def test_the_card_answers_what_a_stranger_asks(home: Home, trained: RunFolder) -> None:
    text = whole_card(home, trained)
    for fact in (
        "| 500 | 3.000 | 9.0 |",
        "4 layers, hidden size 256",
        "muon for the weight matrices, learning rate 0.012; AdamW for the rest, learning rate",
        "then constant, then a straight line down to zero over the last 50% of the steps",
        "4,096 tokens, byte-level BPE, made from the training files |",
        "Copies of files were not removed, so held-out text can also be in the training files.",
        "sampled at temperature 0.6, the first 24 tokens",
        "one of `pandas`, `a/b'c` in a line that imports it",
        "| seed | 7 |",
        "| hardware | a CPU |",
        "| precision | bf16 |",
        "| time | 10 min |",
        "steps, on up to 256 evenly spaced windows of the held-out files",
        "files of somebody's own disk",
        "100 of 200 files, 50.0 %",
        "90 to train on, 10 held out",
        "the model has read 80,000, which is 2.0 epochs",
        "| `mit` | 60 |",
        "| not recorded | 1 |",
        "windows of 128 tokens. It accepts up to 256, prompt included, but its positions beyond",
        "abababababababab",
    ):
        assert fact in text, fact
    assert "/srv" not in text
    assert "plt.600()" not in text and "| 600 |" not in text, "nothing of a later step"


def test_the_card_shows_the_curve_and_names_hardware_and_cost(home: Home, trained: RunFolder) -> None:
    text = whole_card(home, trained)
    assert "![Training and validation loss by optimizer step](runs/alpha/curve.png)" in text
    assert "| cost |" not in text
    config = read_json(trained.config) or {}
    write_json(trained.config, {**config, "hardware": "2 x NVIDIA A10G"})
    text = whole_card(home, trained, hourly_price=3.0)
    assert "| hardware | 2 x NVIDIA A10G |" in text
    assert "| cost | about $0.50, at $3.00 an hour |" in text, "600 s"


def leaves(value: dict[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Of a tree of dictionaries: the path of every entry, those of inner ones too."""
    own = [(*above, name) for name in value]
    return own + [
        path for name, inner in value.items() if isinstance(inner, dict) for path in leaves(inner, (*above, name))
    ]


def test_a_fact_that_was_not_recorded_keeps_no_checkpoint_from_the_hub(home: Home, trained: RunFolder) -> None:
    for file in (trained.config, home.corpus("python").manifest, home.corpus("python").report):
        whole = read_json(file) or {}
        for path in leaves(whole):
            if path == ("corpus",):  # names the run's corpus in its provenance: without it there is no revision
                continue
            less = copy.deepcopy(whole)
            inner = less
            for name in path[:-1]:
                inner = inner[name]
            del inner[path[-1]]
            write_json(file, less)
            assert "# me/parrot" in whole_card(home, trained), path
        write_json(file, whole)


def test_text_of_others_stays_in_its_place(home: Home, trained: RunFolder) -> None:
    text = whole_card(home, trained)
    assert "| `a / b # c` | 39 |" in text and "`a/b'c`" in text
    assert text.count("```") % 2 == 0 and "```\n# out" not in text


def test_the_card_has_a_result_that_the_hub_reads(home: Home, trained: RunFolder) -> None:
    front = yaml.safe_load(whole_card(home, trained).split("---\n", 2)[1])
    (result,) = front["model-index"][0]["results"]
    assert {row["type"]: row["value"] for row in result["metrics"]} == {"loss": 2.5, "perplexity": 12.18}
    assert front["language"] == ["code"] and front["license_link"].endswith("/me/parrot#what-it-was-trained-on")
    assert "datasets" not in front


def test_the_card_links_the_dataset_of_the_corpus(home: Home, trained: RunFolder) -> None:
    push = {"state": "finished", "pushed": {"repo": "me/code", "commit": "c" * 40}}
    write_json(home.corpus("python").push.status, push)
    text = whole_card(home, trained)
    assert yaml.safe_load(text.split("---\n", 2)[1])["datasets"] == ["me/code"]
    assert "https://huggingface.co/datasets/me/code" in text


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        (None, "files that were held out from training, from the same source as the training files"),
        ("hub:they/valid", "files that were held out from training, from `hub:they/valid`"),
        ("files:/srv/valid", "files that were held out from training, from files of somebody's own disk"),
    ],
)
def test_the_card_says_where_the_held_out_files_come_from(
    home: Home, trained: RunFolder, validation: str | None, said: str
) -> None:
    folder = home.corpus("python")
    manifest = read_json(folder.manifest) or {}
    source = {"source": "hub:they/code", "validation_source": validation}
    write_json(folder.manifest, {**manifest, "config": {**manifest["config"], **source}})
    text = whole_card(home, trained)
    assert said in " ".join(text.split())
    assert yaml.safe_load(text.split("---\n", 2)[1])["datasets"] == ["they/code"]


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        ({}, "Copies of files were not removed"),
        ({"drop_exact_duplicates": True}, "Only exact copies of files were removed"),
        ({"near_duplicate_jaccard": 0.85}, ""),
    ],
)
def test_the_card_says_whether_held_out_text_can_be_in_the_training_files(
    home: Home, trained: RunFolder, quality: dict[str, Any], said: str
) -> None:
    manifest = read_json(home.corpus("python").manifest) or {}
    write_json(home.corpus("python").manifest, {**manifest, "config": {**manifest["config"], "quality": quality}})
    text = whole_card(home, trained)
    assert ("can also be in the training files" in text) is bool(said) and said in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"schedule": "linear", "warmup_steps": 7},
            "| schedule | 7 steps of warm-up, then a straight line down to zero |",
        ),
        ({"schedule": "cosine"}, "then a cosine down to zero |"),
        ({"optimizer": "adamw", "learning_rate": 0.5}, "| optimizer | adamw, learning rate 0.5; weight decay"),
        ({"eval_windows": None}, "on all windows of the held-out files"),
    ],
)
def test_the_card_puts_every_setting_in_words(
    home: Home, trained: RunFolder, changes: dict[str, Any], said: str
) -> None:
    config = read_json(trained.config) or {}
    write_json(trained.config, {**config, "training": {**config["training"], **changes}})
    assert said in whole_card(home, trained)


def test_the_card_names_the_projects_of_an_index_and_no_folder_of_a_disk(home: Home, trained: RunFolder) -> None:
    folder = home.corpus("python")
    manifest, report = read_json(folder.manifest) or {}, read_json(folder.report) or {}
    projects = [{"name": f"one|`{n}", "files": 900 - n} for n in range(9)]
    write_json(folder.report, {**report, "repositories": projects})
    assert "one/'0" not in whole_card(home, trained), "files:"
    write_json(folder.manifest, {**manifest, "config": {**manifest["config"], "source": "pypi"}})
    text = whole_card(home, trained)
    assert (
        "| projects | one/'0 (900), one/'1 (899)," in text and "one/'7 (893) and others; in brackets, files |" in text
    )


def test_a_model_that_was_trained_on_its_longest_text_is_reliable_to_its_end(home: Home, trained: RunFolder) -> None:
    config = read_json(trained.config) or {}
    write_json(trained.config, {**config, "model": {**config["model"], "n_positions": 128}})
    assert "unreliable" not in whole_card(home, trained)


def test_without_the_corpus_the_card_says_less(home: Home, trained: RunFolder) -> None:
    shutil.rmtree(home.corpus("python").path)
    text = whole_card(home, trained)
    assert "## What it was trained on" in text and "held out" not in text.split("## What it was trained on")[1]
    assert "None" not in text
