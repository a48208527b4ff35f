"""The service layer of an instance without its server, opened on the stores of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from synckairos.clock.commands import Create, Start
from synckairos.clock.upcoming_event import next_upcoming_event
from synckairos.config import Settings
from synckairos.frozen_replace import replace
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import COLD_TIMEOUT_S
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.members.table import MemberTable
from synckairos.postgres.pool import PostgresPool
from synckairos.principal import Principal
from synckairos.service.assembly import build_session_service
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.service.sessions import Sessions
from synckairos.store.connect import check_store_settings, make_pipe
from synckairos.store.keys import Keys
from synckairos.store.sessions import SessionStore
from synckairos.store.shared_connection import RedisPipe
from synckairos.stored_credentials.table import CredentialTable
from synckairos.wire.packed_history import is_packed, unpack_message
from synckairos.wire.session_json import render_session
from synckairos.wire.session_parser import parse_session


@dataclass(frozen=True, slots=True)
class Parts:
    """The components of the service layer, from the connection to Redis to `Sessions`."""

    pipe: RedisPipe
    store: SessionStore
    pool: PostgresPool
    cold_storage: ColdStorage
    history: HistoryReader
    sessions: Sessions
    work: ClientWorkLimits

    async def start_session(self, spec: Create) -> str:
        """Create a session and start it, as a caller without authentication. Return the session id."""
        session_id = (await self.sessions.create(CreateRequest(Principal.anonymous_admin(), spec))).session.session_id
        await self.sessions.execute(CommandRequest(Principal.anonymous_admin(), session_id, Start(), "start"))
        return session_id

    async def rewind(self, session_id: str, ms: int) -> None:
        """Store a running session as if its turn had begun `ms` earlier, as after an outage of this length."""
        key = self.store.keys.session(session_id)
        document = await self.pipe.call("HGET", key, "state")
        state = parse_session(document)
        assert state.anchor_ms is not None
        past = replace(state, anchor_ms=state.anchor_ms - ms, updated_at_ms=state.updated_at_ms - ms)
        due = next_upcoming_event(past)
        due_ms = "" if due is None else due.at_ms
        await self.pipe.call("HSET", key, "state", render_session(past), "due", due_ms)
        await self.pipe.call("HDEL", key, "tag")  # it belongs to the bytes that were replaced
        history = self.store.keys.history(session_id)
        newest = await self.pipe.call("LINDEX", history, -1)
        if newest is not None and is_packed(newest):
            await self.pipe.call("LSET", history, -1, unpack_message(newest, document))
        if due is not None:
            deadlines = self.store.keys.deadlines(self.store.keys.partition_of(session_id))
            await self.pipe.call("ZADD", deadlines, due.at_ms, session_id)


@asynccontextmanager
async def open_parts(settings: Settings, *, cold_timeout_s: float = COLD_TIMEOUT_S) -> AsyncIterator[Parts]:
    """Open the service layer as `process/server.py` does. A commit sends no wake-up."""
    keys = Keys(settings.key_prefix, settings.partitions)
    async with make_pipe(settings.redis_url, settings.redis_timeout_s) as pipe, open_history_pool(settings) as pool:
        keys = await check_store_settings(pipe, keys)
        cold_storage = ColdStorage(settings.archive_url)
        history = HistoryReader(pool, cold_storage, cold_timeout_s=cold_timeout_s)
        work = ClientWorkLimits(settings.client_work_factor)
        reserved_labels = (MemberTable(pool), CredentialTable(pool))
        service = build_session_service(settings, pipe, keys, history, lambda partition: None, work, reserved_labels)
        service.store.history_format.is_packed = settings.stores_changes  # as without instances of earlier releases
        yield Parts(pipe, service.store, pool, cold_storage, history, service.sessions, work)
