"""The tokenizer of a corpus: a byte-level BPE trained on its files, or an existing one.

Works on tokenizer.json alone, through `tokenizers`; transformers would import torch.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.atomic_io import read_json, write_json, write_text
from pipeline.core.errors import InputError
from pipeline.core.repo_names import REPO
from pipeline.data.sources.hub_errors import hub_faults

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
MIN_ROUND_TRIP = 0.9
"""A tokenizer that loses more of a text than a tenth is refused."""
MAX_LENGTH = 1_024
"""The maximum input length, in tokens, that is written for transformers: GPT-2's."""


def train(texts: Iterator[str], vocab_size: int) -> Tokenizer:
    """Train a byte-level BPE like GPT-2's with `vocab_size` tokens, end-of-text included; fewer for a short text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_trained(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer` as a folder that transformers' AutoTokenizer loads."""
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "GPT2Tokenizer",
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "model_max_length": MAX_LENGTH,
            **dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT),
        },
    )


def check_tokenizer(name: str) -> None:
    """Make those checks of `save_given` that need no request to the Hub.

    Raises InputError when `name` is neither a folder with a tokenizer.json nor a possible name of a repository.
    """
    if folder := _folder(name):
        _from_folder(folder)
    else:
        _check_repo(name)


def save_given(name: str, folder: Path) -> None:
    """Copy the tokenizer `name` (a folder, or a repository on the Hub) to `folder`, so that AutoTokenizer loads it.

    Raises InputError when there is none, it has no end-of-text token or its encoding is random, HubError when the Hub
    cannot be reached.
    """
    source = _folder(name)
    text, config = _from_folder(source) if source else _from_hub(name)
    try:
        tokenizer = _parsed(text)
    except ValueError as error:
        raise InputError(
            f"Tokenizer {name!r} has a tokenizer.json that cannot be read ({error}); use another."
        ) from error
    dropout = getattr(tokenizer.model, "dropout", None)
    if dropout:
        raise InputError(
            f"Tokenizer {name!r} has dropout {dropout:g}, so that it encodes the same text differently each time; "
            "set dropout to null in its tokenizer.json."
        )
    end = _token(config.get("eos_token")) or END_OF_TEXT
    if tokenizer.token_to_id(end) is None:
        raise InputError(
            f"Tokenizer {name!r} has no end-of-text token; name one as eos_token in tokenizer_config.json."
        )
    config.pop("auto_map", None)  # code from the Hub is never run
    write_text(folder / "tokenizer.json", text)
    write_json(folder / "tokenizer_config.json", {"bos_token": end, **config, "eos_token": end})


def check_round_trip(tokenizer: Tokenizer, texts: Iterable[str], name: str | None) -> float:
    """The share of `texts` that stands in lines which encoding and decoding leave as they are, 0 to 1; 1 for no text.

    Raises InputError below MIN_ROUND_TRIP: the model would see something else than the files. `name` is that of a given
    tokenizer; a trained one writes back everything.
    """
    num_all = num_kept = 0
    example: tuple[str, str] | None = None
    for text in texts:
        lines = text.splitlines(keepends=True)
        decoded = tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False)
        unchanged = Counter(decoded.splitlines(keepends=True))
        num_all += len(text)
        for number, line in enumerate(lines):
            if unchanged[line] > 0:
                unchanged[line] -= 1
                num_kept += len(line)
            elif example is None and line.strip():
                example = line.strip(), " ".join(decoded.split("\n", number + 1)[number : number + 1]).strip()
    share = num_kept / num_all if num_all else 1.0
    if share < MIN_ROUND_TRIP:
        shown = f", for example {example[0][:60]!r} as {example[1][:60]!r}" if example else ""
        raise InputError(
            f"Tokenizer {name!r} writes back only {share:.0%} of the text{shown}; choose one that can write any text, "
            "such as a byte-level one, or none, so that one is trained."
        )
    return share


def load(folder: Path) -> tuple[Tokenizer, int]:
    """The tokenizer in `folder` and the id of its end-of-text token.

    It treats special tokens as plain text: a file that contains `<|endoftext|>` does not end there.
    """
    tokenizer = _parsed((folder / "tokenizer.json").read_text(encoding="utf-8"))
    end_id = tokenizer.token_to_id((read_json(folder / "tokenizer_config.json") or {})["eos_token"])
    assert end_id is not None, "whatever was saved here has an end-of-text token"
    return tokenizer, end_id


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """Number of ids that a model needs: `len(tokenizer)` in transformers, unless the ids have gaps."""
    return max(tokenizer.get_vocab_size(), *(number + 1 for number in tokenizer.get_vocab().values()))


def _parsed(text: str) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # `tokenizers` raises nothing more specific
        raise ValueError(str(error)) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _folder(name: str) -> Path | None:
    """The folder with that name, if it exists."""
    folder = Path(os.path.expanduser(name))  # noqa: PTH111 - Path's own raises for an unknown ~user
    try:
        return folder if folder.is_dir() else None
    except OSError:  # too long to be a path, or not accessible
        return None


def _check_repo(name: str) -> None:
    if not REPO.fullmatch(name):
        raise InputError(
            f"There is no tokenizer {name!r}; name a folder with a tokenizer.json, or owner/name on the Hub."
        )


def _from_folder(folder: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"Tokenizer folder {str(folder)!r} has no readable tokenizer.json; save a fast tokenizer there."
        ) from error
    configs = [read_json(folder / part) or {} for part in ("special_tokens_map.json", "tokenizer_config.json")]
    return text, {**configs[0], **configs[1]}


def _from_hub(name: str) -> tuple[str, dict[str, Any]]:
    _check_repo(name)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    with hub_faults(f"Tokenizer {name!r} (tokenizer.json)"):
        text = Path(hf_hub_download(name, "tokenizer.json", token=False)).read_text(encoding="utf-8")
        config: dict[str, Any] = {}
        for part in ("special_tokens_map.json", "tokenizer_config.json"):
            try:
                config |= json.loads(Path(hf_hub_download(name, part, token=False)).read_text(encoding="utf-8"))
            except RemoteEntryNotFoundError:
                continue  # old repositories have only one of the two
    return text, config


def _token(value: Any) -> str | None:
    """The text of a special token, which transformers writes as a string or in an object."""
    return value.get("content") if isinstance(value, dict) else value
