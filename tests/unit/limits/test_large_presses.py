"""Presses of sessions with large documents: they take turns, wait for other presses, and are refused in time."""

import asyncio

import pytest

from synckairos.errors import RateLimitExceeded
from synckairos.limits import large_presses
from synckairos.limits.large_presses import LARGE_DOCUMENT_BYTES, LargePresses
from synckairos.limits.processor_time import ProcessorTime
from synckairos.limits.work_limits import PROCESSOR_MS
from synckairos.principal import DEFAULT_TENANT
from tests.background_task import start

LARGE = 10 * LARGE_DOCUMENT_BYTES


def known_large_session(*, others: bool) -> LargePresses:
    """Return the turns of an instance that knows the large session `s`. `others` is whether others are active."""
    presses = LargePresses(PROCESSOR_MS, lambda: 0.0, lambda client: others)
    presses.note_size("s", LARGE)
    return presses


async def press(presses: LargePresses, client: str, events: list[str], held: asyncio.Event | None = None) -> None:
    async with presses.turn(client, "s"):
        events.append(client)
        if held is not None:
            await held.wait()


def test_session_is_large_from_the_note_of_a_large_document_to_that_of_a_small_one() -> None:
    presses = ProcessorTime().large_presses
    presses.note_size("s", LARGE_DOCUMENT_BYTES)
    assert "s" not in presses.sessions
    presses.note_size("s", LARGE_DOCUMENT_BYTES + 1)
    assert "s" in presses.sessions
    presses.note_size("s", LARGE_DOCUMENT_BYTES)
    assert "s" not in presses.sessions


def test_session_is_large_in_its_tenant_only() -> None:
    presses = ProcessorTime().large_presses
    presses.note_size("s", LARGE)
    presses.note_size("b/t", LARGE)
    assert [presses.find_large(DEFAULT_TENANT, each) for each in ("s", "t")] == ["s", None]
    assert [presses.find_large("b", each) for each in ("s", "t")] == [None, "b/t"]


def test_number_of_known_sessions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_presses, "MAX_SESSIONS", 2)
    presses = ProcessorTime().large_presses
    for session_id in ("a", "b", "a", "c"):
        presses.note_size(session_id, LARGE)
    assert list(presses.sessions) == ["a", "c"]


async def test_presses_of_one_client_run_one_after_the_other_and_those_of_others_do_not_wait() -> None:
    presses, events, end = known_large_session(others=False), list[str](), asyncio.Event()
    first = await start(press(presses, "a", events, end))
    second = await start(press(presses, "a", events))
    await press(presses, "b", events)
    assert events == ["a", "b"]
    end.set()
    await asyncio.gather(first, second)
    assert events == ["a", "b", "a"]


async def test_next_press_waits_for_the_share_while_other_clients_are_active() -> None:
    presses, events = known_large_session(others=True), list[str]()
    await press(presses, "a", events)
    second = await start(press(presses, "a", events))
    assert events == ["a"], "the clock of the test does not run"
    await second  # the wait is in real time: the seconds of the press, divided by the share
    assert events == ["a", "a"]


async def test_press_that_waits_too_long_is_refused_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    presses, events, end = known_large_session(others=True), list[str](), asyncio.Event()
    first = await start(press(presses, "a", events, end))
    monkeypatch.setattr(large_presses, "MAX_WAIT_S", 0)
    with pytest.raises(RateLimitExceeded, match="milliseconds of processor time"):
        await press(presses, "a", events)
    end.set()
    await first
    assert events == ["a"]
    assert presses.client_count == 1, "the next turn of the client is later"


async def test_clients_are_forgotten_when_their_next_turn_has_come() -> None:
    now_s, events = 0.0, list[str]()
    presses = LargePresses(PROCESSOR_MS, lambda: now_s, lambda client: True)
    presses.note_size("s", LARGE)
    await press(presses, "a", events)
    now_s = 60.0
    await press(presses, "b", events)
    assert presses.client_count == 1


async def test_other_work_does_not_wait_for_a_large_press_and_the_press_waits_for_other_presses() -> None:
    shares, steps = ProcessorTime(), list[str]()
    shares.large_presses.note_size("s", LARGE)

    async def work() -> None:
        steps.append("press")

    shares.press_priority.begin_press()
    large = await start(shares.run_large_press("a", "s", work))
    assert steps == []
    assert not large.done()
    shares.press_priority.end_press()
    await large
    assert steps == ["press"]
    await asyncio.sleep(0)
    assert not shares.press_priority.must_wait
