"""Sessions, a worker and a Valkey that tests flush to cause data loss."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from synckairos.clock.commands import Create, NewParticipant, Start, Switch
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.process import drain_and_job_loops
from synckairos.service.requests import CommandRequest, CreateRequest
from tests.background_task import running
from tests.integration.parts import Parts
from tests.waiting import eventually

CALLER = Principal.anonymous_admin()


@asynccontextmanager
async def draining(settings: Settings) -> AsyncIterator[None]:
    """Run a worker."""
    async with running(drain_and_job_loops.run_arq_worker(settings, sweep_s=0.05)):
        yield


async def create_started(parts: Parts) -> str:
    """Create and start a session of two participants with an hour each, and return its id."""
    two = tuple(NewParticipant(str(uuid4()), total_time_ms=3_600_000) for _ in range(2))
    spec = Create(SyncMode.PER_PARTICIPANT, two)
    session_id = (await parts.sessions.create(CreateRequest(CALLER, spec))).session.session_id
    await parts.sessions.execute(CommandRequest(CALLER, session_id, Start(), "start"))
    return session_id


async def switch(parts: Parts, session_id: str, command_id: str | None = None) -> bytes:
    """Send a switch and return the document of its answer."""
    request = CommandRequest(CALLER, session_id, Switch(), "switch", command_id=command_id, fingerprint="f")
    return (await parts.sessions.execute(request)).snapshot.document


async def wait_until_drained(parts: Parts) -> None:
    """Wait until all commits are in Postgres."""

    async def is_empty() -> bool:
        return not await parts.pipe.call("XLEN", parts.store.keys.outbox(0))

    await eventually(is_empty)
