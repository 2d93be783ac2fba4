"""A stream is cut at line ends, whatever its chunks are, and no line is lost, repeated or numbered wrongly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.readers import whole_lines as module
from pipeline.data.readers.decompress import StreamError
from pipeline.data.readers.whole_lines import WholeLines, whole_lines
from pipeline.data.sources.base import TOO_LONG, BadRow


@given(st.lists(st.binary(max_size=12), max_size=12))
def test_the_blocks_together_are_the_stream(chunks: list[bytes]) -> None:
    found = list(whole_lines(iter(chunks), "f"))
    assert b"".join(block.data for block in found if isinstance(block, WholeLines)) == b"".join(chunks)


@given(st.lists(st.sampled_from([b"a\n", b"bb", b"\n", b"ccc\nd"]), max_size=20), st.integers(1, 8))
def test_every_block_knows_the_number_of_its_first_line(chunks: list[bytes], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", size)
        number = 1
        for block in whole_lines(iter(chunks), "f"):
            assert isinstance(block, WholeLines)
            assert (block.first, block.data.count(b"\n") + (not block.data.endswith(b"\n"))) == (
                number,
                block.num_lines,
            )
            number += block.num_lines


def test_a_line_that_is_far_too_long_costs_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 8)
    monkeypatch.setattr(module, "LONGEST_TEXT", 16)
    found = list(whole_lines(iter([b"one\n", b"x" * 30, b"x\ntwo\n"]), "f"))
    assert [block for block in found if isinstance(block, BadRow)] == [BadRow(TOO_LONG, "f:2")]
    assert b"".join(block.data for block in found if isinstance(block, WholeLines)) == b"one\ntwo\n"


def test_where_the_stream_breaks_off_the_whole_lines_before_are_kept() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one\ntwo\nth"
        raise StreamError("is damaged")

    block, bad = whole_lines(chunks(), "f")
    assert isinstance(block, WholeLines) and (block.data, block.num_lines) == (b"one\ntwo\n", 2)
    assert bad == BadRow("is damaged", "f:3")


def test_many_lines_are_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 3)
    block = WholeLines(b"a\n" * 7 + b"end", 5, 8)
    assert [(part.data, part.first, part.num_lines) for part in block.parts()] == [
        (b"a\n" * 3, 5, 3),
        (b"a\n" * 3, 8, 3),
        (b"a\nend", 11, 2),
    ]
