"""Settings are read from the environment, and an invalid value is refused with the name of its variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.core.paths import Home, check_id
from pipeline.core.settings import Settings


def test_an_empty_environment_gives_local_defaults() -> None:
    settings = Settings.from_environment({})
    assert settings.home == Path("home").absolute()
    assert (settings.server_name, settings.hub_repo, settings.repo) == ("127.0.0.1", None, "local")


def test_a_space_binds_to_every_address() -> None:
    settings = Settings.from_environment({"SYSTEM": "spaces", "SPACE_ID": "a/b", "SPACE_HOST": "a-b.hf.space"})
    assert (settings.server_name, settings.space_id, settings.space_host) == ("0.0.0.0", "a/b", "a-b.hf.space")


def test_the_owner_key_is_not_in_its_printed_form() -> None:
    assert "sesame" not in repr(Settings.from_environment({"PIPELINE_OWNER_KEY": "open sesame open sesame"}))


def test_the_owner_key_is_read_without_the_space_around_it() -> None:
    settings = Settings.from_environment({"PIPELINE_OWNER_KEY": "\t open sesame open sesame\r\n"})
    assert settings.owner_key == "open sesame open sesame"
    assert Settings.from_environment({"PIPELINE_OWNER_KEY": ""}).owner_key is None


@pytest.mark.parametrize("key", ["x", "fifteen letters", "fifteen letters\n", "   ", " " * 40])
def test_a_short_owner_key_is_refused_by_its_length(key: str) -> None:
    with pytest.raises(InputError, match=f"The length of PIPELINE_OWNER_KEY is {len(key.strip())}; set 16") as caught:
        Settings.from_environment({"PIPELINE_OWNER_KEY": key})
    assert "letters" not in str(caught.value)


def test_an_owner_key_of_16_characters_is_taken() -> None:
    assert Settings.from_environment({"PIPELINE_OWNER_KEY": "sixteen letters!"}).owner_key == "sixteen letters!"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PIPELINE_HUB_REPO", "no-slash"),
        ("PIPELINE_HUB_REPO", "a/b/c"),
        *(
            ("PIPELINE_HUB_REPO", name)
            for name in ("a/", "me/a b", "me/a--b", "me/a..b", "-me/a", "me/.a", "me/a.git", "mé/a")
        ),
        ("PIPELINE_HUB_REPO", "me/" + 94 * "a"),
        ("PIPELINE_HUB_PRIVATE", "yes"),
        ("GRADIO_SERVER_PORT", "http"),
        ("GRADIO_SERVER_PORT", "99999"),
        ("GRADIO_SERVER_PORT", "²"),
        ("PIPELINE_ARCHIVE", "data"),
        ("PIPELINE_ARCHIVE", str(Path("home").absolute())),
        ("PIPELINE_ARCHIVE", str(Path("home/data").absolute())),
        ("PIPELINE_ARCHIVE", "/"),
        *(
            ("PIPELINE_PYODIDE_URL", url)
            for url in (
                "http://mirror.example/py/",
                "https://mirror.example/py",
                "https://*/",
                "https://a.example/; script-src *; /",
                "https://a.example/?x/",
                "https://me:word@a.example/",
                "javascript:/",
                "//a.example/",
                "https://a.example/ b/",
                "http://127.0.0.1.evil.example/",
                "https://a.example//",
            )
        ),
        ("PIPELINE_HOURLY_PRICE", "1,50"),
        ("PIPELINE_HOURLY_PRICE", "-1"),
        ("PIPELINE_HOURLY_PRICE", "nan"),
    ],
)
def test_a_bad_variable_is_named_with_its_value(name: str, value: str) -> None:
    with pytest.raises(InputError) as caught:
        Settings.from_environment({name: value})
    assert name in str(caught.value)
    assert value in str(caught.value)


def test_pyodide_comes_from_its_cdn_a_mirror_or_nowhere() -> None:
    assert Settings.from_environment({}).pyodide_url == "https://cdn.jsdelivr.net/pyodide/v314.0.7/full/"
    assert Settings.from_environment({"PIPELINE_PYODIDE_URL": ""}).pyodide_url is None
    for url in ("https://mirror.example/", "https://mirror.example:8443/a/b-1.0/", "http://127.0.0.1:8000/full/"):
        assert Settings.from_environment({"PIPELINE_PYODIDE_URL": url}).pyodide_url == url


def test_an_address_with_a_line_end_is_refused() -> None:
    with pytest.raises(InputError, match="PIPELINE_PYODIDE_URL"):
        Settings.from_environment({"PIPELINE_PYODIDE_URL": "https://a.example/py/\n"})


def test_the_hourly_price_is_in_dollars() -> None:
    assert Settings.from_environment({"PIPELINE_HOURLY_PRICE": "0.60"}).hourly_price == 0.6
    assert Settings.from_environment({"PIPELINE_HOURLY_PRICE": ""}).hourly_price is None


def test_a_home_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in ("file", "file/below"):
        with pytest.raises(InputError, match="PIPELINE_HOME"):
            Settings.from_environment({"PIPELINE_HOME": str(tmp_path / home)})
    assert Settings(home=Path("~nobody-of-that-name/x")).home.name == "x"


@pytest.mark.parametrize("bad", ["", "A", "../x", "a/b", "-a", "a" * 65, "a\n", "a.b", None])
def test_an_id_that_could_leave_its_folder_is_refused(bad: str) -> None:
    with pytest.raises(InputError, match="run id"):
        Home(Path("home")).run(bad)


def test_ids_of_the_allowed_form_are_kept_as_they_are() -> None:
    for good in ("a", "0", "brave-macaw", "a" * 64):
        assert check_id(good) == good
