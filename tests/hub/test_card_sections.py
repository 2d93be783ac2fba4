"""A card that people edit keeps what they wrote."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipeline.hub.card_sections import CARD, MAX_BYTES, SECTION, VALUES, current_card, merged_card


def card(step: int, **front: str) -> str:
    values = {"license": "other", "model-index": f"loss of step {step}", **front}
    return (
        f"---\n{yaml.safe_dump(values)}---\n# me/code\n\nStep {step}.\n\n## How to use\n\n```python\n"
        f"## no heading\nload({step})\n```\n\n## Limits\n\nOf step {step}.\n"
    )


def text(step: int, current: str | None = None) -> str:
    return merged_card(card(step), current).decode()


def test_a_first_card_has_a_section_for_each_heading() -> None:
    first = text(1)
    assert [found["name"] for found in SECTION.finditer(first)] == ["about", "how-to-use", "limits"]
    assert VALUES.sub("", SECTION.sub(lambda found: found["text"], first)) == card(1)


def test_what_nobody_edited_is_as_in_the_new_card() -> None:
    assert text(2, text(1)) == text(2)
    assert text(2, text(1).replace("\n", "\r\n").replace("\r\n", " \n")).count("Step 2.") == 1, "white space is no edit"


def test_an_edited_section_stays_and_the_others_are_renewed() -> None:
    edited = text(1).replace("Of step 1.", "Do not use it in aeroplanes.")
    second = text(2, edited)
    assert "Do not use it in aeroplanes." in second and "Of step 2." not in second
    assert "Step 2." in second and "load(2)" in second
    assert text(3, second) == text(3, edited), "also by later pushes"


def test_words_between_and_around_sections_stay() -> None:
    edited = text(1).replace("<!-- section limits", "## Thanks\n\nTo my mother.\n\n<!-- section limits") + "The end.\n"
    second = text(2, edited)
    assert "To my mother." in second and second.endswith("The end.\n")
    assert "Of step 2." in second


def test_a_deleted_section_stays_deleted() -> None:
    edited = SECTION.sub(lambda found: "" if found["name"] == "limits" else found[0], text(1))
    assert "Of step" not in text(2, edited)
    assert "load(2)" in text(2, edited)


def test_somebodys_own_card_stays_before_ours() -> None:
    second = text(2, "# Mine\n\nMy words.\n")
    body = second.partition("# Mine")[2]
    assert body.index("My words.") < body.index("Step 2.")
    assert text(3, second).count("My words.") == 1


def test_values_of_the_front_matter_that_were_edited_stay_and_figures_follow() -> None:
    edited = text(1).replace("license: other", "license: mit\nthumbnail: a.png")
    front = yaml.safe_load(text(2, edited).split("---\n")[1])
    assert front == {"license": "mit", "thumbnail": "a.png", "model-index": "loss of step 2"}


def front_of(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def merged(step: int, current: str | None = None, **front: str) -> str:
    return merged_card(card(step, **front), current).decode()


def test_a_value_that_nobody_edited_follows_the_push_and_goes_with_it() -> None:
    first = merged(1, datasets="they/code")
    second = merged(2, first, datasets="me/other")
    assert front_of(second)["datasets"] == "me/other"
    third = merged(3, second)
    assert "datasets" not in front_of(third), "a run of which no dataset is known"
    assert front_of(merged(4, third, datasets="they/code"))["datasets"] == "they/code"


def test_a_value_that_somebody_edited_or_deleted_stays_so() -> None:
    first = merged(1, datasets="they/code", language="code")
    edited = first.replace("datasets: they/code", "datasets: mine").replace("language: code\n", "")
    for step in (2, 3):
        edited = merged(step, edited, datasets="me/other", language="code")
        assert front_of(edited)["datasets"] == "mine" and "language" not in front_of(edited)


def test_a_result_goes_when_the_pushed_checkpoint_was_not_measured() -> None:
    new = merged(2).replace("model-index: loss of step 2\n", "")
    assert "model-index" not in front_of(merged_card(new, merged(1)).decode())


def test_values_of_a_card_without_digests_stay() -> None:
    earlier = VALUES.sub("", merged(1, datasets="they/code"))
    assert front_of(merged(2, earlier, datasets="me/other"))["datasets"] == "they/code"


@pytest.mark.parametrize("front", ["---\n[not: a mapping\n---\n", "---\n- a\n---\n", ""])
def test_front_matter_that_is_no_mapping_is_replaced(front: str) -> None:
    own = front + text(1).partition("---\n# me")[2]
    assert yaml.safe_load(text(2, own).split("---\n")[1])["license"] == "other"


def bomb(levels: int) -> str:
    """Some 500 bytes of YAML that stand for 10 ** levels values."""
    lines = [f"b{level}: &a{level + 1} [{','.join([f'*a{level}'] * 10)}]\n" for level in range(levels)]
    return f"license: mit\na: &a0 [x]\n{''.join(lines)}"


HOSTILE = {
    "aliases": bomb(4),
    "an alias of itself": "license: mit\nb: &a [*a]\n",
    "nested too deeply to read": f"license: mit\nb: {'[' * 5_000}{']' * 5_000}\n",
    "nested too deeply to write": f"license: mit\nb: {'[' * 400}{']' * 400}\n",
    "no such day": "license: mit\nb: 2024-13-45\n",
    "no bool": "license: mit\nb: !!bool x\n",
    "an empty number": 'license: mit\nb: !!int ""\n',
    "a number of 12,000 digits": f"license: mit\nb: 0x{'f' * 10_000}\n",
    "too long": "license: mit\n" + "b: x\n" * 20_000,
}


@pytest.mark.parametrize("front", HOSTILE.values(), ids=HOSTILE)
def test_front_matter_that_no_editor_writes_is_replaced_and_the_words_stay(front: str) -> None:
    body = text(1).partition("---\n<!-- values")[2].partition("-->\n")[2]
    listed = "license=0 b=0 b3=0"
    note = f"<!-- values above: each push writes them anew, unless they were edited ({listed}) -->\n"
    second = text(2, f"---\n{front}---\n{note}{body}My words.\n")
    assert front_of(second) == {"license": "other", "model-index": "loss of step 2"}
    assert "Step 2." in second and second.endswith("My words.\n") and second.count("values above") == 1


def test_the_values_of_nested_aliases_are_never_made() -> None:
    """In seconds, and not once for each of the ten billion values."""
    began = time.monotonic()
    note = "<!-- values above: each push writes them anew, unless they were edited (b9=0) -->\n"
    merged_card(card(2), f"---\n{bomb(10)}---\n{note}# Mine\n")
    assert time.monotonic() - began < 5


def test_keys_of_several_types_are_an_edit() -> None:
    front = "license: mit\nchanges:\n  2024-01-01: first\n  later: second\n  3: third\n"
    note = "<!-- values above: each push writes them anew, unless they were edited (changes=0) -->\n"
    assert len(front_of(text(2, f"---\n{front}---\n{note}# Mine\n"))["changes"]) == 3


@pytest.mark.parametrize(
    "filler",
    [
        f"<!-- values above: each push writes them anew, unless they were edited ({'x' * 190_000}) -->\n",
        "<!-- values above: each push writes them anew, unless they were edited (" * 2_500,
        "<!-- section a: each push writes it anew, unless it was edited (000000000000) -->\n" * 2_300,
    ],
    ids=["one long name", "many comments", "many sections that do not end"],
)
def test_the_largest_card_is_read_in_seconds(filler: str) -> None:
    own = f"---\nlicense: mit\n---\n{filler}"
    assert len(own) <= MAX_BYTES
    began = time.monotonic()
    assert text(2, own)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("repo_type", ["model", "dataset"])
def test_a_card_that_is_none_is_not_downloaded(repo_type: str) -> None:
    size, downloaded = 0, []

    class Api:
        def get_paths_info(self, repo: str, paths: list[str], *, revision: str, repo_type: str) -> list[Any]:
            assert (repo, paths, revision) == ("me/code", [CARD], "head")
            return [SimpleNamespace(size=size)] if size else []

        def hf_hub_download(self, repo: str, name: str, *, local_dir: str, **options: Any) -> str:
            downloaded.append(options["repo_type"])
            (Path(local_dir) / name).write_text("# Mine\n")
            return str(Path(local_dir) / name)

    api: Any = Api()
    assert current_card(api, "me/code", "head", repo_type) is None
    size = MAX_BYTES + 1
    assert current_card(api, "me/code", "head", repo_type) is None and not downloaded
    size = MAX_BYTES
    assert current_card(api, "me/code", "head", repo_type) == "# Mine\n" and downloaded == [repo_type]


def test_bytes_that_are_no_text_are_pushed_as_they_were() -> None:
    raw = text(1).encode() + b"caf\xe9\n"
    assert merged_card(card(2), raw.decode(errors="surrogateescape")).endswith(b"caf\xe9\n")


def test_control_without_its_digest_an_edited_section_would_be_lost() -> None:
    edited = text(1).replace("Of step 1.", "Mine.")
    found = next(found for found in SECTION.finditer(edited) if found["name"] == "limits")
    as_if_ours = hashlib.sha256(" ".join(found["text"].split()).encode()).hexdigest()[:12]
    assert "Mine." not in text(2, edited.replace(found["digest"], as_if_ours))
