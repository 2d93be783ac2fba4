"""The source `pypi`: which files of which projects it reads, and what it does with what cannot be read."""

from __future__ import annotations

import gzip
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core.errors import InputError, PackageIndexError, PipelineError
from pipeline.data.sources import open_source
from pipeline.data.sources.base import DAMAGED, LONGEST_TEXT, NOT_UTF8, TOO_LONG, BadRow
from pipeline.data.sources.index_page import NO_HASH, NO_SDIST, NOT_WEB, YANKED
from pipeline.data.sources.index_settings import index_settings
from pipeline.data.sources.names import UNSAFE_NAME
from pipeline.data.sources.package_index import NOT_LISTED, WRONG_HASH
from pipeline.data.sources.pypi import LINK, PROJECTS, IndexAccess, is_example
from pipeline.data.sources.sdist_store import SdistStore
from pipeline.data.sources.shard import fingerprint
from tests.package_index import PackageIndex, Upload, link, plot, sdist, stored, wheel

FILES = {
    "seabird/plots.py": "import pandas\n",
    "seabird/tests/test_plots.py": "import seabird\n",
    "doc/conf.py": "project = 'seabird'\n",
    "doc/tests/test_conf.py": "import conf\n",
    "examples/bars.py": plot(1),
    "examples/test_bars.py": plot(2),
    "examples/readme.txt": "text",
    "Galleries/lines/thin.py": plot(3),
    "tutorials/one.ipynb": "{}",
}


@pytest.fixture(params=["json", "html"])
def index(request: pytest.FixtureRequest) -> Iterator[PackageIndex]:
    projects = {
        "sea-bird": [
            sdist("sea-bird", "1.9", {"old.py": plot(0)}),
            sdist("sea-bird", "1.10", FILES, license_name="BSD-3-Clause"),
            sdist("sea-bird", "1.11", {"bad.py": plot(0)}, yanked="broken"),
            sdist("sea-bird", "2.0rc1", {"new.py": plot(0)}),
            wheel("sea_bird", "3.0"),
        ],
        "only-wheel": [wheel("only_wheel", "1.0")],
        "withdrawn": [sdist("withdrawn", "1.0", {"a.py": plot(0)}, yanked="")],
        "changed": [sdist("changed", "1.0", {"a.py": plot(0)}, sha256="0" * 64)],
        "unhashed": [sdist("unhashed", "1.0", {"a.py": plot(0)}, sha256="")],
        "local": [sdist("local", "1.0", {"a.py": plot(0)}, url="file:///srv/local-1.0.tar.gz")],
        "good": [sdist("good", "1.0", {"a.py": plot(9)})],
    }
    with PackageIndex(projects, html=request.param == "html") as server:
        yield server


def access(index: PackageIndex, folder: Path) -> IndexAccess:
    return IndexAccess(index_settings(index.environment()), SdistStore(folder / "sdists"))


def read(index: PackageIndex, folder: Path, spec: str) -> tuple[list[dict[str, str]], Counter[str], int]:
    """The rows, the bad rows as `reason: where`, and the number of skipped files."""
    rows: list[dict[str, str]] = []
    bad: Counter[str] = Counter()
    skipped = 0
    for batch in open_source(spec, index=access(index, folder)).batches():
        rows += batch.rows.to_dicts()
        bad.update(f"{row.reason}: {row.where}" for row in batch.bad)
        skipped += batch.num_skipped
    return rows, bad, skipped


def paths(rows: list[dict[str, str]]) -> list[str]:
    return [row["path"] for row in rows]


def test_a_named_project_is_read_whole_in_its_newest_final_version(index: PackageIndex, tmp_path: Path) -> None:
    rows, bad, skipped = read(index, tmp_path, "pypi:Sea_Bird")
    assert paths(rows) == [f"sea-bird-1.10/{name}" for name in FILES if name.endswith(".py")]
    assert {(row["repo_name"], row["license"]) for row in rows} == {("sea-bird", "BSD-3-Clause")}
    assert rows[4] | {"content": "", "size": ""} == {
        "repo_name": "sea-bird",
        "path": "sea-bird-1.10/examples/bars.py",
        "copies": "1",
        "size": "",
        "content": "",
        "license": "BSD-3-Clause",
    }
    assert (rows[4]["content"], rows[4]["size"]) == (plot(1), str(len(plot(1))))
    assert (bad, skipped) == (Counter(), 2), "a text and a notebook are no Python files"


