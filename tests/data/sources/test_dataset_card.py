from __future__ import annotations

import pytest

from pipeline.core.errors import InputError
from pipeline.data.sources.dataset_card import LARGEST_CARD, Config, config_of


def read(body: str) -> Config:
    return config_of(f"---\n{body}\n---\n# Data\n".encode(), "me/data")


@pytest.mark.parametrize(
    ("data_files", "found"),
    [
        ("a.jsonl", {"train": ["a.jsonl"]}),
        ("./a.jsonl", {"train": ["a.jsonl"]}),
        ("[a.jsonl, 'b/*']", {"train": ["a.jsonl", "b/*"]}),
        ("{train: a.jsonl, test: [b.jsonl, c.jsonl]}", {"train": ["a.jsonl"], "test": ["b.jsonl", "c.jsonl"]}),
        ("[{split: train, path: a.jsonl}, {split: x.y, path: [b.jsonl]}]", {"train": ["a.jsonl"], "x.y": ["b.jsonl"]}),
        ("null", None),
    ],
)
def test_every_form_of_data_files_is_read(data_files: str, found: dict[str, list[str]] | None) -> None:
    assert read(f"configs:\n- config_name: default\n  data_files: {data_files}").data_files == found


@pytest.mark.parametrize("folder", ["en", "en/", "./en"])
def test_the_folder_of_a_config_is_read(folder: str) -> None:
    assert read(f"configs:\n- config_name: a\n  data_dir: {folder}") == Config(None, "en")


@pytest.mark.parametrize(
    "card",
    [
        b"",
        b"# Data\n",
        b"---\nlicense: mit\n---\n",
        b"---\nlicense: mit\n",
        b"---\n\n---\n",
        b"---\nconfigs: []\n---\n",
    ],
)
def test_without_configs_the_file_names_decide(card: bytes) -> None:
    assert config_of(card, "me/data") == Config()


def test_several_configs_without_a_default_are_named() -> None:
    with pytest.raises(InputError, match=r"'me/data' has several configs and no default: 'de', 'en'") as caught:
        read("configs:\n- {config_name: de, data_files: /outside}\n- {config_name: en}")
    assert "outside" not in str(caught.value)
    many = "".join(f"\n- config_name: c{number}" for number in range(500))
    with pytest.raises(InputError, match=r"'c11' and 488 more"):
        read(f"configs:{many}")


def test_a_config_can_be_named() -> None:
    configs = "configs:\n- config_name: python\n  data_files: python/*.jsonl\n- config_name: java\n  data_dir: java\n"
    card = f"---\n{configs}---\n".encode()
    assert config_of(card, "me/data", "python").data_files == {"train": ["python/*.jsonl"]}
    assert config_of(card, "me/data", "java").data_dir == "java"
    with pytest.raises(InputError, match=r"name one, as in hub:me/data/python\.$"):
        config_of(card, "me/data")
    with pytest.raises(InputError, match=r"has no config 'go': it has 'python', 'java'\.$"):
        config_of(card, "me/data", "go")
    assert config_of(b"", "me/data", "default") == Config()
    with pytest.raises(InputError, match=r"has no config 'go': it has none; leave the name out\.$"):
        config_of(b"", "me/data", "go")


def test_two_defaults_are_refused() -> None:
    with pytest.raises(InputError, match="several default configs: 'a', 'default'"):
        read("configs:\n- {config_name: a, default: true}\n- {config_name: default}")


def test_a_path_outside_the_repository_is_refused_with_a_shortened_name() -> None:
    with pytest.raises(InputError) as caught:
        read('configs:\n- config_name: a\n  data_files: "/a\\nb' + 500 * "c" + '"')
    message = str(caught.value)
    assert message.startswith("The card (README.md) of dataset 'me/data' names '/a\\nbccc")
    assert message.endswith("...', which is no path inside its repository; choose another dataset.")
    assert len(message) < 250


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("a: &a [x, x, x]\n" + "\n".join(f"b{n}: &a [*a, *a, *a, *a]" for n in range(12)), "too much YAML"),
        ("a: &a {x: 1}\n" + "\n".join(f"b{n}: &a {{<<: [*a, *a]}}" for n in range(30)), "too much YAML"),
        ("a: " + "[" * 41 + "]" * 41, "nested too deep"),
        ("a: " + "{a: " * 100_000, "nested too deep"),
        ("a: &a [*a]", "refers to itself"),
        ("a: 1" + ":1" * 10_000, "too many digits"),
        ("a: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("a: 2020-99-99", "cannot be read"),
        ("a: [", "cannot be read"),
        ("a: \x01", "cannot be read"),
        ("? [a]\n: b", "cannot be read"),
        ("configs: x", "no list of configs"),
        ("configs: [{data_files: a}]", "no list of configs"),
        ("configs: [{config_name: a, data_files: [{split: a, paths: b}]}]", "no list of `split` and `path`"),
        ("configs: [{config_name: a, data_files: {'a b': x}}]", "names of splits"),
        ("x: " + "y" * (LARGEST_CARD + 1), "more than 1 MB"),
    ],
)
def test_yaml_that_is_too_large_or_invalid_is_refused_in_one_sentence(body: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(body)
    assert "'me/data'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_contents_of_a_card_are_accepted() -> None:
    """Anchors, a long text that begins with a number, and the front matter of a thousand configs."""
    infos = "".join(
        f"- config_name: c{n}\n  features: &f{n} [{{name: text, dtype: string}}]\n  like: *f{n}\n" for n in range(1_000)
    )
    found = read(
        f"about: 2024 {'was a good year ' * 50}\ndataset_info:\n{infos}configs:\n- {{config_name: a, data_files: b.csv}}"
    )
    assert found == Config({"train": ["b.csv"]})
