"""Reads the shape of a GPT-2 from a revision's config.json. Does not depend on the weights.

transformers would import what such a file names: another attention, a quantizer, the revision's own code. So only an
allow-list of values, each checked for type and bounds, is passed to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import GPT2Config

from pipeline.core.atomic_io import read_json

MAX_BYTES = 1_000_000
MAX_SIZES = {"n_layer": 1_000, "n_embd": 65_536, "n_head": 4_096, "n_positions": 4_194_304, "vocab_size": 4_194_304}
"""Larger values are refused. That the weights have the same sizes is checked before anything is allocated."""
ACTIVATIONS = frozenset({"gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu", "silu", "tanh"})
SWITCHES = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "tie_word_embeddings": True,
}
"""Switches with their defaults, used when config.json does not name them."""
REFUSED = (
    "auto_map",
    "custom_pipelines",
    "quantization_config",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "add_cross_attention",
    "is_encoder_decoder",
    "pruned_heads",
)
"""Keys that name code, packages or layers that a GPT-2 does not have. Empty values are ignored."""
DTYPES = frozenset({"float32", "float16", "bfloat16"})


def read_config(folder: Path) -> GPT2Config:
    """Raises ValueError, naming the key and its value, unless config.json describes a plain GPT-2."""
    path = folder / "config.json"
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"config.json has {path.stat().st_size:,} bytes, {MAX_BYTES:,} are read")
    values = read_json(path) or {}
    _check(values.get("model_type") == "gpt2", "model_type", values.get("model_type"))
    _check(values.get("architectures") in (None, ["GPT2LMHeadModel"]), "architectures", values.get("architectures"))
    for key in REFUSED:
        _check(not values.get(key), key, values.get(key))
    for key in ("dtype", "torch_dtype"):
        dtype = values.get(key)
        _check(dtype is None or (isinstance(dtype, str) and dtype.removeprefix("torch.") in DTYPES), key, dtype)
    shape: dict[str, Any] = {**_sizes(values), **_switches(values), "attn_implementation": "sdpa"}
    return GPT2Config(
        **shape,
        layer_norm_epsilon=_epsilon(values),
        activation_function=_activation(values),
        bos_token_id=None,  # the end-of-text token is taken from the tokenizer
        eos_token_id=None,
    )


def _sizes(values: dict[str, Any]) -> dict[str, int | None]:
    sizes: dict[str, int | None] = {key: values.get(key) for key in MAX_SIZES}
    for key, limit in MAX_SIZES.items():
        _check(_is_size(sizes[key], limit), key, sizes[key])
    width, inner = values["n_embd"], values.get("n_inner")
    _check(width % values["n_head"] == 0, "n_head", values["n_head"])
    _check(inner is None or _is_size(inner, 64 * width), "n_inner", inner)
    return {**sizes, "n_inner": inner}


def _switches(values: dict[str, Any]) -> dict[str, bool]:
    switches = {key: values.get(key, default) for key, default in SWITCHES.items()}
    for key, value in switches.items():
        _check(isinstance(value, bool), key, value)
    return switches


def _epsilon(values: dict[str, Any]) -> float:
    value = values.get("layer_norm_epsilon", 1e-5)
    _check(isinstance(value, float) and 0 < value < 1, "layer_norm_epsilon", value)
    return float(value)


def _activation(values: dict[str, Any]) -> str:
    value = values.get("activation_function", "gelu_new")
    _check(isinstance(value, str) and value in ACTIVATIONS, "activation_function", value)
    return str(value)


def _is_size(value: Any, limit: int) -> bool:
    return type(value) is int and 1 <= value <= limit


def _check(is_valid: bool, key: str, value: Any) -> None:
    if not is_valid:
        raise ValueError(f"config.json has the {key} {str(value)[:80]!r}, which a plain GPT-2 does not have")
