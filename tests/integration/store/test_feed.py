"""The feed with a real store: it delivers versions once and in order, and recovers from any loss."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from synckairos.clock.transition import EventType
from synckairos.embedded import Valkey
from synckairos.errors import StoreUnavailable
from synckairos.store.commit_script import Commit, NewVersion
from synckairos.store.connect import make_redis_client
from synckairos.store.feed import Feed
from synckairos.store.keys import Keys
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.feed_message import DocumentChange, FeedMessage
from synckairos.wire.snapshot import SessionSnapshot
from tests.background_task import start
from tests.waiting import eventually

RECOVERS_WITHIN_S = 5.0


@dataclass
class RecordingListener:
    """A listener that records all calls."""

    messages: list[FeedMessage] = field(default_factory=list)
    renewed: list[tuple[int, bool]] = field(default_factory=list)
    absent_ids: list[str] = field(default_factory=list)

    def on_feed_message(self, session_name: str, message: FeedMessage) -> None:
        self.messages.append(message)

    def on_feed_resync(self, session_name: str, snapshot: SessionSnapshot, went_back: bool) -> None:
        self.renewed.append((snapshot.version, went_back))

    def on_session_missing(self, session_name: str) -> None:
        self.absent_ids.append(session_name)

    @property
    def versions(self) -> list[int]:
        return [message.snapshot.version for message in self.messages]

    async def has(self, *versions: int, within_s: float = RECOVERS_WITHIN_S) -> None:
        async def is_true() -> bool:
            return self.versions == list(versions)

        await eventually(is_true, within_s)


class KeysOfAnotherFeed(Keys, frozen=True):
    """Keys with the channel of another feed.

    A version that is committed with these keys is a lost message for the feed.
    """

    def feed_channel(self, session_id: str) -> str:
        return f"other:{session_id}"


@dataclass
class WatchedSession:
    """A feed that watches one session, and the store that commits its versions."""

    keys: Keys
    pipe: RedisPipe
    store: SessionStore
    feed: Feed
    listener: RecordingListener
    session_id: str
    epoch: str = "e1"
    version: int = 0
    tag: str = ""

    def document(self, version: int, by: str = "us") -> bytes:
        text = f'{{"by":"{by}","version":{version},"session_id":"{self.session_id}","epoch":"{self.epoch}"}}'
        return text.encode()

    async def commit(
        self, *, is_lost: bool = False, spliced: bool = False, event: EventType = EventType.METADATA_UPDATED
    ) -> None:
        before = self.document(self.version)
        base = SessionSnapshot(self.epoch, self.version, b"{}", self.tag) if self.version else None
        self.version += 1
        document, tag = self.document(self.version), uuid4().hex
        splices = b"%d 20 %d %d\n%b" % (len(before), len(before) - 21, len(document) - 21, document[20:-1])
        change = DocumentChange(self.tag, splices, b"{}") if spliced else None
        message = FeedMessage(
            self.session_id, SessionSnapshot(self.epoch, self.version, document, tag), event, 0, change=change
        )
        store = self.store
        if is_lost:
            store = SessionStore(self.pipe, KeysOfAnotherFeed(self.keys.prefix), 32)
        await store.commit(Commit(self.session_id, base, [NewVersion(b"{}", message)], "running"))
        self.tag = tag


@asynccontextmanager
async def open_watched(url: str, prefix: str) -> AsyncIterator[WatchedSession]:
    keys = Keys(prefix)
    async with RedisPipe(url, 2) as pipe, make_redis_client(url, 1) as redis:
        feed, listener, session_id = Feed(redis, pipe, keys, session_ttl_s=3600), RecordingListener(), str(uuid4())
        running = asyncio.create_task(feed.run(listener))
        try:
            await feed.watch(session_id)
            yield WatchedSession(keys, pipe, SessionStore(pipe, keys, 32), feed, listener, session_id)
        finally:
            running.cancel()
            await asyncio.wait((running,))


@pytest.fixture
async def watched(redis_url: str, key_prefix: str) -> AsyncIterator[WatchedSession]:
    async with open_watched(redis_url, key_prefix) as opened:
        yield opened


async def test_committed_versions_are_delivered_in_order_and_once(watched: WatchedSession) -> None:
    for _ in range(20):
        await watched.commit()
    await watched.listener.has(*range(1, 21))
    assert [message.snapshot.document for message in watched.listener.messages][-1] == watched.document(20)


async def test_spliced_versions_are_delivered_as_whole_documents(watched: WatchedSession) -> None:
    await watched.commit()
    for _ in range(11):
        await watched.commit(spliced=True)
    await watched.listener.has(*range(1, 13))
    assert [message.snapshot.document for message in watched.listener.messages] == [
        watched.document(each) for each in range(1, 13)
    ]


async def test_gap_before_spliced_versions_is_filled_from_the_history(watched: WatchedSession) -> None:
    await watched.commit()
    for is_lost in (True, True, False, False):
        await watched.commit(is_lost=is_lost, spliced=True)
    await watched.listener.has(1, 2, 3, 4, 5)
    assert [message.snapshot.document for message in watched.listener.messages] == [
        watched.document(each) for each in range(1, 6)
    ]


async def test_spliced_version_without_a_known_document_is_read_from_the_store(watched: WatchedSession) -> None:
    await watched.commit(is_lost=True)
    await watched.commit(spliced=True)

    async def is_true() -> bool:
        return watched.listener.renewed == [(2, False)]

    await eventually(is_true, RECOVERS_WITHIN_S)
    await watched.commit(spliced=True)
    await watched.listener.has(3)
    assert watched.listener.messages[0].snapshot.document == watched.document(3)


async def test_splices_for_another_document_of_the_same_version_cause_a_read(watched: WatchedSession) -> None:
    await watched.commit()
    await watched.listener.has(1)
    key = watched.keys.session(watched.session_id)
    watched.tag = "other"
    await watched.pipe.call("HSET", key, "tag", watched.tag, "state", watched.document(1, "it"))
    await watched.commit(spliced=True)
    await watched.listener.has(1, 2)
    await watched.commit(spliced=True)
    await watched.listener.has(1, 2, 3)
    assert [each.snapshot.document for each in watched.listener.messages[1:]] == [
        watched.document(each, "it") for each in (2, 3)
    ]


async def test_watch_returns_if_the_session_is_unwatched_before_the_confirmation(watched: WatchedSession) -> None:
    session_id = str(uuid4())
    waiting = await start(watched.feed.watch(session_id))
    watched.feed.unwatch(session_id)
    await waiting  # without `unwatch`, the call would raise after two seconds


async def test_gap_is_filled_from_the_history(watched: WatchedSession) -> None:
    await watched.commit()
    await watched.commit(is_lost=True)
    await watched.commit(is_lost=True)
    await watched.commit()
    await watched.listener.has(1, 2, 3, 4)


async def test_lost_last_message_is_detected_by_comparison(watched: WatchedSession) -> None:
    await watched.commit()
    await watched.commit(is_lost=True)
    await watched.listener.has(1, 2)


async def test_lost_first_message_is_detected_by_comparison(watched: WatchedSession) -> None:
    await watched.commit(is_lost=True)

    async def is_true() -> bool:
        return watched.listener.renewed == [(1, False)]

    await eventually(is_true, RECOVERS_WITHIN_S)
    await watched.commit()
    await watched.listener.has(2)


async def test_broken_connection_is_reopened_and_missed_versions_are_delivered(watched: WatchedSession) -> None:
    await watched.commit()
    await watched.pipe.call("CLIENT", "KILL", "TYPE", "pubsub")
    for _ in range(3):
        await watched.commit()
    await watched.listener.has(1, 2, 3, 4)
    await watched.commit()
    await watched.listener.has(1, 2, 3, 4, 5)


async def test_version_lost_by_the_store_causes_a_resync_that_went_back(watched: WatchedSession) -> None:
    for _ in range(3):
        await watched.commit()
    await watched.listener.has(1, 2, 3)
    key = watched.keys.session(watched.session_id)
    await watched.pipe.call("HSET", key, "version", 2, "state", watched.document(2))
    await watched.pipe.call("DEL", watched.keys.history(watched.session_id))

    async def is_true() -> bool:
        return watched.listener.renewed == [(2, True)]

    await eventually(is_true, RECOVERS_WITHIN_S)
    watched.version = 2
    await watched.commit()
    await watched.listener.has(1, 2, 3, 3)


async def test_versions_of_a_new_epoch_are_delivered(watched: WatchedSession) -> None:
    await watched.commit()
    await watched.commit()
    await watched.pipe.call("DEL", watched.keys.session(watched.session_id))
    watched.epoch, watched.version = "e2", 0
    await watched.commit(event=EventType.SESSION_CREATED)
    await watched.listener.has(1, 2, 1)


async def test_removed_session_is_reported_absent(watched: WatchedSession) -> None:
    await watched.commit()
    await watched.pipe.call("DEL", watched.keys.session(watched.session_id))

    async def is_true() -> bool:
        return watched.session_id in watched.listener.absent_ids

    await eventually(is_true, RECOVERS_WITHIN_S)


async def test_watched_session_does_not_expire(watched: WatchedSession) -> None:
    await watched.commit()
    key = watched.keys.session(watched.session_id)
    await watched.pipe.call("EXPIRE", key, 60)

    async def is_true() -> bool:
        left: int = await watched.pipe.call("TTL", key)
        return left > 60

    await eventually(is_true, RECOVERS_WITHIN_S)


async def test_estimate_of_the_server_time_is_within_its_maximum_error(watched: WatchedSession) -> None:
    async def is_true() -> bool:
        return watched.feed.server_time.error_ms < 100

    await eventually(is_true)
    before_ms = await watched.store.now_ms()
    estimated_ms = watched.feed.server_time.now_ms()
    after_ms = await watched.store.now_ms()
    error_ms = watched.feed.server_time.error_ms + 2
    assert before_ms - error_ms <= estimated_ms <= after_ms + error_ms


@pytest.mark.slow
async def test_frozen_store_is_detected_and_missed_versions_are_delivered(own_valkey: Valkey, key_prefix: str) -> None:
    async with open_watched(own_valkey.url, key_prefix) as watched:
        await watched.commit()
        await watched.listener.has(1)

        async def is_connected_now() -> bool:
            return watched.feed.is_connected

        async def is_disconnected_now() -> bool:
            return not watched.feed.is_connected

        await eventually(is_connected_now)
        own_valkey.suspend()
        try:
            await eventually(is_disconnected_now)
        finally:
            own_valkey.resume()
        await watched.commit(is_lost=True)
        await watched.listener.has(1, 2)
        await eventually(is_connected_now, RECOVERS_WITHIN_S)


@pytest.mark.slow
async def test_restarted_store_is_reconnected_and_versions_continue(own_valkey: Valkey, key_prefix: str) -> None:
    async with open_watched(own_valkey.url, key_prefix) as watched:
        await watched.commit()
        await watched.listener.has(1)
        own_valkey.stop()
        own_valkey.start()

        async def is_committed() -> bool:
            with suppress(StoreUnavailable):
                await watched.commit()
                return True
            watched.version -= 1
            return False

        await eventually(is_committed)
        await watched.listener.has(1, 2)
