"""Webhooks, as far as the audit goes: what endpoints are to be told is kept in the transaction that keeps the event.

Sending is somebody else's business, `synckairos.webhooks`: nothing here ever waits for a receiver.
"""

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncCursor

from synckairos.audit.named_sql import load
from synckairos.audit.rows import EventRow


async def queue_webhooks(cursor: AsyncCursor[Any], events: Sequence[EventRow]) -> None:
    """Queue a batch's messages, each at most once; where nobody wants to be told that is one look."""
    sql = load("ledger.sql")
    await cursor.execute(sql["anybody_to_tell"])
    if await cursor.fetchone() != (True,):
        return
    await cursor.execute(
        sql["queue_webhooks"],
        {
            "session_ids": [each.session_id for each in events],
            "epochs": [each.epoch for each in events],
            "versions": [each.version for each in events],
            "event_types": [each.event_type for each in events],
        },
    )
