"""Export jobs: the object has all events of the time range, from Postgres and from cold storage."""

import csv
import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from synckairos.clock.commands import UpdateMetadata
from synckairos.errors import InvalidStoredData
from synckairos.jobs.export_statements import ExportFormat, export_columns
from synckairos.wire.tabular import defuse_text
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import T0, JobComponents, finish_session
from tests.integration.large_session import LargeSession
from tests.integration.parts import Parts

FORMULAS = {2: "=1+1", 3: "ä;\u00a0＝1+1", 4: "\u3000@x", 5: "a\t'-1"}
"""Actors that a spreadsheet would execute as formulas, by version."""


async def export_lines(
    audit: AuditParts,
    jobs: JobComponents,
    form: ExportFormat,
    snapshots: bool = False,
    *,
    from_ms: int = 0,
    to_ms: int = T0 + 10**9,
) -> list[bytes]:
    """Export a range of instants, check the size and the number of events of the object, and return its lines."""
    exported = await jobs.exporter.export("7", _instant(from_ms), _instant(to_ms), form, snapshots=snapshots)
    content = (Path(audit.settings.archive_url) / exported.path).read_bytes()
    assert len(content) == exported.written.size_bytes
    lines = gzip.decompress(content).splitlines()
    assert exported.events == len(lines) - (form == "csv")
    return lines


