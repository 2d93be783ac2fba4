from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from pipeline.core.errors import InputError
from pipeline.generation.ending import FUNCTION, LENGTH, LINE, Ending
from pipeline.generation.settings import Sampling
from pipeline.generation.text_chunk import TextChunk
from pipeline.generation.text_streamer import TextStreamer

METHOD = "class Model:\n    def fit(self, x):\n        "
CASES = [
    (LENGTH, "x = 1\n", "\n\nx\n\n", "\n\nx\n\n", False),
    (LINE, "df = ", "pd.DataFrame()\nprint(df)", "pd.DataFrame()", True),
    (LINE, "# mean\n", "\n  df.mean()\n\n", "\n  df.mean()", True),
    (LINE, "df = ", "pd.DataFrame(", "pd.DataFrame(", False),
    (LINE, "df = ", "\n\n  ", "", False),
    (FUNCTION, "def f(x):\n", "    y = x\n\n    return y\n\n\nprint(f(1))\n", "    y = x\n\n    return y", True),
    (
        FUNCTION,
        "def f(x):\n",
        "    if x:\n        return 1\n    return 2\n# then",
        "    if x:\n        return 1\n    return 2",
        True,
    ),
    (FUNCTION, "def f(\n", "    x,\n) -> int:\n    return x\n\nclass A:\n", "    x,\n) -> int:\n    return x", True),
    (FUNCTION, METHOD, "self.x = x\n        return self\n\n    def predict(", "self.x = x\n        return self", True),
    (FUNCTION, METHOD, "self.x = x\n\n\n", "self.x = x", False),
    (FUNCTION, "import os\n", "x = 1\n\ndef f():\n    pass\n\ny = 2\n", "x = 1\n\ndef f():\n    pass", True),
    (FUNCTION, "def ", "f():\n\treturn 1\nx", "f():\n\treturn 1", True),
    (FUNCTION, "def f(x): ", "return x\n", "return x", False),
    (FUNCTION, "import os\n", "x = 1\ny = 2\n", "x = 1\ny = 2", False),
    (FUNCTION, "def f():\n    return 1\n\n", "print(f())\n", "", True),
    (FUNCTION, "def f():\n    return 1\n\nprint(f())\n", "print(2)\n\nx = 1", "print(2)\n\nx = 1", False),
    (FUNCTION, "def f():\n    return 1\n\nprint(", "f())\nx = 1\n", "f())\nx = 1", False),
    (FUNCTION, "x = 1\n", "def f():\n    return 1\nf()", "def f():\n    return 1", True),
    (FUNCTION, "defend = 1\n", "x = 1\n", "x = 1", False),
]


@pytest.mark.parametrize(("stop_at", "prompt", "text", "shown", "is_over"), CASES)
def test_where_a_completion_ends(stop_at: str, prompt: str, text: str, shown: str, is_over: bool) -> None:
    assert Ending(prompt, stop_at).shown(text) == (shown, is_over)


@pytest.mark.parametrize(("stop_at", "prompt", "text", "shown", "is_over"), CASES)
def test_what_was_sent_is_never_taken_back(
    stop_at: str, prompt: str, text: str, shown: str, is_over: bool, tokenizer: PreTrainedTokenizerFast
) -> None:
    chunks: list[TextChunk] = []
    streamer = TextStreamer(tokenizer, 0, chunks.append, ending=Ending(prompt, stop_at))
    for token in tokenizer(text)["input_ids"]:
        streamer.put(token)
        if streamer.is_over:
            break
    streamer.finish(stop_at if streamer.is_over else "length")
    assert "".join(chunk.text for chunk in chunks) == streamer.text == (shown if is_over else text)
    assert streamer.is_over == is_over


def test_an_unknown_stop_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(InputError, match="stop_at is 'word'; set length, line or function"):
        Sampling(stop_at="word")
