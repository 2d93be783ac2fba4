"""GPT-2 as it writes: one pass over the next tokens of several texts, each with its own key/value cache.

The rows of all texts go through each weight matrix together, which is where the time goes; attention is computed for
each text by itself. With the linears of `linear` a text then does not depend on the texts beside it.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from pipeline.generation import linear
from pipeline.generation.linear import Build, Linear

LARGE = 20_000_000
"""Parameters from which on 8-bit weights are used where the machine has them, and all its cores. A smaller model writes a
thousand tokens a second on one core, and gains a fifth from a second one, but stalls on it when anything else runs there.
"""
PADDED_ROWS = 16
"""On a GPU each pass has a multiple of so many rows: with the same shape, its sums have the same order."""


class Layer(NamedTuple):
    norm_1: tuple[Tensor, Tensor]
    attend: Linear
    attended: Linear
    norm_2: tuple[Tensor, Tensor]
    widen: Linear
    narrow: Linear


class KeyValueCache:
    """Keys and values of one text, of all layers."""

    def __init__(self, decoder: Decoder, positions: int) -> None:
        """Room for `positions` tokens."""
        shape = (len(decoder.layers), 2, decoder.num_heads, positions, decoder.width // decoder.num_heads)
        self.values = torch.empty(shape, dtype=decoder.dtype, device=decoder.device)
        self.length = 0
        """Tokens that it holds."""

    def copy(self) -> KeyValueCache:
        copied = copy.copy(self)
        copied.values = torch.empty_like(self.values)
        copied.values[..., : self.length, :] = self.values[..., : self.length, :]
        return copied


@dataclass(frozen=True, eq=False)
class Span:
    """The next tokens of one text."""

    cache: KeyValueCache
    token_ids: Sequence[int]


class Decoder:
    """A GPT-2's weights, laid out for writing. Thread-safe: a pass changes nothing but the caches."""

    def __init__(self, model: PreTrainedModel, build: Build, kind: str) -> None:
        """`kind`: what to call this backend where people see it, such as `int8`."""
        config: Any = model.config
        body: Any = model.transformer
        self.kind = kind
        self.num_heads: int = config.n_head
        self.width: int = config.n_embd
        self.positions: int = config.max_position_embeddings
        self._tokens, self._positions = body.wte.weight.detach(), body.wpe.weight.detach()
        self.dtype, self.device = self._tokens.dtype, self._tokens.device
        self._activation: Callable[[Tensor], Tensor] = ACT2FN[config.activation_function]
        self._epsilon: float = config.layer_norm_epsilon
        self._norm = _norm(body.ln_f)
        self._head = build(model.lm_head.weight.detach(), None)
        self.layers = [_layer(block, build) for block in body.h]
        self._scales = [_scale(config, index) for index in range(len(self.layers))]
        self._is_padded = self.device.type == "cuda"
        self._is_large = model.num_parameters() >= LARGE

    def num_threads(self, most: int) -> int:
        """How many of at most so many CPU threads it makes use of."""
        return most if self._is_large else 1

    def engine(self, most: int) -> str:
        """What it computes with, for people: `int8 on 2 cores`."""
        num_threads = self.num_threads(most)
        where = "the GPU" if self.device.type == "cuda" else "1 core" if num_threads == 1 else f"{num_threads} cores"
        return f"{self.kind} on {where}"

    @torch.inference_mode()
    def logits(self, spans: Sequence[Span]) -> Tensor:
        """Take the tokens of each span into its cache. Returns the logits after each span's last token:
        float32[spans, vocabulary].
        """
        if not self._is_padded:
            return self._pass(spans)
        # One shape for all texts that are written, and one for each length of a part of a prompt.
        found: dict[Span, Tensor] = {}
        short = [span for span in spans if len(span.token_ids) == 1]
        parts = [[span] for span in spans if len(span.token_ids) > 1]
        for group in [*parts, *(short[at : at + PADDED_ROWS] for at in range(0, len(short), PADDED_ROWS))]:
            found.update(zip(group, self._pass(group), strict=True))
        return torch.stack([found[span] for span in spans])

    def cache_bytes(self, positions: int) -> int:
        """What a cache for so many tokens takes."""
        return len(self.layers) * 2 * self.width * positions * self.dtype.itemsize

    @torch.inference_mode()
    def states(self, spans: Sequence[Span]) -> Iterator[Tensor]:
        """Take the tokens of each span into its cache. Yields the states of all tokens, one span after the other, as they
        enter the first layer and as they leave each: float32[tokens, width]. On a GPU there may be more rows, of no use.
        """
        lengths = [len(span.token_ids) for span in spans]
        starts = [span.cache.length for span in spans]
        tokens = self._padded([token for span in spans for token in span.token_ids])
        positions = self._padded(
            [start + at for start, length in zip(starts, lengths, strict=True) for at in range(length)]
        )
        rows = self._tokens[tokens] + self._positions[positions]
        yield rows
        for index, layer in enumerate(self.layers):
            attended = self._attention(index, layer.attend(self._normal(rows, layer.norm_1)), spans, lengths)
            rows = rows + layer.attended(attended)
            rows = rows + layer.narrow(self._activation(layer.widen(self._normal(rows, layer.norm_2))))
            yield rows
        for span, length in zip(spans, lengths, strict=True):
            span.cache.length += length

    @torch.inference_mode()
    def expected(self, states: Tensor) -> Tensor:
        """The logits of the next token after these states: float32[states, vocabulary]."""
        return self._head(self._normal(states, self._norm)).float()

    @torch.inference_mode()
    def attention(self, index: int, state: Tensor, cache: KeyValueCache, at: int) -> Tensor:
        """How the heads of a layer weigh the tokens up to `at`: float32[heads, at + 1]. `state`: of the token `at` as it
        enters the layer, float32[width]; `cache`: of its text.
        """
        layer = self.layers[index]
        queries = layer.attend(self._normal(state[None], layer.norm_1))[0, : self.width].view(self.num_heads, -1, 1)
        keys = cache.values[index, 0, :, : at + 1]
        return ((keys @ queries)[..., 0] * self._scales[index]).float().softmax(dim=-1)

    def _pass(self, spans: Sequence[Span]) -> Tensor:
        for rows in self.states(spans):
            last = rows
        ends = self._padded([end - 1 for end in itertools.accumulate(len(span.token_ids) for span in spans)])
        return self.expected(last[ends])[: len(spans)]

    def _attention(self, index: int, mixed: Tensor, spans: Sequence[Span], lengths: Sequence[int]) -> Tensor:
        """The attention of one layer. `mixed`: queries, keys and values, [rows, 3 * width]. Returns [rows, width]."""
        result = mixed.new_zeros(mixed.shape[0], self.width)
        start = 0
        for span, length in zip(spans, lengths, strict=True):
            cache, before = span.cache.values[index], span.cache.length
            end = before + length
            queries, keys, values = (
                mixed[start : start + length].view(length, 3, self.num_heads, -1).permute(1, 2, 0, 3)
            )
            cache[0, :, before:end], cache[1, :, before:end] = keys, values
            mask = None
            if length > 1 and before:
                mask = torch.ones(length, end, dtype=torch.bool, device=self.device).tril(before)
            found = functional.scaled_dot_product_attention(
                queries[None],
                cache[None, 0, :, :end],
                cache[None, 1, :, :end],
                attn_mask=mask,
                is_causal=length > 1 and not before,
                scale=self._scales[index],
            )
            result[start : start + length] = found[0].transpose(0, 1).reshape(length, self.width)
            start += length
        return result

    def _normal(self, rows: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(rows, (self.width,), *norm, self._epsilon)

    def _padded(self, numbers: list[int]) -> Tensor:
        missing = -len(numbers) % PADDED_ROWS if self._is_padded else 0
        return torch.tensor(numbers + [0] * missing, device=self.device)


def for_writing(model: PreTrainedModel, *, exact_only: bool = False) -> Decoder:
    """The fastest decoder of this machine in which a text does not depend on the texts beside it. `exact_only`: of those
    that compute in float32.
    """
    if model.device.type == "cuda":
        return Decoder(model, linear.Plain, "float32")
    if not exact_only and model.num_parameters() >= LARGE and linear.has_int8():
        return Decoder(model, linear.PackedInt8, "int8")
    return exact(model)


def exact(model: PreTrainedModel) -> Decoder:
    """The decoder of a model on the CPU in exact float32."""
    return Decoder(model, linear.exact_float32(model.config.n_embd), "float32")


def as_it_is(model: PreTrainedModel) -> Decoder:
    """The decoder of a model that is being trained: it reads the present weights and copies none."""
    return Decoder(model, linear.Plain, "plain")


def _layer(block: Any, build: Build) -> Layer:
    def made(module: Any) -> Linear:
        return build(module.weight.detach().t(), module.bias.detach())  # GPT-2 has its weights as [in, out]

    return Layer(
        _norm(block.ln_1),
        made(block.attn.c_attn),
        made(block.attn.c_proj),
        _norm(block.ln_2),
        made(block.mlp.c_fc),
        made(block.mlp.c_proj),
    )


def _norm(module: Any) -> tuple[Tensor, Tensor]:
    return module.weight.detach(), module.bias.detach()


def _scale(config: Any, index: int) -> float:
    """What the products of queries and keys of a layer are multiplied by."""
    scale = (config.n_embd // config.n_head) ** -0.5 if config.scale_attn_weights else 1.0
    return scale / (index + 1) if config.scale_attn_by_inverse_layer_idx else scale
