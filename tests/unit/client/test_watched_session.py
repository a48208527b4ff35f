"""The updates of a watched session: in order and with every event, even if the reader is slow."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from synckairos.wire.document_merge_patch import Json
from synckairos.wire.session_json import session_json
from synckairos_client import SessionDeleted, Update, Watch
from synckairos_client.pending_commands import Ack
from synckairos_client.watched_session import MAX_QUEUED_UPDATES
from tests.unit.client.messages import event, history
from tests.unit.clock.histories import Bytes


async def no_command(*_: object, **__: object) -> Ack:
    raise AssertionError


@pytest.fixture
def watch() -> Watch:
    return Watch("s", no_command, lambda: 0.0)


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
