"""Budgets of clients, and the queue in which large inputs are parsed."""

import asyncio
import threading
from contextlib import ExitStack

import pytest

from synckairos.errors import RateLimitExceeded
from synckairos.limits import client_work_budgets
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.parse_queue import THREAD_VALUES, ParseQueue
from synckairos.limits.work_limits import BYTES, REPORTS, UNKNOWN_SESSIONS, VALUES


def test_client_may_cause_the_burst_at_once_and_is_then_refused_with_the_wait() -> None:
    work = ClientWorkLimits(clock=lambda: 7.0)
    work.charge("a", BYTES, BYTES.burst)
    with pytest.raises(RateLimitExceeded) as refusal:
        work.charge("a", BYTES, 1_000)
    assert refusal.value.message == (
        "Too many requests for the limit of 2,000,000 bytes in bodies and messages a second and client, "
        "32,000,000 at once (SYNCKAIROS_CLIENT_WORK_FACTOR); try again in 1 s"
    )
    assert refusal.value.details == {"setting": "SYNCKAIROS_CLIENT_WORK_FACTOR", "retry_after_ms": 1}
    work.charge("a", VALUES, 1)
    work.charge("b", BYTES, BYTES.burst)


def test_factor_multiplies_rate_and_burst() -> None:
    instants = iter((0.0, 0.0, 1.0))
    work = ClientWorkLimits(0.5, clock=lambda: next(instants))
    work.charge("a", BYTES, BYTES.burst / 2)
    with pytest.raises(RateLimitExceeded, match=r"limit of 1,000,000 bytes .* and client, 16,000,000 at once"):
        work.charge("a", BYTES, 1)
    work.charge("a", BYTES, BYTES.per_s / 2)


def test_amount_above_the_bucket_takes_the_full_bucket_and_the_refusal_gives_the_true_wait() -> None:
    now_s = 7.0
    work = ClientWorkLimits(0.001, clock=lambda: now_s)
    work.charge("a", BYTES, 1_000_000)
    with pytest.raises(
        RateLimitExceeded, match=r"limit of 2,000 bytes .*, 32,000 at once .* try again in 16 s"
    ) as full:
        work.charge("a", BYTES, 1_000_000)
    now_s += full.value.retry_after_s
    work.charge("a", BYTES, 1_000_000)


def test_small_factor_allows_one_unit_at_once_and_the_refusal_names_the_fraction() -> None:
    work = ClientWorkLimits(0.001, clock=lambda: 7.0)
    work.charge("a", REPORTS)
    with pytest.raises(RateLimitExceeded, match=r"limit of 0\.01 time reports.* a second and client, 1 at once"):
        work.charge("a", REPORTS)


def test_number_of_budgets_is_bounded_and_the_client_that_was_idle_longest_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_work_budgets, "MAX_CLIENTS", 3)
    work = ClientWorkLimits(clock=lambda: 0.0)
    for client in ("a", "b", "c"):
        work.charge(client, VALUES, VALUES.burst)
    with pytest.raises(RateLimitExceeded):
        work.charge("a", VALUES, 1)
    work.charge("d", VALUES, 1)
    assert work.client_count == 3
    with pytest.raises(RateLimitExceeded):
        work.charge("a", VALUES, 1)
    work.charge("b", VALUES, 1)


async def test_one_input_is_parsed_in_a_turn_of_the_event_loop() -> None:
    queue, turn, parsed_in = ParseQueue(), 0, list[int]()
    inputs = [asyncio.create_task(queue.run("a", 10, lambda: parsed_in.append(turn))) for _ in range(5)]
    while not all(each.done() for each in inputs):
        await asyncio.sleep(0)
        turn += 1
    assert len(set(parsed_in)) == 5


async def test_input_with_many_values_is_parsed_in_a_thread_and_its_refusal_is_raised() -> None:
    queue = ParseQueue()
    assert await queue.run("a", THREAD_VALUES, threading.get_ident) == threading.get_ident()
    assert await queue.run("a", THREAD_VALUES + 1, threading.get_ident) != threading.get_ident()

    def refuse() -> None:
        raise ValueError("malformed")

    with pytest.raises(ValueError, match="malformed"):
        await queue.run("a", THREAD_VALUES + 1, refuse)
    assert await queue.run("a", 1, lambda: "next") == "next"


def test_charge_that_may_be_due_is_reserved_only_while_the_budget_is_low() -> None:
    limits = ClientWorkLimits(clock=lambda: 0.0)
    half = UNKNOWN_SESSIONS.burst // 2

    def begin(count: int) -> ExitStack:
        """Begin several pieces of work that turn out not to be due at their end."""
        stack = ExitStack()
        for _ in range(count):
            stack.enter_context(limits.charge_if_due("a", UNKNOWN_SESSIONS))
        return stack

    begin(3 * UNKNOWN_SESSIONS.burst).close()
    for _ in range(half):
        with limits.charge_if_due("a", UNKNOWN_SESSIONS) as charge:
            charge.is_due = True
    running = begin(half)
    with pytest.raises(RateLimitExceeded):
        begin(1)
    running.close()
    begin(half).close()
    for _ in range(half):
        with limits.charge_if_due("a", UNKNOWN_SESSIONS) as charge:
            charge.is_due = True
    with pytest.raises(RateLimitExceeded):
        begin(1)


def test_work_that_was_done_takes_at_most_the_whole_budget() -> None:
    limits = ClientWorkLimits(clock=lambda: 0.0)
    limits.charge_at_most("a", VALUES, 1)  # without a budget, nothing was charged before
    limits.charge("a", VALUES, 1)
    limits.charge_at_most("a", VALUES, VALUES.burst - 2)
    limits.charge("a", VALUES, 1)
    with pytest.raises(RateLimitExceeded):
        limits.charge("a", VALUES, 1)
    limits.charge("b", VALUES, 1)
    limits.charge_at_most("b", VALUES, 2 * VALUES.burst)
    with pytest.raises(RateLimitExceeded):
        limits.charge("b", VALUES, 1)
