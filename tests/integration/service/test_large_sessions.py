"""Sessions with many participants: only changes are loaded and committed, and documents have the same bytes."""

import asyncio
import random
from contextlib import AsyncExitStack
from uuid import uuid4

import orjson
import pytest

from synckairos.clock import creation, engine
from synckairos.clock.commands import Command, Create, Delete, NewParticipant, Start, Switch, UpdateMetadata
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.service.prepare_commit import build_version
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.store.commit_script import Commit, CommitConflict, Committed, NewVersion
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import Quota, general_rate
from synckairos.store.stored_session import parse_history
from synckairos.store.stream_entry import StreamEntry
from synckairos.wire.outbox_entry import CommitCause
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session
from synckairos.wire.snapshot import SessionSnapshot
from tests.integration.parts import Parts, open_parts
from tests.principals import make_principal
from tests.unit.clock.histories import Bytes, commands, draw_creation
from tests.unit.clock.script import T0
from tests.unit.wire.large_sessions import enlarge

CALLER = make_principal("admin")
DAY_MS = 86_400_000


def large_session() -> Create:
    participants = tuple(NewParticipant(str(uuid4()), total_time_ms=DAY_MS) for _ in range(100))
    return Create(SyncMode.PER_PARTICIPANT, participants)


async def start_large_session(parts: Parts, session_id: str | None = None) -> str:
    made = await parts.sessions.create(CreateRequest(CALLER, large_session(), session_id))
    await execute(parts, made.session.session_id, Start())
    return made.session.session_id


async def execute(parts: Parts, session_id: str, command: Command) -> bytes:
    answer = await parts.sessions.execute(CommandRequest(CALLER, session_id, command, type(command).__name__.lower()))
    assert answer.snapshot.document == render_session(parse_session(answer.snapshot.document))
    return answer.snapshot.document


async def load_snapshot(parts: Parts, session_id: str) -> SessionSnapshot:
    found = (await parts.store.load(session_id)).snapshot
    assert found is not None
    return found


