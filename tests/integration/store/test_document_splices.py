"""Document splices in the commit script of Redis. The test vectors also test the Python implementation."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from synckairos.clock.transition import EventType
from synckairos.errors import InvalidStoredData
from synckairos.store.commit_script import Commit, NewVersion
from synckairos.store.keys import Keys
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.feed_message import DocumentChange, FeedMessage, PackedFeedMessage
from synckairos.wire.snapshot import SessionSnapshot
from tests.vectors import SpliceVector, splice_vectors

EPOCH = "e"


@dataclass
class ScriptBench:
    """A store with one session. The documents of its versions can be any bytes."""

    pipe: RedisPipe
    keys: Keys
    store: SessionStore
    session_id: str

    async def commit(self, version: int, body: bytes) -> None:
        """Commit a version whose feed message has this body."""
        base = SessionSnapshot(EPOCH, version - 1, b"{}", f"tag-{version - 1}") if version > 1 else None
        change = None if base is None or body.startswith(b"{") else DocumentChange(base.tag, body, b"")
        snapshot = SessionSnapshot(EPOCH, version, b"" if change else body, f"tag-{version}")
        message = FeedMessage(self.session_id, snapshot, EventType.METADATA_UPDATED, 0, change=change)
        await self.store.commit(Commit(self.session_id, base, [NewVersion(b"{}", message)], "running"))

    async def document(self) -> bytes:
        """Return the document that the session has in Redis."""
        document: bytes = await self.pipe.call("HGET", self.keys.session(self.session_id), "state")
        return document

    async def history_bodies(self) -> list[bytes]:
        """Return the bodies in the version history of the session, oldest version first."""
        packed = await self.pipe.call("LRANGE", self.keys.history(self.session_id), 0, -1)
        return [PackedFeedMessage.parse(each).body for each in packed]


@pytest.fixture
async def bench(redis_url: str, key_prefix: str) -> AsyncIterator[ScriptBench]:
    keys = Keys(key_prefix)
    async with RedisPipe(redis_url, 1) as pipe:
        yield ScriptBench(pipe, keys, SessionStore(pipe, keys, 32), str(uuid4()))


@pytest.mark.parametrize("vector", splice_vectors())
async def test_the_script_stores_the_document_after_and_the_reverse_body(
    bench: ScriptBench, vector: SpliceVector
) -> None:
    await bench.commit(1, vector.before)
    await bench.commit(2, vector.body)
    assert await bench.document() == vector.after
    assert await bench.history_bodies() == [b"", vector.back]


@pytest.mark.parametrize("vector", splice_vectors("refused"))
async def test_splices_for_a_document_of_another_length_change_nothing(
    bench: ScriptBench, vector: SpliceVector
) -> None:
    await bench.commit(1, vector.before)
    with pytest.raises(InvalidStoredData) as refused:
        await bench.commit(2, vector.body)
    assert "splices for another document" in str(refused.value.__cause__)
    assert await bench.document() == vector.before
    assert await bench.history_bodies() == [b""]
