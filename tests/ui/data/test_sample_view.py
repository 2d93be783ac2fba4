"""Which kept file is shown, and which excerpt of it."""

from __future__ import annotations

from pipeline.data.preview.scan import Scan
from pipeline.data.report.samples import Sample
from pipeline.data.report.scan_report import Report
from pipeline.ui.data.sample_view import ShownScan, keyword_choices, moved, sample_html

FAR = "import pandas\n" + "x = 1\n" * 700 + "import seaborn\n"


def sample(hash_key: str, content: str, *keywords: str) -> Sample:
    return Sample(hash_key, "repo", f"{hash_key}.py", "mit", "1", "10", content, keywords)


def seen(match: str = "substring") -> ShownScan:
    samples = [sample("a", "import pandas\n", "pandas"), sample("b", FAR, "pandas", "seaborn")]
    return ShownScan(Scan(Report(["pandas", "seaborn"]).to_dict(), samples, True, match=match))


def test_samples_are_those_that_contain_the_keyword() -> None:
    assert [one.hash_key for one in seen().samples("seaborn")] == ["b"]
    assert [one.hash_key for one in seen().samples()] == ["a", "b"]
    assert [one.hash_key for one in seen().samples("an earlier keyword")] == ["a", "b"]
    assert [value for _, value in keyword_choices(seen())] == ["", "pandas", "seaborn"]


def test_moving_wraps_around_and_random_is_another_sample() -> None:
    samples = seen().samples()
    assert (moved(samples, 1, 1), moved(samples, 0, -1)) == (0, 1)
    assert {moved(samples, 0, 0) for _ in range(20)} == {1}
    assert moved(samples[:1], 0, 0) == 0
    assert moved([], 3, 1) == 0


def test_the_excerpt_contains_the_first_hit_of_the_chosen_keyword() -> None:
    beginning, far_down = sample_html(seen(), "", 1), sample_html(seen(), "seaborn", 0)
    assert "counter-reset:line 0" in beginning
    assert 'data-item="0"' in beginning
    assert "lines before these" not in beginning
    assert "counter-reset:line 695" in far_down
    assert "695 lines before these" in far_down
    assert 'data-item="6">seaborn <span class="num">line 702' in far_down


def test_provenance_is_shown() -> None:
    markup = sample_html(seen(), "", 0)
    for fact in ("repo", "a.py", "mit", "copies: 1", "10 B", "sample 1 of 2"):
        assert fact in markup