async def test_load_with_the_current_snapshot_returns_its_document_without_a_transfer(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        session_id = await start_large_session(parts)
        held = await load_snapshot(parts, session_id)
        again = (await parts.store.load(session_id, held=held)).snapshot
        assert again == held
        assert again is not None
        assert again.document is held.document
        await execute(parts, session_id, Switch())
        newer = (await parts.store.load(session_id, held=held)).snapshot
        assert newer is not None
        assert newer.version == held.version + 1
        assert newer.document == (await load_snapshot(parts, session_id)).document
        await parts.pipe.call("DEL", parts.store.keys.session(session_id))
        assert (await parts.store.load(session_id, held=held)).snapshot is None


async def test_load_after_the_store_lost_its_scripts_counts_the_command_once(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        session_id = await start_large_session(parts)
        held = await load_snapshot(parts, session_id)
        meter = RateMeter(Quota(general_rate(10), session_id))
        for left in (9, 8):
            await parts.pipe.call("SCRIPT", "FLUSH")
            loaded = await parts.store.load(session_id, meter=meter, held=held)
            assert loaded.snapshot is not None
            assert loaded.snapshot.document is held.document
            assert [status.remaining for status in meter.statuses] == [left]


async def test_switches_by_two_instances_make_versions_without_a_gap(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await start_large_session(one)
        documents = [await execute((one, two)[at % 3 == 1], session_id, Switch()) for at in range(12)]
        parallel = await asyncio.gather(*(execute((one, two)[at % 2], session_id, Switch()) for at in range(12)))
        documents += sorted(parallel, key=lambda document: int(orjson.loads(document)["version"]))
        kept = [message.snapshot.document for message in await one.store.read_history(session_id)][::-1]
        assert kept[2:] == documents
        assert (await load_snapshot(two, session_id)).document == documents[-1]


async def test_version_that_another_instance_committed_again_replaces_the_cached_version(settings: Settings) -> None:
    """Simulate a failover that loses a version. Another instance then commits the same version number again."""
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await start_large_session(one)
        dumped = await dump_session(one, session_id)
        await execute(one, session_id, Switch())
        await restore_dumped_session(one, dumped)
        other = await execute(two, session_id, UpdateMetadata({"who": "two"}))
        last = orjson.loads(await execute(one, session_id, Switch()))
        assert last["metadata"] == {"who": "two"}
        reissued = orjson.loads(other)
        # The instance that knows the lost version continues the session under a new epoch before its command.
        assert last["version"] == reissued["version"] + 2
        assert last["epoch"] != reissued["epoch"]


async def test_history_has_no_versions_before_a_version_that_the_store_lost(settings: Settings) -> None:
    """Check the history for watchers that still have the lost version. The feed has not compared versions yet."""
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await start_large_session(one)
        dumped = await dump_session(one, session_id)
        await execute(one, session_id, UpdateMetadata({"who": "one, with a longer text"}))
        lost = await load_snapshot(one, session_id)
        await restore_dumped_session(one, dumped)
        await execute(two, session_id, UpdateMetadata({"who": "two"}))
        kept = await one.pipe.call("LRANGE", one.store.keys.history(session_id), 0, -1)
        assert [*parse_history(lost, kept, "")] == []
        stored = await load_snapshot(two, session_id)
        assert [message.snapshot.version for message in parse_history(stored, kept, "")] == [
            3,
            2,
            1,
        ]


async def test_commit_on_other_content_of_the_same_version_is_a_conflict(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        session_id = await start_large_session(parts)
        held, key = await load_snapshot(parts, session_id), parts.store.keys.session(session_id)
        known = RenderedSession.parse(held.document)
        (transition,) = engine.apply(known.session, Switch(), T0 + DAY_MS).own
        version = build_version(
            transition, CommitCause("caller", "switch"), known.render_next(transition.state), held.tag
        )
        await parts.pipe.call("HSET", key, "tag", "other")
        outcome = await parts.store.commit(Commit(session_id, held, [version], "running"))
        assert isinstance(outcome, CommitConflict)
        assert outcome.stored is not None
        assert outcome.stored.snapshot == await load_snapshot(parts, session_id)


async def test_cached_document_is_not_used_for_a_session_created_again(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await start_large_session(one)
        await execute(two, session_id, Delete())
        await start_large_session(two, session_id)
        last = orjson.loads(await execute(one, session_id, Switch()))
        assert last["version"] == 3
        assert last["epoch"] == (await load_snapshot(two, session_id)).epoch


async def test_session_without_a_tag_accepts_commands(settings: Settings) -> None:
    """Check sessions without a tag: restored sessions, and sessions that an older release wrote."""
    async with open_parts(settings) as parts:
        session_id = await start_large_session(parts)
        await parts.pipe.call("HDEL", parts.store.keys.session(session_id), "tag")
        documents = [await execute(parts, session_id, Switch()) for _ in range(3)]
        kept = [message.snapshot.document for message in await parts.store.read_history(session_id)][::-1]
        assert kept[-3:] == documents


async def test_history_of_a_large_session_stores_only_its_changes(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        session_id = await start_large_session(parts)
        for _ in range(settings.history_length + 3):
            document = await execute(parts, session_id, Switch())
        kept: list[bytes] = await parts.pipe.call("LRANGE", parts.store.keys.history(session_id), 0, -1)
        assert len(kept) >= settings.history_length
        assert sum(map(len, kept)) < len(document) * settings.history_length / 5


@pytest.mark.parametrize("seed", range(4))
async def test_stored_documents_equal_rendered_documents_in_random_histories(settings: Settings, seed: int) -> None:
    """Commit random histories.

    Some commits have several overdue transitions, because the clock jumps between commands.
    """
    pick = random.Random(seed)
    async with open_parts(settings) as parts:
        for _ in range(10):
            tape = Bytes(pick.randbytes(120))
            spec = enlarge(draw_creation(tape))
            transition = creation.create(spec, str(uuid4()), "e", T0)
            session_id, now_ms = transition.state.session_id, T0
            known, base, documents = RenderedSession.render(transition.state), None, list[bytes]()
            versions = [build_version(transition, CommitCause("caller", "create"))]
            for wait_ms, command, _ in commands(tape, 12, spec.plan):
                base = await commit(parts, session_id, base, versions)
                documents += [version.message.snapshot.document for version in versions]
                now_ms += wait_ms
                versions, tag = [], base.tag
                for transition in engine.apply(known.session, command, now_ms).all_transitions:
                    known = known.render_next(transition.state)
                    versions.append(build_version(transition, CommitCause("caller", "any"), known, tag))
                    tag = versions[-1].message.snapshot.tag
                if transition.state.deleted:
                    break
            kept = [message.snapshot.document for message in await parts.store.read_history(session_id)][::-1]
            assert kept == documents[-len(kept) :]
            assert all(document == render_session(parse_session(document)) for document in kept)
            assert len(kept) == min(len(documents), settings.history_length)


async def dump_session(parts: Parts, session_id: str) -> dict[str, bytes]:
    """Return the stored values of a session and of its version history, by key."""
    keys = parts.store.keys
    names = keys.session(session_id), keys.history(session_id)
    return {name: await parts.pipe.call("DUMP", name) for name in names}


async def restore_dumped_session(parts: Parts, dumped: dict[str, bytes]) -> None:
    """Store the values of `dump_session` again, as a failover does that loses the later versions."""
    for name, value in dumped.items():
        await parts.pipe.call("RESTORE", name, 0, value, "REPLACE")


async def commit(
    parts: Parts, session_id: str, base: SessionSnapshot | None, versions: list[NewVersion]
) -> SessionSnapshot:
    """Commit the versions. Check that Redis has the last document, and that the outbox has all documents."""
    assert isinstance(await parts.store.commit(Commit(session_id, base, versions, "running")), Committed)
    found = await load_snapshot(parts, session_id)
    if versions:
        assert found == versions[-1].message.snapshot
        outbox = await parts.pipe.call("XREVRANGE", parts.store.keys.outbox(0), "+", "-", "COUNT", len(versions))
        before = base.document if base else None
        for (entry_id, fields), version in zip(reversed(outbox), versions, strict=True):
            entry = StreamEntry(entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True)))
            before = entry.parse(before).document
            assert before == render_session(parse_session(version.message.snapshot.document))
    return found
