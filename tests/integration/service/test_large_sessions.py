"""Sessions of many: loaded only where they changed, committed as what changed, and the same bytes all the same."""

import asyncio
import random
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.clock import creation, engine
from synckairos.clock.commands import Command, Create, Delete, NewParticipant, Start, Switch, UpdateMetadata
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.commits import build_version
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.store.commit_script import Commit, Committed, Conflict, NewVersion
from synckairos.store.rate_limits import Quota, RateMeter
from synckairos.store.stored_session import parse_history
from synckairos.wire.outbox_entry import Cause
from synckairos.wire.rendered_session import RenderedSession
from synckairos.wire.session_json import parse_session, render_session
from synckairos.wire.snapshot import Snapshot
from tests.integration.parts import Parts, open_parts
from tests.unit.clock.histories import Bytes, commands, draw_creation
from tests.unit.clock.script import T0
from tests.unit.wire.large_sessions import enlarge

SOMEBODY = Principal(subject="somebody")
DAY_MS = 86_400_000


def many(**more: Any) -> Create:
    people = tuple(NewParticipant(str(uuid4()), total_time_ms=DAY_MS) for _ in range(100))
    return Create(SyncMode.PER_PARTICIPANT, people, **more)


async def started(parts: Parts, session_id: str | None = None) -> str:
    made = await parts.sessions.create(CreateRequest(SOMEBODY, many(), session_id))
    await execute(parts, made.session.session_id, Start())
    return made.session.session_id


async def execute(parts: Parts, session_id: str, command: Command) -> bytes:
    answer = await parts.sessions.execute(CommandRequest(SOMEBODY, session_id, command, type(command).__name__.lower()))
    assert answer.snapshot.document == render_session(parse_session(answer.snapshot.document))
    return answer.snapshot.document


async def snapshot_of(parts: Parts, session_id: str) -> Snapshot:
    found = (await parts.store.load(session_id)).snapshot
    assert found is not None
    return found


