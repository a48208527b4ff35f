"""The limit of bytes in archives of a tenant: further sessions stay in Postgres, and nothing is lost."""

import pytest

from synckairos.jobs.archive_space import ArchiveSpace, ArchiveSpaceFull
from synckairos.jobs.runner import PermanentJobFailure
from synckairos.jobs.table import ClaimedJob
from synckairos.session_names import session_name
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import (
    JobComponents,
    finish_and_drain,
    move_to_tenant,
    open_job_components,
)


def claim(type_: str, **params: object) -> ClaimedJob:
    return ClaimedJob(1, type_, params, 1, "worker-1", "acme")


async def set_limit(audit: AuditParts, archive_bytes: int) -> None:
    await audit.database.execute(
        "INSERT INTO sync_tenants (name, limits, created_at, created_by, updated_at)"
        " VALUES ('acme', jsonb_build_object('archive_bytes', %s::bigint), now(), 'test', now())"
        " ON CONFLICT (name) DO UPDATE SET limits = excluded.limits",
        [archive_bytes],
    )


async def test_sessions_beyond_the_limit_stay_in_postgres_until_the_limit_is_larger(
    audit: AuditParts, jobs: JobComponents
) -> None:
    lives = [await finish_and_drain(audit) for _ in range(3)]
    for life in lives:
        await move_to_tenant(audit, life.session_id, "acme")
    first = await jobs.archiver.archive(session_name("acme", lives[0].session_id))
    await set_limit(audit, (first.size_bytes or 0) + 10)
    async with open_job_components(audit) as limited:
        assert await limited.handlers.run(claim("archive", after_s=0)) == {"done": 0, "left": 2, "failed": 0}
        with pytest.raises(PermanentJobFailure, match=r"its limit of [0-9,]+ bytes of archives"):
            await limited.handlers.run(claim("archive", session_id=lives[1].session_id))
        with pytest.raises(PermanentJobFailure, match="archive_bytes"):
            await limited.handlers.run(claim("retention", session_id=lives[1].session_id))
        assert await limited.job_table.list_jobs() == []
    errors = await audit.rows("SELECT error FROM sync_archives WHERE path IS NULL")
    assert [error.startswith("ArchiveSpaceFull: Tenant acme has reached") for (error,) in errors] == [True, True]
    assert await audit.rows("SELECT count(DISTINCT session_id) FROM sync_events") == [(3,)]
    await set_limit(audit, 1_000_000)
    await audit.database.execute("UPDATE sync_archives SET requested_at = now() - interval '2 hours'")
    async with open_job_components(audit) as limited:
        assert await limited.handlers.run(claim("archive", after_s=0)) == {"done": 2, "left": 0, "failed": 0}


async def test_the_default_tenant_has_no_limit_and_bytes_of_this_process_count_at_once(
    audit: AuditParts, jobs: JobComponents
) -> None:
    space = ArchiveSpace(jobs.pool)
    await space.require("default", 1 << 60)
    await set_limit(audit, 100)
    await space.require("acme", 100)
    space.add("acme", 60)
    await space.require("acme", 40)
    with pytest.raises(ArchiveSpaceFull, match="Tenant acme has reached its limit of 100 bytes"):
        await space.require("acme", 41)
    await space.require("other", 1 << 30)
