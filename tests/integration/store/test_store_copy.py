"""A copied store has the same sessions, sets, outbox and counts in the partitions of the new store."""

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from synckairos.admin.outbox_drain import EntriesSetAside, drain_outbox
from synckairos.admin.store_copy import copy_store
from synckairos.clock.commands import Create, NewParticipant
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.errors import StoreMisconfigured, StoreMoved, StoreUnavailable
from synckairos.frozen_replace import replace
from synckairos.principal import Principal
from synckairos.service.requests import CreateRequest
from synckairos.store.control_store import ControlStore
from synckairos.store.keys import Keys
from synckairos.store.permissions import Permissions
from tests.integration.data_loss import create_started, switch
from tests.integration.parts import Parts, open_parts
from tests.waiting import eventually

PAGE = Path(__file__).parents[3] / "docs/operate/move-store.md"


def ignore(_: str) -> None:
    pass


def target_of(settings: Settings) -> str:
    """Return the URL of another database of the same Redis, which is empty."""
    return f"{settings.redis_url.rpartition('/')[0]}/1"


async def read_store(parts: Parts) -> dict[str, Any]:
    """Return the content of the store by kinds, without the partitions."""
    keys, call = parts.store.keys, parts.pipe.call
    found: dict[str, Any] = {"bytes": 0, "tenants": {}}

    async def add(kind: str, command: str, name: str, *rest: str | int) -> None:
        reply = await call(command, name, *rest)
        found.setdefault(kind, []).extend(reply if kind in ("outbox", "gaps", "participants") else pairs(reply))

    for partition in range(keys.partitions):
        await add("outbox", "XRANGE", keys.outbox(partition), "-", "+")
        await add("indexed", "ZRANGE", keys.indexed_outbox_entries(partition), 0, -1, "WITHSCORES")
        await add("deadlines", "ZRANGE", keys.deadlines(partition), 0, -1, "WITHSCORES")
        await add("live", "ZRANGE", keys.live_sessions(partition), 0, -1, "WITHSCORES")
        await add("live of a", "ZRANGE", keys.live_sessions(partition, "a"), 0, -1, "WITHSCORES")
        await add("participants", "ZRANGE", keys.outbox_participants(partition), 0, -1)
        await add("gaps", "ZRANGE", keys.failed_entry_versions(partition), 0, -1)
        await add("failed", "ZRANGE", keys.failed_entries(partition), 0, -1, "WITHSCORES")
        found["bytes"] += int(await call("GET", keys.outbox_bytes(partition)) or 0)
        for tenant, size in pairs(await call("HGETALL", keys.outbox_tenants(partition))):
            found["tenants"][tenant] = found["tenants"].get(tenant, 0) + int(size)
    return {kind: sorted(value) if isinstance(value, list) else value for kind, value in found.items()}


