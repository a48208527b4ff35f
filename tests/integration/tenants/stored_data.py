"""All data of one tenant in the three stores of a test, byte for byte, to compare them before and after a deletion."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from synckairos.config import Settings
from synckairos.principal import DEFAULT_TENANT
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from tests.integration.tenants.any_row import find_tables_with_tenant

_KEY_WITH_ID = re.compile(r".*[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+")
"""Keys of one session, participant or command. The sorted sets of all sessions are compared member by member."""


@dataclass(frozen=True, slots=True)
class StoredData:
    """The data of one tenant.

    - `keys`: the keys of the tenant, with their values as Redis dumps them.
    - `members`: members of sorted sets that name the tenant, by the name of the set.
    - `rows`: rows of the tenant as text, by the name of the table. Tables without such rows are left out.
    - `objects`: the contents of the files in cold storage, by path.
    """

    keys: dict[str, bytes]
    members: dict[str, list[tuple[bytes, bytes]]]
    rows: dict[str, list[str]]
    objects: dict[str, bytes]

    @property
    def is_empty(self) -> bool:
        return not (self.keys or self.members or self.rows or self.objects)


async def read_stored_data(settings: Settings, pipe: RedisPipe, tenant: str) -> StoredData:
    """Return all data of a tenant. Keys and members of the default tenant are those that no other tenant has."""
    keys = Keys(settings.key_prefix, settings.partitions)
    names = [name.decode() for name in await pipe.call("KEYS", f"{settings.key_prefix}:*")]
    ours = [name for name in names if _is_of(name, tenant) and _KEY_WITH_ID.fullmatch(name)]
    dumps = await pipe.call_many([("DUMP", name) for name in ours])
    return StoredData(
        keys=dict(zip(ours, dumps, strict=True)),
        members=await _read_members(pipe, keys, tenant),
        rows=_read_rows(settings, tenant),
        objects=_read_objects(Path(settings.archive_url), tenant),
    )


def _is_of(text: str, tenant: str) -> bool:
    """Return whether a key or member belongs to a tenant: it has a name of the tenant, or the scope of a caller."""
    tenants = {found for found in ("acme", "other") if f"{found}/" in text or f":{len(found)}:{found}" in text}
    return tenant in tenants if tenant != DEFAULT_TENANT else not tenants


async def _read_members(pipe: RedisPipe, keys: Keys, tenant: str) -> dict[str, list[tuple[bytes, bytes]]]:
    found: dict[str, list[tuple[bytes, bytes]]] = {}
    for partition in range(keys.partitions):
        for name in (
            keys.deadlines(partition),
            keys.outbox_participants(partition),
            keys.failed_entry_versions(partition),
            keys.live_sessions(partition, tenant),
        ):
            flat = await pipe.call("ZRANGE", name, 0, -1, "WITHSCORES")
            pairs = [pair for pair in zip(flat[::2], flat[1::2], strict=True) if _is_of(pair[0].decode(), tenant)]
            if pairs:
                found[name] = pairs
    return found


def _read_rows(settings: Settings, tenant: str) -> dict[str, list[str]]:
    with psycopg.connect(settings.schema_url) as connection:
        found: dict[str, list[str]] = {}
        for table in find_tables_with_tenant(connection):
            statement = f"SELECT t::text FROM {table} AS t WHERE tenant = %s ORDER BY 1"
            rows: list[Any] = connection.execute(statement.encode(), [tenant]).fetchall()
            if rows:
                found[table] = [text for (text,) in rows]
        return found


def _read_objects(folder: Path, tenant: str) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    named = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {
        path: content
        for path, content in named.items()
        if (path.startswith(f"tenants/{tenant}/") if tenant != DEFAULT_TENANT else not path.startswith("tenants/"))
    }
