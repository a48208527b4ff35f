"""Cold storage: what goes there comes back byte for byte, and nothing leaves Postgres that isn't safe there."""

import gzip
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.audit.verify import open_verifier
from synckairos.clock.commands import Delete, Start, UpdateMetadata
from synckairos.clock.recovery import OutagePolicy
from synckairos.errors import StoreUnavailable
from synckairos.history.cold.bundle import BundleDamaged, BundleWriter, parse_bundle, render_bundle_line
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.cold.reader import ArchiveDamaged
from synckairos.history.records import ArchiveRecord, TrailEvent
from synckairos.jobs.archive import SessionNotFinished
from synckairos.jobs.retention import ArchiveIncomplete
from tests.integration.audit_parts import AuditParts
from tests.integration.jobs.job_components import T0, JobComponents, finished, open_job_components
from tests.integration.session_committer import SessionLife, chess

TABLES = ("sync_sessions", "sync_participants", "sync_events", "sync_conflicts")


@pytest.fixture
async def cold(audit: AuditParts) -> AsyncIterator[JobComponents]:
    async with open_job_components(audit) as opened:
        yield opened


async def drained(audit: AuditParts, moves: int = 3) -> SessionLife:
    life = await finished(audit.committer, moves)
    await audit.drain()
    return life


async def counts(audit: AuditParts) -> list[int]:
    return [(await audit.rows(f"SELECT count(*) FROM {table}"))[0][0] for table in TABLES]


async def trail(audit: AuditParts, life: SessionLife, limit: int = 200) -> list[TrailEvent]:
    found: list[TrailEvent] = []
    cursor: str | None = None
    while True:
        page = await audit.history.events(life.session_id, cursor=cursor, limit=limit, snapshots=True)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def object_of(audit: AuditParts, filed: ArchiveRecord) -> Path:
    assert filed.path is not None
    return Path(audit.settings.archive_url) / filed.path


async def test_an_archive_holds_every_row_byte_for_byte(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit, 700)  # more rows than one look at the cursor
    filed = await cold.archiver.archive(life.session_id)
    assert (filed.status, filed.version, filed.events) == ("ready", 703, 703)
    content = object_of(audit, filed).read_bytes()
    assert len(content) == filed.size_bytes
    bundle = await audit.history.cold_reader.read_bundle(filed)
    assert {line.version: line.document for line in bundle.events} == {
        (life.state.epoch, version): document for version, document in life.documents.items()
    }
    assert bundle.newest.document == life.documents[703]
    names = "version, event_type, status::text, actor, command, command_id, fingerprint, args::text, payload_hash"
    rows = await audit.rows(f"SELECT {names} FROM sync_events ORDER BY version")
    for row, line in zip(rows, bundle.events, strict=True):
        get = line.row.get
        told = [get(name) for name in ("version", "event_type", "status", "actor", "command", "command_id")]
        args = orjson.dumps(get("args")).decode() if "args" in line.row else None
        assert [*told, get("fingerprint"), args, line.payload_hash] == [*row]
    # Plain gzip of plain lines, for whoever reads it without us; and the same bytes another time.
    head, *lines = gzip.decompress(content).splitlines()
    assert (orjson.loads(head)["format"], len(lines)) == ("synckairos-archive/1", 703)
    await cold.archiver.archive(life.session_id, anew=True)
    assert object_of(audit, filed).read_bytes() == content


async def test_only_what_is_over_is_archived(audit: AuditParts, cold: JobComponents) -> None:
    life = await audit.committer.create(chess(), T0)
    await audit.committer.apply(life, Start(), T0)
    await audit.drain()
    for session_id in (life.session_id, str(uuid4())):
        with pytest.raises(SessionNotFinished):
            await cold.archiver.archive(session_id)
    assert await audit.rows("SELECT 1 FROM sync_archives") == []


