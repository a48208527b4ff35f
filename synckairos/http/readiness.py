"""Readiness of an instance: whether the stores answer, accept writes, and fit its release."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from synckairos.errors import SyncKairosError
from synckairos.history.schema_state import SchemaState
from synckairos.service.sessions import Sessions

STORE_CHECK_TIMEOUT_S = 2.0
"""Seconds without an answer of a store after which the store counts as unreachable."""

POSTGRES_REASONS: dict[SchemaState, str] = {
    "unreachable": "postgres is not reachable",
    "older": "the database lacks migrations of this release: run synckairos migrate",
    "newer": "the database has migrations of a newer release: upgrade this instance",
}
"""Reasons why an instance is degraded, by the state of Postgres."""

NEWER_STORE = "the data in redis is of a newer release: upgrade this instance"


class StoreReadiness(NamedTuple):
    """What the stores allow. One of the two reasons is empty, or both.

    With `not_ready`, no request can be answered. With `degraded`, live sessions work, at least for reads.
    """

    not_ready: str = ""
    degraded: str = ""


async def check_stores(sessions: Sessions, find_schema_state: Callable[[], Awaitable[SchemaState]]) -> StoreReadiness:
    """Check both stores at the same time, for at most `STORE_CHECK_TIMEOUT_S` seconds. Never raises.

    `find_schema_state` returns whether Postgres answers and has the migrations of this release.
    """
    try:
        async with asyncio.timeout(STORE_CHECK_TIMEOUT_S):
            _, is_newer, is_writable, schema = await asyncio.gather(
                sessions.now_ms(),
                sessions.is_store_of_newer_release(),
                _is_writable(sessions),
                _state(find_schema_state),
            )
    except (SyncKairosError, TimeoutError):
        return StoreReadiness(not_ready="redis is not reachable")
    if is_newer:
        return StoreReadiness(not_ready=NEWER_STORE)
    if not is_writable:
        return StoreReadiness(degraded="redis accepts no writes")
    return StoreReadiness(degraded=POSTGRES_REASONS.get(schema, ""))


async def _is_writable(sessions: Sessions) -> bool:
    try:
        await sessions.check_writable()
    except SyncKairosError:
        return False
    return True


async def _state(find_schema_state: Callable[[], Awaitable[SchemaState]]) -> SchemaState:
    try:
        async with asyncio.timeout(STORE_CHECK_TIMEOUT_S / 2):
            return await find_schema_state()
    except (SyncKairosError, TimeoutError):
        return "unreachable"
