"""pip's files and variables, as pip itself understands them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.core.credentials import full_environment
from pipeline.core.errors import InputError
from pipeline.data.sources.first_source import FirstSource, first_source
from pipeline.data.sources.index_settings import IndexAddress, IndexSettings, index_settings
from tests.package_index import PackageIndex, sdist


def urls(environ: dict[str, str]) -> list[str]:
    return [address.url for address in index_settings(environ).addresses]


def test_without_settings_it_is_pips_own_index_and_file_host() -> None:
    from pip._internal.models.index import PyPI

    found = index_settings({})
    assert [address.url for address in found.addresses] == [f"{PyPI.simple_url}/"]
    assert found.file_hosts == (PyPI.file_storage_domain,)
    assert index_settings({"PIP_INDEX_URL": "https://index.example/simple"}).file_hosts == ()


def test_variables_come_before_files_and_pips_before_uvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pip.conf"
    file.write_text(
        "[global]\nindex-url = https://file.example/simple/\nextra-index-url =\n    https://one.example/s\n"
        "    file:///srv/simple\ncert = /etc/ca.pem\n[download]\nextra-index-url = https://two.example/s\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    assert urls({}) == ["https://file.example/simple/", "https://two.example/s/"]
    assert index_settings({}).certificates == "/etc/ca.pem"
    assert urls({"UV_DEFAULT_INDEX": "https://uv.example/s"})[0] == "https://file.example/simple/"
    assert urls(
        {"PIP_INDEX_URL": "https://own.example/s", "PIP_EXTRA_INDEX_URL": "https://x.example/s /srv/wheels"}
    ) == [
        "https://own.example/s/",
        "https://x.example/s/",
    ]
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    assert urls({"UV_DEFAULT_INDEX": "https://uv.example/s", "UV_EXTRA_INDEX_URL": "https://more.example/s"}) == [
        "https://uv.example/s/",
        "https://more.example/s/",
    ]


def test_a_login_is_apart_from_the_address() -> None:
    [address] = index_settings({"PIP_INDEX_URL": "https://me%40work:se%2Fcret@index.example:8443/simple"}).addresses
    assert address == IndexAddress("https://index.example:8443/simple/", ("me@work", "se/cret"))
    assert "cret" not in repr(address)


@pytest.mark.parametrize(
    "text", ["/srv/simple", "file:///srv/simple", "ssh://x/y", "https://", "https://x:port/", "x y"]
)
def test_what_is_no_web_server_is_left_out(text: str) -> None:
    assert urls({"PIP_INDEX_URL": text}) == []


def test_settings_survive_the_way_to_another_process() -> None:
    found = index_settings(
        {"PIP_INDEX_URL": "https://me:secret@index.example/s", "PIP_CERT": "/x", "PIP_NO_INDEX": "1"}
    )
    assert IndexSettings.from_dict(found.to_dict()) == found


def test_broken_files_and_a_missing_pip_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pip.conf"
    file.write_text("index-url = https://user:secret@index.example/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    with pytest.raises(InputError, match="pip's settings cannot be read") as caught:
        index_settings({})
    assert "secret" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "pip._internal.configuration", None)
    with pytest.raises(InputError, match=r"has no pip.*source installed"):
        index_settings({})


def test_tests_use_no_index() -> None:
    assert index_settings(full_environment()).is_off
    assert first_source().source == "installed"


@pytest.mark.parametrize(
    ("projects", "status", "expected"),
    [
        (("matplotlib",), {}, FirstSource("pypi", "")),
        ((), {}, "has no project 'matplotlib'"),
        (("matplotlib",), {"/simple/": 503}, "cannot answer now"),
        (("matplotlib",), {"/simple/": 401}, "refuses the request"),
    ],
)
def test_the_first_source_is_the_index_where_it_answers(
    monkeypatch: pytest.MonkeyPatch, projects: tuple[str, ...], status: dict[str, int], expected: FirstSource | str
) -> None:
    uploads = {name: [sdist(name, "1.0", {})] for name in projects}
    with PackageIndex(uploads, status=status) as index:
        for name, value in index.environment().items():
            monkeypatch.setenv(name, value)
        found = first_source()
    if isinstance(expected, str):
        assert found.source == "installed"
        assert expected in found.reason
    else:
        assert found == expected


def test_a_silent_index_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.data.sources.first_source.WAIT_SECONDS", 0.1)
    with PackageIndex({}, silent="/simple/") as index:
        for name, value in index.environment().items():
            monkeypatch.setenv(name, value)
        assert first_source() == FirstSource()
