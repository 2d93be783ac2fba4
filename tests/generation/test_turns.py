"""The order of turns, and that a seed gives the same text alone and with concurrent requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from pipeline.generation.sampling import complete
from pipeline.generation.server import _random_state, _set_random_state
from pipeline.generation.settings import Sampling
from pipeline.generation.turns import Turn, Turns

PROMPTS = ("import pandas as pd\n", "def load(path):\n", "class A", "x = [")


def counted(requests: list[str], rounds: int, paused: int | None = None) -> list[str]:
    """Visitors in the order of their turns, `rounds` per request. The first request waits until the others are queued."""
    turns: Turns[None] = Turns(lambda: None, lambda state: None)
    order: list[str] = []
    all_are_here = threading.Event()
    mine = [Turn(visitor) for visitor in requests]

    def take(number: int) -> None:
        with turns.taken(mine[number]):
            if number == 0:
                all_are_here.wait()
            for _ in range(rounds):
                order.append(requests[number])
                turns.pass_on(mine[number])

    threads = []
    for number in range(len(requests)):
        threads.append(threading.Thread(target=take, args=(number,)))
        threads[-1].start()
        while sum(map(len, turns._waiting.values())) < number:
            pass  # until it is queued behind the first
    if paused is not None:
        turns.pause(mine[paused], True)
    all_are_here.set()
    for number, thread in enumerate(threads):
        if number != paused:
            thread.join()
    if paused is not None:
        turns.pause(mine[paused], False)
        threads[paused].join()
    return order


def test_turns_rotate_over_the_visitors() -> None:
    assert counted(["a", "b", "c"], 3) == ["a", "b", "c"] * 3


def test_five_requests_of_one_visitor_get_as_much_as_one_of_another() -> None:
    order = counted(["a", "a", "a", "b", "a", "a"], 10)
    assert order.count("a") == 50
    until_b_ends = order[: len(order) - order[::-1].index("b")]
    assert abs(until_b_ends.count("a") - until_b_ends.count("b")) <= 1


def test_a_paused_request_is_skipped_until_it_is_resumed() -> None:
    assert counted(["a", "b", "c"], 3, paused=1) == ["a", "c"] * 3 + ["b"] * 3


def test_a_seed_gives_the_same_text_alone_and_with_concurrent_requests(
    model: GPT2LMHeadModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    asked = [
        (prompt, Sampling(seed=seed, temperature=1.5, top_p=1, max_new_tokens=12 + 3 * number, samples=2))
        for number, prompt in enumerate(PROMPTS)
        for seed in (0, 10, 20, 30)
    ]
    alone = [complete(model, tokenizer, prompt, sampling) for prompt, sampling in asked]
    turns = Turns(_random_state, _set_random_state)
    num_passes = 0
    company = threading.Barrier(len(asked))

    def write(number: int) -> list[str]:
        turn = Turn(str(number % 5))

        def passed() -> bool:
            nonlocal num_passes
            num_passes += 1
            turns.pass_on(turn)
            return False

        company.wait()
        with turns.taken(turn):
            return complete(model, tokenizer, *asked[number], should_stop=passed)

    before = torch.get_rng_state()
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(write, range(len(asked))))
    torch.set_rng_state(before)
    assert num_passes > 16 * 2 * 12
    assert len({text for texts in alone for text in texts}) == 32
    assert together == alone
