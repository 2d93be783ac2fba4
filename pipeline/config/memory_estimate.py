"""Memory that training takes: estimates, from the shape of the model alone."""

from __future__ import annotations

from pipeline.config.schema import ModelConfig

BYTES_PER_WEIGHT = 4
"""Weights, gradients and moments are float32."""


def state_bytes(model: ModelConfig) -> int:
    """Weights, gradients and both moments of AdamW. Muon has one moment less for the matrices."""
    return 4 * BYTES_PER_WEIGHT * model.num_parameters


def activation_bytes(model: ModelConfig) -> int:
    """What one window leaves for the backward pass, in float32: about 17 values per token, layer and width (Korthikanti et
    al. 2022, Reducing Activation Recomputation), and the logits twice.
    """
    return model.window * BYTES_PER_WEIGHT * (17 * model.n_layer * model.n_embd + 2 * model.vocab_size)