async def test_what_changes_later_is_archived_anew(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    first = await cold.archiver.archive(life.session_id)
    assert await cold.archiver.archive(life.session_id) == first
    assert not await cold.job_table.has_sessions_to_do("archive", 0)
    await audit.committer.apply(life, UpdateMetadata({"note": "later"}), T0 + 90_000)
    await audit.drain()
    assert await cold.job_table.has_sessions_to_do("archive", 0)
    second = await cold.archiver.archive(life.session_id)
    assert not await cold.job_table.has_sessions_to_do("archive", 0)
    assert (second.version, second.events) == (first.version + 1, first.events + 1)
    assert not object_of(audit, first).exists()
    assert (await audit.history.cold_reader.latest_version([second])).snapshot.document == life.documents[
        second.version
    ]


async def test_what_a_worker_of_the_version_before_archived_is_marked(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    filed = await cold.archiver.archive(life.session_id)
    await audit.database.execute("UPDATE sync_sessions SET archived = false")
    assert await cold.archiver.archive(life.session_id) == filed
    assert not await cold.job_table.has_sessions_to_do("archive", 0)


async def test_the_slower_of_two_workers_files_nothing(
    audit: AuditParts, cold: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await drained(audit)
    await cold.archiver.archive(life.session_id)
    put = cold.objects.put

    async def slow(path: str, content: bytes) -> Any:
        monkeypatch.undo()
        written = await put(path, content)
        await dispute(audit)
        await cold.archiver.archive(life.session_id, anew=True)
        return written

    monkeypatch.setattr(cold.objects, "put", slow)
    filed = await cold.archiver.archive(life.session_id, anew=True)
    assert len((await audit.history.cold_reader.read_bundle(filed)).conflicts) == 1


async def test_what_another_library_compresses_takes_no_place(
    audit: AuditParts, cold: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same lines may be other bytes where another worker runs: what is filed stays as it was filed."""
    life = await drained(audit)
    pack = cold.archiver._pack

    async def slow(*args: Any) -> Any:
        packed = await pack(*args)
        monkeypatch.undo()
        await cold.archiver.archive(life.session_id)
        return replace(packed, content=gzip.compress(gzip.decompress(packed.content), 1))

    monkeypatch.setattr(cold.archiver, "_pack", slow)
    filed = await cold.archiver.archive(life.session_id)
    assert (await audit.history.cold_reader.read_bundle(filed)).newest.document == life.documents[life.state.version]


async def test_a_damaged_archive_is_noticed(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    filed = await cold.archiver.archive(life.session_id)
    place = object_of(audit, filed)
    content = place.read_bytes()
    for damaged in (content[:-9], content[:50] + b"\0" + content[51:], gzip.compress(b'{"format":"another"}\n')):
        place.write_bytes(damaged)
        with pytest.raises(ArchiveDamaged):
            await audit.history.cold_reader.read_bundle(filed)
        with pytest.raises(BundleDamaged):
            parse_bundle(damaged)
    before, state, after = gzip.decompress(content).partition(b'"state":{')
    other = before + state + after.replace(b'"status":"pending"', b'"status":"running"', 1)
    with pytest.raises(BundleDamaged, match="hash"):
        parse_bundle(gzip.compress(other))
    # Lines that are whole, and say something else: only the checksum tells.
    other = gzip.decompress(content).replace(b'"actor":"somebody"', b'"actor":"somebox"', 1)
    assert parse_bundle(gzip.compress(other)).newest.document == life.documents[life.state.version]
    place.write_bytes(gzip.compress(other))
    all_of_it = await counts(audit)
    with pytest.raises(ArchiveDamaged, match="checksum"):
        await cold.retention.remove(life.session_id, 0)
    assert await counts(audit) == all_of_it
    place.unlink()
    with pytest.raises(ArchiveDamaged, match="missing"):
        await audit.history.cold_reader.read_bundle(filed)


async def test_whoever_reads_while_an_archive_is_replaced_gets_the_newer_one(
    audit: AuditParts, cold: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await drained(audit)
    epoch, objects = life.state.epoch, audit.history.cold_reader._objects
    assert await cold.retention.remove(life.session_id, 0)

    async def early() -> bytes | None:
        past = await audit.history.version_at(life.session_id, T0)
        return None if past is None else past.snapshot.document

    async def first() -> bytes | None:
        return (await audit.history.events(life.session_id, limit=1, snapshots=True)).items[0].document

    async def latest() -> bytes | None:
        found = await audit.history.latest_version(life.session_id)
        return None if found is None else found.snapshot.document

    for read, version in (
        (early, 1),
        (lambda: audit.history.version_document(life.session_id, epoch, 1), 1),
        (first, 1),
    ):
        await audit.committer.apply(life, UpdateMetadata({"of": life.state.version}), T0 + 90_000)
        await audit.drain()
        with monkeypatch.context() as patch:
            get = objects.get

            async def late(path: str, patch: pytest.MonkeyPatch = patch, get: Any = get) -> bytes:
                patch.undo()
                assert await cold.retention.remove(life.session_id, 0)
                content: bytes = await get(path)
                return content

            patch.setattr(objects, "get", late)
            assert await read() == life.documents[version]
            assert objects.get == get
    assert await latest() == life.documents[life.state.version]


async def dispute(audit: AuditParts) -> None:
    await audit.database.execute(
        "INSERT INTO sync_conflicts SELECT session_id, epoch, version, sha256('{}'), '{\"a\": 1}', '{}'"
        " FROM sync_events WHERE version = 2"
    )


async def test_a_version_that_two_archives_hold_is_told_once(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    filed = await cold.archiver.archive(life.session_id)
    told = await audit.history.cold_reader.events([filed, filed], (-1, 0, ""), 200, False)
    assert [event.version for event in told] == list(range(1, filed.version + 1))


# -- retention --------------------------------------------------------------------------------------------------------


async def test_what_left_postgres_is_answered_from_its_archive(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit, 5)
    before = (await audit.history.latest_version(life.session_id), await trail(audit, life))
    assert await cold.retention.remove(life.session_id, 0)
    assert await counts(audit) == [0, 0, 0, 0]
    latest = await audit.history.latest_version(life.session_id)
    assert latest is not None
    assert before[0] is not None
    assert (latest.snapshot.epoch, latest.snapshot.version, latest.snapshot.document) == (
        before[0].snapshot.epoch,
        before[0].snapshot.version,
        before[0].snapshot.document,
    )
    assert latest.records == before[0].records
    assert latest.records
    assert await trail(audit, life) == before[1]
    assert await trail(audit, life, limit=2) == before[1]
    past = await audit.history.version_at(life.session_id, T0 + 2500)
    assert past is not None
    assert past.snapshot.document == life.documents[3]
    assert await audit.history.version_at(life.session_id, T0 - 1) is None
    assert await audit.history.version_document(life.session_id, life.state.epoch, 2) == life.documents[2]
    assert await audit.history.version_document(life.session_id, life.state.epoch, 99) is None


async def test_what_changes_after_that_is_added_to_its_archive(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    before = await trail(audit, life)
    assert await cold.retention.remove(life.session_id, 0)
    await audit.committer.apply(life, UpdateMetadata({"note": "later"}), T0 + 90_000)
    await audit.drain()
    after = await trail(audit, life)
    assert after[:-1] == before
    assert after[-1].event_type == "metadata_updated"
    assert await cold.retention.remove(life.session_id, 0)
    assert await counts(audit) == [0, 0, 0, 0]
    assert await trail(audit, life) == after
    assert await trail(audit, life, limit=1) == after
    (filed,) = await audit.history.archive_records(life.session_id)
    assert (filed.version, filed.events, filed.removed) == (life.state.version, len(after), True)


async def test_verifying_begins_after_what_only_the_archive_has(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    assert await cold.retention.remove(life.session_id, 0)
    for at_ms in (T0 + 90_000, T0 + 91_000):
        await audit.committer.apply(life, UpdateMetadata({"at": at_ms}), at_ms)
    await audit.drain()
    async with open_verifier(audit.settings.database_url, OutagePolicy("charge")) as verifier:
        verified = await verifier.verify_session(life.session_id)
        assert verified is not None
        assert [(each.version, each.kind) for each in verified.findings if each.kind == "taken"] == [(7, "taken")]
        assert "gap" not in {each.kind for each in verified.findings}
    await audit.database.execute("DELETE FROM sync_events WHERE version = 7")
    async with open_verifier(audit.settings.database_url, OutagePolicy("charge")) as verifier:
        verified = await verifier.verify_session(life.session_id)
        assert verified is not None
        assert "gap" in {each.kind for each in verified.findings}


async def test_a_deleted_session_and_its_next_life(audit: AuditParts, cold: JobComponents) -> None:
    first = await finished(audit.committer)
    await audit.committer.apply(first, Delete(), T0 + 60_000)
    await audit.drain()
    assert await cold.retention.remove(first.session_id, 0)
    latest = await audit.history.latest_version(first.session_id)
    assert latest is not None
    assert latest.snapshot.deleted
    second = await audit.committer.create(chess(), T0 + 70_000, first.session_id, first.snapshot)
    await audit.drain()
    latest = await audit.history.latest_version(first.session_id)
    assert latest is not None
    assert (latest.snapshot.version, latest.snapshot.deleted) == (1, False)
    epochs = [event.epoch for event in await trail(audit, second)]
    assert epochs == [first.state.epoch] * first.state.version + [second.state.epoch]


async def test_what_redis_has_otherwise_stays(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    all_of_it = await counts(audit)
    await audit.committer.apply(life, UpdateMetadata({"note": "on its way"}), T0 + 90_000)
    assert not await cold.retention.remove(life.session_id, 0)
    assert await counts(audit) == all_of_it
    await audit.drain()
    assert await cold.retention.remove(life.session_id, 0)


async def test_what_webhooks_still_tell_of_stays(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    await audit.database.execute(
        "INSERT INTO webhook_deliveries (delivery_id, endpoint_id, session_id, event_type)"
        " SELECT gen_random_uuid(), gen_random_uuid(), session_id, 'session_completed' FROM sync_sessions"
    )
    before = await cold.archiver.archive(life.session_id)
    assert not await cold.retention.remove(life.session_id, 0)
    (filed,) = await audit.history.archive_records(life.session_id)
    assert filed.archived_at_ms == before.archived_at_ms
    assert filed.error == "Stays: webhooks that tell of it are still to be sent"
    await audit.database.execute("UPDATE webhook_deliveries SET status = 'delivered'")
    assert await cold.retention.remove(life.session_id, 0)


async def test_what_ended_lately_stays(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    with pytest.raises(SessionNotFinished):
        await cold.retention.remove(life.session_id, 100 * 365 * 86_400)
    assert (await counts(audit))[0] == 1


async def test_nothing_is_deleted_for_an_archive_that_is_not_whole(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    all_of_it = await counts(audit)
    filed = await cold.archiver.archive(life.session_id)
    place = object_of(audit, filed)
    content = place.read_bytes()
    place.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])
    with pytest.raises(ArchiveDamaged):
        await cold.retention.remove(life.session_id, 0)
    assert await counts(audit) == all_of_it
    place.write_bytes(content)
    # A row that says something else than the archive: as many, of the same versions.
    await audit.database.execute("UPDATE sync_events SET payload_hash = 'another' WHERE version = 2")
    with pytest.raises(ValueError, match="version 2"):
        await cold.retention.remove(life.session_id, 0)
    assert await counts(audit) == all_of_it
    assert place.read_bytes() == content


async def test_nothing_is_deleted_while_versions_are_missing(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    await audit.database.execute("DELETE FROM sync_events WHERE version = 3")
    all_of_it = await counts(audit)
    with pytest.raises(ArchiveIncomplete, match="version 3"):
        await cold.retention.remove(life.session_id, 0)
    assert await counts(audit) == all_of_it


async def test_nothing_is_deleted_where_archives_can_not_be_written(audit: AuditParts, tmp_path: Path) -> None:
    life = await drained(audit)
    all_of_it = await counts(audit)
    broken = tmp_path / "broken"
    broken.write_text("a file where a folder should be")
    async with open_job_components(audit, str(broken)) as cold:
        with pytest.raises(StoreUnavailable, match="object store"):
            await cold.retention.remove(life.session_id, 0)
    assert await counts(audit) == all_of_it
    (filed,) = await audit.history.archive_records(life.session_id)
    assert (filed.status, filed.path) == ("failed", None)
    assert filed.error is not None


async def test_an_object_store_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "nowhere"),
        ("AWS_ACCESS_KEY_ID", "somebody"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ):
        monkeypatch.setenv(name, value)
    objects = ColdStorage("s3://bucket/prefix")
    for attempt in (objects.put("some/path", b""), objects.get("some/path"), objects.delete("some/path")):
        with pytest.raises(StoreUnavailable, match="some/path"):
            await attempt


async def test_disputed_versions_go_with_it(audit: AuditParts, cold: JobComponents) -> None:
    life = await drained(audit)
    await dispute(audit)
    for _ in range(2):
        assert await cold.retention.remove(life.session_id, 0)
        assert await counts(audit) == [0, 0, 0, 0]
        (filed,) = await audit.history.archive_records(life.session_id)
        (conflict,) = (await audit.history.cold_reader.read_bundle(filed)).conflicts
        assert (conflict.document, conflict.row["event"], conflict.row["version"]) == (b"{}", {"a": 1}, 2)
        # They stay when something is added to the archive later, too.
        await audit.committer.apply(life, UpdateMetadata({"of": life.state.version}), T0 + 90_000)
        await audit.drain()


async def test_what_left_while_it_was_archived_keeps_its_archive(
    audit: AuditParts, cold: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await drained(audit)
    await cold.archiver.archive(life.session_id)
    pack = cold.archiver._pack

    async def late(*args: Any) -> Any:
        monkeypatch.undo()
        assert await cold.retention.remove(life.session_id, 0)
        await audit.committer.apply(life, UpdateMetadata({"note": "later"}), T0 + 90_000)
        await audit.drain()
        return await pack(*args)

    monkeypatch.setattr(cold.archiver, "_pack", late)
    await cold.archiver.archive(life.session_id, anew=True)
    assert [event.document for event in await trail(audit, life)] == list(life.documents.values())
    assert await cold.retention.remove(life.session_id, 0)
    assert [event.document for event in await trail(audit, life)] == list(life.documents.values())


async def test_what_leaves_is_in_the_archive_that_is_filed(
    audit: AuditParts, cold: JobComponents, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = await drained(audit)
    delete = cold.retention._delete

    async def late(*args: Any) -> bool:
        monkeypatch.undo()
        await audit.database.execute("UPDATE sync_archives SET path = 'what/nobody/verified'")
        return await delete(*args)

    monkeypatch.setattr(cold.retention, "_delete", late)
    assert await cold.retention.remove(life.session_id, 0)
    assert [event.document for event in await trail(audit, life)] == list(life.documents.values())


# -- export -----------------------------------------------------------------------------------------------------------


async def exported(
    audit: AuditParts, cold: JobComponents, form: Any, snapshots: bool = False, **span: int
) -> list[bytes]:
    from_ms, to_ms = span.get("from_ms", 0), span.get("to_ms", T0 + 10**9)
    found = await cold.exporter.export("7", _at(from_ms), _at(to_ms), form, snapshots=snapshots)
    content = (Path(audit.settings.archive_url) / found.path).read_bytes()
    assert len(content) == found.written.size_bytes
    lines = gzip.decompress(content).splitlines()
    assert found.events == len(lines) - (form == "csv")
    return lines


def _at(at_ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)


async def test_an_export_is_the_same_before_and_after_retention(audit: AuditParts, cold: JobComponents) -> None:
    lives = [await finished(audit.committer, 3, T0 + each * 100_000) for each in range(3)]
    await audit.committer.apply(lives[0], UpdateMetadata({"é\n": '\\ "quoted" \t, and = \u0001'}), T0 + 90_000)
    await audit.drain()
    await audit.database.execute("UPDATE sync_events SET actor = '=1+1' WHERE version = 2")
    for form, snapshots in (("ndjson", False), ("ndjson", True), ("csv", False), ("csv", True)):
        before = await exported(audit, cold, form, snapshots)
        assert len(before) == 3 * 6 + 1 + (form == "csv")
        if form == "ndjson":
            rows = [orjson.loads(line) for line in before]
            by_id = {life.session_id: life for life in lives}
            for row, line in zip(rows, before, strict=True):
                if snapshots:
                    assert by_id[row["session_id"]].documents[row["version"]] in line
                assert ("state" in row) is snapshots
        else:
            assert sum(b",'=1+1," in line for line in before) == 3
    lines = {form: await exported(audit, cold, form, True) for form in ("ndjson", "csv")}
    for life in lives[:2]:
        assert await cold.retention.remove(life.session_id, 0)
    for form in ("ndjson", "csv"):
        assert sorted(await exported(audit, cold, form, True)) == sorted(lines[form])


async def test_an_export_ends_before_its_end(audit: AuditParts, cold: JobComponents) -> None:
    life = await finished(audit.committer)
    await audit.drain()

    async def versions() -> list[int]:
        lines = await exported(audit, cold, "ndjson", from_ms=T0 + 1000, to_ms=T0 + 4000)
        return [orjson.loads(line)["version"] for line in lines]

    assert await versions() == [2, 3, 4]
    assert await cold.retention.remove(life.session_id, 0)
    assert await versions() == [2, 3, 4]


def test_what_an_archive_holds_is_read_without_its_documents() -> None:
    documents = [orjson.dumps({"filler": f"{number} " * 300_000}) for number in range(3)]
    when = datetime(2026, 1, 1, tzinfo=UTC)
    rows = [
        {"epoch": "e", "version": number + 1, "occurred_at": when, "payload_hash": sha256(document).digest()}
        for number, document in enumerate(documents)
    ]
    packer = BundleWriter({"epoch": "e", "version": 3, "events": 3, "conflicts": 0})
    packer.add(render_bundle_line("event", row, document) for row, document in zip(rows, documents, strict=True))
    content = packer.finish()
    lean, whole = parse_bundle(content, lean=True), parse_bundle(content)
    assert [line.document for line in lean.events] == [b"", b"", documents[2]]
    assert [line.document for line in whole.events] == documents
    assert [line.row for line in lean.events] == [line.row for line in whole.events]
    assert (lean.raw, lean.newest.document) == (b"", documents[2])
    for damaged in (content[:-9], content[: len(content) // 2], b"", content[:50] + b"\0" + content[51:]):
        with pytest.raises(BundleDamaged):
            parse_bundle(damaged, lean=True)
