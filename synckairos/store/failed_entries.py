"""Outbox entries that Postgres refuses: out of the stream, tried again on a schedule, then set aside. Never dropped.

Each lies in a hash of its own with the fields it came with; a sorted set says when it is tried next.
"""

from dataclasses import dataclass
from typing import Any

from synckairos.store.connect import Script, time_ms, unavailable_as_named
from synckairos.store.keys import Keys
from synckairos.store.outbox import OutboxDelivery, gaps_key, isolated_key, tally_key
from synckairos.store.shared_connection import RedisPipe


@dataclass(frozen=True, slots=True)
class FailedEntry:
    """An entry out of the way: how often it was tried, why it failed last, when it is tried next (None: set aside)."""

    partition: int
    delivery: OutboxDelivery
    tries: int
    error: str
    first_failed_at_ms: int
    next_try_at_ms: int | None


class FailedEntries:
    """Isolated entries of all partitions. Raises StoreUnavailable where Redis doesn't answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys
        self._isolate = Script("isolate")
        self._retry = Script("retry")

    async def isolate(
        self, partition: int, entry_id: str, *, tries: int, error: str, next_try_in_ms: int | None
    ) -> None:
        """Move an entry out of the stream, or note another failed try; None sets it aside. Atomic, one round trip."""
        names = [
            self._keys.outbox(partition),
            isolated_key(self._keys, partition),
            self._key(partition, entry_id),
            tally_key(self._keys, partition),
            self._keys.outbox_bytes(partition),
            gaps_key(self._keys, partition),
        ]
        args: list[Any] = [entry_id, "" if next_try_in_ms is None else next_try_in_ms, tries, error]
        with unavailable_as_named():
            await self._isolate(self._pipe, names, args)

    async def due(self, partition: int, count: int) -> list[FailedEntry]:
        """Return up to `count` entries whose next try is due, in two round trips, one where there are none."""
        name = isolated_key(self._keys, partition)
        with unavailable_as_named():
            time, found = await self._pipe.call_many(
                [("TIME",), ("ZRANGE", name, "-inf", "(inf", "BYSCORE", "LIMIT", 0, count, "WITHSCORES")]
            )
        now_ms = time_ms(time)
        pairs = [(found[at].decode(), int(float(found[at + 1]))) for at in range(0, len(found), 2)]
        return await self._load(partition, [(entry_id, at_ms) for entry_id, at_ms in pairs if at_ms <= now_ms])

    async def all(self, partition: int, *, set_aside_only: bool = False) -> list[FailedEntry]:
        """Return all isolated entries of a partition, those to be tried next first, in two round trips."""
        low = "inf" if set_aside_only else "-inf"
        with unavailable_as_named():
            found: list[bytes] = await self._pipe.call(
                "ZRANGE", isolated_key(self._keys, partition), low, "inf", "BYSCORE", "WITHSCORES"
            )
        scores = [(found[at].decode(), float(found[at + 1])) for at in range(0, len(found), 2)]
        return await self._load(partition, [(i, None if score == float("inf") else int(score)) for i, score in scores])

    async def retry(self, partition: int, entry_id: str) -> bool:
        """Have an entry tried again now, with a fresh schedule; False where there is none. Atomic, one round trip."""
        names = [isolated_key(self._keys, partition), self._key(partition, entry_id)]
        with unavailable_as_named():
            return bool(await self._retry(self._pipe, names, [entry_id]))

    async def set_aside(self) -> list[FailedEntry]:
        """Return what was set aside in all partitions, oldest failure first: for an operator to look at."""
        found = [each for at in range(self._keys.partitions) for each in await self.all(at, set_aside_only=True)]
        return sorted(found, key=lambda each: each.first_failed_at_ms)

    async def retry_set_aside(self, entry_id: str | None = None) -> int:
        """Have what was set aside, or the one entry named, tried again by a worker's next sweep; return how many."""
        sent = 0
        for each in await self.set_aside():
            if entry_id in (None, each.delivery.entry_id):
                sent += await self.retry(each.partition, each.delivery.entry_id)
        return sent

    async def close_gap(self, partition: int, delivery: OutboxDelivery) -> None:
        """Note that Postgres has an isolated entry at last, before its session is settled. One round trip."""
        of = delivery.fields
        gap = b" ".join(of.get(name, b"") for name in (b"session_id", b"epoch", b"version"))
        with unavailable_as_named():
            await self._pipe.call("ZREM", gaps_key(self._keys, partition), gap)

    async def forget(self, partition: int, entry_id: str) -> None:
        """Let go of an entry that Postgres has taken at last. One round trip."""
        with unavailable_as_named():
            await self._pipe.call_many(
                [
                    ("ZREM", isolated_key(self._keys, partition), entry_id),
                    ("DEL", self._key(partition, entry_id)),
                ]
            )

    async def _load(self, partition: int, wanted: list[tuple[str, int | None]]) -> list[FailedEntry]:
        if not wanted:
            return []
        with unavailable_as_named():
            hashes: list[list[bytes]] = await self._pipe.call_many(
                [("HGETALL", self._key(partition, entry_id)) for entry_id, _ in wanted]
            )
        return [
            _isolated(partition, entry_id, next_ms, found)
            for (entry_id, next_ms), found in zip(wanted, hashes, strict=True)
            if found
        ]

    def _key(self, partition: int, entry_id: str) -> str:
        return f"{isolated_key(self._keys, partition)}:{entry_id}"


def _isolated(partition: int, entry_id: str, next_ms: int | None, flat: list[bytes]) -> FailedEntry:
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    fields = {name: value for name, value in found.items() if not name.startswith(b":")}
    return FailedEntry(
        partition=partition,
        delivery=OutboxDelivery(entry_id, fields),
        tries=int(found[b":tries"]),
        error=found[b":error"].decode(errors="replace"),
        first_failed_at_ms=int(found[b":first_failed_at_ms"]),
        next_try_at_ms=next_ms,
    )
