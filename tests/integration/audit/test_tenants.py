"""Two tenants with one session id: the drain writes both, and each read gives the session of its tenant."""

import pytest
from msgspec.structs import replace

from synckairos.audit.batch_writer import BatchResult
from synckairos.audit.entry_rows import BatchRows, build_batch_rows, parse_entry
from synckairos.session_names import session_name
from tests.integration.audit_parts import AuditParts
from tests.integration.session_committer import chess

pytestmark = pytest.mark.serving_login

T0 = 1_700_000_000_123


async def rows_of_two_tenants(audit: AuditParts) -> tuple[str, BatchRows]:
    """Return the id of a session, and the rows of its creation in the tenants `default` and `acme`."""
    life = await audit.committer.create(chess(), T0)
    entries = [delivery.parse() for delivery in await audit.outbox.read(0, 10, 1 << 20)]
    entries += [replace(each, session_name=session_name("acme", each.session_id)) for each in entries]
    return life.session_id, build_batch_rows([parse_entry(each) for each in entries])


async def test_one_session_id_in_two_tenants_is_two_sessions(audit: AuditParts) -> None:
    session_id, rows = await rows_of_two_tenants(audit)
    assert len(rows.sessions) == 2
    async with audit.writer.acquire_partition_writer(0) as writer:
        assert writer is not None
        assert await writer.write(rows) == BatchResult(2, 0)
        assert await writer.write(rows) == BatchResult(0, 2)
    for tenant in ("default", "acme"):
        name = session_name(tenant, session_id)
        assert len((await audit.history.read_events_page(name)).items) == 1
        assert await audit.history.read_latest_version(name) is not None
        listed = await audit.history.read_sessions_page(tenant=tenant)
        assert [each.session_id for each in listed.items] == [session_id]
    other = session_name("other", session_id)
    assert (await audit.history.read_events_page(other)).items == ()
    assert await audit.history.read_latest_version(other) is None
    assert (await audit.history.read_sessions_page(tenant="other")).items == ()


async def test_webhook_endpoint_gets_only_events_of_its_tenant(audit: AuditParts) -> None:
    await audit.rows(
        "INSERT INTO webhook_endpoints (tenant, endpoint_id, url)"
        " VALUES ('acme', gen_random_uuid(), 'https://a.test'), ('other', gen_random_uuid(), 'https://o.test')"
        " RETURNING endpoint_id"
    )
    session_id, rows = await rows_of_two_tenants(audit)
    async with audit.writer.acquire_partition_writer(0) as writer:
        assert writer is not None
        await writer.write(rows)
    found = await audit.rows(
        "SELECT d.tenant, e.tenant, e.url, d.session_id::text"
        " FROM webhook_deliveries AS d JOIN webhook_endpoints AS e USING (endpoint_id)"
    )
    assert found == [("acme", "acme", "https://a.test", session_id)]
