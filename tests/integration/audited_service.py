"""The session service on the stores of one test, with a clock that the test sets, and the verification of its audit."""

from typing import Any
from uuid import uuid4

from synckairos.audit.verify import VerifiedSession, open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.service.past_versions import PastVersionReader
from synckairos.service.restore import SessionRestorer
from synckairos.service.sessions import Sessions
from synckairos.store.store_generation import Generations
from tests.integration.audit_parts import AuditParts
from tests.integration.random_player import RandomPlayer, StoreWithSetTime

CHARGE = OutageChargePolicy()


class AuditedService:
    """The session service, with a clock that the test sets, and the audit of its sessions."""

    def __init__(self, audit: AuditParts, policy: OutageChargePolicy = CHARGE) -> None:
        self.audit = audit
        self.policy = policy
        self.store = StoreWithSetTime(audit.pipe, audit.keys, 32)
        generations = Generations(audit.pipe, audit.keys)
        restorer = SessionRestorer(self.store, audit.history, generations, session_ttl_s=3600, policy=policy)
        self.sessions = Sessions(
            self.store,
            PastVersionReader(self.store, audit.outbox, audit.history),
            restorer,
            generations,
            lambda _: None,
            ClientWorkLimits(),
        )

    async def play(self, seed: int, commands: int = 60) -> RandomPlayer:
        player = RandomPlayer(self.sessions, self.store, seed)
        await player.play(commands)
        return player

    async def verify(self, session_id: str) -> VerifiedSession:
        async with open_verifier(self.audit.settings.database_url, self.policy) as verifier:
            found = await verifier.verify_session(session_id)
            assert found is not None
            return found

    async def findings(self, session_id: str) -> list[tuple[str, int, str]]:
        """Verify a session and return the kind, version and text of each finding."""
        return [(each.kind, each.version, each.text) for each in (await self.verify(session_id)).findings]

    async def change_row(self, assignment: str, session_id: str, version: int) -> None:
        await self.audit.database.execute(
            f"UPDATE sync_events SET {assignment} WHERE session_id = %s AND version = %s".encode(),
            [session_id, version],
        )


async def create_short_session(service: AuditedService) -> str:
    """Create a session of five versions: created, started, switched three times, one second apart."""
    body: dict[str, Any] = {"sync_mode": "per_participant", "total_time_ms": 600_000}
    body["participants"] = [{"participant_id": str(uuid4())} for _ in range(2)]
    player = RandomPlayer(service.sessions, service.store, 1)
    await player.create(body)
    for verb in ("start", "switch", "switch", "switch"):
        service.store.at_ms += 1_000
        await player.send(verb, {})
    await service.audit.drain()
    return player.session_id


async def send_command(service: AuditedService, session_id: str, verb: str) -> None:
    player = RandomPlayer(service.sessions, service.store, 1)
    assert player.session_id == session_id
    await player.send(verb, {})
    assert player.outcomes == {verb}


async def delete_all_redis_keys(audit: AuditParts) -> None:
    for key in await audit.pipe.call("KEYS", f"{audit.keys.prefix}:*"):
        await audit.pipe.call("DEL", key)
