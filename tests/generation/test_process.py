"""The client of the generator, against the real process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.core.errors import BusyError, InputError, PipelineError
from pipeline.core.settings import Limits, Settings
from pipeline.generation.process import Generator, generate
from pipeline.generation.reading import NUM_GUESSES
from pipeline.generation.seats import MAX_BEGUN_TEXTS
from pipeline.generation.settings import Sampling
from pipeline.generation.subprocess_client import MAX_OF_EACH, MAX_REQUESTS, OWNER_RESERVE
from pipeline.generation.text_chunk import TextChunk
from tests.generation.conftest import LONG
from tests.generation.models import tiny_model, write_revision

pytestmark = pytest.mark.slow

PROMPT = "import pandas as pd\n"
SHORT = Sampling(max_new_tokens=8, temperature=1.5, top_p=1)
ENDLESS = Sampling(max_new_tokens=LONG - 64)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Generator]:
    """Shared by all tests of this file, because a process takes seconds to start."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), limits=Limits(new_tokens=LONG))
    with closing(Generator(settings)) as generator:
        yield generator


def test_the_chunks_are_what_the_model_writes(generator: Generator, revision: Revision) -> None:
    from pipeline.generation.loading import load
    from pipeline.generation.sampling import complete

    sampling = replace(SHORT, samples=3)
    texts = [""] * 3
    for chunk in generator.stream(revision, PROMPT, sampling):
        texts[chunk.sample] += chunk.text
    assert texts == complete(*load(revision.path), PROMPT, sampling)


def test_generate_says_what_wrote_it_and_how_fast(generator: Generator, revision: Revision) -> None:
    answer = generator.generate(revision, PROMPT, replace(SHORT, samples=2))
    assert len(answer["samples"]) == 2
    assert (answer["revision"], answer["run"], answer["step"]) == (revision.revision, "small-otter", 20)
    assert answer["tokens_per_second"] > 0
    assert len(answer["finish"]) == 2 and answer["note"] == ""


def test_what_was_written_is_read_token_by_token(generator: Generator, revision: Revision) -> None:
    sampling = replace(SHORT, temperature=0)
    chunks = list(generator.stream(revision, PROMPT, sampling))
    written = [token_id for chunk in chunks for token_id in chunk.token_ids]
    reading = generator.read(revision, PROMPT, written)
    assert len(written) == chunks[-1].tokens == len(reading.tokens) - reading.num_given
    new = reading.tokens[reading.num_given :]
    assert "".join(token.text for token in new) == "".join(chunk.text for chunk in chunks)
    assert [token.guesses[0].probability for token in new] == [pytest.approx(t.probability, rel=1e-4) for t in new]
    assert len(new[0].guesses) == NUM_GUESSES and reading.engine == "float32 on 1 core"
    inside = generator.look_inside(revision, PROMPT, written, reading.num_given)
    assert inside.layers[-1].guesses[0].text == new[0].guesses[0].text
    assert inside.layers[-1].guesses[0].probability == pytest.approx(new[0].guesses[0].probability, rel=1e-4)


def test_what_was_stopped_has_each_token_once(generator: Generator, endless: Revision) -> None:
    from pipeline.generation.loading import load

    chunks: list[TextChunk] = []
    for chunk in generator.stream(endless, PROMPT, replace(ENDLESS, seed=99), asked_by="stopped"):
        chunks.append(chunk)
        if chunk.tokens > 5:
            generator.stop("stopped")
    written = [token_id for chunk in chunks for token_id in chunk.token_ids]
    _, tokenizer = load(endless.path)
    assert chunks[-1].finish == "stopped"
    assert tokenizer.decode(written) == "".join(chunk.text for chunk in chunks)


def test_a_text_is_read_while_others_are_written(generator: Generator, endless: Revision) -> None:
    streams = filled(generator, endless, 3)
    assert len(generator.read(endless, PROMPT, visitor="visitor 1").tokens) > 1
    assert not any(next(stream).done for stream in streams)
    close(streams)


