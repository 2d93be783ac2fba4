"""A corpus on the page: scanned, stopped, resumed, prepared, inspected, deleted; refusals and hostile names."""

from __future__ import annotations

import re
import shutil
import signal
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

from pipeline.core.atomic_io import read_json, readable_json, write_json
from pipeline.core.paths import CorpusFolder, Home
from pipeline.core.processes import ProcessId
from pipeline.data.report.scan_report import Report
from pipeline.jobs import views
from tests.browser.conftest import field, scan_folder
from tests.homes import end_jobs, write_corpus
from tests.page import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]

OpenTab = Callable[..., Tab]
EVIL = "<img src=x onerror=document.title='hacked'>"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def page(home: Home) -> Iterator[Page]:
    page = Page(home.path)
    page.start()
    yield page
    page.kill()
    end_jobs(home)


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """Files of two installed packages, 38 MB: a look at all installed ones does not reach their end on a slow machine."""
    packages = Path(sysconfig.get_paths()["purelib"])
    for name in ("pandas", "sklearn"):
        for path in (packages / name).rglob("*.py"):
            target = tmp_path / "libraries" / path.relative_to(packages)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return tmp_path / "libraries"


def test_scan_it_all_stop_resume_prepare_read_and_delete(
    page: Page, home: Home, open_tab: OpenTab, libraries: Path
) -> None:
    tab = open_tab(page.url)
    scan_folder(tab, libraries)
    plan = tab.locator("#corpus-plan")
    expect(plan).to_contain_text("From the last look, which read the whole source")
    with_pandas = plan.text_content() or ""
    # Fewer files, so that the tokenizer is trained quickly.
    tab.locator("#keywords .token", has_text="pandas").locator(".token-remove").click()
    # The plan changes once these keywords are counted in the rows already read.
    expect(plan).not_to_have_text(with_pandas)
    tab.locator("#scan").click()
    expect(plan).to_contain_text("From the last look, which read the whole source")
    expect(plan).not_to_have_text(with_pandas)
    expect(plan).to_contain_text("known after the first corpus")

    # ---- scan it all: its report grows while it runs ----
    field(tab, "corpus-name").fill("counted")
    tab.locator("#as-codeparrot input").check()
    tab.locator("#scan-all").click()
    expect(tab.locator("#prepare-answer")).to_contain_text("was asked for, as counted")
    job = paused_while_it_counts(home.corpus("counted"))
    report = tab.locator("#corpus-report")
    expect(report).to_contain_text("Report of counted")
    expect(report.locator("[role=progressbar]")).to_be_visible()
    expect(report.locator(".figure").first).to_contain_text(re.compile("[1-9]"))

    # ---- stop keeps what was counted, resume continues ----
    report.locator("[data-job='stop counted']").click()
    expect(tab.locator("#corpora tr[data-corpus=counted] .pill")).to_have_text(re.compile("Stopping"))
    job.signal_group(signal.SIGCONT)
    row = tab.locator("#corpora tr[data-corpus=counted]")
    expect(row.locator(".pill")).to_have_text(re.compile("Stopped"))
    expect(report).to_contain_text("Counted until it was stopped")
    counted = scanned(home)
    assert counted > 0
    report.locator("[data-job='resume counted']").click()
    expect(row.locator(".pill")).to_have_text(re.compile("Scanned"))
    assert scanned(home) > counted
    expect(report).to_contain_text("test or configuration")
    report.locator(".removed summary").first.click()
    expect(report.locator(".removed .places").first).to_be_visible()
    tab.wait_for_timeout(2_500)  # ticks do not close opened details
    expect(report.locator(".removed .places").first).to_be_visible()
    expect(plan).to_contain_text("From a scan of the whole source")

    # ---- prepare continues from the scan ----
    parts = sorted(path.name for path in home.corpus("counted").parts.rglob("*.json"))
    assert parts
    row.locator("[data-job='prepare counted']").click()
    expect(row.locator(".pill")).to_have_text(re.compile("Finished"), timeout=240_000)
    expect(plan).to_contain_text("at the speed of counted")
    expect(report).not_to_contain_text("are counted when the corpus is prepared")

    # ---- inspect its samples with its tokenizer ----
    field(tab, "own-words").fill(f"DataFrame, {EVIL[:30]}")
    tab.locator("#inspect").click()
    inspected = tab.locator("#inspection")
    expect(inspected).to_contain_text("Tokenizer of corpus counted, 4,096 tokens.")
    expect(inspected.locator("[data-way=drop]")).to_contain_text("%")
    expect(inspected.locator("[data-word=DataFrame]")).to_be_visible()
    expect(inspected).to_contain_text("testtest")
    for word in EVIL[:30].split():
        expect(inspected).to_contain_text(word)

    # ---- delete, with a second press ----
    row.locator("[data-job='ask counted']").click()
    expect(tab.locator("#corpora .doubt")).to_contain_text("Delete counted")
    tab.locator("#corpora [data-job='keep counted']").click()
    expect(tab.locator("#corpora .doubt")).to_have_count(0)
    row.locator("[data-job='ask counted']").click()
    tab.locator("#corpora [data-job='delete counted']").click()
    expect(row).to_have_count(0)
    assert not home.corpus("counted").path.exists()
    expect(tab.locator("#prepare-answer")).to_contain_text("was deleted")
    expect(report).to_contain_text("No corpus chosen")
    assert "hacked" not in tab.title()


