"""The control channel of one instance: all entries in memory, and their synchronisation with Redis and Postgres.

A new entry arrives by pub/sub. Each second the instance compares its position with the position in Redis. After a lost
message it reads all entries again, so it has the missing entries within two seconds. Entries in memory that Redis lost
are added to Redis again. If Redis lost all data, the copies in Postgres are added first.
"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence

from synckairos.errors import StoreUnavailable, TooManyRevocations
from synckairos.principal import Principal
from synckairos.revocations.revocation_set import RevocationSet
from synckairos.revocations.table import RevocationTable
from synckairos.store import control_store
from synckairos.store.control_store import AddedEntry, ControlPosition, ControlStore
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.telemetry import log
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data
from synckairos.telemetry.outages import LogThrottle
from synckairos.wire.control_entry import (
    ControlEntry,
    Disconnection,
    EffectiveEntry,
    Revocation,
    TenantChange,
    UnknownEntry,
    parse_control_entry,
)
from synckairos.wire.revocations import CreateRevocation

CHECK_S = 1.0
"""Seconds between two comparisons of the position with Redis."""

STALE_AFTER_S = 5.0
"""Seconds without a successful comparison after which the instance decides nothing about credentials."""

LEEWAY_MS = 60_000
"""Milliseconds for which a revocation is kept after all credentials that it selects have expired."""

RESERVE = 1
"""Places of a tenant that revocations by callers without the role `admin` leave free, for each place that they take.

So they take at most half of the places of the tenant.
"""

RESERVE_OF_SIGN_OUTS = 3
"""Places that revocations of session tokens by their bearers leave free, for each place that they take.

