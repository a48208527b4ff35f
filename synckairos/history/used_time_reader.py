"""Reader of the time that participants used, in buckets of sessions, local days, weeks or months, from Postgres."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from synckairos.clock.model import OnTimeout, SyncMode
from synckairos.clock.transition import Charge
from synckairos.errors import StoreUnavailable, ValidationFailed
from synckairos.history.queries import HistoryQueries, RunQuery
from synckairos.history.records import TimeReportSpec, UsedSpan, UsedTimeBucket, UsedTimeInOutbox
from synckairos.history.row_values import (
    FIRST_POSTGRES_MS,
    LAST_POSTGRES_MS,
    postgres_instant,
    postgres_instants,
    uuid_or_none,
)
from synckairos.history.time_bucket_bounds import build_time_buckets
from synckairos.postgres.transaction import Row
from synckairos.session_names import split_participant_name, split_session_name
from synckairos.wire.instants import datetime_to_ms, parse_instant_ms
from synckairos.wire.time_zone_days import parse_time_zone

MAX_CHARGES = 10_000
"""Maximum number of charges of a session that one command reads. This takes about 20 ms of processor time."""

_LONG_RANGE_MS = 400 * 86_400_000
"""Milliseconds of a range above which a time report begins at the first session, to avoid many empty buckets."""


def running_spans(document: Mapping[str, Any], until_ms: int) -> Iterator[UsedSpan]:
    """Yield the time of each participant whose clock runs in a session, since its newest charge.

    `document` is the session's JSON. A time ends at `until_ms`, or at the deadline if that is earlier and the clock
    stops there. All instants are in ms since the Unix epoch. Times that would be empty are left out.
    """
    if document["status"] != "running":
        return
    for participant_id, began_at, deadline_at in _running_clocks(document):
        began_ms, ended_ms = parse_instant_ms(began_at), until_ms
        # A clock with overtime continues below zero. In the first edition this makes no new version.
        if deadline_at is not None and document["on_timeout"] != OnTimeout.OVERTIME:
            ended_ms = min(until_ms, parse_instant_ms(deadline_at))
        if ended_ms > began_ms:
            yield UsedSpan(participant_id, began_ms, ended_ms)


def _running_clocks(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    """Yield the participant, the anchor and the deadline of each running clock. A deadline is None if there is none."""
    if document["sync_mode"] == SyncMode.INDIVIDUAL:
        for each in document["participants"]:
            if "anchor_at" in each:
                yield each["participant_id"], each["anchor_at"], each.get("deadline_at")
    elif document["active_participant_id"] is not None and document["cycle_started_at"] is not None:
        yield document["active_participant_id"], document["cycle_started_at"], document["deadline_at"]


def running_clock_instants(document: Mapping[str, Any], participant_id: str) -> tuple[str | None, str | None]:
    """Return the anchor of a participant's running clock, and its deadline, as texts of a session's JSON.

    Both are None if the clock of this participant does not run. The deadline is also None if there is none.
    """
    clocks = (clock for owner_id, *clock in _running_clocks(document) if owner_id == participant_id)
    anchor_at, deadline_at = next(clocks, (None, None))
    return anchor_at, deadline_at


class UsedTimeReader:
    """Sums the time that participants used. The caller passes the time in versions that only the outbox has."""

    def __init__(self, queries: HistoryQueries) -> None:
        self._queries = queries

    async def sum_by_bucket(
        self, spec: TimeReportSpec, in_outbox: Sequence[UsedTimeInOutbox] = ()
    ) -> list[UsedTimeBucket]:
        """Return the rows of a time report, in ascending order of buckets, participants and keys.

        `in_outbox` has the used times in versions that Postgres does not have yet. It must have all sessions in the
        outbox whose times or labels count.

        Raises: ValidationFailed if the time zone is unknown. StoreUnavailable if Postgres is unreachable or too slow.
        """
        try:
            zone = parse_time_zone(spec.tz)
        except ValueError:
            raise ValidationFailed.at_path("tz", "should be the name of a time zone, such as Europe/Berlin") from None
        from_ms, until_ms = max(spec.from_ms, FIRST_POSTGRES_MS), min(spec.to_ms, spec.now_ms)
        if until_ms - from_ms > _LONG_RANGE_MS:
            from_ms = max(from_ms, await self._first_time_ms(spec, until_ms, in_outbox))
        if from_ms >= until_ms:
            return []
        buckets = build_time_buckets(spec.bucket, from_ms, until_ms, zone, spec.week_start)
        spans = [(UUID(each.session_id), span) for each in in_outbox for span in each.spans]
        values: dict[str, Any] = {
            **_filters(spec, until_ms),
            "since": postgres_instant(from_ms),
            "in_outbox": [UUID(each.session_id) for each in in_outbox],
            "cut_at": [postgres_instant(each.first_version[0]) for each in in_outbox],
            "cut_version": [each.first_version[1] for each in in_outbox],
            "metadata": [each.metadata for each in in_outbox],
            "outbox_labels": [each.labels for each in in_outbox],
            "is_replaced": [each.replaces_audited for each in in_outbox],
            "void_after": [each.void_after_version for each in in_outbox],
            "running": [session_id for session_id, _ in spans],
            **_span_parameters("", [span for _, span in spans]),
            "bounds": postgres_instants(buckets.bounds_ms),
            "by_session": spec.bucket == "session",
            "by_participant": spec.by_participant,
            "metadata_key": spec.metadata_key,
            "label_keys": list(spec.label_keys),
            "round_ms": spec.round_ms,
            "rounds_up": spec.rounds_up,
            **_position_parameters(spec, buckets.names),
            "limit": spec.limit,
        }

        async def report(run_query: RunQuery) -> list[Row]:
            names = ("participants", "labels", "label_name", "label_value", "until", "in_outbox")
            turns = await run_query("running_turns", {name: values[name] for name in names})
            open_turns = [
                (UUID(session_id), span)
                for session_id, participant_ids, document in turns
                for span in running_spans(orjson.loads(document), until_ms)
                if span.participant_id in participant_ids
            ]
            parameters = {
                "open": [session_id for session_id, _ in open_turns],
                **_span_parameters("open_", [span for _, span in open_turns]),
            }
            return await run_query("used_time_slices", values | parameters)

        rows = await self._queries.run_report(spec.tenant, report)
        return [
            UsedTimeBucket(session_id or buckets.names[at - 1], used_ms, count, tuple(keys), participant_id)
            for at, session_id, participant_id, keys, used_ms, count in rows
        ]

    async def find_running_sessions(self, participant_name: str) -> list[str]:
        """Return the ids of the sessions in which the clock of a participant runs in Postgres.

        `participant_name` is the name of the participant in its tenant.

        Raises: StoreUnavailable if Postgres is unreachable or too slow.
        """
        tenant, participant_id = split_participant_name(participant_name)
        values = {
            "participants": [uuid_or_none(participant_id)],
            **_label_filter({}),
            "until": postgres_instant(LAST_POSTGRES_MS),
            "in_outbox": [],
        }
        return [session_id for session_id, *_ in await self._queries.run(tenant, "running_turns", values)]

    async def read_charges(
        self, session_id: str, before_version: int, *, max_charges: int = MAX_CHARGES
    ) -> list[Charge] | None:
        """Return the charges of a session's versions before `before_version` that count, in any order.

        `session_id` is the name of the session in its tenant. Return None if there are more than `max_charges`.

        Raises: StoreUnavailable if Postgres is unreachable, or does not have all these versions or their charges yet.
        """
        tenant, bare_session_id = split_session_name(session_id)
        values = {
            "session_id": uuid_or_none(bare_session_id),
            "before_version": before_version,
            "limit": max_charges + 1,
        }
        rows = await self._queries.run(tenant, "session_charges", values)
        if not rows or not rows[0][0]:
            raise StoreUnavailable("The charges of the session are not complete yet; try again shortly")
        if len(rows) > max_charges:
            return None
        return [
            Charge(participant_id, datetime_to_ms(began_at), datetime_to_ms(ended_at))
            for _, participant_id, began_at, ended_at in rows
            if participant_id is not None
        ]

    async def _first_time_ms(self, spec: TimeReportSpec, until_ms: int, in_outbox: Sequence[UsedTimeInOutbox]) -> int:
        """Return an instant, in milliseconds, before which no time of the report was used.

        Return `until_ms` if no time was used before `until_ms`.
        """
        rows = await self._queries.run(spec.tenant, "first_session_created", _filters(spec, until_ms))
        audited_ms = [datetime_to_ms(created_at) for (created_at,) in rows if created_at is not None]
        return min((until_ms, *audited_ms, *(span.began_ms for each in in_outbox for span in each.spans)))


def _filters(spec: TimeReportSpec, until_ms: int) -> dict[str, Any]:
    """Return the parameters of a query that select participants and sessions."""
    ids = spec.participant_ids
    return {
        "participants": None if ids is None else [uuid_or_none(each) for each in ids],
        **_label_filter(spec.labels),
        "until": postgres_instant(until_ms),
    }


def _label_filter(labels: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of a query that select sessions with all these labels, and the first label alone."""
    name, value = next(iter(labels.items()), (None, None))
    return {"labels": orjson.dumps(labels).decode() if labels else None, "label_name": name, "label_value": value}


def _span_parameters(prefix: str, spans: Sequence[UsedSpan]) -> dict[str, Any]:
    """Return used times as three arrays, whose parameter names begin with `prefix`."""
    return {
        f"{prefix}participant": [UUID(each.participant_id) for each in spans],
        f"{prefix}began_at": [postgres_instant(each.began_ms) for each in spans],
        f"{prefix}ended_at": [postgres_instant(each.ended_ms) for each in spans],
    }


def _position_parameters(spec: TimeReportSpec, names: Sequence[str]) -> dict[str, Any]:
    """Return the parameters for the position after which the rows begin. `names` are the names of the buckets."""
    after = spec.after
    if after is None:
        return {"after_number": None, "after_session": "", "after_participant": "", "after_keys": []}
    if spec.bucket == "session":
        number, session_id = 1, after.bucket
    else:
        # The names are in ascending order. A bucket that is not in the range any more comes before or after all others.
        number, session_id = bisect_right(names, after.bucket), ""
    return {
        "after_number": number,
        "after_session": session_id,
        "after_participant": after.participant_id,
        "after_keys": [each or None for each in after.keys],
    }
