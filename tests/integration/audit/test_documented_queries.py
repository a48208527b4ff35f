"""The queries of docs/operate/database.md: they run, and they find a fault only if there is a fault."""

import re
from pathlib import Path

import pytest

from synckairos.clock.commands import Start, Switch
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import finish_session, open_job_components
from tests.integration.session_committer import chess

PAGE = Path(__file__).parents[3] / "docs" / "operate" / "database.md"


def queries(heading: str) -> list[str]:
    (block,) = re.findall(rf"## {heading}\n```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [query for query in block.split(";\n") if query.strip()]


@pytest.fixture
async def drained(audit: AuditParts) -> AuditParts:
    life = await audit.committer.create(chess(), 1_700_000_000_000)
    await audit.committer.apply(life, Start(), 1_700_000_001_000)
    await audit.committer.apply(life, Switch(), 1_700_000_002_000)
    await audit.drain()
    return audit


async def test_the_queries_about_the_audit_find_no_fault_in_a_sound_audit(drained: AuditParts) -> None:
    lag, holders, *faults = queries("Queries about the audit")
    assert len(await drained.rows(lag)) == 1
    assert await drained.rows(holders) == []
    async with drained.writer.acquire_partition_writer(3):
        ((partition, *_),) = await drained.rows(holders)
    assert partition == 3
    assert len(faults) == 4
    for query in faults:
        assert await drained.rows(query) == []


@pytest.mark.parametrize(
    ("at", "fault"),
    [
        (0, "DELETE FROM sync_events WHERE version = 2"),
        (1, "UPDATE sync_events SET snapshot = '{}' WHERE version = 2"),
        (2, "INSERT INTO sync_conflicts SELECT session_id, epoch, version, '', '', '' FROM sync_events LIMIT 1"),
        (3, "UPDATE sync_sessions SET version = 2"),
    ],
)
async def test_the_query_for_a_fault_finds_it_and_no_other_does(drained: AuditParts, at: int, fault: str) -> None:
    await drained.database.execute(fault.encode())
    _, _, *faults = queries("Queries about the audit")
    assert [len(await drained.rows(query)) for query in faults] == [int(number == at) for number in range(4)]


async def test_the_queries_about_jobs_find_running_ended_and_archived(audit: AuditParts) -> None:
    life = await finish_session(audit.committer)
    await audit.drain()
    running, ended, faulty, months = queries("Queries about jobs and archives")
    async with open_job_components(audit) as cold:
        for job_id in (1, 2):
            assert await cold.job_table.add_unless_queued("archive", {"session_id": life.session_id}) is not None
            claim = await cold.job_table.claim_if_due(job_id, "worker-1", 30)
            assert claim is not None
            if job_id == 1:
                await cold.job_table.complete(claim, await cold.handlers.run(claim))
    assert len(await audit.rows(running)) == 1
    assert [row[:3] for row in await audit.rows(ended)] == [("archive", "done", 1)]
    assert await audit.rows(faulty) == []
    assert [row[1:3] for row in await audit.rows(months)] == [(1, 6)]
