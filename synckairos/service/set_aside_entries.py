"""Audit entries that Postgres rejected and that were set aside, for operators: their list, and their retries."""

from typing import Any

from synckairos.errors import NotFound
from synckairos.session_names import split_session_name
from synckairos.store.failed_entries import FailedEntries, FailedEntry
from synckairos.wire.instants import render_instant


class SetAsideEntries:
    """The set-aside entries of all tenants. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, failed_entries: FailedEntries) -> None:
        self._failed_entries = failed_entries

    async def read_oldest(self, limit: int) -> tuple[list[FailedEntry], int]:
        """Return at most `limit` entries, the oldest version first, and the number of all set-aside entries."""
        return await self._failed_entries.read_set_aside(limit)

    async def retry(self, entry_id: str | None) -> int:
        """Make one entry due, or all entries if `entry_id` is None. A worker writes them at its next sweep.

        Return the number of entries that became due.

        Raises: NotFound if no entry with this id is set aside.
        """
        if entry_id is None:
            return await self._failed_entries.retry_set_aside()
        if not await self._failed_entries.retry_set_aside_entry(entry_id):
            raise NotFound(f"No entry {entry_id} is set aside")
        return 1


def entry_json(entry: FailedEntry) -> dict[str, Any]:
    """Return the JSON object of a set-aside entry. Members that its data do not have are left out."""
    values: dict[str, Any] = {name: _field(entry, name) for name in ("session_id", "epoch")}
    try:
        values["tenant"], values["session_id"] = split_session_name(values["session_id"] or "")
    except ValueError:
        values["tenant"] = None  # The entry names no session of a tenant. Its text is shown as it is.
    version = _field(entry, "version") or ""
    values |= {
        "entry_id": entry.entry.entry_id,
        "version": int(version) if version.isdigit() and len(version) < 16 else None,
        "attempts": entry.retries + 1,
        "first_failed_at": render_instant(entry.first_failed_at_ms),
        "error": entry.error,
    }
    return {name: value for name, value in values.items() if value is not None}


def _field(entry: FailedEntry, name: str) -> str | None:
    value = entry.entry.fields.get(name.encode())
    return None if value is None else value.decode(errors="replace")