def _instant(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


async def test_an_export_of_a_tenant_is_in_its_folder_and_has_its_events(
    audit: AuditParts, jobs: JobComponents
) -> None:
    await finish_session(audit.committer, 3, T0)
    await audit.drain()
    times = _instant(0), _instant(T0 + 10**9)
    own = await jobs.exporter.export("7", *times, "ndjson")
    other = await jobs.exporter.export("7", *times, "ndjson", tenant="acme")
    assert own.path.startswith("exports/7/")
    assert other.path == f"tenants/acme/{own.path}"
    assert (own.events > 0, other.events) == (True, 0)


@pytest.mark.pooler
async def test_an_export_has_the_same_lines_before_and_after_retention(audit: AuditParts, jobs: JobComponents) -> None:
    lives = [await finish_session(audit.committer, 3, T0 + each * 100_000) for each in range(3)]
    note = {"é\n": '\\ "quoted" \t, and = \u0001', "formula": "a;=1+1"}
    await audit.committer.apply(lives[0], UpdateMetadata(note), T0 + 90_000)
    await audit.drain()
    for version, actor in FORMULAS.items():
        await audit.database.execute("UPDATE sync_events SET actor = %s WHERE version = %s", [actor, version])
    scoped = "UPDATE sync_events SET role = 'viewer', command_id = '7:default4:user5:alice =1+1' WHERE version = 2"
    await audit.database.execute(scoped)
    cases: list[tuple[ExportFormat, bool]] = [("ndjson", False), ("ndjson", True), ("csv", False), ("csv", True)]
    for form, snapshots in cases:
        before = await export_lines(audit, jobs, form, snapshots)
        assert len(before) == 3 * 6 + 1 + (form == "csv")
        if form == "ndjson":
            rows = [orjson.loads(line) for line in before]
            by_id = {life.session_id: life for life in lives}
            for row, line in zip(rows, before, strict=True):
                if snapshots:
                    assert by_id[row["session_id"]].documents[row["version"]] in line
                assert ("state" in row) is snapshots
                assert (row.get("command_id") == "=1+1") is (row["version"] == 2)
        else:
            for actor in FORMULAS.values():
                assert sum(f',"{defuse_text(actor)}",'.encode() in line for line in before) == 3
            assert sum(line.rstrip().endswith(b""","'=1+1\",""") for line in before) == 3
    formats: tuple[ExportFormat, ...] = ("ndjson", "csv")
    lines = {form: await export_lines(audit, jobs, form, True) for form in formats}
    for life in lives[:2]:
        assert await jobs.retention.archive_and_delete(life.session_id, 0)
    for form in formats:
        assert sorted(await export_lines(audit, jobs, form, True)) == sorted(lines[form])


async def test_an_export_excludes_the_end_of_its_range(audit: AuditParts, jobs: JobComponents) -> None:
    life = await finish_session(audit.committer)
    await audit.drain()

    async def exported_versions() -> list[int]:
        lines = await export_lines(audit, jobs, "ndjson", from_ms=T0 + 1000, to_ms=T0 + 4000)
        return [orjson.loads(line)["version"] for line in lines]

    assert await exported_versions() == [2, 3, 4]
    assert await jobs.retention.archive_and_delete(life.session_id, 0)
    assert await exported_versions() == [2, 3, 4]


async def start_session_with_changes(parts: Parts, audit: AuditParts) -> LargeSession:
    """Store a session in whose rows most versions have splices instead of documents."""
    session = await LargeSession.start(parts)
    await session.execute("metadata", UpdateMetadata({"note": 'é; "=1"\n'}))
    await session.switch(6)
    await audit.drain()
    return session


@pytest.mark.parametrize("form", ["ndjson", "csv"])
async def test_export_of_changes_has_the_lines_and_documents_that_postgres_renders(
    parts: Parts, audit: AuditParts, jobs: JobComponents, form: ExportFormat
) -> None:
    for _ in range(2):
        await start_session_with_changes(parts, audit)
    # An earlier epoch of the same sessions, with the same versions and instants, is between their rows.
    names = "tenant, session_id, version, occurred_at, event_type, status, deleted, payload_hash, whole_version"
    await audit.database.execute(
        f"INSERT INTO sync_events (epoch, {names}, snapshot, document_bytes)"
        f" SELECT 'earlier', {names}, snapshot, document_bytes FROM sync_events WHERE version <= 6"
    )
    for version, actor in FORMULAS.items():
        await audit.database.execute("UPDATE sync_events SET actor = %s WHERE version = %s", [actor, version])
    rows = await audit.rows(
        "SELECT whole_version, (extract(epoch FROM occurred_at) * 1000)::bigint,"
        " sync_document(tenant, session_id, epoch, version) FROM sync_events"
        " ORDER BY session_id, occurred_at, version, epoch"
    )
    assert [whole for whole, *_ in rows].count(None) < len(rows) / 2
    state_at = export_columns(snapshots=True).index("state")
    ranges = [0, *sorted(at_ms for _, at_ms, _ in rows)[3:18:3]]
    for from_ms in ranges:
        documents = [document for _, at_ms, document in rows if at_ms >= from_ms]
        plain, lines = [
            await export_lines(audit, jobs, form, snapshots, from_ms=from_ms, to_ms=10**13)
            for snapshots in (False, True)
        ]
        if form == "csv":
            assert lines.pop(0).decode() == ",".join(export_columns(snapshots=True))
            assert plain.pop(0).decode() == ",".join(export_columns(snapshots=False))
        assert len(lines) == len(documents) > 0
        for line, without, document in zip(lines, plain, documents, strict=True):
            if form == "ndjson":
                assert line == without[:-1] + b',"state":' + document + b"}"
            else:
                state = document.replace(b";", b"\\u003b")
                quoted = b',"' + state.replace(b'"', b'""') + b'"'
                assert line.replace(quoted, b"", 1) == without
                assert next(csv.reader([line.decode()]))[state_at] == state.decode()


async def test_export_with_a_document_that_cannot_be_built_fails_as_invalid_data(
    parts: Parts, audit: AuditParts, jobs: JobComponents
) -> None:
    await start_session_with_changes(parts, audit)
    await audit.database.execute("DELETE FROM sync_events WHERE whole_version IS NULL")
    assert len(await export_lines(audit, jobs, "ndjson", to_ms=10**13)) > 0
    with pytest.raises(InvalidStoredData):
        await export_lines(audit, jobs, "ndjson", snapshots=True, to_ms=10**13)
    # The export ended its transaction before it raised, and not when the event loop closed its generators.
    statistics = jobs.pool.get_stats()
    assert statistics["pool_available"] == statistics["pool_size"]
