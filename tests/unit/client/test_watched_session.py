"""The updates of a watched session: in order and with every event, even if the reader is slow."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from synckairos.wire.document_merge_patch import Json
from synckairos.wire.session_json import session_json
from synckairos_client import CommandRefused, SessionDeleted, Update, Watch
from synckairos_client.pending_commands import Ack
from synckairos_client.watched_session import MAX_QUEUED_UPDATES
from tests.unit.client.messages import event, history
from tests.unit.clock.histories import Bytes


@pytest.fixture
def watch() -> Watch:
    return Presses().watch


DOCUMENT: Json = session_json(next(history(Bytes(b""))))


def sync(version: int) -> dict[str, Any]:
    return {"type": "STATE_UPDATE", "epoch": "e", "version": version, "state": DOCUMENT | {"version": version}}


async def rest(updates: AsyncGenerator[Update, None]) -> list[Update]:
    return [update async for update in updates]


async def test_slow_reader_gets_the_newest_state_and_every_event(watch: Watch) -> None:
    watch.apply_message(sync(1))
    updates = watch.updates()
    assert (await anext(updates)).state.version == 1
    last = 3 * MAX_QUEUED_UPDATES
    for version in range(2, last + 1):
        watch.apply_message(event(version))
        watch.apply_message(sync(version))
    watch.end_iterations()
    received = await rest(updates)
    assert len(received) == MAX_QUEUED_UPDATES
    assert received[-1].state.version == last
    assert [each.version for update in received for each in update.events] == list(range(2, last + 1))


async def test_queued_updates_are_yielded_before_the_iteration_ends(watch: Watch) -> None:
    watch.apply_message(sync(1))
    updates = watch.updates()
    await anext(updates)
    watch.apply_message(sync(2))
    watch.end_iterations(SessionDeleted("s"))
    assert (await anext(updates)).state.version == 2
    with pytest.raises(SessionDeleted):
        await anext(updates)


async def test_each_reader_begins_with_the_latest_state(watch: Watch) -> None:
    for version in (1, 2):
        watch.apply_message(sync(version))
        updates = watch.updates()
        assert (await anext(updates)).state.version == version
        await updates.aclose()
    assert (await watch.reach(2)).version == 2


class Presses:
    """A watch whose commands are noted, and answered with the version after the newest one."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.version = 1
        self.round_trip_ms = 41.6
        self.is_lost = False
        self.watch = Watch("s", self.send, self)

    def now_ms(self) -> float:
        return 0.0

    async def send(self, session_id: str, verb: str, args: dict[str, Any] | None, **members: Any) -> Ack:
        self.sent.append((verb, {"args": args} | {name: each for name, each in members.items() if each is not None}))
        if self.is_lost:
            raise CommandRefused("STORE_UNAVAILABLE", "the outcome is unknown")
        self.version += 1
        return Ack("c", self.version, "e")

    def receive(self, version: int, **document: Any) -> None:
        state = DOCUMENT | {"version": version, "turn_number": version, **document}
        kind = "STATE_SYNC" if version == 1 else "STATE_UPDATE"
        self.watch.apply_message({"type": kind, "epoch": "e", "version": version, "state": state})


async def test_press_names_the_turn_that_is_shown_unless_the_caller_names_one() -> None:
    presses = Presses()
    presses.receive(1)
    for options in ({}, {"expected_turn": None}, {"expected_turn": 7}):
        await presses.watch.command("switch", **options)
        presses.receive(presses.version)
    await presses.watch.command("pause")
    assert presses.sent == [
        ("switch", {"args": None, "expected_turn": 1}),
        ("switch", {"args": None}),
        ("switch", {"args": None, "expected_turn": 7}),
        ("pause", {"args": None}),
    ]


async def test_press_waits_for_the_result_of_the_press_before() -> None:
    presses = Presses()
    presses.receive(1)
    await presses.watch.command("switch")
    pressing = asyncio.create_task(presses.watch.command("switch"))
    await asyncio.sleep(0)
    assert len(presses.sent) == 1
    presses.receive(2)
    await pressing
    assert presses.sent[-1] == ("switch", {"args": None, "expected_turn": 2})


async def test_press_after_data_loss_does_not_wait_for_the_lost_version() -> None:
    presses = Presses()
    presses.receive(1)
    presses.version = 10
    await presses.watch.command("switch")
    presses.receive(1)
    await presses.watch.command("switch")
    assert presses.sent[-1] == ("switch", {"args": None, "expected_turn": 1})


async def test_repeated_press_is_the_same_command_also_in_a_later_turn() -> None:
    presses = Presses()
    presses.receive(1)
    presses.is_lost = True
    with pytest.raises(CommandRefused):
        await presses.watch.command("switch", command_id="one")
    presses.receive(2)
    presses.is_lost = False
    await presses.watch.command("switch", command_id="one")
    presses.receive(3)
    await presses.watch.command("switch", command_id="one")
    turns = [members["expected_turn"] for _, members in presses.sent]
    assert turns == [1, 1, 1]


async def test_press_claims_the_round_trip_with_lag_compensation() -> None:
    presses = Presses()
    presses.receive(1, lag_compensation=True)
    await presses.watch.command("switch", {"next_participant_id": "b"})
    await presses.watch.command("switch", {"lag_ms": 5}, expected_turn=None)
    assert [members["args"] for _, members in presses.sent] == [
        {"next_participant_id": "b", "lag_ms": 42},
        {"lag_ms": 5},
    ]
