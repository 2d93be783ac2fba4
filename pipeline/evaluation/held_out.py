"""How well a model knows files that it was not trained on: bits per byte, loss by library, and the next line."""

from __future__ import annotations

import contextlib
import difflib
import io
import math
import re
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

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
LIBRARIES = ("numpy", "pandas", "matplotlib", "seaborn", "sklearn")
MIN_CONTEXT_LINES, MAX_LINE_CHARACTERS = 3, 100


@dataclass(frozen=True)
class NextLine:
    """The lines before, and the line that stands in the file."""

    context: str
    line: str


class _FirstLine:
    """Ends a completion with its first line that is not blank."""

    def shown(self, text: str) -> tuple[str, bool]:
        line, newline, _ = text.lstrip("\n").partition("\n")
        return line, bool(newline)


def figures(
    decoder: Decoder, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, window: int
) -> dict[str, object]:
    """Loss in nats per token, bits per byte, and the loss of the files that import each library; of windows as long as the
    model was trained on. The first token of a window has no context and does not count.
    """
    nats, num_tokens, num_bytes = 0.0, 0, 0
    by_library: dict[str, list[float]] = {name: [] for name in LIBRARIES}
    for text in texts:
        token_ids = encode(tokenizer, text)
        of_file: list[float] = []
        for start in range(0, len(token_ids), window):
            part = token_ids[start : start + window]
            of_file += losses(decoder, part)
            num_bytes += len(str(tokenizer.decode(part[1:])).encode())
        nats += math.fsum(of_file)
        num_tokens += len(of_file)
        for name in LIBRARIES:
            if imports(text, name):
                by_library[name] += of_file
    return {
        "files": len(texts),
        "tokens": num_tokens,
        "loss": nats / num_tokens if num_tokens else None,
        "bits_per_byte": nats / math.log(2) / num_bytes if num_bytes else None,
        "loss_by_library": {name: math.fsum(found) / len(found) for name, found in by_library.items() if found},
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
