from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import pipeline as hub_pipeline

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import DamagedError, InputError
from pipeline.generation.loading import load
from pipeline.generation.sampling import complete
from pipeline.generation.settings import Sampling
from tests.generation.models import seal, tiny_model, write_revision

WEIGHTS = "model.safetensors"


def test_a_whole_revision_loads_as_it_was_saved(revision: Revision) -> None:
    model, tokenizer = load(revision.path)
    original = tiny_model(n_positions=model.config.n_positions)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), original.parameters(), strict=True))
    assert not model.training
    assert complete(model, tokenizer, "import", Sampling(max_new_tokens=2))


def test_half_precision_weights_are_widened(tmp_path: Path) -> None:
    model, _ = load(write_revision(tmp_path / "r", tiny_model().bfloat16()).path)
    assert model.dtype == torch.float32


def test_the_tokenizer_splits_text_as_the_one_that_was_saved(revision: Revision, tokenizer: object) -> None:
    """transformers selects a class by the folder's config; another class would split or clean up text differently."""
    from pipeline.generation.sampling import encode

    _, loaded = load(revision.path)
    for text in (Path(__file__).read_text(), "  héé 漢字 😀\r\n\n\t x ,y ! 's", "<|endoftext|>"):
        token_ids = encode(tokenizer, text)  # type: ignore[arg-type]
        assert encode(loaded, text) == token_ids
        assert loaded.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == text


def test_nothing_but_transformers_is_needed(revision: Revision) -> None:
    writer = hub_pipeline("text-generation", model=str(revision.path))
    (answer,) = writer("import pandas", max_new_tokens=3, do_sample=False)
    assert answer["generated_text"].startswith("import pandas")


def test_transformers_generates_the_same_text(revision: Revision) -> None:
    prompt = "import pandas"
    (answer,) = hub_pipeline("text-generation", model=str(revision.path))(
        prompt, max_new_tokens=12, do_sample=False, return_full_text=False
    )
    assert complete(*load(revision.path), prompt, Sampling(max_new_tokens=12, temperature=0)) == [
        answer["generated_text"]
    ]


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)


def zero_the_tail(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-4_096] + bytes(4_096))


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4_096])


@pytest.mark.parametrize("damage", [flip_a_byte, zero_the_tail, cut_off, Path.unlink])
def test_a_damaged_file_is_refused_by_name(copy: Path, damage: object) -> None:
    damage(copy / WEIGHTS)  # type: ignore[operator]
    with pytest.raises(DamagedError, match=r"model\.safetensors .*; choose another revision"):
        load(copy)


@pytest.mark.parametrize("damage", [flip_a_byte, zero_the_tail])
def test_transformers_itself_loads_such_a_file(copy: Path, damage: object) -> None:
    """The control of the test above: without a manifest, transformers loads such a file without any error."""
    damage(copy / WEIGHTS)  # type: ignore[operator]
    (copy / "manifest.json").unlink()
    assert hub_pipeline("text-generation", model=str(copy))


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "provenance.json"])
def test_a_change_to_any_file_is_refused(copy: Path, name: str) -> None:
    (copy / name).write_text((copy / name).read_text().replace("0", "1", 1))
    with pytest.raises(DamagedError, match=name):
        load(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_numbers_are_refused_though_the_manifest_names_them(tmp_path: Path, value: float) -> None:
    """A diverged run would push such weights."""
    model = tiny_model()
    with torch.no_grad():
        model.transformer.h[1].mlp.c_fc.weight[3, 3] = value
    with pytest.raises(DamagedError, match=r"NaN or infinity in transformer\.h\.1\.mlp\.c_fc\.weight"):
        load(write_revision(tmp_path / "r", model).path)


@pytest.mark.parametrize(
    ("missing", "added", "reason"),
    [("transformer.h.0.mlp.c_fc.weight", None, "missing keys"), (None, "transformer.h.9.extra", "unexpected keys")],
)
def test_layers_that_are_missing_or_too_many_are_refused(
    copy: Path, missing: str | None, added: str | None, reason: str
) -> None:
    weights = load_file(copy / WEIGHTS)
    if missing:
        del weights[missing]
    if added:
        weights[added] = torch.zeros(3)
    save_file(weights, copy / WEIGHTS, metadata={"format": "pt"})
    seal(copy)
    with pytest.raises(DamagedError, match=reason):
        load(copy)


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "n_embd": 64}))
    seal(copy)
    with pytest.raises(DamagedError, match="choose another revision"):
        load(copy)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path: Path) -> None:
    """Its last tokens would raise IndexError on the CPU and kill the process on CUDA."""
    with pytest.raises(DamagedError, match="512 tokens in its tokenizer but 400 in its model"):
        load(write_revision(tmp_path / "r", tiny_model(vocab_size=400)).path)


def test_a_config_that_names_custom_code_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    own = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (copy / "config.json").write_text(json.dumps({**config, **own}))
    (copy / "own.py").write_text("raise SystemExit('code of the revision ran')\n")
    seal(copy)
    with pytest.raises(DamagedError, match="cannot be loaded"):
        load(copy)


def test_a_pickle_is_not_read(copy: Path) -> None:
    (copy / WEIGHTS).rename(copy / "pytorch_model.bin")
    seal(copy)
    with pytest.raises(DamagedError, match=r"names no model\.safetensors"):
        load(copy)


@pytest.mark.parametrize("text", ['{"format": 1}', '{"files": ["config.json"]}', '{"files": {"config.json": 5}}', "{"])
def test_a_broken_manifest_is_refused_by_name(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(DamagedError, match=r"manifest\.json"):
        load(copy)


def test_a_folder_that_is_no_revision_is_an_input_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="is not a revision"):
            load(path)
