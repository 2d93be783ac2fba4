"""The kept files that are shown one at a time: which one, what of it, and where its keywords are."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.ui.shared.highlight import excerpt, line_of
from pipeline.ui.shared.markup import blank, render
from pipeline.ui.shared.texts import t

if TYPE_CHECKING:
    from pipeline.data.preview.scan import Scan
    from pipeline.data.report.samples import Sample


@dataclass(frozen=True)
class Seen:
    """A state of a scan."""

    scan: Scan

    @property
    def match(self) -> str:
        return self.scan.match

    @property
    def keywords(self) -> tuple[str, ...]:
        return tuple(self.scan.report["keywords"])

    def samples(self, keyword: str = "") -> list[Sample]:
        """Those that have `keyword`; all of them without one, or when it is none of those that were looked for."""
        if keyword not in self.keywords:
            return self.scan.samples
        return [sample for sample in self.scan.samples if keyword in sample.keywords]


def keyword_choices(seen: Seen) -> list[tuple[str, str]]:
    """What the samples can be filtered by."""
    return [(t("data.any_keyword"), ""), *((word, word) for word in seen.keywords)]


def moved(samples: Sequence[Sample], index: int, move: int) -> int:
    """The place `move` further on, round and round; another one at random for 0."""
    if not move and len(samples) > 1:
        move = random.randrange(1, len(samples))
    return (index + move) % max(1, len(samples))


def sample_html(seen: Seen | None, keyword: str, index: int, *, is_gone: bool = False) -> str:
    """One file. Its excerpt reaches the first place of `keyword`, or without one that of any of its keywords. `is_gone`:
    what `None` means, a scan that is not kept any more or none yet.
    """
    if seen is None and is_gone:
        return blank(t("data.gone"), t("data.gone.more"))
    samples = seen.samples(keyword) if seen else []
    if seen is None or not samples:
        text = t("data.no_sample.with", keyword=keyword) if keyword else t("data.no_sample.more")
        return blank(t("data.no_sample"), text)
    sample = samples[index % len(samples)]
    lines = {word: line_of(sample.content, word, seen.match) for word in sample.keywords}
    wanted = lines.get(keyword) or min((line for line in lines.values() if line), default=1)
    return render(
        "sample",
        sample=sample,
        match=seen.match,
        lines=sorted(lines.items(), key=lambda item: (item[0] != keyword, item[1] or 0)),
        excerpt=excerpt(sample.content, wanted),
        place=index % len(samples) + 1,
        num_samples=len(samples),
    )
