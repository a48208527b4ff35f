"""The feed on a real store: in order and once, and whole again after whatever was lost."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

from synckairos.clock.model import EventType
from synckairos.embedded import Valkey
from synckairos.errors import StoreUnavailable
from synckairos.store.commit_script import Commit, NewVersion
from synckairos.store.connect import open_redis
from synckairos.store.feed import Feed
from synckairos.store.keys import Keys
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.feed_message import DocumentChange, FeedMessage
from synckairos.wire.snapshot import Snapshot
from tests.waiting import eventually

HEALS_WITHIN_S = 5.0


@dataclass
class Heard:
    """A listener that notes what it is told."""

    messages: list[FeedMessage] = field(default_factory=list)
    renewed: list[tuple[int, bool]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def publish(self, message: FeedMessage) -> None:
        self.messages.append(message)

    def renew(self, session_id: str, snapshot: Snapshot, went_back: bool) -> None:
        self.renewed.append((snapshot.version, went_back))

    def absent(self, session_id: str) -> None:
        self.missing.append(session_id)

    @property
    def versions(self) -> list[int]:
        return [message.snapshot.version for message in self.messages]

    async def has(self, *versions: int, within_s: float = HEALS_WITHIN_S) -> None:
        async def look() -> bool:
            return self.versions == list(versions)

        await eventually(look, within_s)


def document_of(version: int, by: bytes = b"us") -> bytes:
    return b'{"by":"%b","version":%d}' % (by, version)


class Elsewhere(Keys):
    """Keys whose feed nobody listens to: what is committed by them is a lost message."""

    def feed_channel(self, session_id: str) -> str:
        return f"nobody:{session_id}"


@dataclass
class Bench:
    """A feed that watches one session, and the store to commit to."""

    keys: Keys
    pipe: RedisPipe
    store: SessionStore
    feed: Feed
    heard: Heard
    session_id: str
    epoch: str = "e1"
    version: int = 0
    tag: str = ""

    async def commit(
        self, *, is_lost: bool = False, spliced: bool = False, event: EventType = EventType.METADATA_UPDATED
    ) -> None:
        before = document_of(self.version)
        base = Snapshot(self.epoch, self.version, b"{}", self.tag) if self.version else None
        self.version += 1
        document, tag = document_of(self.version), uuid4().hex
        splices = b"%d 20 %d %d\n%b" % (len(before), len(before) - 21, len(document) - 21, document[20:-1])
        change = DocumentChange(self.tag, splices, b"{}") if spliced else None
        message = FeedMessage(
            self.session_id, Snapshot(self.epoch, self.version, document, tag), event, 0, change=change
        )
        store = self.store
        if is_lost:
            store = SessionStore(self.pipe, Elsewhere(self.keys.prefix), 32)
        await store.commit(Commit(self.session_id, base, [NewVersion(b"{}", message)], "running"))
        self.tag = tag


@asynccontextmanager
async def bench(url: str, prefix: str) -> AsyncIterator[Bench]:
    keys = Keys(prefix)
    async with RedisPipe(url, 2) as pipe, open_redis(url, 1) as redis:
        feed, heard, session_id = Feed(redis, pipe, keys, session_ttl_s=3600), Heard(), str(uuid4())
        running = asyncio.create_task(feed.run(heard))
        try:
            await feed.watch(session_id)
            yield Bench(keys, pipe, SessionStore(pipe, keys, 32), feed, heard, session_id)
        finally:
            running.cancel()
            await asyncio.wait((running,))


@pytest.fixture
async def watched(redis_url: str, key_prefix: str) -> AsyncIterator[Bench]:
    async with bench(redis_url, key_prefix) as opened:
        yield opened


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Iterator[Valkey]:
    """Give a Valkey that this test may kill and freeze."""
    with Valkey(data_dir / tmp_path_factory.mktemp("feed").name) as store:
        yield store


async def test_versions_come_in_order_and_once(watched: Bench) -> None:
    for _ in range(20):
        await watched.commit()
    await watched.heard.has(*range(1, 21))
    assert [message.snapshot.document for message in watched.heard.messages][-1] == document_of(20)


async def test_splices_are_made_documents_again(watched: Bench) -> None:
    await watched.commit()
    for _ in range(11):
        await watched.commit(spliced=True)
    await watched.heard.has(*range(1, 13))
    assert [message.snapshot.document for message in watched.heard.messages] == [
        document_of(each) for each in range(1, 13)
    ]


async def test_a_gap_before_splices_is_filled_from_the_history(watched: Bench) -> None:
    await watched.commit()
    for is_lost in (True, True, False, False):
        await watched.commit(is_lost=is_lost, spliced=True)
    await watched.heard.has(1, 2, 3, 4, 5)
    assert [message.snapshot.document for message in watched.heard.messages] == [
        document_of(each) for each in range(1, 6)
    ]


async def test_who_comes_in_on_splices_reads_what_they_are_for(watched: Bench) -> None:
    await watched.commit(is_lost=True)
    await watched.commit(spliced=True)

    async def look() -> bool:
        return watched.heard.renewed == [(2, False)]

    await eventually(look, HEALS_WITHIN_S)
    await watched.commit(spliced=True)
    await watched.heard.has(3)
    assert watched.heard.messages[0].snapshot.document == document_of(3)


async def test_splices_for_other_content_of_the_same_version_are_read_again(watched: Bench) -> None:
    await watched.commit()
    await watched.heard.has(1)
    key = watched.keys.session(watched.session_id)
    watched.tag = "other"
    await watched.pipe.call("HSET", key, "tag", watched.tag, "state", document_of(1, b"it"))
    await watched.commit(spliced=True)
    await watched.heard.has(1, 2)
    await watched.commit(spliced=True)
    await watched.heard.has(1, 2, 3)
    assert [each.snapshot.document for each in watched.heard.messages[1:]] == [
        document_of(each, b"it") for each in (2, 3)
    ]


async def test_who_leaves_before_redis_has_confirmed_waits_no_longer(watched: Bench) -> None:
    session_id = str(uuid4())
    waiting = asyncio.create_task(watched.feed.watch(session_id))
    await asyncio.sleep(0)
    watched.feed.unwatch(session_id)
    await waiting  # or else it would raise, two seconds later


async def test_a_gap_is_filled_from_the_history(watched: Bench) -> None:
    await watched.commit()
    await watched.commit(is_lost=True)
    await watched.commit(is_lost=True)
    await watched.commit()
    await watched.heard.has(1, 2, 3, 4)


async def test_a_lost_last_message_is_noticed(watched: Bench) -> None:
    await watched.commit()
    await watched.commit(is_lost=True)
    await watched.heard.has(1, 2)


async def test_a_lost_first_message_is_noticed(watched: Bench) -> None:
    await watched.commit(is_lost=True)

    async def look() -> bool:
        return watched.heard.renewed == [(1, False)]

    await eventually(look, HEALS_WITHIN_S)
    await watched.commit()
    await watched.heard.has(2)


async def test_a_broken_connection_is_made_anew_and_caught_up(watched: Bench) -> None:
    await watched.commit()
    await watched.pipe.call("CLIENT", "KILL", "TYPE", "pubsub")
    for _ in range(3):
        await watched.commit()
    await watched.heard.has(1, 2, 3, 4)
    await watched.commit()
    await watched.heard.has(1, 2, 3, 4, 5)


async def test_what_the_store_lost_is_taken_back(watched: Bench) -> None:
    for _ in range(3):
        await watched.commit()
    await watched.heard.has(1, 2, 3)
    key = watched.keys.session(watched.session_id)
    await watched.pipe.call("HSET", key, "version", 2, "state", b'{"version":2}')
    await watched.pipe.call("DEL", watched.keys.history(watched.session_id))

    async def look() -> bool:
        return watched.heard.renewed == [(2, True)]

    await eventually(look, HEALS_WITHIN_S)
    watched.version = 2
    await watched.commit()
    await watched.heard.has(1, 2, 3, 3)


async def test_a_new_epoch_is_followed(watched: Bench) -> None:
    await watched.commit()
    await watched.commit()
    await watched.pipe.call("DEL", watched.keys.session(watched.session_id))
    watched.epoch, watched.version = "e2", 0
    await watched.commit(event=EventType.SESSION_CREATED)
    await watched.heard.has(1, 2, 1)


async def test_a_session_that_is_gone_is_told(watched: Bench) -> None:
    await watched.commit()
    await watched.pipe.call("DEL", watched.keys.session(watched.session_id))

    async def look() -> bool:
        return watched.session_id in watched.heard.missing

    await eventually(look, HEALS_WITHIN_S)


async def test_a_watched_session_doesnt_expire(watched: Bench) -> None:
    await watched.commit()
    key = watched.keys.session(watched.session_id)
    await watched.pipe.call("EXPIRE", key, 60)

    async def look() -> bool:
        left: int = await watched.pipe.call("TTL", key)
        return left > 60

    await eventually(look, HEALS_WITHIN_S)


async def test_redis_time_is_known(watched: Bench) -> None:
    async def look() -> bool:
        return watched.feed.server_time.error_ms < 100

    await eventually(look)
    before_ms = await watched.store.now_ms()
    estimated_ms = watched.feed.server_time.now_ms()
    after_ms = await watched.store.now_ms()
    error_ms = watched.feed.server_time.error_ms + 2
    assert before_ms - error_ms <= estimated_ms <= after_ms + error_ms


@pytest.mark.slow
async def test_a_frozen_store_is_noticed_and_caught_up(own_valkey: Valkey, key_prefix: str) -> None:
    async with bench(own_valkey.url, key_prefix) as watched:
        await watched.commit()
        await watched.heard.has(1)

        async def connected() -> bool:
            return watched.feed.is_connected

        async def disconnected() -> bool:
            return not watched.feed.is_connected

        await eventually(connected)
        own_valkey.suspend()
        try:
            await eventually(disconnected)
        finally:
            own_valkey.resume()
        await watched.commit(is_lost=True)
        await watched.heard.has(1, 2)
        await eventually(connected, HEALS_WITHIN_S)


@pytest.mark.slow
async def test_a_restarted_store_is_found_again(own_valkey: Valkey, key_prefix: str) -> None:
    async with bench(own_valkey.url, key_prefix) as watched:
        await watched.commit()
        await watched.heard.has(1)
        own_valkey.stop()
        own_valkey.start()

        async def committed() -> bool:
            with suppress(StoreUnavailable):
                await watched.commit()
                return True
            watched.version -= 1
            return False

        await eventually(committed)
        await watched.heard.has(1, 2)