def pairs(flat: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


async def read_session(parts: Parts, name: str) -> list[Any]:
    keys = parts.store.keys
    replies = await parts.pipe.call_many(
        [
            ("HGETALL", keys.session(name)),
            ("LRANGE", keys.history(name), 0, -1),
            ("HGETALL", keys.idempotency_records(name)),
        ]
    )
    return [dict(pairs(replies[0])), replies[1], dict(pairs(replies[2]))]


@pytest.mark.parametrize("partitions", [1, 4])
async def test_copy_has_all_sessions_and_the_outbox(own_settings: Settings, partitions: int) -> None:
    settings = own_settings.model_copy(update={"partitions": partitions})
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(open_parts(settings))
        names = [await create_started(parts) for _ in range(6)]
        answer = await switch(parts, names[0], "a-command")
        tenant = replace(Principal.anonymous_admin(), tenant="a")
        two = tuple(NewParticipant(str(uuid4()), total_time_ms=3_600_000) for _ in range(2))
        made = await parts.sessions.create(CreateRequest(tenant, Create(SyncMode.PER_PARTICIPANT, two)))
        names.append(f"a/{made.session.session_id}")
        await ControlStore(parts.pipe, parts.store.keys).append([b"{}", b"[]"])
        await add_failed_entry(parts, names[1])
        before, sessions = await read_store(parts), [await read_session(parts, name) for name in names]

        result = await copy_store(settings, target_of(settings), 4, ignore)
        assert result is not None
        assert result.sessions == len(names)

        moved = settings.model_copy(update={"redis_url": target_of(settings), "partitions": 4})
        copied = await stack.enter_async_context(open_parts(moved))
        after = await read_store(copied)
        # The bytes that an entry counts at least depend on the number of partitions.
        assert after.pop("tenants").keys() == before.pop("tenants").keys()
        assert after == before
        assert [await read_session(copied, name) for name in names] == sessions
        old, new = [await ControlStore(each.pipe, each.store.keys).read_all() for each in (parts, copied)]
        assert (old.position, old.entries) == (new.position, new.entries)
        generations = [await each.pipe.call("GET", each.store.keys.generation(0)) for each in (parts, copied)]
        assert generations[0] == generations[1]

        # The former store refuses changes for ever, and nothing can open it. The new one goes on.
        with pytest.raises(StoreUnavailable, match="moved to another store"):
            await switch(parts, names[0])
        with pytest.raises(StoreUnavailable, match="moved to another store"):
            await ControlStore(parts.pipe, parts.store.keys).append([b"1"])
        with pytest.raises(StoreMoved, match="SYNCKAIROS_PARTITIONS=4"):
            await stack.enter_async_context(open_parts(settings))
        assert await switch(copied, names[0], "a-command") == answer
        await switch(copied, names[0])
        with pytest.raises(EntriesSetAside, match="15 versions were written, and Postgres rejected 1 entries"):
            await drain_outbox(moved)
        drained = await read_store(copied)
        assert (drained["outbox"], drained["bytes"], drained["tenants"]) == ([], 0, {})
        assert await copy_store(settings, target_of(settings), 4, ignore) is None


async def add_failed_entry(parts: Parts, name: str) -> None:
    """Add a failed entry that is not retried, as the drain does."""
    keys, partition = parts.store.keys, parts.store.keys.partition_of(name)
    await parts.pipe.call("ZADD", keys.failed_entries(partition), "inf", "1-1")
    await parts.pipe.call("HSET", keys.failed_entry(partition, "1-1"), "session_id", name, "epoch", "e", "version", 9)
    await parts.pipe.call("ZADD", keys.failed_entry_versions(partition), 0, f"{name} e 9")


async def test_user_with_the_documented_permissions_can_copy(own_settings: Settings) -> None:
    words = re.findall(r"`([^`]*hexists[^`]*)`", PAGE.read_text())
    rule = Permissions(Keys(own_settings.key_prefix), store=True, queue=False, db=1).render_acl_rule("copier")
    urls = {}
    async with open_parts(own_settings) as parts:
        await create_started(parts)
        for user, more in zip(("copier", "receiver"), words, strict=True):
            own = rule.replace("copier", user).replace(">PASSWORD", ">secret")
            await parts.pipe.call(*own.split(" "), *more.split())
            urls[user] = own_settings.redis_url.replace("://", f"://{user}:secret@")
        settings = own_settings.model_copy(update={"redis_url": urls["copier"]})
        target = f"{urls['receiver'].rpartition('/')[0]}/1"
        assert await copy_store(settings, target, 4, ignore) is not None
        await eventually(lambda: parts.pipe.call("PING"))
        assert await parts.pipe.call("ACL", "LOG") == []


async def test_copy_that_is_not_possible_is_refused(own_settings: Settings) -> None:
    settings = own_settings.model_copy(update={"partitions": 4})
    target = target_of(settings)
    with pytest.raises(StoreMisconfigured, match="has no store"):
        await copy_store(settings, target, None, ignore)
    async with open_parts(settings) as parts:
        keys = parts.store.keys
        with pytest.raises(StoreMisconfigured, match="as many"):
            await copy_store(settings, target, 2, ignore)
        with pytest.raises(StoreMisconfigured, match="no URL"):
            await copy_store(settings, "http://other", None, ignore)
        with pytest.raises(StoreMisconfigured, match="already has keys"):
            await copy_store(settings, settings.redis_url, None, ignore)
        await parts.pipe.call("ZADD", keys.instance_heartbeats, 2**53, "0123456789abcdef.3")
        with pytest.raises(StoreMisconfigured, match="earlier release"):
            await copy_store(settings, target, None, ignore)
        await parts.pipe.call("DEL", keys.instance_heartbeats)
        await parts.pipe.call("SET", keys.fence(0), "x")
        # A refused copy has changed nothing, and a fence refuses the commits of its partition alone.
        statuses = set()
        for name in [await try_create(parts) for _ in range(40)]:
            statuses.add(name is None)
        assert statuses == {True, False}


async def try_create(parts: Parts) -> str | None:
    """Create a session. Return its id, None if a fence refused it."""
    try:
        return await create_started(parts)
    except StoreUnavailable:
        return None
