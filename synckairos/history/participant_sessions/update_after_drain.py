"""Refresh of the participant list caches in Redis, after the drain commits to Postgres.

The refresh ends before the drain deletes the entries from the outbox. A reader therefore finds each version in the
outbox or in the caches. If a worker dies before it deletes the entries, the next drain repeats the refresh.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from synckairos.audit.charge_coverage import SessionKey
from synckairos.audit.entry_rows import BatchRows, EventRow, ParticipantRow, SessionRow
from synckairos.errors import InvalidStoredData
from synckairos.history.participant_sessions.summary import is_deleted, render_participant_parts, summary_after_batch
from synckairos.store.keys import Keys
from synckairos.store.participant_sessions import ParticipantSessionStore, SessionSummary
from synckairos.store.read_cache import ReadCache
from synckairos.store.shared_connection import RedisPipe
from synckairos.telemetry.invalid_data import reporting_invalid_data
from synckairos.wire.instants import datetime_to_ms


class SummaryRefresh:
    """Updates the participant sets, session summaries and the read cache in Redis after changes in Postgres.

    All methods raise StoreUnavailable if Redis is unreachable.
    """

    def __init__(self, pipe: RedisPipe, keys: Keys, store: ParticipantSessionStore | None = None) -> None:
        self._store = store or ParticipantSessionStore(pipe, keys)
        self._read_cache = ReadCache(pipe, keys)

    async def apply_audited_rows(self, rows: BatchRows) -> None:
        """Update the caches with rows that the drain committed to Postgres.

        A repeated call with the same rows changes nothing.

        If cached data are invalid, the cached data of all sessions and participants of the rows are deleted. Uses one
        round trip to each partition, or two if Redis has a summary or a set for the rows.
        """
        sessions = {row.session_name: row for row in rows.sessions}
        participants: defaultdict[SessionKey, list[ParticipantRow]] = defaultdict(list)
        for row in rows.participants:
            participants[row.tenant, row.session_id].append(row)
        participant_ids = list(dict.fromkeys(row.participant_name for row in rows.participants))
        try:
            with reporting_invalid_data(f":digest:{next(iter(sessions), '')}"):
                await self._refresh(rows, sessions, participants, participant_ids)
        except InvalidStoredData:
            await self._store.discard_invalid_caches(list(sessions), participant_ids)

    async def _refresh(
        self,
        rows: BatchRows,
        sessions: dict[str, SessionRow],
        participants: defaultdict[SessionKey, list[ParticipantRow]],
        participant_ids: list[str],
    ) -> None:
        _, (summaries, with_set) = await asyncio.gather(
            self._read_cache.drop(list(sessions), participant_ids),
            self._store.find_existing_caches(list(sessions), participant_ids),
        )
        if not summaries and not with_set:
            return
        events: defaultdict[SessionKey, list[EventRow]] = defaultdict(list)
        for event in rows.events:
            events[event.session_key].append(event)
        await asyncio.gather(
            *(
                self._refresh_session(
                    session_id,
                    session,
                    events[session.session_key],
                    [each for each in participants[session.session_key] if each.participant_name in with_set],
                    summaries,
                )
                for session_id, session in sessions.items()
            )
        )

    async def refresh_imported(self, participants: Sequence[ParticipantRow]) -> None:
        """Drop the caches of imported sessions, and add each session to the sets of its participants.

        A participant without a set in Redis gets no set. Imported sessions came to Postgres without the drain. Uses two
        round trips to each partition.
        """
        session_ids = list(dict.fromkeys(row.session_name for row in participants))
        participant_ids = list(dict.fromkeys(row.participant_name for row in participants))
        _, (_, with_set) = await asyncio.gather(
            self._read_cache.drop(session_ids, participant_ids),
            self._store.find_existing_caches(session_ids, participant_ids),
        )
        await asyncio.gather(
            *(self._store.drop_summary(each) for each in session_ids),
            *(
                self._store.set_list_position(row.participant_name, row.session_name, datetime_to_ms(row.began_at))
                for row in participants
                if row.participant_name in with_set
            ),
        )

    async def remove_from_caches(self, session_id: str, participant_ids: Iterable[str]) -> None:
        """Remove a session from the caches and from the sets of the participants `participant_ids`.

        Called after Postgres deleted the rows of the session.
        """
        ids = list(participant_ids)
        await asyncio.gather(
            self._read_cache.drop([session_id], ids),
            self._store.drop_summary(session_id),
            *(self._store.set_list_position(each, session_id, None) for each in ids),
        )

    async def _refresh_session(
        self,
        session_id: str,
        session: SessionRow,
        events: list[EventRow],
        participants: list[ParticipantRow],
        summaries: dict[str, SessionSummary | None],
    ) -> None:
        """Advance the summary of a session, and set its position in the sets of the given participants."""
        if not participants and session_id not in summaries:
            return
        before = summaries.get(session_id)
        after = summary_after_batch(before, session, events)
        if after is not before or after is None:
            await self._store.replace_summary(session_id, before, after, render_participant_parts(participants))
        is_gone = after is not None and is_deleted(after)
        await asyncio.gather(
            *(
                self._store.set_list_position(
                    each.participant_name, session_id, None if is_gone else datetime_to_ms(each.began_at)
                )
                for each in participants
            )
        )
