"""Reads the weights of a GPT-2 from a safetensors file that has exactly these. Does not depend on tokenizers."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import GPT2Config

TENSORS_PER_LAYER = 12
DTYPES = frozenset({"F32", "F16", "BF16"})
OLD_BUFFERS = re.compile(r"transformer\.h\.\d+\.attn\.(bias|masked_bias)")
"""Causal masks that earlier versions of transformers saved; they are not weights and are ignored."""
HEAD = "lm_head.weight"
SHOWN = 3


def read_weights(path: Path, config: GPT2Config) -> dict[str, torch.Tensor]:
    """All weights by name, in float32. Raises ValueError naming the tensors, before anything is allocated, when the
    header does not match the shapes of `config`, and SafetensorError when the file has no valid header.
    """
    with safe_open(path, framework="pt") as file:
        found = {name: file.get_slice(name) for name in file.keys() if not OLD_BUFFERS.fullmatch(name)}  # noqa: SIM118 - not a mapping
        if config.n_layer * TENSORS_PER_LAYER > len(found):
            raise ValueError(f"config.json has {config.n_layer:,} layers, {path.name} has missing keys for them")
        shapes = expected_shapes(config)
        optional = {HEAD} if config.tie_word_embeddings else set()
        _refuse(path, "missing keys", shapes.keys() - found.keys() - optional)
        _refuse(path, "unexpected keys", found.keys() - shapes.keys())
        _refuse(path, "mismatched keys", {name for name in found if tuple(found[name].get_shape()) != shapes[name]})
        _refuse(path, "keys of another type", {name for name in found if found[name].get_dtype() not in DTYPES})
        return {name: file.get_tensor(name).float() for name in found if name not in optional}


def expected_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of each weight of a GPT2LMHeadModel with this config."""
    width = config.n_embd
    inner = config.n_inner or 4 * width
    layer = {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.c_attn.weight": (width, 3 * width),
        "attn.c_attn.bias": (3 * width,),
        "attn.c_proj.weight": (width, width),
        "attn.c_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (width, inner),
        "mlp.c_fc.bias": (inner,),
        "mlp.c_proj.weight": (inner, width),
        "mlp.c_proj.bias": (width,),
    }
    return {
        "transformer.wte.weight": (config.vocab_size, width),
        "transformer.wpe.weight": (config.n_positions, width),
        **{f"transformer.h.{n}.{name}": shape for n in range(config.n_layer) for name, shape in layer.items()},
        "transformer.ln_f.weight": (width,),
        "transformer.ln_f.bias": (width,),
        HEAD: (config.vocab_size, width),
    }


def _refuse(path: Path, fault: str, names: set[str]) -> None:
    if names:
        raise ValueError(f"{path.name} has {fault}: {', '.join(sorted(names)[:SHOWN])}")
