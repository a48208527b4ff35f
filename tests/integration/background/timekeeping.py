"""An instance with a running timekeeper, and sessions for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from synckairos.background.timekeeper import Timekeeper
from synckairos.clock.commands import Create, Start
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.store.connect import make_redis_client
from synckairos.store.deadlines import Deadlines
from tests.background_task import running
from tests.integration.parts import Parts, open_parts

CALLER = Principal.anonymous_admin()


@asynccontextmanager
async def keeping_time(settings: Settings) -> AsyncIterator[Parts]:
    """Open the parts of an instance and run its timekeeper."""
    redis = make_redis_client(settings.redis_url, settings.redis_timeout_s)
    async with open_parts(settings) as parts:
        timekeeper = Timekeeper(parts.sessions, Deadlines(parts.pipe, redis, parts.store.keys), settings.partitions)
        try:
            async with running(timekeeper.run()):
                yield parts
        finally:
            await redis.aclose()


async def create_started(parts: Parts, spec: Create) -> str:
    """Create and start a session, and return its id."""
    created = await parts.sessions.create(CreateRequest(CALLER, spec))
    session_id = created.session.session_id
    await parts.sessions.execute(CommandRequest(CALLER, session_id, Start(), "start"))
    return session_id


async def load_document(parts: Parts, session_id: str) -> dict[str, object]:
    """Return the document in Redis.

    It is not read with the service, because a read would commit overdue transitions.
    """
    document: dict[str, object] = orjson.loads(
        await parts.pipe.call("HGET", parts.store.keys.session(session_id), "state")
    )
    return document