So they take at most a quarter of the places of the tenant.
"""

DISCONNECTION_MS = 60_000
"""Milliseconds for which a disconnection is kept, so that instances that missed its message still execute it."""

Listener = Callable[[EffectiveEntry], None]
"""Function that receives each entry that is new to this instance. It must not raise."""

logger = log.get_logger(__name__)


class ControlChannel:
    """The entries of the control channel in the memory of one instance."""

    def __init__(
        self,
        store: ControlStore,
        table: RevocationTable,
        subscriber: PubSubConnection,
        now_ms: Callable[[], int],
        *,
        max_credential_life_s: int,
        check_s: float = CHECK_S,
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        """Create a channel without entries.

        - `now_ms`: returns the time of Redis as this instance estimates it, in ms since the Unix epoch.
        - `max_credential_life_s`: seconds after which a credential has ended in any case, counted from its issue.
        - `check_s`: seconds between two comparisons with Redis.
        - `stale_after_s`: seconds after the last successful comparison from which no credential is accepted.
        """
        self.revocations = RevocationSet()
        self._store = store
        self._table = table
        self._now_ms = now_ms
        self._max_life_ms = max_credential_life_s * 1000
        self._check_s = check_s
        self._stale_after_s = stale_after_s
        self._entries: dict[bytes, ControlEntry] = {}
        self._tenant_entries: Counter[str] = Counter()
        """Number of entries in memory by tenant."""
        self._position: ControlPosition | None = None
        self._current_s = float("-inf")
        """Instant of the last moment at which the memory was current, by `time.monotonic()`."""
        self._unknown_lines = LogThrottle()
        self._differs = asyncio.Event()
        self._listeners: list[Listener] = []
        store.listen(subscriber, self._receive)

    # -- checks -------------------------------------------------------------------------------------------------------

    @property
    def is_current(self) -> bool:
        """Return whether this instance knows all revocations.

        Return False before the first load, and if the last successful comparison with Redis is older than
        `stale_after_s` seconds.
        """
        return time.monotonic() - self._current_s <= self._stale_after_s

    def require_current(self) -> None:
        """Check that this instance knows all revocations, so that it can accept credentials.

        Raises: StoreUnavailable if it does not, see `is_current`.
        """
        if not self.is_current:
            raise StoreUnavailable("The revocations are not known; try again shortly")

    def is_revoked(self, principal: Principal) -> bool:
        """Return whether the principal's credential is revoked now.

        Return False for a principal without a `life`.

        Raises: StoreUnavailable for a principal with a `life`, see `require_current`.
        """
        if principal.life is None:
            return False
        self.require_current()
        return self.revocations.is_revoked(principal, self._now_ms())

    def list_revocations(self, tenant: str) -> list[Revocation]:
        """Return the revocations of a tenant, the newest first."""
        found = [each for each in self._entries.values() if isinstance(each, Revocation) and each.tenant == tenant]
        return sorted(found, key=lambda each: (each.at_ms, each.entry_id), reverse=True)

    def add_listener(self, listener: Listener) -> None:
        """Register `listener`, which is called for each entry that is new to this instance from now on."""
        self._listeners.append(listener)

    # -- changes ------------------------------------------------------------------------------------------------------

    async def revoke(
        self,
        principal: Principal,
        *,
        token_id: str | None = None,
        subject: str | None = None,
        issued_before_ms: int | None = None,
        group: str | None = None,
        credential: str | None = None,
        is_for_all: bool = False,
        margin_s: int = 0,
    ) -> Revocation:
        """Revoke credentials of the principal's tenant on all instances, and return the revocation.

        See `Revocation` for the selectors. `issued_before_ms` None means now. The revocation has an effect after
        `margin_s` seconds.

        Raises: the errors of `append`. A principal without the role `admin` leaves a reserve.
        """
        now_ms = await self._store.now_ms()
        before_ms = now_ms if issued_before_ms is None else issued_before_ms
        effective_at_ms = now_ms + margin_s * 1000
        revocation = Revocation(
            entry_id=secrets.token_hex(8),
            tenant=principal.tenant,
            at_ms=now_ms,
            effective_at_ms=effective_at_ms,
            until_ms=max(effective_at_ms, before_ms) + self._max_life_ms + LEEWAY_MS,
            issued_before_ms=before_ms,
            actor=principal.actor,
            token_id=token_id,
            subject=subject,
            group=group,
            credential=credential,
            is_for_all=is_for_all,
        )
        reserve = 0 if principal.role == "admin" else RESERVE if token_id is None else RESERVE_OF_SIGN_OUTS
        await self.append(revocation, reserve=reserve)
        return revocation

    async def revoke_credentials(self, principal: Principal, credential_ids: Sequence[str]) -> None:
        """Revoke a stored credential and those below it. The first id is that of the credential itself.

        Raises: the errors of `revoke`.
        """
        if not credential_ids:
            return
        made = await self.revoke(principal, credential=credential_ids[0])
        below = [made.below(each) for each in credential_ids[1:]]
        await self.append(*below, reserve=0 if principal.role == "admin" else RESERVE)

    async def revoke_as_requested(self, principal: Principal, body: CreateRevocation) -> Revocation:
        """Revoke the credentials that a request body selects. Raises: the errors of `revoke`."""
        return await self.revoke(
            principal,
            token_id=body.jti,
            subject=body.subject,
            issued_before_ms=body.issued_before,
            group=body.grp,
            credential=body.credential,
            is_for_all=body.all is not None,
            margin_s=body.margin_s,
        )

    async def disconnect(self, principal: Principal, subject: str) -> None:
        """Close all sockets and streams of a subject of the principal's tenant, on all instances.

        Raises: the errors of `revoke`.
        """
        now_ms = await self._store.now_ms()
        await self.append(
            Disconnection(
                entry_id=secrets.token_hex(8),
                tenant=principal.tenant,
                at_ms=now_ms,
                until_ms=now_ms + DISCONNECTION_MS,
                subject=subject,
            )
        )

    async def read_time_ms(self) -> int:
        """Return the time of Redis in ms since the Unix epoch. One round trip. Raises: StoreUnavailable."""
        return await self._store.now_ms()

    async def append(self, *entries: EffectiveEntry, reserve: int = 0) -> None:
        """Add entries of one tenant to the channel, which announces them to all instances.

        An entry that exists already is kept.

        A tenant can have as many entries as the channel has places left, so that one tenant gets at most half of the
        channel, and others always get a part. `reserve` is the number of the tenant's places that stay free for each
        place that these entries take. Changes of tenants by operators have only the maximum of the channel.

        Raises: StoreUnavailable. TooManyRevocations if a maximum is reached.
        """
        rendered = {each.render(): each for each in entries}
        new = {text: each for text, each in rendered.items() if text not in self._entries}
        counts = Counter(each.tenant for each in new.values() if not isinstance(each, TenantChange))
        places_left = control_store.MAX_ENTRIES - len(self._entries) - len(new) + 1
        for tenant, count in counts.items():
            if (self._tenant_entries[tenant] + count - 1) * (2 * reserve + 1) >= places_left:
                raise TooManyRevocations
        if rendered and not await self._store.append([*rendered], keeps_reserve=reserve > 0):
            raise TooManyRevocations
        # The caller's next request can arrive before the message, on this instance.
        for text in new:
            self._add(text)

    # -- synchronisation ----------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read all entries from Redis for the first time. Call this before the instance is ready.

        Raises: StoreUnavailable.
        """
        await self._synchronise()

    async def run(self) -> None:
        """Compare the entries in memory with Redis every `check_s` seconds until cancelled, and read missing entries.

        If a store is unavailable, try again at the next comparison.
        """
        while True:
            self._differs.clear()
            try:
                await self._check()
            except StoreUnavailable as fault:
                logger.debug("revocations not compared", cause=fault.code)
                if not self.is_current and (more_before := self._unknown_lines.allow_next_line()) is not None:
                    logger.warning("revocations are not known", cause=repr(fault), more_before=more_before)
            await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._check_s):
                await self._differs.wait()
        except TimeoutError:
            pass
        else:
            await asyncio.sleep(min(0.05, self._check_s))  # several messages can cause one read

    async def _check(self) -> None:
        checked_s = time.monotonic()
        self._forget_ended()
        known = self._position
        if known is not None and await self._store.read_position(len(self._entries)) == known:
            self._current_s = checked_s
        else:
            await self._synchronise()

    async def _synchronise(self) -> None:
        """Make the entries in memory and in Redis equal, in at most three passes.

        If Redis is not complete after data loss, also add the entries of Postgres to memory and to Redis. Nothing is
        written to Postgres; `RevocationCopier` writes the entries there.
        """
        for _ in range(3):
            read_s = time.monotonic()
            stored = await self._store.read_all()
            in_store = set(stored.entries)
            missing = [
                text for text, entry in self._entries.items() if entry.until_ms > stored.now_ms and text not in in_store
            ]
            for text in stored.entries:
                self._add(text)
            if stored.position is not None and stored.is_complete and not missing:
                self._position, self._current_s = stored.position, read_s
                return
            copies = () if stored.is_complete else await self._table.read(stored.now_ms)
            for text in copies:
                self._add(text)
            if not await self._store.append([*dict.fromkeys((*missing, *copies))], completes=True):
                raise StoreUnavailable("The control channel is full; remove entries in Redis")
            logger.info("revocations added to the store again", entries=len(missing), copies=len(copies))

    def _receive(self, message: AddedEntry) -> None:
        # The entry is certain even if a message before it was lost, so it takes effect at once.
        self._add(message.entry)
        known, new = self._position, message.position
        if known is None:
            return  # the first read is not over
        if (new.generation, new.number, message.tag_before) == (known.generation, known.number + 1, known.tag):
            self._position = new
        elif new.generation != known.generation or new.number > known.number:
            self._differs.set()  # a message was lost, or the store lost data

    def _add(self, text: bytes) -> None:
        if text in self._entries:
            return
        try:
            entry = parse_control_entry(text)
        except PARSE_ERRORS as error:
            report_invalid_data("control:entries", error)
            return
        if entry.until_ms <= self._now_ms():
            return
        self._entries[text] = entry
        if not isinstance(entry, UnknownEntry):
            self._tenant_entries[entry.tenant] += 1
        if isinstance(entry, Revocation):
            self.revocations.add(entry)
        if not isinstance(entry, UnknownEntry):
            for listener in self._listeners:
                listener(entry)

    def _forget_ended(self) -> None:
        now_ms = self._now_ms()
        for text in [text for text, entry in self._entries.items() if entry.until_ms <= now_ms]:
            entry = self._entries.pop(text)
            if not isinstance(entry, UnknownEntry):
                self._tenant_entries[entry.tenant] -= 1
                if not self._tenant_entries[entry.tenant]:
                    del self._tenant_entries[entry.tenant]
            if isinstance(entry, Revocation):
                self.revocations.remove(entry)
