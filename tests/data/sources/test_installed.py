from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import Distribution, PathDistribution
from itertools import islice
from pathlib import Path

from pipeline.data.sources.base import Batch
from pipeline.data.sources.installed import InstalledSource


def install(
    site: Path, name: str, files: dict[str, bytes], *, listed: Sequence[str] = (), metadata: str = "License: MIT\n"
) -> Distribution:
    """Installs a package into `site` as an installer does; `listed` are entries of its RECORD that have no file."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{metadata}")
    for path, data in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(data)
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in [*files, *listed, f"{info.name}/METADATA"]))
    return PathDistribution(info)


def whole(*distributions: Distribution) -> Batch:
    (only,) = InstalledSource(distributions).batches()
    return only


def test_each_python_file_has_its_distribution_path_licence_and_size(tmp_path: Path) -> None:
    files = {"tool/__init__.py": b"", "tool/data.txt": b"no", "tool/core.py": "é = 1\n".encode(), "tool/c.so": b"\x7f"}
    rows = whole(install(tmp_path, "tool", files)).rows.sort("path")
    assert rows.rows() == [
        ("tool", "tool/__init__.py", "1", "0", "", "MIT"),
        ("tool", "tool/core.py", "1", "7", "é = 1\n", "MIT"),
    ]


def test_unreadable_files_are_counted_with_their_location_and_the_rest_is_kept(tmp_path: Path) -> None:
    files = {"a.py": b"x = 1\n", "latin.py": b"# one\n# caf\xe9\n", "b.py": b"y = 2\n"}
    read = whole(install(tmp_path, "tool", files, listed=["gone.py"]))
    assert sorted(read.rows["path"]) == ["a.py", "b.py"]
    assert {(bad.reason, Path(bad.where).name) for bad in read.bad} == {
        ("not UTF-8", "latin.py:2"),
        ("cannot be opened", "gone.py"),
    }


def test_a_file_that_two_distributions_list_is_read_once(tmp_path: Path) -> None:
    site = tmp_path / "lib"
    first = install(site, "first", {"shared/__init__.py": b"", "first.py": b""})
    second = install(site, "second", {"shared/__init__.py": b"", "shared/../second.py": b""})
    (tmp_path / "lib64").symlink_to(site)
    again = PathDistribution(tmp_path / "lib64" / "first-1.0.dist-info")
    rows = whole(first, second, again).rows
    assert sorted(rows["path"]) == ["first.py", "shared/../second.py", "shared/__init__.py"]


def test_a_broken_or_editable_distribution_loses_only_its_own_files(tmp_path: Path) -> None:
    good = install(tmp_path / "good", "good", {"good.py": b""})
    unlisted = install(tmp_path / "editable", "editable", {"editable.py": b""})
    (tmp_path / "editable" / "editable-1.0.dist-info" / "RECORD").unlink()
    nameless = install(tmp_path / "nameless", "nameless", {"nameless.py": b""})
    (tmp_path / "nameless" / "nameless-1.0.dist-info" / "METADATA").write_bytes(b"")
    garbled = install(tmp_path / "garbled", "garbled", {"garbled.py": b""})
    (tmp_path / "garbled" / "garbled-1.0.dist-info" / "RECORD").write_bytes(b"\xff\xfe,,\n")
    read = whole(nameless, garbled, unlisted, good)
    assert list(read.rows["path"]) == ["good.py"]
    assert sorted(Path(bad.where).name for bad in read.bad) == ["garbled-1.0.dist-info", "nameless-1.0.dist-info"]


def test_the_licence_is_the_short_one_that_the_metadata_names(tmp_path: Path) -> None:
    metadata = {
        "expression": ("License-Expression: Apache-2.0\nLicense: whole text\n", "Apache-2.0"),
        "plain": ("License: BSD\nClassifier: License :: OSI Approved :: BSD License\n", "BSD"),
        "classified": ("Classifier: License :: OSI Approved :: MIT License\n", "MIT License"),
        "text": (
            "License: Copyright me\n        All rights\nClassifier: License :: OSI Approved :: ISC License (ISCL)\n",
            "ISC License (ISCL)",
        ),
        "none": ("", ""),
    }
    made = [install(tmp_path / k, k, {f"{k}.py": b""}, metadata=text) for k, (text, _) in metadata.items()]
    rows = whole(*made).rows
    assert dict(zip(rows["repo_name"], rows["license"], strict=True)) == {k: v for k, (_, v) in metadata.items()}


def test_the_order_is_shuffled_and_the_same_every_time(tmp_path: Path) -> None:
    many = install(tmp_path / "a", "many", {f"many/m{number:03}.py": b"" for number in range(300)})
    few = install(tmp_path / "b", "few", {f"few/f{number}.py": b"" for number in range(30)})
    orders = [
        [path for batch in InstalledSource(made).batches() for path in batch.rows["path"]]
        for made in ([many, few], [few, many])
    ]
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])
    assert any(path.startswith("few/") for path in orders[0][:60])


def test_this_environment_can_be_read_with_rising_progress() -> None:
    first = next(InstalledSource().batches())
    assert len(first.rows) > 100
    assert first.rows["repo_name"].n_unique() > 5
    shares = [batch.progress for batch in islice(InstalledSource().batches(), 5)]
    assert all(share is not None for share in shares)
    assert shares == sorted(shares, key=lambda share: share or 0)
