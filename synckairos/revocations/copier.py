"""The copies of revocations in Postgres, and the ends of the stored credentials that they select. Workers use it."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from synckairos.revocations.table import RevocationTable
from synckairos.store.control_store import ControlPosition, ControlStore
from synckairos.telemetry import log
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.wire.control_entry import ControlEntry, Revocation, parse_control_entry

logger = log.get_logger(__name__)


class RevocationCopier:
    """Copies new revocations from Redis to Postgres, and removes revocations without effect from both.

    Workers use it.
    """

    def __init__(
        self,
        store: ControlStore,
        table: RevocationTable,
        end_credentials: Callable[[Sequence[Revocation]], Awaitable[Sequence[Revocation]]] | None = None,
    ) -> None:
        """Create a copier. It calls `end_credentials`, if given, with new revocations before it copies them.

        `end_credentials` returns further revocations, which are added to the channel if it does not have them.
        """
        self._store = store
        self._table = table
        self._end_credentials = end_credentials
        self._position: ControlPosition | None = None
        self._copied: Mapping[bytes, ControlEntry] = {}
        self._next_cleanup_s = 0.0

    async def copy_new(self) -> None:
        """Copy the revocations that were not copied yet. Once a minute, remove the revocations without effect.

        Raises: StoreUnavailable.
        """
        now_s = time.monotonic()
        is_cleanup_due = self._position is None or now_s >= self._next_cleanup_s
        if not is_cleanup_due and await self._store.read_position() == self._position:
            return
        stored = await self._store.read_all()
        entries = {text: entry for text in stored.entries if (entry := _parse(text)) is not None}
        new = {
            text: entry
            for text, entry in entries.items()
            if isinstance(entry, Revocation) and text not in self._copied and entry.until_ms > stored.now_ms
        }
        if new:
            if self._end_credentials is not None:
                below = await self._end_credentials([*new.values()])
                if below and not await self._store.append([each.render() for each in below]):
                    logger.warning("ends of credentials not announced: the control channel is full", ends=len(below))
            await self._table.copy(new)
        self._copied, self._position = entries, stored.position
        if now_s >= self._next_cleanup_s:
            self._next_cleanup_s = now_s + 60.0
            await self._table.delete_expired(stored.now_ms)
            invalid = [text for text in stored.entries if text not in entries]
            await self._store.remove(
                [*invalid, *(text for text, entry in entries.items() if entry.until_ms <= stored.now_ms)]
            )


def _parse(text: bytes) -> ControlEntry | None:
    try:
        return parse_control_entry(text)
    except PARSE_ERRORS as error:
        report_invalid_data("control:entries", error)
        return None
