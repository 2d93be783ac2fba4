"""Preview of one kept file at a time: selection, excerpt and the lines of its keywords."""

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
class ShownScan:
    """One state of a scan, with its samples by keyword."""

    scan: Scan

    @property
    def match(self) -> str:
        return self.scan.match

    @property
    def keywords(self) -> tuple[str, ...]:
        return tuple(self.scan.report["keywords"])

    def samples(self, keyword: str = "") -> list[Sample]:
        """The samples that contain `keyword`; all of them when it is empty or not a keyword of the scan."""
        if keyword not in self.keywords:
            return self.scan.samples
        return [sample for sample in self.scan.samples if keyword in sample.keywords]


def keyword_choices(seen: ShownScan) -> list[tuple[str, str]]:
    """Label and value of each choice of the keyword filter."""
    return [(t("data.any_keyword"), ""), *((word, word) for word in seen.keywords)]


def moved(samples: Sequence[Sample], index: int, move: int) -> int:
    """The index `move` further on, wrapping around; for `move` 0, another one at random."""
    if not move and len(samples) > 1:
        move = random.randrange(1, len(samples))
    return (index + move) % max(1, len(samples))


def sample_html(seen: ShownScan | None, keyword: str, index: int, *, is_gone: bool = False) -> str:
    """The current sample. Its excerpt contains the first hit of `keyword`, or without one the first hit of any keyword.

    `is_gone`: with `seen` None, whether the scan is no longer cached (else there was none yet).
    """
    if seen is None and is_gone:
        return blank(t("data.gone"), t("data.gone.more"))
    samples = seen.samples(keyword) if seen else []
    if seen is None or not samples:
        text = t("data.no_sample.with", keyword=keyword) if keyword else t("data.no_sample.more")
        return blank(t("data.no_sample"), text)
    sample = samples[index % len(samples)]
    lines = {word: line_of(sample.content, word, seen.match) for word in sample.keywords}
    target_line = lines.get(keyword) or min((line for line in lines.values() if line), default=1)
    return render(
        "sample",
        sample=sample,
        match=seen.match,
        lines=sorted(lines.items(), key=lambda item: (item[0] != keyword, item[1] or 0)),
        excerpt=excerpt(sample.content, target_line),
        place=index % len(samples) + 1,
        num_samples=len(samples),
    )