def test_what_cannot_be_read_is_refused(generator: Generator, revision: Revision, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"written is 2,?049"):
        generator.read(revision, PROMPT, [5] * 2049)
    with pytest.raises(InputError, match="of this model are read at most"):
        generator.read(revision, PROMPT, [5] * 256)
    with pytest.raises(InputError, match="prompt is empty"):
        generator.read(revision, " ")
    with pytest.raises(InputError, match="at is 0; choose a token"):
        generator.look_inside(revision, PROMPT, [], 0)
    with pytest.raises(InputError, match="nowhere is not a revision"):
        generator.read(replace(revision, path=tmp_path / "nowhere"), PROMPT)


def test_tokens_that_did_not_fit_are_reported(generator: Generator, tmp_path: Path) -> None:
    small = write_revision(tmp_path / "small", tiny_model(n_positions=32))
    answer = generator.generate(small, "(\n" * 10, replace(SHORT, max_new_tokens=40))
    assert answer["note"].startswith("Only 12 of 40 new tokens fit")


@pytest.mark.parametrize(
    ("prompt", "sampling", "reason"),
    [
        ("", SHORT, "prompt"),
        ("x" * 9_000, SHORT, "shorten it to 8,000"),
        (PROMPT, replace(SHORT, samples=5), "samples is 5; set it to 4 or less"),
    ],
)
def test_an_invalid_request_is_refused_before_a_process_is_started(
    settings: Settings, revision: Revision, prompt: str, sampling: Sampling, reason: str
) -> None:
    with closing(Generator(settings)) as generator, pytest.raises(InputError, match=reason):
        generator.generate(revision, prompt, sampling)
    assert not settings.home.exists()


def test_an_error_in_the_generator_process_is_raised_with_its_message(
    generator: Generator, revision: Revision, copy: Path
) -> None:
    with pytest.raises(InputError, match="600 tokens long; shorten it to 255 or fewer"):
        generator.generate(revision, "(\n" * 300, SHORT)
    (copy / "config.json").write_text("{}")
    with pytest.raises(PipelineError, match="config") as refusal:
        generator.generate(replace(revision, path=copy), PROMPT, SHORT)
    assert refusal.value.exit_status == 1
    generator.generate(revision, PROMPT, SHORT)


def test_closing_the_stream_stops_the_writing(generator: Generator, endless: Revision) -> None:
    stream = generator.stream(endless, PROMPT, ENDLESS)
    next(stream)
    stream.close()
    assert list(generator.stream(endless, PROMPT, SHORT))[-1].finish == "length"  # arrives when the first has ended


def test_stop_ends_the_stream_with_every_sample_done(generator: Generator, endless: Revision) -> None:
    stream = generator.stream(endless, PROMPT, replace(ENDLESS, samples=2), asked_by="me")
    chunks = [next(stream)]
    generator.stop("me")
    chunks += stream
    assert [(p.sample, p.finish) for p in chunks if p.done] == [(0, "stopped"), (1, "stopped")]
    assert all(chunk.tokens < ENDLESS.max_new_tokens for chunk in chunks)


def test_one_visitor_does_not_stop_another(generator: Generator, endless: Revision) -> None:
    """The control of the test above."""
    stream = generator.stream(endless, PROMPT, replace(SHORT, max_new_tokens=200), asked_by="me")
    chunks = [next(stream)]
    generator.stop("somebody else")
    chunks += stream
    assert (chunks[-1].finish, chunks[-1].tokens) == ("length", 200)


def test_an_empty_key_stops_nothing(generator: Generator, endless: Revision) -> None:
    """A request of a program has no key, and neither has a page without a session."""
    stream = generator.stream(endless, PROMPT, replace(SHORT, max_new_tokens=200))
    chunks = [next(stream)]
    generator.stop("")
    chunks += stream
    assert (chunks[-1].finish, chunks[-1].tokens) == ("length", 200)


def filled(generator: Generator, endless: Revision, count: int, visitor: str = "") -> list[Iterator[TextChunk]]:
    """`count` running or queued requests, each of its own visitor unless `visitor` is given."""
    streams = [
        generator.stream(
            endless,
            PROMPT,
            replace(ENDLESS, seed=number),  # what is asked twice is written once
            visitor=visitor or f"visitor {number}",
            asked_by=f"key {number}",
        )
        for number in range(count)
    ]
    for stream in streams:
        next(stream)
    return streams


def close(streams: Iterable[Iterator[TextChunk]]) -> None:
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]