def test_examples_are_the_files_of_certain_folders_without_tests(index: PackageIndex, tmp_path: Path) -> None:
    rows, bad, skipped = read(index, tmp_path, "pypi:sea-bird#examples")
    expected = ["doc/conf.py", "examples/bars.py", "Galleries/lines/thin.py"]
    assert paths(rows) == [f"sea-bird-1.10/{name}" for name in expected]
    assert (bad, skipped) == (Counter(), 2)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("examples/a.py", True),
        ("pkg/Gallery/x/a.py", True),
        ("doc/tutorial/a.py", True),
        ("example/a.py", True),
        ("tutorial/a.py", True),
        ("tutorials/a.py", True),
        ("examples.py", False),
        ("pkg/example_data/a.py", False),
        ("examples/tests/a.py", False),
        ("tests/examples/a.py", False),
        ("docs/test_a.py", False),
        ("docs/a_test.py", False),
        ("docs/conftest.py", False),
        ("docs/latest.py", True),
    ],
)
def test_what_an_example_is(path: str, expected: bool) -> None:
    assert is_example(path) is expected


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("pypi:sea-bird==1.9", "sea-bird-1.9/old.py"),
        ("pypi:sea-bird == 1.11", "sea-bird-1.11/bad.py"),
        ("pypi:sea-bird==2.0.rc1", "sea-bird-2.0rc1/new.py"),
    ],
)
def test_a_named_version_is_read_also_when_it_is_withdrawn_or_not_final(
    index: PackageIndex, tmp_path: Path, spec: str, path: str
) -> None:
    assert paths(read(index, tmp_path, spec)[0]) == [path]


def test_a_project_that_cannot_be_read_is_counted_by_name_and_hides_no_other(
    index: PackageIndex, tmp_path: Path
) -> None:
    rows, bad, _ = read(index, tmp_path, "pypi:only-wheel,withdrawn,changed,good,unhashed,local")
    assert paths(rows) == ["good-1.0/a.py"]
    assert bad == Counter(
        [
            f"{NO_SDIST}: only-wheel",
            f"{YANKED}: withdrawn",
            f"{WRONG_HASH}: changed-1.0",
            f"{NO_HASH}: unhashed-1.0",
            f"{NOT_WEB}: local-1.0",
        ]
    )
    assert len(stored(tmp_path)) == 1, "only what was checked is kept"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pypi:good,no-such-project", "The package index has no project 'no-such-project'; check the name."),
        ("pypi:good==4.0", "The package index has no version 4.0 of project 'good'; check it."),
    ],
)
def test_an_unknown_project_or_version_is_refused_by_name(
    index: PackageIndex, tmp_path: Path, spec: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(index, tmp_path, spec)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "spec",
    [
        "pypi:",
        "pypi:a,,b",
        "pypi:../etc/passwd",
        "pypi:a/b",
        "pypi:http://x/y",
        "pypi:a>=1",
        "pypi:a[extra]",
        "pypi:a @ file:///x",
        "pypi:a==",
        "pypi:a==x",
        "pypi:a\nb",
        "pypi:-e .",
        "pypi#examples,all",
        "pypi:a#b",
        "pypi:a#",
        "pypi:" + ",".join(f"p{number}" for number in range(101)),
    ],
)
def test_what_is_no_name_of_a_project_is_refused_before_any_request(spec: str, tmp_path: Path) -> None:
    with PackageIndex({}) as index, pytest.raises(InputError, match=r"pypi|at most 100"):
        read(index, tmp_path, spec)
    assert index.requests == []


def test_a_project_is_read_once(index: PackageIndex, tmp_path: Path) -> None:
    assert paths(read(index, tmp_path, "pypi:good,Good,GOOD==1.0,good")[0]) == ["good-1.0/a.py"] * 2


def test_the_examples_in_docstrings_of_other_files_are_read_too(tmp_path: Path) -> None:
    docstring = '"""Draws.\n\n    A line:\n\n    >>> import seaborn\n    >>> draw(1)\n    <line>\n"""\n'
    files = {
        "src/drawing.py": docstring,
        "src/plain.py": "x = 1\n",
        "src/latin.py": "# \u00e9 without a declaration".encode("latin-1"),
        "src/readme.txt": docstring,
        "tests/test_drawing.py": docstring,
        "examples/drawing.py": docstring,
    }
    with PackageIndex({"drawing": [sdist("drawing", "1.0", files)]}) as index:
        rows, bad, skipped = read(index, tmp_path, "pypi:drawing#examples")
        everything, _, _ = read(index, tmp_path, "pypi:drawing")
    contents = {row["path"]: row["content"] for row in rows}
    code = "# A line:\nimport seaborn\ndraw(1)\n"
    assert contents == {
        "drawing-1.0/src/drawing.py": f"# The examples in the docstrings of src/drawing.py\n\n{code}",
        "drawing-1.0/examples/drawing.py": docstring,
    }
    assert [row["size"] for row in rows] == [str(len(row["content"])) for row in rows], "not the module's"
    assert (bad, skipped) == (Counter(), 0), "a file of the library that has no examples is not spoken of"
    assert "drawing-1.0/src/plain.py" in paths(everything), "control"


