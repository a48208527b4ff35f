"""Reader of the sessions of participants in Postgres, without the sessions that retention removed."""

from collections.abc import Sequence
from uuid import UUID

from synckairos.history.list_pages import check_limit, position_parameters
from synckairos.history.page_cursor import render_cursor
from synckairos.history.queries import HistoryQueries
from synckairos.history.records import Page, ParticipantSession
from synckairos.history.row_values import parse_participant_session, postgres_instant, uuid_or_none
from synckairos.session_names import split_participant_name
from synckairos.wire.instants import datetime_to_ms


class ParticipantSessionReader:
    """Reads the sessions of participants. Participants are given by their names in their tenants (`session_names.py`).

    Results have the bare ids. Each method raises StoreUnavailable if Postgres is unreachable.
    """

    def __init__(self, queries: HistoryQueries) -> None:
        self._queries = queries

    async def read_page(
        self, participant_id: str, *, since_ms: int, cursor: str | None = None, limit: int = 50
    ) -> Page[ParticipantSession]:
        """Return a page of a participant's sessions with `began_at_ms >= since_ms`, the largest `began_at_ms` first.

        `cursor` is the `next_cursor` of the previous page; None for the first page. `limit` is the maximum number of
        sessions, from 1 to 200. See `ParticipantSession` for `began_at_ms`.

        Raises: ValidationFailed if the cursor or the limit is invalid.
        """
        tenant, bare_participant_id = split_participant_name(participant_id)
        rows = await self._queries.run(
            tenant,
            "participant_sessions",
            {
                **position_parameters(cursor),
                "participant_id": uuid_or_none(bare_participant_id),
                "session_ids": None,
                "since": postgres_instant(since_ms),
                "limit": check_limit(limit) + 1,
            },
        )
        found = tuple(parse_participant_session(row) for row in rows[:limit])
        return Page(found, render_cursor(*found[-1].sort_key) if len(rows) > limit else None)

    async def read_by_id(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, ParticipantSession]:
        """Return the values of a participant's sessions by session id, for the sessions `session_ids`.

        The result lacks deleted sessions, sessions that Postgres does not have, and sessions that the participant never
        joined.
        """
        tenant, bare_participant_id = split_participant_name(participant_id)
        rows = await self._queries.run(
            tenant,
            "participant_sessions",
            {
                **position_parameters(None),
                "participant_id": uuid_or_none(bare_participant_id),
                "session_ids": [UUID(each) for each in session_ids],
                "since": "-infinity",
                "limit": None,
            },
        )
        return {row[0]: parse_participant_session(row) for row in rows}

    async def list_starts(self, participant_id: str, *, since_ms: int, limit: int) -> list[tuple[int, str]]:
        """Return pairs of `began_at_ms` and session id of a participant's sessions with `began_at_ms >= since_ms`.

        Return at most `limit` pairs, the largest `began_at_ms` first. Deleted sessions are excluded.
        """
        tenant, bare_participant_id = split_participant_name(participant_id)
        values = {
            "participant_id": uuid_or_none(bare_participant_id),
            "since": postgres_instant(since_ms),
            "limit": limit,
        }
        return [
            (datetime_to_ms(began_at), session_id)
            for session_id, began_at in await self._queries.run(tenant, "participant_session_starts", values)
        ]

    async def find_starts(self, participant_id: str, session_ids: Sequence[str]) -> dict[str, int]:
        """Return `began_at_ms` by session id, for those of `session_ids` that Postgres lists for the participant."""
        tenant, bare_participant_id = split_participant_name(participant_id)
        values = {
            "participant_id": uuid_or_none(bare_participant_id),
            "session_ids": [UUID(each) for each in session_ids],
        }
        return {
            session_id: datetime_to_ms(began_at)
            for session_id, began_at in await self._queries.run(tenant, "known_session_starts", values)
        }
