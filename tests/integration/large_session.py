"""A session of many participants whose versions are committed by the service, with the documents as Redis had them."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from synckairos.clock.commands import Command, Start, Switch
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest, CreateRequest
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import CreateSession
from tests.integration.parts import Parts

PARTICIPANTS = 100
"""Number of participants of a session whose document has about 30 kB."""


@dataclass(slots=True)
class LargeSession:
    """A running session, and its documents by version as Redis had them after each command."""

    parts: Parts
    session_id: str
    documents: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    async def start(cls, parts: Parts, participants: int = PARTICIPANTS) -> "LargeSession":
        """Create and start a session of this many participants with an hour each."""
        people = [{"participant_id": str(uuid4()), "total_time_ms": 3_600_000} for _ in range(participants)]
        return await cls.create(parts, {"sync_mode": "per_participant", "participants": people, "on_timeout": "expire"})

    @classmethod
    async def start_with_plan(cls, parts: Parts, plan: list[dict[str, Any]]) -> "LargeSession":
        """Create and start a session of one participant with a plan."""
        people = [{"participant_id": str(uuid4())}]
        return await cls.create(parts, {"sync_mode": "per_cycle", "participants": people, "plan": plan})

    @classmethod
    async def create(cls, parts: Parts, args: dict[str, Any]) -> "LargeSession":
        """Create and start a session. `args` is the body of the creation."""
        spec = parse_body(CreateSession, args).to_create()
        created = await parts.sessions.create(CreateRequest(Principal.anonymous_admin(), spec, args=args))
        session = cls(parts, created.session.session_id)
        for message in await parts.store.read_history(session.session_id):
            session.documents[message.snapshot.version] = message.snapshot.document
        await session.execute("start", Start())
        return session

    async def execute(self, verb: str, command: Command, args: dict[str, Any] | None = None) -> None:
        """Execute a command, and keep the document of its version. `args` is the body of the command."""
        request = CommandRequest(Principal.anonymous_admin(), self.session_id, command, verb, args=args)
        await self.parts.sessions.execute(request)
        document: bytes = await self.parts.pipe.call("HGET", self.parts.store.keys.session(self.session_id), "state")
        self.documents[len(self.documents) + 1] = document

    async def switch(self, times: int = 1) -> None:
        """Pass the turn this many times."""
        for _ in range(times):
            await self.execute("switch", Switch())

    @property
    def newest(self) -> bytes:
        """Return the document of the newest version."""
        return self.documents[len(self.documents)]
