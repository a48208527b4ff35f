"""Changes in the outbox and in Postgres: entries and rows of large sessions have splices instead of documents."""

import asyncio
import gzip
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import orjson
import pytest

from synckairos.audit import entry_documents
from synckairos.audit.batch_writer import AuditDatabase
from synckairos.audit.charge_fill import ChargeFiller
from synckairos.audit.entry_documents import EntryParser
from synckairos.audit.row_documents import RowDocuments
from synckairos.audit.stored_snapshots import SPARSE_VERSIONS
from synckairos.audit.verify import open_verifier
from synckairos.clock.commands import Complete, Pause, Resume, SetPlan, UpdateMetadata
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.errors import InvalidStoredData, StoreUnavailable
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.principal import Principal
from synckairos.store.commit_script import MAX_CHANGES
from synckairos.store.outbox import Outbox
from synckairos.store.stream_entry import StreamEntry
from synckairos.wire.body_parser import parse_body
from synckairos.wire.creation_body import CreateSession
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import JobComponents
from tests.integration.large_session import LargeSession
from tests.integration.parts import Parts, open_parts

BODY = {"sync_mode": "per_cycle", "participants": [{"participant_id": str(UUID(int=1))}]}
SMALL = 20  # participants whose document has less than 16 KiB
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def read_entries(audit: AuditParts) -> list[StreamEntry]:
    return await audit.outbox.read(0, 10_000, 1 << 40)


async def stored_documents(audit: AuditParts) -> dict[int, bytes]:
    """Return the documents of all rows by version, built by Postgres. Check their hashes."""
    rows = await audit.rows(
        "SELECT version, sync_document(tenant, session_id, epoch, version), payload_hash"
        " FROM sync_events ORDER BY version"
    )
    assert all(sha256(document).digest() == payload_hash for _, document, payload_hash in rows)
    return {version: document for version, document, _ in rows}


async def versions_with_changes(audit: AuditParts) -> list[int]:
    """Return the versions whose rows have splices. Check their columns."""
    rows = await audit.rows(
        "SELECT version, whole_version, document_bytes, length(sync_document(tenant, session_id, epoch, version)),"
        " snapshot FROM sync_events ORDER BY version"
    )
    for version, whole, document_bytes, length, snapshot in rows:
        assert (whole is None) == (document_bytes is None) == snapshot.startswith(b"{")
        assert whole is None or (whole < version and document_bytes == length > 10 * len(snapshot))
    return [row[0] for row in rows if row[1] is not None]


async def findings(audit: AuditParts, session_id: str) -> list[str]:
    """Verify the audit of a session, and return its findings as texts."""
    async with open_verifier(audit.settings.database_url, OutageChargePolicy()) as verifier:
        verified = await verifier.verify_session(session_id)
    assert verified is not None
    return [f"{each.kind} {each.version}: {each.text}" for each in verified.findings]


async def test_entries_of_a_large_session_have_splices_with_a_document_now_and_then(
    parts: Parts, audit: AuditParts
) -> None:
    session = await LargeSession.start(parts)
    await session.switch(MAX_CHANGES + 4)
    await session.execute("complete", Complete())
    entries = await read_entries(audit)
    with_document = [at for at, entry in enumerate(entries, 1) if entry.splices is None]
    assert with_document[0] == 1
    assert with_document[-1] == len(entries) == MAX_CHANGES + 7
    assert len(with_document) <= 5
    assert all(entry.size_bytes < 3_000 for entry in entries if entry.splices is not None)
    sizes = [entry.size_bytes for entry in entries]
    assert await parts.pipe.call("GET", parts.store.keys.outbox_bytes(0)) == b"%d" % sum(sizes)
    assert sum(sizes) < len(session.newest) * len(entries) / 5
    found = await audit.outbox.read_session_entries(session.session_id)
    assert {each.version: each.document for each in found} == session.documents


async def test_entries_and_rows_of_the_largest_plan_have_the_items_that_changed(
    parts: Parts, audit: AuditParts
) -> None:
    plan = [{"item_id": f"{at:064}", "title": '",{"item_id": ' * 14, "time_ms": 3_600_000} for at in range(1_000)]
    session = await LargeSession.start_with_plan(parts, plan)
    await session.switch(20)
    edited = {"plan": [*plan[:30], plan[31], plan[30], *plan[32:]]}
    await session.execute("set_plan", SetPlan(parse_body(CreateSession, BODY | edited).to_create().plan), edited)
    await session.switch(20)
    await session.execute("complete", Complete())
    entries = await read_entries(audit)
    with_document = [entry.size_bytes for entry in entries if entry.splices is None]
    assert len(with_document) <= 5
    assert max(with_document) < 1 << 20
    large = [entry for entry in entries if entry.splices is not None and entry.size_bytes > 5_000]
    assert [len(entry.splices or b"") < 5_000 for entry in large] == [True], "only the change of the plan has arguments"
    await audit.drain()
    assert await stored_documents(audit) == session.documents
    assert await findings(audit, session.session_id) == []


