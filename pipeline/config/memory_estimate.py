"""Estimates of the memory that training takes, from the shape of the model alone."""

from __future__ import annotations

from pipeline.config.schema import ModelConfig

BYTES_PER_WEIGHT = 4
"""Of one float32 value: weights, gradients and moments."""


def state_bytes(model: ModelConfig) -> int:
    """Bytes of weights, gradients and both AdamW moments. Muon has one moment less for the matrices."""
    return 4 * BYTES_PER_WEIGHT * model.num_parameters


def gradient_and_moment_bytes(model: ModelConfig) -> int:
    """Bytes of `state_bytes` without the weights: what is not allocated yet when the model is on its device."""
    return state_bytes(model) - BYTES_PER_WEIGHT * model.num_parameters


def activation_bytes(model: ModelConfig) -> int:
    """Bytes of one window's activations kept for the backward pass, in float32: about 17 values per token, layer and
    width (Korthikanti et al. 2022, Reducing Activation Recomputation), and the logits twice.
    """
    return model.window * BYTES_PER_WEIGHT * (17 * model.n_layer * model.n_embd + 2 * model.vocab_size)
