"""Small real models, tokenizers and revisions: two untrained layers, a byte-level BPE of this project's source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.artifacts.revision import Registry, Revision
from pipeline.core.atomic_io import sha256, write_json
from pipeline.core.paths import ROOT, Home
from pipeline.core.settings import Settings

END = "<|endoftext|>"
SOURCE = ROOT / "pipeline"


def tiny_tokenizer(vocab_size: int = 512) -> PreTrainedTokenizerFast:
    """Trained on the base modules of this project; id 0 ends a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([path.read_text() for path in sorted(SOURCE.glob("*.py"))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END)


def tiny_model(*, seed: int = 0, n_positions: int = 64, vocab_size: int = 512, n_layer: int = 2) -> GPT2LMHeadModel:
    """Random weights: it generates random tokens, including incomplete characters."""
    shape = {"n_layer": n_layer, "n_embd": 32, "n_head": 2, "n_positions": n_positions, "vocab_size": vocab_size}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=0, eos_token_id=0)).eval()


def insist_on(model: GPT2LMHeadModel, token_id: int) -> GPT2LMHeadModel:
    """Make the model always generate `token_id`: its last layer norm always outputs that token's embedding, scaled."""
    with torch.no_grad():
        norm = model.transformer.ln_f
        norm.weight.zero_()
        norm.bias.copy_(10_000 * model.transformer.wte.weight[token_id])
    return model


def seal(folder: Path, **provenance: Any) -> Revision:
    """Write provenance.json and manifest.json for the files in `folder`, as publishing does. Returns the Revision."""
    facts = {"repo": "local", "run": "small-otter", "step": 20, "corpus": "installed", "eval_loss": 6.5, **provenance}
    write_json(folder / "provenance.json", facts)
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "size": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    write_json(folder / "manifest.json", {"format": 1, "step": facts["step"], "files": files})
    facts |= {"revision": sha256(folder / "manifest.json")[:12], "pushed_at": "2026-01-01T00:00:00Z"}
    return Revision.from_facts(facts, commit=None, path=folder)


def write_revision(folder: Path, model: GPT2LMHeadModel | None = None, **provenance: Any) -> Revision:
    """A complete revision in `folder`."""
    (model or tiny_model()).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return seal(folder, **provenance)


def push(settings: Settings, step: int, model: GPT2LMHeadModel | None = None, **provenance: Any) -> Revision:
    """Write a checkpoint of run small-otter and add it to the registry."""
    home = Home(settings.home)
    checkpoint = home.run("small-otter").checkpoint(step)
    write_revision(checkpoint, model or tiny_model(seed=step), repo=None, step=step, **provenance)
    return Registry(home, settings.repo).add(checkpoint)
