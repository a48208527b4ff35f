"""Time reports: the time that a participant used, from Postgres and the outbox.

The time of a version that is in Postgres and in the outbox is counted only once.
"""

import asyncio
from typing import Any

import orjson

from synckairos.audit.entry_rows import NUL_ESCAPE, replace_nul
from synckairos.clock.charges import charges_between
from synckairos.clock.model import Charge, EventType
from synckairos.errors import StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.history.records import Bucket, UsedTimeBucket, UsedTimeInOutbox
from synckairos.history.used_time_reader import running_span_ms
from synckairos.store.outbox import Outbox
from synckairos.wire.charges_json import parse_charge_rows
from synckairos.wire.outbox_entry import OutboxEntry, stored_charges
from synckairos.wire.session_parser import parse_session


class TimeReporter:
    """Reader of time reports, for `GET /v1/participants/{id}/time`."""

    def __init__(self, history: HistoryReader, outbox: Outbox) -> None:
        self._history = history
        self._outbox = outbox

    async def report_used_time(
        self,
        participant_id: str,
        *,
        from_ms: int,
        to_ms: int,
        now_ms: int,
        tz: str,
        bucket: Bucket,
        metadata_key: str | None,
    ) -> tuple[list[UsedTimeBucket], bool]:
        """Return the rows of a participant's time report, and whether Redis is unreachable.

        See `UsedTimeReader.sum_by_bucket` for the parameters, the rows and their order. If Redis is unreachable, the
        rows lack the time in versions that only the outbox has.

        Raises: ValidationFailed if the time zone is unknown. StoreUnavailable if Postgres is unreachable or too slow.
        """
        is_redis_unreachable = False
        try:
            # Read the outbox before Postgres. A version that is drained between the two reads is then in both results.
            # In the other order it could be missing in both.
            in_outbox = await self._times_in_outbox(participant_id, now_ms)
        except StoreUnavailable:
            in_outbox, is_redis_unreachable = [], True
        slices = await self._history.used_time.sum_by_bucket(
            participant_id,
            from_ms=from_ms,
            to_ms=to_ms,
            now_ms=now_ms,
            tz=tz,
            bucket=bucket,
            metadata_key=metadata_key,
            in_outbox=in_outbox,
        )
        return slices, is_redis_unreachable

    async def _times_in_outbox(self, participant_id: str, now_ms: int) -> list[UsedTimeInOutbox]:
        session_ids = await self._outbox.participant_session_ids(participant_id)
        found = await asyncio.gather(*(self._outbox.read_session_entries(each) for each in session_ids))
        return [await self._time_in_entries(entries, participant_id, now_ms) for entries in found if entries]

    async def _time_in_entries(self, entries: list[OutboxEntry], participant_id: str, now_ms: int) -> UsedTimeInOutbox:
        first = min(entries, key=lambda each: each.version)
        document_before = None
        if needs_document_before(first):
            before = first.epoch, first.version - 1
            document_before = await self._history.read_version_document(first.session_id, *before)
        return used_time_in_outbox(entries, participant_id, now_ms, document_before)


def needs_document_before(first: OutboxEntry) -> bool:
    """Return whether the charges of the first outbox entry of a session follow from the version before it.

    This is so if the previous release wrote the entry, because its entries do not say what they charge.
    """
    return first.version > 1 and stored_charges(orjson.loads(first.event)) is None


def used_time_in_outbox(
    entries: list[OutboxEntry], participant_id: str, now_ms: int, document_before: bytes | None = None
) -> UsedTimeInOutbox:
    """Return the time that a participant used in the outbox entries of one session.

    `entries` are at least one entry of the session, in any order. A running turn counts until `now_ms` (ms since the
    Unix epoch), or until the deadline of the session if the deadline is earlier. `document_before` is the document of
    the version before the entries, None if it is not known.
    """
    versions = sorted(((orjson.loads(each.event), each) for each in entries), key=_sort_key)
    first = versions[0][1]
    # Versions up to a deletion do not count. If the session was created again, the versions after the deletion count.
    tombstone = max((at for at, (event, _) in enumerate(versions) if event.get("deleted")), default=-1)
    charged: list[tuple[int, Charge]] = []
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
        charged += [(entry.version, each) for each in charges if each.participant_id == participant_id]
        before = entry.document
    running = [(each.began_at_ms, each.ended_at_ms) for _, each in charged]
    if tombstone + 1 < len(versions) and (span := running_span_ms(session, participant_id, now_ms)) is not None:
        running.append(span)
    metadata = session["metadata"]
    return UsedTimeInOutbox(
        session_id=first.session_id,
        first_version=(versions[0][0]["occurred_at_ms"], first.version),
        metadata=orjson.dumps(replace_nul(metadata) if NUL_ESCAPE in versions[-1][1].document else metadata).decode(),
        replaces_audited=replaces_audited,
        running=tuple(running),
        void_after_version=void_after_version,
    )


def _sort_key(version: tuple[dict[str, Any], OutboxEntry]) -> tuple[int, int]:
    event, entry = version
    return event["occurred_at_ms"], entry.version
