"""The outbox finds the entries of a session and the sessions of a participant without a scan.

Entries of an earlier release, which no index has, are found by a bounded scan.
"""

from uuid import uuid4

import pytest

from synckairos.clock.commands import Command, Create, NewParticipant, Pause, RemoveParticipant, Resume, Switch
from synckairos.clock.model import SyncMode
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest
from synckairos.store.failed_entries import FailedEntries
from synckairos.store.outbox import Outbox, WrittenVersion
from tests.integration.parts import Parts

PEOPLE = [str(uuid4()) for _ in range(3)]
TTL_MS = 3_600_000


@pytest.fixture
def outbox(parts: Parts) -> Outbox:
    return Outbox(parts.pipe, parts.store.keys)


async def start(parts: Parts, *people: str) -> str:
    participants = tuple(NewParticipant(each, total_time_ms=60_000) for each in people or PEOPLE)
    return await parts.start_session(Create(SyncMode.PER_PARTICIPANT, participants))


async def execute(parts: Parts, session_id: str, command: Command) -> None:
    verb = type(command).__name__.lower()
    await parts.sessions.execute(CommandRequest(Principal.anonymous_admin(), session_id, command, verb))


async def versions(outbox: Outbox, session_id: str) -> list[int]:
    return [entry.version for entry in await outbox.read_session_entries(session_id)]


async def drain(parts: Parts, outbox: Outbox) -> None:
    """Remove all entries from the outbox, as the drain does after Postgres has them."""
    entries = await outbox.read(0, 1_000, 1 << 30)
    parsed = [entry.parse() for entry in entries]
    newest = {each.session_id: WrittenVersion(each.session_id, each.epoch, each.version) for each in parsed}
    size = sum(entry.size_bytes for entry in entries)
    await outbox.remove_written(0, [each.entry_id for each in entries], newest.values(), TTL_MS, size_bytes=size)


async def rewrite_as_earlier_release(parts: Parts, session_id: str) -> None:
    """Write the entries of the outbox again as an earlier release would have written them, without any index."""
    keys = parts.store.keys
    entries = await parts.pipe.call("XRANGE", keys.outbox(0), "-", "+")
    await parts.pipe.call("DEL", keys.outbox(0), keys.indexed_outbox_entries(0), keys.outbox_participants(0))
    await parts.pipe.call("HDEL", keys.session(session_id), "entry", "indexed")
    for entry_id, fields in entries:
        await parts.pipe.call("XADD", keys.outbox(0), entry_id, *fields[:10])


async def commit_as_earlier_release(parts: Parts, session_id: str, version: int) -> None:
    """Add a version to a session and to the outbox as an earlier release does. Its document is the one before."""
    keys = parts.store.keys
    epoch, document = await parts.pipe.call("HMGET", keys.session(session_id), "epoch", "state")
    document = document.replace(b'"version":%d' % (version - 1), b'"version":%d' % version, 1)
    event = b'{"event_type":"metadata_updated","occurred_at_ms":1}'
    fields = ("session_id", session_id, "epoch", epoch, "version", version, "event", event, "state", document)
    await parts.pipe.call("HSET", keys.session(session_id), "version", version, "state", document)
    await parts.pipe.call("XADD", keys.outbox(0), "*", *fields)


async def drain_as_earlier_release(parts: Parts) -> None:
    """Remove all entries from the outbox as a worker of an earlier release does, without a change of any index."""
    keys = parts.store.keys
    for entry_id, fields in await parts.pipe.call("XRANGE", keys.outbox(0), "-", "+"):
        await parts.pipe.call("XDEL", keys.outbox(0), entry_id)
        await parts.pipe.call("HSET", keys.session(fields[1].decode()), "audited", fields[5])
    await parts.pipe.call("DEL", keys.outbox_bytes(0))