async def test_small_sessions_have_documents_only(parts: Parts, audit: AuditParts) -> None:
    session = await LargeSession.start(parts, SMALL)
    await session.switch(3)
    entries = await read_entries(audit)
    assert [[*entry.fields] for entry in entries] == [
        [b"session_id", b"epoch", b"version", b"event", b"state", b"previous"]
    ] * len(entries)
    assert await parts.pipe.call("HEXISTS", parts.store.keys.session(session.session_id), "changes") == 0
    await audit.drain()
    assert await versions_with_changes(audit) == []


@pytest.mark.parametrize("batch_entries", [2, 7, 2_000])
async def test_rows_lead_to_the_same_documents_in_batches_of_any_size(
    parts: Parts, audit: AuditParts, batch_entries: int
) -> None:
    session = await LargeSession.start(parts)
    await session.switch(3)
    await audit.drain(batch_entries=batch_entries)
    await session.switch(5)
    await session.execute("pause", Pause())
    await session.execute("update_metadata", UpdateMetadata({"a": 1}), {"metadata": {"a": 1}})
    await session.execute("resume", Resume())
    await session.switch(2)
    # Another worker has no documents in memory. It reads the document of the version before from Postgres.
    await audit.drain(batch_entries=batch_entries)
    await session.switch(1)
    await session.execute("complete", Complete())
    await audit.drain(batch_entries=batch_entries)
    assert await stored_documents(audit) == session.documents
    assert len(await versions_with_changes(audit)) >= len(session.documents) - 4
    assert await findings(audit, session.session_id) == []
    assert await audit.outbox.is_empty(0)
    assert await audit.rows("SELECT 1 FROM sync_conflicts") == []


async def test_batches_that_are_written_again_change_nothing(parts: Parts, audit: AuditParts) -> None:
    session = await LargeSession.start(parts)
    await session.switch(4)
    entries = await audit.pipe.call("XRANGE", audit.keys.outbox(0), "-", "+")
    await audit.drain()
    before = await audit.rows("SELECT version, snapshot, whole_version FROM sync_events ORDER BY version")
    for _, fields in entries:
        await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *fields)
    assert await audit.drain() == 0
    assert await audit.rows("SELECT version, snapshot, whole_version FROM sync_events ORDER BY version") == before
    assert await audit.rows("SELECT 1 FROM sync_conflicts") == []


async def test_a_change_of_a_disputed_version_gets_its_own_document(parts: Parts, audit: AuditParts) -> None:
    session = await LargeSession.start(parts)
    await session.switch(3)
    (epoch,) = {orjson.loads(each)["epoch"] for each in session.documents.values()}
    # Postgres has another content of version 5, as after a failover that lost this version.
    disputed = session.documents[5].replace(b'"metadata":{}', b'"metadata":{"lost":1}')
    entries = await read_entries(audit)
    fields = {**entries[4].fields, b"state": disputed}
    await audit.pipe.call("DEL", audit.keys.outbox(0), audit.keys.outbox_bytes(0))
    flat = [part for name in (b"session_id", b"epoch", b"version", b"event", b"state") for part in (name, fields[name])]
    await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *flat)
    await audit.drain()
    for entry in entries:
        flat = [part for field in entry.fields.items() for part in field]
        await audit.pipe.call("XADD", audit.keys.outbox(0), "*", *flat)
    await audit.drain()
    assert await audit.rows("SELECT epoch, version, snapshot FROM sync_conflicts") == [(epoch, 5, session.documents[5])]
    # The next version follows the content in conflict. A new worker finds its document by the hash.
    await session.switch(2)
    await audit.drain()
    assert await stored_documents(audit) == {**session.documents, 5: disputed}


