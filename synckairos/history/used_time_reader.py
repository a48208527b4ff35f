"""Reader of the time that a participant used, in buckets of sessions, local days or weeks, from Postgres."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from synckairos.clock.model import Charge, OnTimeout
from synckairos.errors import StoreUnavailable, ValidationFailed
from synckairos.history.queries import HistoryQueries, RunQuery
from synckairos.history.records import Bucket, UsedTimeBucket, UsedTimeInOutbox
from synckairos.history.row_values import FIRST_POSTGRES_MS, postgres_instant, uuid_or_none
from synckairos.history.time_bucket_bounds import build_time_buckets
from synckairos.postgres.transaction import Row
from synckairos.wire.instants import datetime_to_ms, parse_instant_ms
from synckairos.wire.time_zone_days import parse_time_zone

MAX_SLICES = 10_000
"""Maximum number of rows of a time report."""

_LONG_RANGE_MS = 400 * 86_400_000
"""Milliseconds of a range above which a time report begins at the first session, to avoid many empty buckets."""


def running_span_ms(document: Mapping[str, Any], participant_id: str, until_ms: int) -> tuple[int, int] | None:
    """Return the begin and end of the time that runs for a participant in a session since its newest charge.

    `document` is the session's JSON. The time ends at `until_ms`, or at the deadline if that is earlier and the clock
    stops there. Both instants are in ms since the Unix epoch. Return None if the participant's clock does not run
    before `until_ms`.
    """
    began_at, deadline_at = document["cycle_started_at"], document["deadline_at"]
    is_running = document["status"] == "running" and began_at is not None
    if not is_running or document["active_participant_id"] != participant_id:
        return None
    began_ms, ended_ms = parse_instant_ms(began_at), until_ms
    # A clock with overtime continues below zero. In the first edition this makes no new version.
    if deadline_at is not None and document["on_timeout"] != OnTimeout.OVERTIME:
        ended_ms = min(until_ms, parse_instant_ms(deadline_at))
    return (began_ms, ended_ms) if ended_ms > began_ms else None


class UsedTimeReader:
    """Sums the time that participants used. The caller passes the time in versions that only the outbox has."""

    def __init__(self, queries: HistoryQueries) -> None:
        self._queries = queries

    async def sum_by_bucket(
        self,
        participant_id: str,
        *,
        from_ms: int,
        to_ms: int,
        now_ms: int,
        tz: str = "UTC",
        bucket: Bucket = "day",
        metadata_key: str | None = None,
        in_outbox: Sequence[UsedTimeInOutbox] = (),
    ) -> list[UsedTimeBucket]:
        """Return the time that a participant used from `from_ms` (included) to `to_ms` (excluded), by bucket.

        All instants are in ms since the Unix epoch.

        - `now_ms`: the present instant. A running turn counts until this instant or until its deadline. Time after it
          does not count.
        - `tz`: IANA name of the time zone for days and weeks.
        - `bucket`: one row for each session, local day or ISO week.
        - `metadata_key`: name of the metadata member by whose value rows are grouped. None does not group.
        - `in_outbox`: used time in versions that Postgres does not have yet.

        Return at most the first 10,000 rows, in ascending order of the buckets.

        Raises: ValidationFailed if the time zone is unknown. StoreUnavailable if Postgres is unreachable or too slow.
        """
        try:
            zone = parse_time_zone(tz)
        except ValueError:
            raise ValidationFailed.at_path("tz", "should be the name of a time zone, such as Europe/Berlin") from None
        from_ms, until_ms = max(from_ms, FIRST_POSTGRES_MS), min(to_ms, now_ms)
        if until_ms - from_ms > _LONG_RANGE_MS:
            from_ms = max(from_ms, await self._first_time_ms(participant_id, until_ms, in_outbox))
        if from_ms >= until_ms:
            return []
        buckets = build_time_buckets(bucket, from_ms, until_ms, zone)
        values: dict[str, Any] = {
            "participant_id": uuid_or_none(participant_id),
            "since": postgres_instant(from_ms),
            "until": postgres_instant(until_ms),
            "in_outbox": [UUID(each.session_id) for each in in_outbox],
            "cut_at": [postgres_instant(each.first_version[0]) for each in in_outbox],
            "cut_version": [each.first_version[1] for each in in_outbox],
            "metadata": [each.metadata for each in in_outbox],
            "is_replaced": [each.replaces_audited for each in in_outbox],
            "void_after": [each.void_after_version for each in in_outbox],
            "running": [UUID(each.session_id) for each in in_outbox for _ in each.running],
            "began_at": [postgres_instant(began_ms) for each in in_outbox for began_ms, _ in each.running],
            "ended_at": [postgres_instant(ended_ms) for each in in_outbox for _, ended_ms in each.running],
            "bounds": [postgres_instant(each) for each in buckets.bounds_ms],
            "by_session": bucket == "session",
            "key": metadata_key,
            "limit": MAX_SLICES,
        }

        async def report(run_query: RunQuery) -> list[Row]:
            names = ("participant_id", "until", "in_outbox")
            turns = await run_query("running_turns", {name: values[name] for name in names})
            spans = {
                UUID(session_id): span
                for session_id, document in turns
                if (span := running_span_ms(orjson.loads(document), participant_id, until_ms)) is not None
            }
            open_turns = {
                "open": [*spans],
                "open_began_at": [postgres_instant(began_ms) for began_ms, _ in spans.values()],
                "open_ended_at": [postgres_instant(ended_ms) for _, ended_ms in spans.values()],
            }
            return await run_query("participant_time_slices", values | open_turns)

        rows = await self._queries.run_report(report)
        return [UsedTimeBucket(session_id or buckets.names[at - 1], *sums) for at, session_id, *sums in rows]

    async def read_charges(self, session_id: str, before_version: int) -> list[Charge]:
        """Return the charges of a session's versions before `before_version` that count, in any order.

        Raises: StoreUnavailable if Postgres is unreachable, or does not have all these versions or their charges yet.
        """
        values = {"session_id": uuid_or_none(session_id), "before_version": before_version}
        rows = await self._queries.run("session_charges", values)
        if not rows or not rows[0][0]:
            raise StoreUnavailable("The charges of the session are not complete yet; try again shortly")
        return [
            Charge(participant_id, datetime_to_ms(began_at), datetime_to_ms(ended_at))
            for _, participant_id, began_at, ended_at in rows
            if participant_id is not None
        ]

    async def _first_time_ms(self, participant_id: str, until_ms: int, in_outbox: Sequence[UsedTimeInOutbox]) -> int:
        """Return an instant, in milliseconds, before which the participant used no time.

        Return `until_ms` if the participant used no time before `until_ms`.
        """
        values = {"participant_id": uuid_or_none(participant_id), "until": postgres_instant(until_ms)}
        rows = await self._queries.run("first_session_created", values)
        audited_ms = [datetime_to_ms(created_at) for (created_at,) in rows if created_at is not None]
        return min((until_ms, *audited_ms, *(began_ms for each in in_outbox for began_ms, _ in each.running)))