async def test_a_document_at_hand_isnt_loaded_again(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        session_id = await started(parts)
        held = await snapshot_of(parts, session_id)
        again = (await parts.store.load(session_id, held=held)).snapshot
        assert again == held
        assert again is not None
        assert again.document is held.document
        await execute(parts, session_id, Switch())
        newer = (await parts.store.load(session_id, held=held)).snapshot
        assert newer is not None
        assert newer.version == held.version + 1
        assert newer.document == (await snapshot_of(parts, session_id)).document
        await parts.pipe.call("DEL", parts.store.keys.session(session_id))
        assert (await parts.store.load(session_id, held=held)).snapshot is None


async def test_a_load_counts_once_where_the_server_lost_the_scripts(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        session_id = await started(parts)
        held = await snapshot_of(parts, session_id)
        meter = RateMeter(Quota(f"test:{session_id}", 10, 60_000))
        for left in (9, 8):
            await parts.pipe.call("SCRIPT", "FLUSH")
            loaded = await parts.store.load(session_id, meter=meter, held=held)
            assert loaded.snapshot is not None
            assert loaded.snapshot.document is held.document
            assert [status.remaining for status in meter.statuses] == [left]


async def test_instances_in_turn_make_one_history(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await started(one)
        told = [await execute((one, two)[at % 3 == 1], session_id, Switch()) for at in range(12)]
        at_once = await asyncio.gather(*(execute((one, two)[at % 2], session_id, Switch()) for at in range(12)))
        told += sorted(at_once, key=lambda document: int(orjson.loads(document)["version"]))
        kept = [message.snapshot.document for message in await one.store.history(session_id)][::-1]
        assert kept[2:] == told
        assert (await snapshot_of(two, session_id)).document == told[-1]


async def test_a_version_issued_again_with_other_content_isnt_the_one_at_hand(settings: Settings) -> None:
    """A failover lost one instance's version, and another instance issued its number again."""
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await started(one)
        keys = one.store.keys
        names = keys.session(session_id), keys.history(session_id)
        dumped = [await one.pipe.call("DUMP", name) for name in names]
        await execute(one, session_id, Switch())
        for name, value in zip(names, dumped, strict=True):
            await one.pipe.call("RESTORE", name, 0, value, "REPLACE")
        other = await execute(two, session_id, UpdateMetadata({"who": "two"}))
        last = orjson.loads(await execute(one, session_id, Switch()))
        assert last["metadata"] == {"who": "two"}
        assert last["version"] == orjson.loads(other)["version"] + 1


async def test_the_history_doesnt_lead_back_from_a_version_that_the_store_lost(settings: Settings) -> None:
    """An instance's watchers still have it, until its feed has looked."""
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await started(one)
        keys = one.store.keys
        names = keys.session(session_id), keys.history(session_id)
        dumped = [await one.pipe.call("DUMP", name) for name in names]
        await execute(one, session_id, UpdateMetadata({"who": "one, who had more to say"}))
        lost = await snapshot_of(one, session_id)
        for name, value in zip(names, dumped, strict=True):
            await one.pipe.call("RESTORE", name, 0, value, "REPLACE")
        await execute(two, session_id, UpdateMetadata({"who": "two"}))
        kept = await one.pipe.call("LRANGE", keys.history(session_id), 0, -1)
        assert [*parse_history(lost, kept)] == []
        assert [message.snapshot.version for message in parse_history(await snapshot_of(two, session_id), kept)] == [
            3,
            2,
            1,
        ]


async def test_nothing_is_committed_on_other_content_of_the_same_version(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        session_id = await started(parts)
        held, key = await snapshot_of(parts, session_id), parts.store.keys.session(session_id)
        known = RenderedSession.parse(held.document)
        (transition,) = engine.apply(known.session, Switch(), T0 + DAY_MS).own
        step = build_version(transition, Cause("somebody", "switch"), known.render_next(transition.state), held.tag)
        await parts.pipe.call("HSET", key, "tag", "other")
        outcome = await parts.store.commit(Commit(session_id, held, [step], "running"))
        assert isinstance(outcome, Conflict)
        assert outcome.stored is not None
        assert outcome.stored.snapshot == await snapshot_of(parts, session_id)


async def test_a_new_life_under_the_same_id_isnt_the_old_one(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await started(one)
        await execute(two, session_id, Delete())
        await started(two, session_id)
        last = orjson.loads(await execute(one, session_id, Switch()))
        assert last["version"] == 3
        assert last["epoch"] == (await snapshot_of(two, session_id)).epoch


async def test_what_was_put_there_without_a_tag_is_gone_on_from(settings: Settings) -> None:
    """As it comes back from the archive, or as a release before this one left it."""
    async with open_parts(settings) as parts:
        session_id = await started(parts)
        await parts.pipe.call("HDEL", parts.store.keys.session(session_id), "tag")
        told = [await execute(parts, session_id, Switch()) for _ in range(3)]
        kept = [message.snapshot.document for message in await parts.store.history(session_id)][::-1]
        assert kept[-3:] == told


async def test_a_thousand_take_no_more_room_in_the_history_than_their_changes(settings: Settings) -> None:
    async with open_parts(settings) as parts:
        session_id = await started(parts)
        for _ in range(settings.history_length + 3):
            document = await execute(parts, session_id, Switch())
        kept: list[bytes] = await parts.pipe.call("LRANGE", parts.store.keys.history(session_id), 0, -1)
        assert len(kept) == settings.history_length
        assert sum(map(len, kept)) < len(document) * settings.history_length / 5


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_stored_is_what_rendering_makes_in_any_history(settings: Settings, seed: int) -> None:
    """Chains in one commit among them: the clock is set far ahead between commands."""
    pick = random.Random(seed)
    async with open_parts(settings) as parts:
        for _ in range(10):
            tape = Bytes(pick.randbytes(120))
            transition = creation.create(enlarge(draw_creation(tape)), str(uuid4()), "e", T0)
            session_id, now_ms = transition.state.session_id, T0
            known, base, documents = RenderedSession.render(transition.state), None, list[bytes]()
            steps = [build_version(transition, Cause("somebody", "create"))]
            for wait_ms, command, _ in commands(tape, 12):
                base = await commit(parts, session_id, base, steps)
                documents += [step.message.snapshot.document for step in steps]
                now_ms += wait_ms
                steps, tag = [], base.tag
                for transition in engine.apply(known.session, command, now_ms).transitions:
                    known = known.render_next(transition.state)
                    steps.append(build_version(transition, Cause("somebody", "any"), known, tag))
                    tag = steps[-1].message.snapshot.tag
                if transition.state.deleted:
                    break
            kept = [message.snapshot.document for message in await parts.store.history(session_id)][::-1]
            assert kept == documents[-len(kept) :]
            assert all(document == render_session(parse_session(document)) for document in kept)
            assert len(kept) == min(len(documents), settings.history_length)


async def commit(parts: Parts, session_id: str, base: Snapshot | None, steps: list[NewVersion]) -> Snapshot:
    """Commit these steps, and see that Redis holds what the last one says, and the outbox all of them."""
    assert isinstance(await parts.store.commit(Commit(session_id, base, steps, "running")), Committed)
    found = await snapshot_of(parts, session_id)
    if steps:
        assert found == steps[-1].message.snapshot
        outbox = await parts.pipe.call("XREVRANGE", parts.store.keys.outbox(0), "+", "-", "COUNT", len(steps))
        entries = [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in reversed(outbox)]
        assert [entry[b"state"] for entry in entries] == [
            render_session(parse_session(step.message.snapshot.document)) for step in steps
        ]
    return found
