"""Two releases commit, drain and read the same sessions at the same time, with the scripts of each release."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from uuid import uuid4

import pytest

from synckairos.clock.commands import Command, Create, NewParticipant, Pause, Resume, Switch, UpdateMetadata
from synckairos.clock.model import Status, SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest
from synckairos.store.commit_script import RECORDS_TTL_MS
from synckairos.store.outbox import Outbox, WrittenVersion
from tests.fixtures.previous_release_scripts import previous_release_scripts
from tests.integration.parts import Parts, open_parts

STEPS = 60
PEOPLE = [str(uuid4()) for _ in range(3)]
TTL_MS = 3_600_000


class Release:
    """An instance and a worker of one release."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.outbox = Outbox(parts.pipe, parts.store.keys)

    async def drain(self, count: int) -> None:
        """Remove the oldest `count` entries from the outbox, as the drain does after Postgres has them."""
        entries = await self.outbox.read(0, count, 1 << 30)
        parsed = [entry.parse() for entry in entries]
        newest = {each.session_id: WrittenVersion(each.session_id, each.epoch, each.version) for each in parsed}
        size = sum(entry.size_bytes for entry in entries)
        ids = [each.entry_id for each in entries]
        await self.outbox.remove_written(0, ids, newest.values(), TTL_MS, size_bytes=size)


@asynccontextmanager
async def open_release(settings: Settings, *, is_previous: bool) -> AsyncIterator[Release]:
    with previous_release_scripts() if is_previous else nullcontext():
        opening = open_parts(settings)
        release = Release(await opening.__aenter__())
    try:
        yield release
    finally:
        await opening.__aexit__(None, None, None)


async def count_scans(parts: Parts) -> int:
    """Return the number of times that the newest entries of any outbox were read."""
    found = await parts.pipe.call("INFO", "commandstats")
    line = next((each for each in found.splitlines() if each.startswith(b"cmdstat_xrevrange:")), b"calls=0,")
    return int(line.partition(b"calls=")[2].partition(b",")[0])


def pick_command(pick: random.Random, status: Status) -> Command:
    if status is Status.PAUSED:
        return Resume()
    commands: list[Command] = [Switch(), Switch(), Switch(), Pause(), UpdateMetadata({"at": pick.random()})]
    return pick.choice(commands)


def request_of(session_id: str, command: Command, command_id: str | None) -> CommandRequest:
    verb = "update_metadata" if isinstance(command, UpdateMetadata) else type(command).__name__.lower()
    return CommandRequest(
        Principal.anonymous_admin(), session_id, command, verb, command_id=command_id, fingerprint="f"
    )


async def assert_stored_session(parts: Parts, session_id: str, version: int, drained: int, history_length: int) -> None:
    keys, call = parts.store.keys, parts.pipe.call
    stored_version, due, status, deleted = await call(
        "HMGET", keys.session(session_id), "version", "due", "status", "deleted"
    )
    session = (await parts.sessions.read(Principal.anonymous_admin(), session_id)).session
    assert (int(stored_version), status.decode(), deleted) == (version, session.status, b"0")
    score = await call("ZSCORE", keys.deadlines(0), session_id)
    assert (score or b"") == due
    assert await call("ZSCORE", keys.live_sessions(0), session_id)
    has_ttl = [await call("PTTL", key) > 0 for key in (keys.session(session_id), keys.history(session_id))]
    assert has_ttl == [drained == version] * 2
    if await call("EXISTS", keys.idempotency_records(session_id)):
        assert await call("PTTL", keys.idempotency_records(session_id)) > RECORDS_TTL_MS - 60_000
    kept = [message.snapshot.version for message in await parts.store.read_history(session_id)]
    assert kept == list(range(version, version - len(kept), -1))
    assert len(kept) == min(version, history_length)
    assert await call("LLEN", keys.history(session_id)) <= history_length * 9 // 8


@pytest.mark.parametrize("seed", range(3))
async def test_two_releases_find_all_entries_and_keep_all_promises_about_a_session(
    settings: Settings, seed: int
) -> None:
    pick = random.Random(seed)
    settings = settings.model_copy(update={"history_length": 16})
    async with AsyncExitStack() as stack:
        releases = [
            await stack.enter_async_context(open_release(settings, is_previous=is_previous))
            for is_previous in (False, True)
        ]
        parts = releases[0].parts
        parts.store.history_format.is_packed = seed > 0
        releases[1].parts.store.history_format.is_packed = False
        participants = tuple(NewParticipant(each, total_time_ms=600_000) for each in PEOPLE)
        sessions = [
            await pick.choice(releases).parts.start_session(Create(SyncMode.PER_PARTICIPANT, participants))
            for _ in range(2)
        ]
        statuses = dict.fromkeys(sessions, Status.RUNNING)
        newest, drained = dict.fromkeys(sessions, 2), dict.fromkeys(sessions, 0)
        scans = await count_scans(parts)
        for step in range(STEPS):
            if pick.random() < 0.3:
                count = pick.choice([2, 1_000])
                for entry in (await releases[0].outbox.read(0, count, 1 << 30))[:count]:
                    drained[entry.fields[b"session_id"].decode()] = int(entry.fields[b"version"])
                await pick.choice(releases).drain(count)
            session_id = pick.choice(sessions)
            one, other = pick.sample(releases, 2)
            request = request_of(
                session_id, pick_command(pick, statuses[session_id]), f"step-{step}" if pick.random() < 0.5 else None
            )
            answer = await one.parts.sessions.execute(request)
            newest[session_id] += 1
            assert answer.session.version == newest[session_id]
            statuses[session_id] = answer.session.status
            if request.command_id is not None:
                again = await other.parts.sessions.execute(request)
                assert again.replayed
                assert again.snapshot.document == answer.snapshot.document
            for release in releases:
                for each in sessions:
                    entries = await release.outbox.read_session_entries(each)
                    assert [entry.version for entry in entries] == list(range(drained[each] + 1, newest[each] + 1))
                with_entries = {each for each in sessions if drained[each] != newest[each]}
                assert set(await release.outbox.participant_session_names(pick.choice(PEOPLE))) == with_entries
            backlog = await releases[0].outbox.measure_backlog()
            assert backlog.bytes == sum(each.size_bytes for each in await releases[0].outbox.read(0, 1_000, 1 << 30))
            for each in sessions:
                await assert_stored_session(parts, each, newest[each], drained[each], settings.history_length)
        assert await count_scans(parts) == scans, "the indexes were complete"