async def scans(parts: Parts) -> int:
    """Return the number of times that the newest entries of any outbox were read."""
    found = await parts.pipe.call("INFO", "commandstats")
    line = next((each for each in found.splitlines() if each.startswith(b"cmdstat_xrevrange:")), b"calls=0,")
    return int(line.partition(b"calls=")[2].partition(b",")[0])


async def test_unknown_ids_and_indexed_entries_cause_no_scan(parts: Parts, outbox: Outbox) -> None:
    session_id, other = await start(parts), await start(parts, str(uuid4()), str(uuid4()))
    for _ in range(3):
        await execute(parts, session_id, Switch())
    before = await scans(parts)
    assert await outbox.read_session_entries(str(uuid4())) == []
    assert await outbox.participant_session_names(str(uuid4())) == []
    assert await outbox.participant_session_names(PEOPLE[1]) == [session_id]
    assert await versions(outbox, session_id) == [1, 2, 3, 4, 5]
    assert await versions(outbox, other) == [1, 2]
    assert await scans(parts) == before


async def test_drained_sessions_are_not_found_and_leave_no_index_unless_they_run(parts: Parts, outbox: Outbox) -> None:
    paused, running, keys = await start(parts), await start(parts, PEOPLE[0], PEOPLE[1]), parts.store.keys
    await execute(parts, paused, Pause())
    await drain(parts, outbox)
    assert await outbox.participant_session_names(PEOPLE[0]) == []
    assert await parts.pipe.call("ZCARD", keys.indexed_outbox_entries(0)) == 0
    left = await parts.pipe.call("ZRANGE", keys.outbox_participants(0), 0, -1)
    assert sorted(left) == sorted(f"{person} {running}".encode() for person in PEOPLE[:2])
    await execute(parts, paused, Resume())
    await execute(parts, running, Switch())
    assert sorted(await outbox.participant_session_names(PEOPLE[0])) == sorted([paused, running])
    assert await versions(outbox, paused) == [4]


async def test_participant_removed_from_a_drained_session_is_found_by_the_event(parts: Parts, outbox: Outbox) -> None:
    session_id = await start(parts)
    await execute(parts, session_id, Pause())
    await drain(parts, outbox)
    await execute(parts, session_id, RemoveParticipant(PEOPLE[2]))
    assert await outbox.participant_session_names(PEOPLE[2]) == [session_id]
    await drain(parts, outbox)
    assert await outbox.participant_session_names(PEOPLE[2]) == []
    assert await outbox.prune_participants(0, "") == ""
    assert await parts.pipe.call("ZCARD", parts.store.keys.outbox_participants(0)) == 0


async def test_pruned_session_is_found_again_after_its_next_version(parts: Parts, outbox: Outbox) -> None:
    session_id = await start(parts)
    await execute(parts, session_id, Pause())
    await drain_as_earlier_release(parts)
    assert await outbox.prune_participants(0, "") == ""
    assert await parts.pipe.call("ZCARD", parts.store.keys.outbox_participants(0)) == 0
    await execute(parts, session_id, Resume())
    assert await outbox.participant_session_names(PEOPLE[0]) == [session_id]


async def test_participant_added_by_an_earlier_release_is_found_after_the_next_version(
    parts: Parts, outbox: Outbox
) -> None:
    session_id, keys, added = await start(parts), parts.store.keys, str(uuid4())
    await commit_as_earlier_release(parts, session_id, 3)
    document = await parts.pipe.call("HGET", keys.session(session_id), "state")
    document = document.replace(PEOPLE[2].encode(), added.encode())
    await parts.pipe.call("HSET", keys.session(session_id), "state", document)
    await drain(parts, outbox)
    await execute(parts, session_id, Switch())
    assert await outbox.participant_session_names(added) == [session_id]


