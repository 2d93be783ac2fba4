"""How well a model knows files that it was not trained on: bits per byte, loss by library, and the next line."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import math
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from pipeline.artifacts.evaluation import LIBRARIES
from pipeline.evaluation.writing import Wanted, write_all
from pipeline.generation.decoder import Decoder
from pipeline.generation.sampling import encode
from pipeline.generation.scoring import losses
from pipeline.generation.settings import Sampling

MAX_TOKENS = 50_000
"""Of the files that are read."""
NUM_LINES = 200
LINE_TOKENS = 48
"""Of a next line at most."""
MIN_CONTEXT_LINES, MAX_LINE_CHARACTERS = 3, 100


@dataclass(frozen=True)
class NextLine:
    """The lines before, and the line that stands in the file."""

    context: str
    line: str


@dataclass
class _Sum:
    """What was read of some files."""

    nats: float = 0.0
    num_tokens: int = 0
    num_bytes: int = 0

    def add(self, other: _Sum) -> None:
        self.nats += other.nats
        self.num_tokens += other.num_tokens
        self.num_bytes += other.num_bytes

    @property
    def loss(self) -> float | None:
        return self.nats / self.num_tokens if self.num_tokens else None

    @property
    def bits_per_byte(self) -> float | None:
        return self.nats / math.log(2) / self.num_bytes if self.num_bytes else None


class _FirstLine:
    """Ends a completion with its first line that is not blank."""

    def shown(self, text: str) -> tuple[str, bool]:
        line, newline, _ = text.lstrip("\n").partition("\n")
        return line, bool(newline)


def figures(
    decoder: Decoder, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, window: int
) -> dict[str, object]:
    """Loss in nats per token, bits per byte, and both for the files that import each library; of windows as long as the
    model was trained on. The first token of a window has no context and does not count. Losses of models with different
    tokenizers cannot be compared, bits per byte can. `digest`: of the files.
    """
    whole, by_library = _Sum(), {name: _Sum() for name in LIBRARIES}
    for text in texts:
        token_ids = encode(tokenizer, text)
        of_file = _Sum()
        for start in range(0, len(token_ids), window):
            part = token_ids[start : start + window]
            found = losses(decoder, part)
            of_file.add(_Sum(math.fsum(found), len(found), len(str(tokenizer.decode(part[1:])).encode())))
        whole.add(of_file)
        for name in LIBRARIES:
            if imports(text, name):
                by_library[name].add(of_file)
    read = {name: one for name, one in by_library.items() if one.num_tokens}
    return {
        "files": len(texts),
        "digest": hashlib.sha256("\0".join(texts).encode(errors="surrogatepass")).hexdigest()[:12],
        "tokens": whole.num_tokens,
        "loss": whole.loss,
        "bits_per_byte": whole.bits_per_byte,
        "loss_by_library": {name: one.loss for name, one in read.items()},
        "bits_per_byte_by_library": {name: one.bits_per_byte for name, one in read.items()},
    }


def imports(text: str, library: str) -> bool:
    return re.search(rf"^\s*(?:import|from)\s+{library}\b", text, re.MULTILINE) is not None


def next_lines(texts: Sequence[str], number: int = NUM_LINES, seed: int = 0) -> list[NextLine]:
    """Lines of code to guess, drawn from all files with a fixed seed: statements' first lines, not too long."""
    found = [
        NextLine("\n".join(lines[:at]) + "\n", lines[at].rstrip())
        for lines, text in ((text.split("\n"), text) for text in texts)
        for at in sorted(_lines_of_code(text))
        if at >= MIN_CONTEXT_LINES and len(lines[at]) <= MAX_LINE_CHARACTERS
    ]
    if len(found) > number:
        picks = np.random.default_rng(seed).choice(len(found), number, replace=False)
        found = [found[at] for at in sorted(picks.tolist())]
    return found


def _lines_of_code(text: str) -> set[int]:
    """The indices of the lines that begin a statement, other than a string: no comments, no docstrings, no continuations.
    What follows an error in the file is left out.
    """
    found: set[int] = set()
    begins = True
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.COMMENT):
                begins = begins or token.type == tokenize.NEWLINE
            elif begins:
                begins = False
                if token.type in (tokenize.NAME, tokenize.OP):
                    found.add(token.start[0] - 1)
    return found


def guessed(
    decoder: Decoder, tokenizer: PreTrainedTokenizerBase, lines: Sequence[NextLine], *, window: int
) -> dict[str, object]:
    """How many of these lines the model writes exactly, taking the likeliest token each time, and how similar the others
    are: difflib's ratio, 1 for equal lines.
    """
    greedy = Sampling(max_new_tokens=LINE_TOKENS, temperature=0)
    wanted = [_wanted(tokenizer, one, greedy, window) for one in lines]
    pairs = [
        (one.line, texts[0].rstrip()) for one, texts in zip(lines, write_all(decoder, tokenizer, wanted), strict=True)
    ]
    similar = [difflib.SequenceMatcher(None, line, text, autojunk=False).ratio() for line, text in pairs]
    num_exact = sum(line == text for line, text in pairs)
    return {
        "lines": len(pairs),
        "exact": num_exact / len(pairs) if pairs else None,
        "similarity": sum(similar) / len(similar) if similar else None,
    }


def _wanted(tokenizer: PreTrainedTokenizerBase, one: NextLine, greedy: Sampling, window: int) -> Wanted:
    """With as many of the last whole lines as fit into the trained window, beside the line to write."""
    token_ids = encode(tokenizer, one.context)[-max(1, window - LINE_TOKENS) :]
    context = one.context
    if len(token_ids) < len(encode(tokenizer, context)):
        tail = str(tokenizer.decode(token_ids))
        context = tail.partition("\n")[2] or tail
    return Wanted(context, greedy, _FirstLine())
