"""The commands `synckairos audit …`: their output and their exit codes."""

import asyncio
import json
from uuid import uuid4

from synckairos.cli.exit_codes import ExitCode
from synckairos.clock.commands import Start, Switch
from synckairos.config import Settings
from synckairos.store.failed_entries import FailedEntries
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import SessionLife, chess
from tests.processes import Process

T0 = 1_700_000_000_123


async def run_command(settings: Settings, *args: str) -> tuple[int, list[str]]:
    """Run a command. Return its exit code and the lines of its output."""
    process = Process(*args, env=settings.to_environment_variables())
    code = await asyncio.to_thread(process.wait_end)
    return code, process.output.splitlines()


async def create_failed_entry(audit: AuditParts) -> SessionLife:
    """Create a session whose version 2 is rejected by Postgres, and set the entry of this version aside."""
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0 + 1000)
    await audit.committer.apply(life, Switch(), T0 + 2000)
    await audit.database.execute("ALTER TABLE sync_events ADD CONSTRAINT broken CHECK (version <> 2)")
    await audit.drain(retry_delays_s=())
    return life


async def test_without_failed_entries_both_commands_say_so(audit: AuditParts) -> None:
    assert await run_command(audit.settings, "audit", "failed") == (0, ["no entries were set aside"])
    assert await run_command(audit.settings, "audit", "retry", "--all") == (0, ["no entries were set aside"])


async def test_a_failed_entry_is_listed_and_written_after_a_retry(audit: AuditParts) -> None:
    life = await create_failed_entry(audit)
    code, (entry, reason) = await run_command(audit.settings, "audit", "failed")
    assert code == 1
    entry_id, _, which = entry.partition("  ")
    assert which == f"session {life.session_id}, version 2 of epoch {life.state.epoch}"
    assert reason.startswith("    rejected once since 20")
    assert 'check constraint "broken"' in reason
    code, lines = await run_command(audit.settings, "audit", "retry", "1-1")
    assert (code, len(lines)) == (1, 1)
    assert "1-1" in lines[0]
    assert "synckairos audit failed" in lines[0]
    await audit.database.execute("ALTER TABLE sync_events DROP CONSTRAINT broken")
    assert await run_command(audit.settings, "audit", "retry", entry_id) == (0, ["1 entry will be retried"])
    assert await audit.drain() == 1
    assert await run_command(audit.settings, "audit", "failed") == (0, ["no entries were set aside"])


async def test_drain_moves_the_outbox_to_postgres_and_fails_while_an_entry_is_set_aside(audit: AuditParts) -> None:
    await create_failed_entry(audit)
    code, (line,) = await run_command(audit.settings, "audit", "drain")
    assert code == ExitCode.NEGATIVE
    assert line.startswith("0 versions were written, and Postgres rejected 1 entries")
    await audit.database.execute("ALTER TABLE sync_events DROP CONSTRAINT broken")
    await audit.committer.create(chess(), T0)
    assert await FailedEntries(audit.pipe, audit.keys).retry_set_aside() == 1
    assert await run_command(audit.settings, "audit", "drain") == (
        0,
        ["2 versions were new in Postgres; the outbox is empty"],
    )
    assert await audit.pipe.call("XLEN", audit.keys.outbox(0)) == 0


async def test_retry_all_retries_every_failed_entry(audit: AuditParts) -> None:
    await create_failed_entry(audit)
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", "some", "junk")
    await audit.drain(retry_delays_s=())
    code, lines = await run_command(audit.settings, "audit", "failed")
    assert (code, len(lines)) == (1, 4)
    assert lines[2].endswith("session ?, version ? of epoch ?")
    assert await run_command(audit.settings, "audit", "retry", "--all") == (0, ["2 entries will be retried"])


async def test_failed_entries_as_json_have_the_tenant_and_the_id(audit: AuditParts) -> None:
    session_id = str(uuid4())
    for name in (session_id, f"acme/{session_id}", "acme/x/y"):
        await audit.pipe.call("XADD", audit.keys.outbox(0), "*", "session_id", name)
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", "some", "junk")
    await audit.drain(retry_delays_s=())
    code, lines = await run_command(audit.settings, "audit", "failed", "--json")
    assert code == 1
    found = [(each["tenant"], each["session_id"]) for each in map(json.loads, lines)]
    assert sorted(found, key=str) == sorted(
        [("default", session_id), ("acme", session_id), (None, "acme/x/y"), (None, None)], key=str
    )


async def test_retry_without_an_entry_or_with_both_is_a_usage_error(settings: Settings) -> None:
    for args in ((), ("1-1", "--all")):
        code, lines = await run_command(settings, "audit", "retry", *args)
        assert code == 2
        assert "ENTRY" in lines[-1]


async def test_an_unreachable_redis_is_one_line_of_output(settings: Settings) -> None:
    unreachable = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", "redis_timeout_s": 0.2})
    code, lines = await run_command(unreachable, "audit", "failed")
    assert (code, len(lines)) == (ExitCode.UNAVAILABLE, 1)
    assert lines[0].startswith("REDIS_URL: ")