async def test_entries_drained_by_an_earlier_worker_leave_the_index_in_the_next_sweep(
    parts: Parts, outbox: Outbox
) -> None:
    session_id, index = await start(parts), parts.store.keys.indexed_outbox_entries(0)
    await parts.pipe.call("ZADD", index, 1, "1-1")
    await outbox.prune_participants(0, "")
    entry_ids = [entry.entry_id.encode() for entry in await outbox.read(0, 10, 1 << 20)]
    assert await parts.pipe.call("ZRANGE", index, 0, -1) == entry_ids
    await execute(parts, session_id, Pause())
    await drain_as_earlier_release(parts)
    await outbox.prune_participants(0, "")
    assert await parts.pipe.call("EXISTS", index) == 0


async def test_entries_of_an_earlier_release_are_found_by_a_scan(parts: Parts, outbox: Outbox) -> None:
    session_id = await start(parts)
    await rewrite_as_earlier_release(parts, session_id)
    assert await versions(outbox, session_id) == [1, 2]
    assert await outbox.participant_session_names(PEOPLE[0]) == [session_id]
    await execute(parts, session_id, Switch())
    assert await versions(outbox, session_id) == [1, 2, 3], "an entry of this release leads to entries of the earlier"
    await commit_as_earlier_release(parts, session_id, 4)
    assert await versions(outbox, session_id) == [1, 2, 3, 4]
    created_by_earlier = await start(parts, str(uuid4()), PEOPLE[2])
    await parts.pipe.call("ZREM", parts.store.keys.outbox_participants(0), f"{PEOPLE[2]} {created_by_earlier}")
    assert created_by_earlier in await outbox.participant_session_names(PEOPLE[2])


async def test_entries_removed_by_an_earlier_worker_do_not_hide_entries_of_an_earlier_instance(
    parts: Parts, outbox: Outbox
) -> None:
    await start(parts)
    keys, entries = parts.store.keys, await outbox.read(0, 10, 1 << 20)
    await parts.pipe.call("XDEL", keys.outbox(0), *(each.entry_id for each in entries))
    other = await start(parts, str(uuid4()), str(uuid4()))
    await rewrite_as_earlier_release_without_index(parts, other)
    person = (await outbox.read_session_entries(other))[0].document.partition(b'"participant_id":"')[2][:36].decode()
    assert await outbox.participant_session_names(person) == [other]


async def rewrite_as_earlier_release_without_index(parts: Parts, session_id: str) -> None:
    """Write the outbox again as an earlier release would have, but keep the index of entries that were removed."""
    keys = parts.store.keys
    entries = await parts.pipe.call("XRANGE", keys.outbox(0), "-", "+")
    await parts.pipe.call("ZREM", keys.indexed_outbox_entries(0), *(entry_id for entry_id, _ in entries))
    await parts.pipe.call("XDEL", keys.outbox(0), *(entry_id for entry_id, _ in entries))
    await parts.pipe.call("DEL", keys.outbox_participants(0))
    await parts.pipe.call("HDEL", keys.session(session_id), "entry", "indexed")
    for _, fields in entries:
        await parts.pipe.call("XADD", keys.outbox(0), "*", *fields[:10])


async def test_entries_before_a_failed_entry_are_found(parts: Parts, outbox: Outbox) -> None:
    session_id = await start(parts)
    await execute(parts, session_id, Switch())
    second = (await outbox.read(0, 10, 1 << 20))[1]
    failed = FailedEntries(parts.pipe, parts.store.keys)
    await failed.record_failure(0, second.entry_id, retries=0, error="x", next_attempt_in_ms=60_000)
    assert await versions(outbox, session_id) == [1, 3]


async def test_restored_running_session_is_found_after_its_next_version(parts: Parts, outbox: Outbox) -> None:
    session_id, keys = await start(parts), parts.store.keys
    await parts.pipe.call("DEL", keys.outbox_participants(0))
    await parts.pipe.call("HDEL", keys.session(session_id), "indexed")
    await execute(parts, session_id, Switch())
    assert await outbox.participant_session_names(PEOPLE[0]) == [session_id]