async def test_entries_after_a_rejected_entry_are_written_and_the_retry_fills_the_gap(
    parts: Parts, audit: AuditParts
) -> None:
    session = await LargeSession.start(parts)
    await session.switch(2)
    await audit.database.execute("ALTER TABLE sync_events ADD CONSTRAINT refused CHECK (version NOT IN (3, 4))")
    await audit.drain(retry_delays_s=())
    await session.switch(2)
    found = await audit.outbox.read_session_entries(session.session_id)
    assert {each.version: each.document for each in found} == {at: session.documents[at] for at in (5, 6)}
    await audit.drain(retry_delays_s=())
    failed = await audit.failed_entries.load_set_aside_entries()
    assert [each.entry.parse().document for each in failed] == [session.documents[3], session.documents[4]]
    assert await stored_documents(audit) == {at: session.documents[at] for at in (1, 2, 5, 6)}
    await audit.database.execute("ALTER TABLE sync_events DROP CONSTRAINT refused")
    await audit.failed_entries.retry_set_aside()
    await audit.drain()
    assert await stored_documents(audit) == session.documents
    assert await findings(audit, session.session_id) == []


async def test_an_entry_without_the_version_before_is_set_aside_and_later_documents_are_written(
    parts: Parts, audit: AuditParts
) -> None:
    session = await LargeSession.start(parts)
    await session.switch(3)
    entries = await read_entries(audit)
    assert entries[3].splices is not None
    await audit.pipe.call("XDEL", audit.keys.outbox(0), entries[2].entry_id)
    await session.execute("complete", Complete())
    await audit.drain(retry_delays_s=())
    failed = await audit.failed_entries.load_set_aside_entries()
    assert [each.error for each in failed] == ["the document of the version before is missing"] * 2
    assert sorted(await stored_documents(audit)) == [1, 2, 6]


async def test_reads_find_the_documents_of_drained_versions(parts: Parts, audit: AuditParts) -> None:
    session = await LargeSession.start(parts)
    await session.switch(3)
    entries = await read_entries(audit)
    await audit.drain()
    await session.switch(2)
    # The entries of these versions have splices that continue the drained version 5.
    outbox = Outbox(parts.pipe, parts.store.keys, find_document=parts.history.read_version_document)
    found = await outbox.read_session_entries(session.session_id)
    assert {each.version: each.document for each in found} == {at: session.documents[at] for at in (6, 7)}
    assert await audit.outbox.read_session_entries(session.session_id) == []

    async def find_nothing(session_id: str, epoch: str, version: int) -> bytes | None:
        raise StoreUnavailable

    unreachable = Outbox(parts.pipe, parts.store.keys, find_document=find_nothing)
    assert await unreachable.read_session_entries(session.session_id) == []
    await session.execute("complete", Complete())
    (last,) = await unreachable.read_session_entries(session.session_id)
    assert last.document == session.newest
    assert len(entries) == 5


@pytest.mark.parametrize("batch_entries", [7, 2_000])
async def test_sparse_snapshots_keep_a_document_in_32_versions_and_lead_to_every_document(
    parts: Parts, audit: AuditParts, batch_entries: int
) -> None:
    writer = AuditDatabase(audit.settings.database_url, audit.settings.key_prefix, has_sparse_snapshots=True)
    await writer.open()
    try:
        session = await LargeSession.start(parts, 2)
        await session.switch(SPARSE_VERSIONS + 10)
        await session.execute("update_metadata", UpdateMetadata({"round": "7,8"}), {"metadata": {"round": "7,8"}})
        await session.switch(5)
        drain = audit.new_drain(writer=writer, batch_entries=batch_entries)
        await drain.drain_partition(0)
        await session.execute("complete", Complete())
        await drain.drain_partition(0)
        await session.execute("update_metadata", UpdateMetadata({"late": 1}), {"metadata": {"late": 1}})
        await audit.drain(writer=writer)
    finally:
        await writer.close()
    newest = len(session.documents)
    assert await stored_documents(audit) == session.documents
    whole = await audit.rows("SELECT version FROM sync_events WHERE whole_version IS NULL ORDER BY version")
    # The start and the metadata with a comma change more than half of the document.
    assert [version for (version,) in whole] == [1, 2, 2 + SPARSE_VERSIONS, 13 + SPARSE_VERSIONS, newest - 1, newest]
    ((stored,),) = await audit.rows("SELECT sum(length(snapshot)) FROM sync_events WHERE whole_version IS NOT NULL")
    assert stored / (newest - 6) < len(session.newest) / 4
    assert await findings(audit, session.session_id) == []
    found = await audit.history.read_latest_version(session.session_id)
    assert found is not None
    assert found.snapshot.document == session.newest


async def drain_without_changes(audit: AuditParts) -> None:
    """Drain as a worker of a release that stores documents only."""
    writer = AuditDatabase(audit.settings.database_url, audit.settings.key_prefix, stores_changes=False)
    await writer.open()
    try:
        await audit.new_drain(writer=writer).drain_partition(0)
    finally:
        await writer.close()