def test_the_sixth_visitor_is_written_while_five_write_for_long(generator: Generator, endless: Revision) -> None:
    """Regression: five long requests blocked all other visitors."""
    streams = filled(generator, endless, 5)
    assert generator.generate(endless, PROMPT, SHORT, visitor="the sixth")["finish"] == ["length"]
    assert not any(next(stream).done for stream in streams)
    close(streams)


def test_a_waiting_request_gets_its_queue_place_and_can_be_stopped_at_once(
    generator: Generator, endless: Revision
) -> None:
    streams = filled(generator, endless, MAX_BEGUN_TEXTS)
    waiting = [
        generator.stream(
            endless, PROMPT, replace(ENDLESS, samples=2, seed=ord(name)), visitor="visitor 1", asked_by=name
        )
        for name in "ab"  # of one who has one begun: anybody else starts at once
    ]
    assert [next(stream).place for stream in waiting] == [1, 2]
    generator.stop("a")
    assert [(p.finish, p.tokens) for p in waiting[0]] == [("stopped", 0)] * 2
    assert next(waiting[1]).place == 1
    close([streams.pop()])
    chunk = next(waiting[1])
    assert (chunk.place, chunk.tokens >= 1) == (None, True)
    close([*streams, *waiting])


def test_a_place_in_the_queue_is_not_part_of_the_answer(generator: Generator, endless: Revision) -> None:
    streams = filled(generator, endless, MAX_BEGUN_TEXTS)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(generator.generate, endless, PROMPT, SHORT, visitor="visitor 1")
        close(streams[:1])
        assert answer.result()["samples"] == [" the" * 8]
    close(streams)


def test_many_threads_get_their_own_texts(generator: Generator, revision: Revision) -> None:
    def text(seed: int) -> str:
        return generator.generate(revision, PROMPT, replace(SHORT, seed=seed), visitor=str(seed % 5))["samples"][0]

    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(text, range(12)))
    assert together == [text(seed) for seed in range(12)]


def test_a_visitor_with_too_many_requests_is_refused_until_one_has_ended(
    generator: Generator, endless: Revision
) -> None:
    streams = filled(generator, endless, MAX_OF_EACH, visitor="8.8.8.8")
    with pytest.raises(BusyError, match=rf"^{MAX_OF_EACH} of your requests .* stop one of them, or try again"):
        generator.generate(endless, PROMPT, SHORT, visitor="8.8.8.8")
    assert generator.generate(endless, PROMPT, SHORT, visitor="1.1.1.1")["samples"]
    close(streams[:1])
    assert generator.generate(endless, PROMPT, SHORT, visitor="8.8.8.8")["samples"]
    close(streams)


def test_the_owner_has_a_reserve_when_visitors_have_used_all_requests(generator: Generator, endless: Revision) -> None:
    streams = filled(generator, endless, MAX_REQUESTS)
    with pytest.raises(BusyError, match=f"{MAX_REQUESTS} requests already; try again when one of them is done"):
        generator.generate(endless, PROMPT, SHORT, visitor="late")
    owners = [generator.stream(endless, PROMPT, ENDLESS) for _ in range(OWNER_RESERVE)]
    for stream in owners:
        next(stream)
    with pytest.raises(BusyError, match=f"{MAX_REQUESTS + OWNER_RESERVE} requests already"):
        generator.generate(endless, PROMPT, SHORT)
    close([*owners, *streams])
    assert generator.generate(endless, PROMPT, SHORT)["samples"]


def test_a_reader_that_is_slow_gets_fewer_longer_chunks(generator: Generator, endless: Revision) -> None:
    stream = generator.stream(endless, PROMPT, replace(SHORT, max_new_tokens=100))
    chunks = [next(stream)]
    generator.generate(
        endless, PROMPT, replace(SHORT, max_new_tokens=300)
    )  # ends after the first, whose answers are unread
    chunks += stream
    assert len(chunks) == 2
    assert "".join(chunk.text for chunk in chunks) == " the" * 100


def test_generate_for_the_command_line_needs_a_revision_that_exists(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, limits=Limits())
    with pytest.raises(InputError, match=r"There is no revision 'abcdef'"):
        generate(settings, PROMPT, revision="abcdef")
    assert list(tmp_path.iterdir()) == []
