"""The environment of child processes has no token, and a bucket's credentials only where the bucket is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.core.environment import child_environment, keep_downloads_in_home, without_credentials
from tests.homes import hub_cache_without_a_home_folder

SECRETS = {
    "HF_TOKEN": "of-the-hub",
    "PIPELINE_OWNER_KEY": "of-the-page",
    "AWS_SECRET_ACCESS_KEY": "of-amazon",
    "FSSPEC_S3_SECRET": "of-amazon-too",
    "GOOGLE_APPLICATION_CREDENTIALS": "/of/google.json",
    "AZURE_STORAGE_KEY": "of-microsoft",
    "FSSPEC_FTP_PASSWORD": "of-a-server",
    "PIP_INDEX_URL": "https://user:of-an-index@index.example/simple",
    "UV_INDEX_URL": "https://user:of-an-index@index.example/simple",
}


def seen(address: str | None) -> set[str]:
    return set(child_environment({**SECRETS, "PATH": "/bin"}, address=address)) & set(SECRETS)


@pytest.mark.parametrize("address", [None, "/mnt/shared", "parts", "file:///mnt/shared", "memory://parts"])
def test_no_secret_is_seen_where_no_address_needs_one(address: str | None) -> None:
    assert seen(address) == set()


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("s3://bucket/parts", {"AWS_SECRET_ACCESS_KEY", "FSSPEC_S3_SECRET"}),
        ("simplecache::s3://bucket/parts", {"AWS_SECRET_ACCESS_KEY", "FSSPEC_S3_SECRET"}),
        ("gs://bucket/parts", {"GOOGLE_APPLICATION_CREDENTIALS"}),
        ("abfs://container@account.dfs.core.windows.net/parts", {"AZURE_STORAGE_KEY"}),
        ("ftp://host/parts", {"FSSPEC_FTP_PASSWORD"}),
        ("hf://buckets/me/parts", set()),
    ],
)
def test_an_address_adds_only_the_credentials_of_its_own_scheme(address: str, names: set[str]) -> None:
    assert seen(address) == names


def test_the_index_is_seen_where_it_is_read() -> None:
    seen_there = child_environment({**SECRETS, "PIP_NO_INDEX": "1"}, with_index=True)
    assert set(seen_there) & set(SECRETS) == {"PIP_INDEX_URL", "UV_INDEX_URL"}
    assert seen_there["PIP_NO_INDEX"] == child_environment({"PIP_NO_INDEX": "1"})["PIP_NO_INDEX"] == "1"
    error = f"no answer from {SECRETS['PIP_INDEX_URL']}"
    assert "of-an-index" not in without_credentials(error, SECRETS)


def test_a_credential_is_taken_out_of_a_text_and_named() -> None:
    text = without_credentials("the key of-amazon is not known at us", {**SECRETS, "AWS_REGION": "us"})
    assert text == "the key [AWS_SECRET_ACCESS_KEY] is not known at us"


def test_downloads_are_kept_in_the_home_unless_they_have_a_folder(tmp_path: Path) -> None:
    """A container's user may have no home folder, where the Hub's client would write."""
    for environ in ({"PIPELINE_HOME": str(tmp_path)}, {"PIPELINE_HOME": str(tmp_path), "HF_HOME": ""}):
        keep_downloads_in_home(environ)
        assert environ["HF_HOME"] == str(tmp_path / "huggingface")
    named = {"PIPELINE_HOME": str(tmp_path), "HF_HOME": "/data/hf"}
    keep_downloads_in_home(named)
    assert named["HF_HOME"] == "/data/hf"


def test_commands_download_into_the_home(tmp_path: Path) -> None:
    start = "from pipeline.cli.app import main; main(['status'])"
    assert hub_cache_without_a_home_folder(start, tmp_path) == tmp_path / "huggingface" / "hub"