@pytest.mark.parametrize("limit", [3, 5, 200])
async def test_documents_built_from_consecutive_rows_are_those_of_the_function_in_postgres(
    parts: Parts, audit: AuditParts, limit: int
) -> None:
    session = await LargeSession.start(parts)
    await session.switch(3)
    await drain_without_changes(audit)
    await session.switch(9)
    await audit.drain()
    # An earlier epoch of the same session, with the same versions and instants, is between its rows.
    names = "tenant, session_id, version, occurred_at, event_type, status, deleted, payload_hash, whole_version"
    await audit.database.execute(
        f"INSERT INTO sync_events (epoch, {names}, snapshot, document_bytes)"
        f" SELECT 'earlier', {names}, snapshot, document_bytes FROM sync_events WHERE version BETWEEN 4 AND 9"
    )
    rows = await audit.rows(
        "SELECT epoch, version, sync_document(tenant, session_id, epoch, version), whole_version"
        " FROM sync_events ORDER BY occurred_at, version, epoch"
    )
    assert len({epoch for epoch, *_ in rows}) == 2
    assert [row[3] for row in rows].count(None) < len(rows) / 2
    found, cursor = [], None
    while True:
        page = await audit.history.read_events_page(session.session_id, cursor=cursor, limit=limit, snapshots=True)
        found += [(each.epoch, each.version, each.document) for each in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert found == [row[:3] for row in rows]
    built = {row[:2]: b"" for row in rows}
    async with audit.writer.pool.transaction(access=cross_tenant_access()) as transaction:
        values = {"tenant": "default", "session_id": session.session_id}
        documents = RowDocuments()
        for *row, whole_version, bodies in await transaction.fetch(
            load_statements("verify.sql", "synckairos.audit")["rows"], values, binary=True
        ):
            built[row[2], row[3]] = documents.build_document(row[23], whole_version, bodies)
    assert built == {row[:2]: row[2] for row in rows}


async def test_a_missing_row_is_a_finding_for_all_rows_that_need_it(parts: Parts, audit: AuditParts) -> None:
    session = await LargeSession.start(parts)
    await session.switch(6)
    await audit.drain()
    await audit.database.execute("DELETE FROM sync_events WHERE version = 4")
    found = await findings(audit, session.session_id)
    assert [each.split(":")[0] for each in found if each.startswith("hash")] == [f"hash {at}" for at in (5, 6, 7, 8)]


async def test_trail_with_a_document_that_cannot_be_built_is_refused_as_invalid_data(
    parts: Parts, audit: AuditParts
) -> None:
    session = await LargeSession.start(parts)
    await session.switch(3)
    await audit.drain()
    await audit.database.execute("DELETE FROM sync_events WHERE whole_version IS NULL")
    with pytest.raises(InvalidStoredData):
        await audit.history.read_events_page(session.session_id, snapshots=True)
    assert (await audit.history.read_events_page(session.session_id)).items


async def test_every_read_from_postgres_returns_documents(parts: Parts, audit: AuditParts) -> None:
    session = await LargeSession.start(parts)
    await session.switch(6)
    await audit.drain()
    assert 7 in await versions_with_changes(audit)
    history, session_id = audit.history, session.session_id
    epoch = orjson.loads(session.newest)["epoch"]
    latest = await history.read_latest_version(session_id)
    assert latest is not None
    assert latest.snapshot.document == session.newest
    assert await history.read_version_document(session_id, epoch, 7) == session.documents[7]
    at_ms = await audit.rows(
        "SELECT (extract(epoch FROM occurred_at) * 1000)::bigint FROM sync_events WHERE version = 7"
    )
    found = await history.read_version_at_instant(session_id, at_ms[0][0])
    assert found is not None
    assert found.snapshot.document == session.documents[found.snapshot.version]
    unfinished = await history.read_newest_unfinished_version(session_id)
    assert unfinished is not None
    assert unfinished.document == session.newest
    (listed,) = (await history.read_sessions_page()).items
    assert listed.snapshot is not None
    assert listed.snapshot.document == session.newest
    events = (await history.read_events_page(session_id, snapshots=True)).items
    assert {each.version: each.document for each in events} == session.documents
    assert all(each.document is None for each in (await history.read_events_page(session_id)).items)
    assert len((await history.read_events_page(session_id)).items) == 8


async def test_an_evicted_session_is_restored_from_a_row_with_a_change(parts: Parts, audit: AuditParts) -> None:
    session = await LargeSession.start(parts)
    await session.switch(3)
    await audit.drain()
    keys = parts.store.keys
    await parts.pipe.call("DEL", keys.session(session.session_id), keys.history(session.session_id))
    found = await parts.sessions.read(Principal.anonymous_admin(), session.session_id)
    assert found.snapshot.document == session.newest
    await session.switch(2)
    await audit.drain()
    assert await stored_documents(audit) == session.documents
    assert await findings(audit, session.session_id) == []


async def test_an_instance_that_serves_beside_the_previous_release_writes_documents_only(audit: AuditParts) -> None:
    settings = audit.settings.model_copy(update={"clock_edition": 1})
    async with open_parts(settings) as parts:
        session = await LargeSession.start(parts)
        await session.switch(3)
        assert all(entry.splices is None for entry in await read_entries(audit))


async def test_a_worker_that_serves_beside_the_previous_release_writes_documents_only(
    parts: Parts, audit: AuditParts
) -> None:
    session = await LargeSession.start(parts)
    await session.switch(3)
    await drain_without_changes(audit)
    assert await versions_with_changes(audit) == []
    rows = await audit.rows("SELECT version, snapshot FROM sync_events")
    assert dict(rows) == session.documents


async def test_retention_between_a_read_and_a_write_leaves_no_change_without_its_document(
    parts: Parts, audit: AuditParts
) -> None:
    session = await LargeSession.start(parts)
    await session.switch(2)
    drain = audit.new_drain()
    await drain.drain_partition(0)
    await session.switch(2)
    # Retention has removed the rows. The drain has the document of version 4 in memory.
    await audit.database.execute("DELETE FROM sync_events")
    await audit.database.execute("DELETE FROM sync_sessions")
    await drain.drain_partition(0)
    rows = await audit.rows("SELECT version, whole_version FROM sync_events ORDER BY version")
    assert rows == [(5, None), (6, 5)]
    assert await stored_documents(audit) == {at: session.documents[at] for at in (5, 6)}


async def test_two_sessions_share_batches(parts: Parts, audit: AuditParts) -> None:
    sessions = [await LargeSession.start(parts) for _ in range(2)]
    drain = audit.new_drain()
    for _ in range(3):
        await asyncio.gather(*(session.switch(2) for session in sessions))
        await drain.drain_partition(0)
    for session in sessions:
        rows = await audit.rows(
            "SELECT version, sync_document(tenant, session_id, epoch, version) FROM sync_events WHERE session_id = %s",
            UUID(session.session_id),
        )
        assert dict(rows) == session.documents


async def test_archives_and_exports_have_documents(parts: Parts, audit: AuditParts, jobs: JobComponents) -> None:
    session = await LargeSession.start(parts)
    await session.switch(4)
    await session.execute("complete", Complete())
    await audit.drain()
    exported = await jobs.exporter.export("1", EPOCH, EPOCH + timedelta(days=36_500), "ndjson", snapshots=True)
    content = gzip.decompress((Path(audit.settings.archive_url) / exported.path).read_bytes())
    lines = content.splitlines()
    assert len(lines) == len(session.documents)
    for line, document in zip(lines, session.documents.values(), strict=True):
        assert line.endswith(b',"state":' + document + b"}")
    keys = parts.store.keys
    await parts.pipe.call("DEL", keys.session(session.session_id), keys.history(session.session_id))
    assert await jobs.retention.archive_and_delete(session.session_id, 0)
    assert await audit.rows("SELECT 1 FROM sync_events") == []
    events = (await audit.history.read_events_page(session.session_id, snapshots=True)).items
    assert {each.version: each.document for each in events} == session.documents


async def test_charges_are_filled_in_from_rows_with_changes(parts: Parts, audit: AuditParts) -> None:
    session = await LargeSession.start(parts)
    await session.switch(4)
    await audit.drain()
    query = "SELECT version, participant_id, began_at, ended_at FROM sync_charges ORDER BY version"
    charges = await audit.rows(query)
    await audit.database.execute("DELETE FROM sync_charges")
    await audit.database.execute("UPDATE sync_sessions SET charged_epoch = NULL, charged_version = NULL")
    assert await ChargeFiller(audit.writer.pool).fill_all_sessions() == 1
    assert await audit.rows(query) == charges


async def test_kept_documents_are_bounded(parts: Parts, audit: AuditParts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_documents, "MAX_KEPT_BYTES", 50_000)
    parser = EntryParser(audit.failed_entries, audit.writer.pool)
    sessions = [await LargeSession.start(parts) for _ in range(4)]
    for entry in await read_entries(audit):
        await parser.parse(0, entry)
    assert parser.kept_bytes == sum(len(session.newest) for session in sessions[2:])
    # The documents of the first session were dropped. Its next version needs Postgres.
    await audit.drain()
    await sessions[0].switch()
    (entry,) = await read_entries(audit)
    assert (await parser.parse(0, entry)).event.snapshot == sessions[0].newest
