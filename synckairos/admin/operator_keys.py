"""Implementation of the commands `synckairos operator-keys …`. Results are lines of text."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from synckairos.config import Settings
from synckairos.errors import NotFound
from synckairos.history.reader import open_history_pool
from synckairos.tenants.operator_keys import OperatorKeyTable


async def make_operator_key(settings: Settings, label: str, ttl_s: int | None) -> str:
    """Return the text of a new key, which no other command prints. `ttl_s` None: the key does not expire.

    Raises: StoreUnavailable.
    """
    async with _open_table(settings) as table:
        return await table.make(label, ttl_s)


async def list_operator_keys(settings: Settings) -> list[str]:
    """Return one line of text for each key, newest first. Raises: StoreUnavailable."""
    async with _open_table(settings) as table:
        found = await table.list()
    lines = []
    for key in found:
        ends = [("expires", key.expires_at), ("revoked", key.revoked_at)]
        texts = [f"{name} {_render(at)}" for name, at in ends if at is not None]
        lines.append("  ".join([key.key_id, f"created {_render(key.created_at)}", *texts, key.label]).rstrip())
    return lines


async def revoke_operator_key(settings: Settings, key_id: str) -> None:
    """Revoke a key. All instances refuse it at once. Raises: NotFound, StoreUnavailable."""
    async with _open_table(settings) as table:
        if not await table.revoke(key_id):
            raise NotFound(f"There is no operator key {key_id}")


@asynccontextmanager
async def _open_table(settings: Settings) -> AsyncIterator[OperatorKeyTable]:
    async with open_history_pool(settings) as pool:
        yield OperatorKeyTable(pool)


def _render(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
