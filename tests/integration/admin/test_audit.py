"""`synckairos audit …` as an operator meets it: what is printed, and the exit codes that scripts go by."""

import asyncio

from synckairos.clock.commands import Start, Switch
from synckairos.config import Settings
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import SessionLife, chess
from tests.processes import Process

T0 = 1_700_000_000_123


async def told(settings: Settings, *args: str) -> tuple[int, list[str]]:
    """Run a command and return its exit code and its lines."""
    process = Process(*args, env=settings.environ())
    code = await asyncio.to_thread(process.wait_end)
    return code, process.output.splitlines()


async def refused_once(audit: AuditParts) -> SessionLife:
    """Have Postgres refuse one version of a session, for good."""
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0 + 1000)
    await audit.committer.apply(life, Switch(), T0 + 2000)
    await audit.database.execute("ALTER TABLE sync_events ADD CONSTRAINT broken CHECK (version <> 2)")
    await audit.drain(backoff_s=())
    return life


async def test_nothing_to_tell(audit: AuditParts) -> None:
    assert await told(audit.settings, "audit", "failed") == (0, ["no entries were set aside"])
    assert await told(audit.settings, "audit", "retry", "--all") == (0, ["no entries were set aside"])


async def test_what_was_set_aside_is_listed_and_sent_again(audit: AuditParts) -> None:
    life = await refused_once(audit)
    code, (entry, reason) = await told(audit.settings, "audit", "failed")
    assert code == 1
    entry_id, _, which = entry.partition("  ")
    assert which == f"session {life.session_id}, version 2 of epoch {life.state.epoch}"
    assert reason.startswith("    refused once since 20")
    assert 'check constraint "broken"' in reason
    code, lines = await told(audit.settings, "audit", "retry", "1-1")
    assert (code, len(lines)) == (1, 1)
    assert "1-1" in lines[0]
    assert "synckairos audit failed" in lines[0]
    await audit.database.execute("ALTER TABLE sync_events DROP CONSTRAINT broken")
    assert await told(audit.settings, "audit", "retry", entry_id) == (0, ["1 entry will be retried"])
    assert await audit.drain() == 1
    assert await told(audit.settings, "audit", "failed") == (0, ["no entries were set aside"])


async def test_all_of_them(audit: AuditParts) -> None:
    await refused_once(audit)
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", "some", "junk")
    await audit.drain(backoff_s=())
    code, lines = await told(audit.settings, "audit", "failed")
    assert (code, len(lines)) == (1, 4)
    assert lines[2].endswith("session ?, version ? of epoch ?")
    assert await told(audit.settings, "audit", "retry", "--all") == (0, ["2 entries will be retried"])


async def test_one_or_all_must_be_said(settings: Settings) -> None:
    for args in ((), ("1-1", "--all")):
        code, lines = await told(settings, "audit", "retry", *args)
        assert code == 2
        assert "ENTRY" in lines[-1]


async def test_a_store_that_is_away_is_one_line(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", "redis_timeout_s": 0.2})
    code, lines = await told(away, "audit", "failed")
    assert (code, len(lines)) == (1, 1)
    assert lines[0].startswith("REDIS_URL: ")
