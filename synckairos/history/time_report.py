"""Somebody's hours whole: what Postgres has of them, and what is still on its way there, counted once."""

import asyncio
from typing import Any

import orjson

from synckairos.audit.entry_rows import NUL_ESCAPE, replace_nul
from synckairos.errors import StoreUnavailable
from synckairos.history.reader import HistoryReader
from synckairos.history.records import Bucket, OutboxTime, TimeSlice
from synckairos.store.outbox import Outbox
from synckairos.wire.instants import parse_instant
from synckairos.wire.outbox_entry import OutboxEntry


class TimeReport:
    """The hours of any participant, for `GET /participants/{id}/time`."""

    def __init__(self, history: HistoryReader, outbox: Outbox) -> None:
        self._history = history
        self._outbox = outbox

    async def slices(
        self,
        participant_id: str,
        *,
        from_ms: int,
        to_ms: int,
        now_ms: int,
        tz: str,
        bucket: Bucket,
        metadata_key: str | None,
    ) -> tuple[list[TimeSlice], bool]:
        """Return time slices as `HistoryReader.participant_time_slices` does, and whether Redis is away.

        If Redis is away, the time of versions in the outbox is missing.
        """
        is_away = False
        try:
            # Before Postgres is asked: what is drained in between is then known to be both, and in neither never.
            waiting = await self._waiting(participant_id, now_ms)
        except StoreUnavailable:
            waiting, is_away = [], True
        slices = await self._history.participant_time_slices(
            participant_id,
            from_ms=from_ms,
            to_ms=to_ms,
            now_ms=now_ms,
            tz=tz,
            bucket=bucket,
            metadata_key=metadata_key,
            waiting=waiting,
        )
        return slices, is_away

    async def _waiting(self, participant_id: str, now_ms: int) -> list[OutboxTime]:
        session_ids = await self._outbox.sessions_of_participant(participant_id)
        found = await asyncio.gather(*(self._outbox.session_entries(each) for each in session_ids))
        return [time_in_outbox(entries, participant_id, now_ms) for entries in found if entries]


def time_in_outbox(entries: list[OutboxEntry], participant_id: str, now_ms: int) -> OutboxTime:
    """Return what versions of one session mean for somebody's hours, the last one up to now or to its clock's zero."""
    versions = sorted(((orjson.loads(each.event), each) for each in entries), key=_order)
    event, first = versions[0]
    # What was deleted doesn't count, but for the life that came after.
    tombstone = max((at for at, (event, _) in enumerate(versions) if event.get("deleted")), default=-1)
    stretches: list[tuple[int, int]] = []
    began_ms: int | None = None
    session: dict[str, Any] = orjson.loads(versions[-1][1].document)
    for event, entry in versions[tombstone + 1 :]:
        at_ms: int = event["occurred_at_ms"]
        if began_ms is not None and at_ms > began_ms:
            stretches.append((began_ms, at_ms))
        session = orjson.loads(entry.document)
        runs = session["status"] == "running" and session["cycle_started_at"] is not None
        began_ms = at_ms if runs and session["active_participant_id"] == participant_id else None
    if began_ms is not None:
        deadline = session["deadline_at"]
        until_ms = now_ms if deadline is None else min(now_ms, parse_instant(deadline))
        if until_ms > began_ms:
            stretches.append((began_ms, until_ms))
    metadata = session["metadata"]
    return OutboxTime(
        session_id=first.session_id,
        cut=(versions[0][0]["occurred_at_ms"], first.version),
        metadata=orjson.dumps(replace_nul(metadata) if NUL_ESCAPE in versions[-1][1].document else metadata).decode(),
        is_gone=tombstone >= 0,
        stretches=tuple(stretches),
    )


def _order(version: tuple[dict[str, Any], OutboxEntry]) -> tuple[int, int]:
    event, entry = version
    return event["occurred_at_ms"], entry.version