def test_an_invalid_quality_rule_is_refused_and_names_are_text(page: Page, home: Home, open_tab: OpenTab) -> None:
    write_corpus(home, "odd")
    write_json(home.corpus("odd").report, hostile_report())
    tab = open_tab(page.url)
    tab.locator("#corpora [data-job='show odd']").click()
    expect(tab.locator("#corpus-report")).to_contain_text(EVIL)
    tab.locator("#prepare-card").get_by_text("Advanced").click()
    tab.locator("#quality").get_by_text("Rules of quality").click()
    tab.locator("#as-codeparrot input").check()
    expect(field(tab, "near-duplicate-jaccard")).to_have_value("0.85")
    field(tab, "near-duplicate-jaccard").fill("0.1")
    expect(tab.locator("#corpus-plan")).to_contain_text(
        "“Near duplicates: drop above similarity” is 0.1; set 0.5 to 1."
    )
    tab.locator("#scan-all").click()
    expect(tab.locator("#prepare-answer .notice")).to_contain_text(
        "“Near duplicates: drop above similarity” is 0.1; set 0.5 to 1."
    )
    tab.locator("#as-codeparrot input").uncheck()
    expect(field(tab, "near-duplicate-jaccard")).to_have_value("")
    field(tab, "corpus-name").fill(EVIL)
    tab.locator("#prepare").click()
    expect(tab.locator("#prepare-answer .notice")).to_contain_text(EVIL)
    assert [view.corpus for view in views.corpus_views(home)] == ["odd"]
    assert "hacked" not in tab.title()


def test_a_corpus_fits_on_a_phone(page: Page, home: Home, open_tab: OpenTab) -> None:
    write_corpus(home, "odd")
    write_json(home.corpus("odd").report, hostile_report())
    tab = open_tab(page.url, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    tab.locator("#corpora [data-job='show odd']").click()
    expect(tab.locator("#corpus-report")).to_contain_text(EVIL)
    expect(tab.locator("#scan-progress")).to_contain_text("Scan finished")  # its samples are what is inspected
    tab.locator("#inspect").click()
    expect(tab.locator("#inspection [data-way=join]")).to_be_visible()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def paused_while_it_counts(folder: CorpusFolder) -> ProcessId:
    """The preparation's process, paused once it counted something: a fast machine would finish before the page polls."""
    end = time.monotonic() + 300
    while not readable_json(folder.report).get("scanned"):
        assert time.monotonic() < end, "nothing was counted"
        time.sleep(0.01)
    process = read_json(folder.process) or {}
    job = ProcessId(process["pid"], process["created"])
    job.signal_group(signal.SIGSTOP)
    assert (read_json(folder.status) or {})["state"] == "running", "it finished before it could be paused"
    return job


def scanned(home: Home) -> int:
    return readable_json(home.corpus("counted").report).get("scanned", 0)


def hostile_report() -> dict[str, object]:
    removed = {EVIL: {"files": 2, "bytes": 20, "examples": [{"repo_name": EVIL, "path": EVIL, "of": EVIL}]}}
    return {
        **Report([EVIL]).to_dict(),
        "scanned": 10,
        "kept": 4,
        "keep_rate": 0.4,
        "keep_rate_interval": [0.3, 0.5],
        "keywords": {EVIL: {"files": 4, "rate": 0.4, "imported": None, "mentioned": None, "first_line": 3}},
        "bad_rows": {EVIL: 2},
        "bad_examples": [{"reason": EVIL, "where": f"{EVIL}.jsonl:3"}],
        "bytes": 5_000,
        "kept_bytes": 2_000,
        "repositories": [{"name": EVIL, "files": 4}],
        "licenses": [{"name": EVIL, "files": 4}],
        "removed": removed,
        "validation": None,
        "max_files": 1,
        "done": True,
    }
