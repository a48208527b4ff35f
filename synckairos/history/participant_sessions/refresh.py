"""What Redis keeps beside the live sessions, kept up: after each COMMIT of the drain, before entries leave the outbox.

In this order whoever reads finds a version in the outbox, or here; and a worker that dies in between does it again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from synckairos.audit.entry_rows import EntryRows, EventRow, ParticipantRow, SessionRow
from synckairos.history.participant_sessions.summary import is_gone, participant_parts, summary_after
from synckairos.store.keys import Keys
from synckairos.store.participant_sessions import ParticipantSessionStore, SessionSummary
from synckairos.store.read_cache import ReadCache
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.instants import instant_ms


class SummaryRefresh:
    """Keeps recent history and caches up to what Postgres has. Raises StoreUnavailable where Redis doesn't answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys, store: ParticipantSessionStore | None = None) -> None:
        self._recent = store or ParticipantSessionStore(pipe, keys)
        self._aside = ReadCache(pipe, keys)

    async def refresh_committed(self, rows: EntryRows) -> None:
        """Take over rows that Postgres has now; twice is as good as once.

        One round trip a partition where nobody asked for anything of theirs lately, else two.
        """
        sessions = {str(row.session_id): row for row in rows.sessions}
        people: defaultdict[UUID, list[ParticipantRow]] = defaultdict(list)
        for part in rows.participants:
            people[part.session_id].append(part)
        names = dict.fromkeys(str(part.participant_id) for part in rows.participants)
        _, (digests, watched) = await asyncio.gather(
            self._aside.drop(list(sessions), list(names)), self._recent.find_cached(list(sessions), list(names))
        )
        if not digests and not watched:
            return
        events: defaultdict[UUID, list[EventRow]] = defaultdict(list)
        for event in rows.events:
            events[event.session_id].append(event)
        await asyncio.gather(
            *(
                self._take_over(session_id, row, events[row.session_id], people[row.session_id], digests, watched)
                for session_id, row in sessions.items()
            )
        )

    async def refresh_imported(self, participants: Sequence[ParticipantRow]) -> None:
        """Forget what Redis keeps of sessions that came to Postgres without the drain, and list them where they belong.

        Two round trips a partition.
        """
        sessions = list(dict.fromkeys(str(part.session_id) for part in participants))
        names = list(dict.fromkeys(str(part.participant_id) for part in participants))
        _, (_, with_set) = await asyncio.gather(
            self._aside.drop(sessions, names), self._recent.find_cached(sessions, names)
        )
        await asyncio.gather(
            *(self._recent.drop_summary(each) for each in sessions),
            *(
                self._recent.place(str(part.participant_id), str(part.session_id), instant_ms(part.began_at))
                for part in participants
                if str(part.participant_id) in with_set
            ),
        )

    async def remove_session(self, session_id: str, participant_ids: Iterable[str]) -> None:
        """Forget a session that Postgres no longer has, in the lists of whoever took part as well."""
        names = list(participant_ids)
        await asyncio.gather(
            self._aside.drop([session_id], names),
            self._recent.drop_summary(session_id),
            *(self._recent.place(each, session_id, None) for each in names),
        )

    async def _take_over(
        self,
        session_id: str,
        session: SessionRow,
        events: list[EventRow],
        people: list[ParticipantRow],
        digests: dict[str, SessionSummary | None],
        watched: set[str],
    ) -> None:
        asked_for = [each for each in people if str(each.participant_id) in watched]
        if not asked_for and session_id not in digests:
            return
        was = digests.get(session_id)
        digest = summary_after(was, session, events)
        if digest is not was or digest is None:
            await self._recent.replace_summary(session_id, was, digest, participant_parts(asked_for))
        gone = digest is not None and is_gone(digest)
        await asyncio.gather(
            *(
                self._recent.place(str(each.participant_id), session_id, None if gone else instant_ms(each.began_at))
                for each in asked_for
            )
        )
