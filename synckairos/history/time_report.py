"""Time reports: the time that participants used, from Postgres and the outbox.

The time of a version that is in Postgres and in the outbox is counted only once.
"""

import asyncio
from typing import Any

import orjson

from synckairos.audit.entry_rows import NUL_ESCAPE, replace_nul
from synckairos.clock.charges import charges_between
from synckairos.clock.transition import EventType
from synckairos.errors import StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.history.records import TimeReportSpec, UsedSpan, UsedTimeBucket, UsedTimeInOutbox
from synckairos.history.used_time_reader import running_spans
from synckairos.session_names import is_name_of_tenant, participant_name
from synckairos.store.outbox import Outbox
from synckairos.wire.charges_json import parse_charge_rows
from synckairos.wire.outbox_entry import OutboxEntry, stored_charges
from synckairos.wire.session_parser import parse_session

MAX_OUTBOX_ENTRIES = 5_000
MAX_OUTBOX_BYTES = 8 << 20
"""Number and bytes of the outbox entries of one partition that a report by labels reads."""


class TimeReporter:
    """Reader of time reports, for `GET /v1/participants/{id}/time` and `GET /v1/hours`."""

    def __init__(self, history: HistoryReader, outbox: Outbox) -> None:
        self._history = history
        self._outbox = outbox

    async def report_used_time(self, spec: TimeReportSpec) -> tuple[list[UsedTimeBucket], bool]:
        """Return the rows of a time report, and whether Redis is unreachable.

        If Redis is unreachable, the rows lack the time in versions that only the outbox has.

        Raises: ValidationFailed if the time zone is unknown. StoreUnavailable if Postgres is unreachable or too slow,
            or if too many versions for a report without participants are in the outbox.
        """
        is_redis_unreachable = False
        try:
            # Read the outbox before Postgres. A version that is drained between the two reads is then in both results.
            # In the other order it could be missing in both.
            entries = await self._read_outbox(spec)
        except OutboxTooLong:
            raise
        except StoreUnavailable:
            entries, is_redis_unreachable = [], True
        in_outbox = await asyncio.gather(*(self._times_in_entries(each, spec.now_ms) for each in entries))
        return await self._history.used_time.sum_by_bucket(spec, in_outbox), is_redis_unreachable

    async def _read_outbox(self, spec: TimeReportSpec) -> list[list[OutboxEntry]]:
        """Return the outbox entries of each session that can count, not empty, in the order of the stream."""
        if spec.participant_ids is None:
            names = await self._all_session_names(spec.tenant)
        else:
            people = [participant_name(spec.tenant, each) for each in spec.participant_ids]
            found = await asyncio.gather(*map(self._outbox.participant_session_names, people))
            names = [*dict.fromkeys(name for names in found for name in names)]
        entries = await asyncio.gather(*map(self._outbox.read_session_entries, names))
        return [each for each in entries if each]

    async def _all_session_names(self, tenant: str) -> list[str]:
        """Return the names of all sessions of a tenant with versions in the outbox.

        Raises: OutboxTooLong.
        """
        partitions = range(self._outbox.keys.partitions)
        streams = await asyncio.gather(
            *(self._outbox.read(each, MAX_OUTBOX_ENTRIES, MAX_OUTBOX_BYTES) for each in partitions)
        )
        for entries in streams:
            if len(entries) >= MAX_OUTBOX_ENTRIES or sum(each.document_bytes for each in entries) >= MAX_OUTBOX_BYTES:
                raise OutboxTooLong
        names = (entry.session_name for entries in streams for entry in entries)
        return [*dict.fromkeys(each for each in names if each is not None and is_name_of_tenant(each, tenant))]

    async def _times_in_entries(self, entries: list[OutboxEntry], now_ms: int) -> UsedTimeInOutbox:
        first = min(entries, key=lambda each: each.version)
        document_before = None
        if needs_document_before(first):
            before = first.epoch, first.version - 1
            document_before = await self._history.read_version_document(first.session_name, *before)
        return used_time_in_outbox(entries, now_ms, document_before)


class OutboxTooLong(StoreUnavailable):
    """The outbox has too many versions for a report of all sessions with some labels."""

    def __init__(self) -> None:
        super().__init__("Too many versions are not in Postgres yet; try again shortly, or name the participants")


def needs_document_before(first: OutboxEntry) -> bool:
    """Return whether the charges of the first outbox entry of a session follow from the version before it.

    This is so if the previous release wrote the entry, because its entries do not say what they charge.
    """
    return first.version > 1 and stored_charges(orjson.loads(first.event)) is None


def used_time_in_outbox(
    entries: list[OutboxEntry], now_ms: int, document_before: bytes | None = None
) -> UsedTimeInOutbox:
    """Return the times that participants used in the outbox entries of one session.

    `entries` are at least one entry of the session, in any order. Running turns count until `now_ms` (ms since the Unix
    epoch), or until the deadline of the session if the deadline is earlier. `document_before` is the document of the
    version before the entries, None if it is not known.
    """
    versions = sorted(((orjson.loads(each.event), each) for each in entries), key=_sort_key)
    first = versions[0][1]
    # Versions up to a deletion do not count. If the session was created again, the versions after the deletion count.
    tombstone = max((at for at, (event, _) in enumerate(versions) if event.get("deleted")), default=-1)
    charged: list[tuple[int, UsedSpan]] = []
    void_after_version: int | None = None
    replaces_audited = tombstone >= 0
    session: dict[str, Any] = orjson.loads(versions[-1][1].document)
    before = document_before if tombstone < 0 else None
    for event, entry in versions[tombstone + 1 :]:
        if event["event_type"] == EventType.SESSION_AMENDED:
            charged.clear()
            replaces_audited = True
        elif event["event_type"] == EventType.TURN_UNDONE:
            restored_version = event["args"]["restored"]["version"]
            charged = [each for each in charged if each[0] <= restored_version]
            void_after_version = min(restored_version, void_after_version or restored_version)
        if (stored := stored_charges(event)) is not None:
            charges = parse_charge_rows(stored)
        elif before is not None:
            charges = charges_between(parse_session(before), entry.to_clock_event(), parse_session(entry.document))
        else:
            charges = ()
        spans = (UsedSpan(each.participant_id, each.began_at_ms, each.ended_at_ms) for each in charges)
        charged += [(entry.version, span) for span in spans]
        before = entry.document
    used = [span for _, span in charged]
    if tombstone + 1 < len(versions):
        used += running_spans(session, now_ms)
    facts = {name: session.get(name, {}) for name in ("metadata", "labels")}
    if NUL_ESCAPE in versions[-1][1].document:
        facts = replace_nul(facts)
    return UsedTimeInOutbox(
        session_id=first.session_id,
        first_version=(versions[0][0]["occurred_at_ms"], first.version),
        metadata=orjson.dumps(facts["metadata"]).decode(),
        labels=orjson.dumps(facts["labels"]).decode(),
        replaces_audited=replaces_audited,
        spans=tuple(used),
        void_after_version=void_after_version,
    )


def _sort_key(version: tuple[dict[str, Any], OutboxEntry]) -> tuple[int, int]:
    event, entry = version
    return event["occurred_at_ms"], entry.version