def test_without_names_the_examples_of_a_list_are_read_and_missing_projects_are_counted(tmp_path: Path) -> None:
    files = {"src/a.py": "x = 1\n", "examples/a.py": plot(1)}
    projects = {name: [sdist(name, "1.0", files)] for name in ("pandas", "matplotlib")}
    with PackageIndex(projects) as index:
        examples, bad, _ = read(index, tmp_path, "pypi")
        whole, _, _ = read(index, tmp_path, "pypi#all")
    assert paths(examples) == ["matplotlib-1.0/examples/a.py", "pandas-1.0/examples/a.py"]
    assert len(whole) == 4
    assert bad == Counter(f"{NOT_LISTED}: {name}" for name in PROJECTS if name not in projects)


def test_links_and_names_outside_the_archive_are_counted_and_not_followed(tmp_path: Path) -> None:
    files = {
        "ok.py": plot(1),
        "linked.py": link("/etc/passwd"),
        "hard.py": link("odd-1.0/ok.py", tarfile.LNKTYPE),
        "folder": link("/etc"),
        "../../out.py": plot(2),
        "a/../b.py": plot(3),
        "/abs.py": plot(4),
        "with\nline.py": plot(5),
        "latin.py": b"# \xe9\n",
        "long.py": b"#" * (LONGEST_TEXT + 1),
    }
    with PackageIndex({"odd": [sdist("odd", "1.0", files)]}) as index:
        rows, bad, _ = read(index, tmp_path, "pypi:odd")
    assert paths(rows) == ["odd-1.0/ok.py"]
    assert bad == Counter(
        [
            f"{LINK}: 'odd-1.0/linked.py'",
            f"{LINK}: 'odd-1.0/hard.py'",
            f"{LINK}: 'odd-1.0/folder'",
            f"{UNSAFE_NAME}: 'odd-1.0/../../out.py'",
            f"{UNSAFE_NAME}: 'odd-1.0/a/../b.py'",
            f"{UNSAFE_NAME}: 'odd-1.0//abs.py'",
            f"{UNSAFE_NAME}: 'odd-1.0/with\\nline.py'",
            f"{NOT_UTF8}: odd-1.0/latin.py:1",
            f"{TOO_LONG}: odd-1.0/long.py",
        ]
    )


def test_a_damaged_archive_gives_what_stands_before_the_damage(tmp_path: Path) -> None:
    good = gzip.decompress(sdist("torn", "1.0", {f"a{n}.py": plot(n) for n in range(9)}).data)
    uploads = {
        "torn": [Upload("torn-1.0.tar.gz", gzip.compress(good)[:-30])],
        "noise": [Upload("noise-1.0.tar.gz", b"no archive at all")],
    }
    with PackageIndex(uploads) as index:
        rows, bad, _ = read(index, tmp_path, "pypi:torn,noise")
    assert len(rows) <= 9
    assert sorted(key.rpartition(": ")[2] for key in bad) == ["noise-1.0", "torn-1.0"]
    assert f"{DAMAGED}: noise-1.0" in bad


def test_a_second_reading_downloads_nothing_and_gives_the_same_rows(index: PackageIndex, tmp_path: Path) -> None:
    first = read(index, tmp_path, "pypi:sea-bird,good")
    assert sum("/files/" in path for path in index.requests) == 2
    assert read(index, tmp_path, "pypi:sea-bird,good") == first
    assert sum("/files/" in path for path in index.requests) == 2


def test_the_first_blocks_have_the_licence_although_it_stands_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.data.sources.pypi.BLOCK_FILES", 2)
    for waiting in (1, 100):
        monkeypatch.setattr("pipeline.data.sources.pypi.MAX_WAITING", waiting)
        with PackageIndex({"many": [sdist("many", "1.0", {f"a{n}.py": plot(n) for n in range(11)})]}) as index:
            rows, _, _ = read(index, tmp_path, "pypi:many")
        assert [row["license"] for row in rows] == ["MIT"] * 11


def test_a_new_release_gives_other_shards_and_a_login_is_no_part_of_them(tmp_path: Path) -> None:
    def prints(index: PackageIndex) -> list[str]:
        return [fingerprint(shard) for shard in open_source("pypi:good", index=access(index, tmp_path)).shards()]

    with PackageIndex({"good": [sdist("good", "1.0", {"a.py": plot(1)})]}, login="user:sesame-sesame") as index:
        before = prints(index)
        assert prints(index) == before
        index.projects["good"].append(sdist("good", "1.1", {"a.py": plot(1)}))
        assert prints(index) != before
    assert "sesame" not in str(before)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (500, PackageIndexError, "cannot answer now (status 500)"),
        (429, PackageIndexError, "cannot answer now (status 429)"),
        (403, InputError, "refuses the request (status 403)"),
        (400, InputError, "refuses the request (status 400)"),
    ],
)
@pytest.mark.parametrize("where", ["/simple/good/", "/files/"])
def test_passing_faults_and_refusals_are_told_apart(
    tmp_path: Path, status: int, kind: type[PipelineError], words: str, where: str
) -> None:
    good = {"good": [sdist("good", "1.0", {"a.py": plot(1)})]}
    with PackageIndex(good, status={where: status}) as index, pytest.raises(PipelineError) as caught:
        read(index, tmp_path, "pypi:good")
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert index.url not in str(caught.value)


