"""A session that runs, for the load tests that need one."""

from uuid import uuid4

from synckairos.asking import CreateRequest, Request
from synckairos.clock.commands import Create, NewParticipant, Start
from synckairos.clock.model import SyncMode
from synckairos.principal import Principal
from tests.integration.parts import Parts

NOBODY = Principal()


async def started(parts: Parts, participants: int = 2) -> str:
    """Start a session of some participants with a day each; return its id."""
    people = tuple(NewParticipant(str(uuid4()), total_time_ms=86_400_000) for _ in range(participants))
    spec = Create(SyncMode.PER_PARTICIPANT, people)
    session_id = (await parts.sessions.create(CreateRequest(NOBODY, spec))).session.session_id
    await parts.sessions.execute(Request(NOBODY, session_id, Start(), "start"))
    return session_id