def test_an_archive_that_has_gone_is_counted(tmp_path: Path) -> None:
    with PackageIndex({"good": [sdist("good", "1.0", {"a.py": plot(1)})]}, status={"/files/": 404}) as index:
        assert read(index, tmp_path, "pypi:good") == ([], Counter([f"{NOT_LISTED}: good-1.0"]), 0)


def test_an_index_that_is_down_is_one_sentence_that_names_another_source(tmp_path: Path) -> None:
    with PackageIndex({}, login="user:sesame-sesame") as index:
        opened = open_source("pypi", index=access(index, tmp_path))
    with pytest.raises(PackageIndexError) as caught:
        opened.shards()
    message = "The package index cannot be reached (no connection); try again later, or use source installed."
    assert str(caught.value) == message
    assert caught.value.__cause__ is None, "the text of the cause may name the address"


def test_no_index_is_one_sentence(tmp_path: Path) -> None:
    off = IndexAccess(index_settings({"PIP_NO_INDEX": "yes"}), SdistStore(tmp_path))
    with pytest.raises(InputError, match=r"told to use no package index.*source installed"):
        open_source("pypi", index=off).shards()
    local = IndexAccess(index_settings({"PIP_INDEX_URL": "file:///srv/simple"}), SdistStore(tmp_path))
    with pytest.raises(InputError, match=r"no package index on a web server.*source installed"):
        open_source("pypi", index=local).shards()


def test_a_login_is_sent_to_its_index_alone_and_shown_nowhere(tmp_path: Path) -> None:
    here, there = sdist("here", "1.0", {"a.py": plot(1)}), sdist("there", "1.0", {"a.py": plot(2)})
    with (
        PackageIndex({"here": [here]}, login="user:sesame sesame") as index,
        PackageIndex({"there": [there]}) as other,
    ):
        variables = {**index.environment(), "PIP_EXTRA_INDEX_URL": other.simple}
        both = IndexAccess(index_settings(variables), SdistStore(tmp_path / "sdists"))
        rows = [row for batch in open_source("pypi:here,there", index=both).batches() for row in batch.rows.to_dicts()]
        assert [row["repo_name"] for row in rows] == ["here", "there"]
        assert (set(index.authorizations), set(other.authorizations)) == ({index.authorization}, {""})
        assert "sesame" not in f"{open_source('pypi:here', index=both).shards()} {both}"
        index.login = "user:another password"
        with pytest.raises(InputError, match=r"refuses the request \(status 401\)") as caught:
            open_source("pypi:here", index=both).shards()
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:text/html,x"])
def test_a_redirect_to_anything_but_http_is_refused(tmp_path: Path, target: str) -> None:
    redirects = {"/simple/good/": target}
    with (
        PackageIndex({}, redirects=redirects) as index,
        pytest.raises(PipelineError, match="cannot be reached") as caught,
    ):
        read(index, tmp_path, "pypi:good")
    assert target not in str(caught.value)


def test_a_redirect_over_http_is_followed(tmp_path: Path) -> None:
    good = sdist("good", "1.0", {"a.py": plot(1)})
    redirects = {"/simple/old/": "/simple/good/", "/files/moved": f"/files/{good.name}"}
    with PackageIndex({"good": [good]}, redirects=redirects) as index:
        good.url = f"{index.url}/files/moved"
        assert len(read(index, tmp_path, "pypi:good")[0]) == 1


def test_projects_are_looked_up_until_the_time_is_over(tmp_path: Path) -> None:
    with PackageIndex({"good": [sdist("good", "1.0", {"a.py": plot(1)})]}, silent="/simple/slow/") as index:
        opened = open_source("pypi:good,slow", index=access(index, tmp_path))
        shards = opened.shards(lambda: "/simple/slow/" in index.requests)
    assert {shard.name for shard in shards} <= {"good-1.0"}


def test_bad_rows_name_projects_in_their_own_shard(index: PackageIndex, tmp_path: Path) -> None:
    first, *others = open_source("pypi:only-wheel,good", index=access(index, tmp_path)).shards()
    assert [block.read().bad for block in first.blocks()] == [(BadRow(NO_SDIST, "only-wheel"),)]
    assert [shard.name for shard in others] == ["good-1.0"]
