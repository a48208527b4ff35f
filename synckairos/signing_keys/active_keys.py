"""The signing keys of all tenants in the memory of one instance.

Postgres has the keys. The control channel announces each change: an addition is read from Postgres, and a removal has
an effect at once, also while Postgres is unavailable. From time to time the keys are read again.
"""

import time

from synckairos.errors import StoreUnavailable
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.identity.verification_key import VerificationKey, parse_public_key
from synckairos.principal import Principal
from synckairos.revocations.announced_reads import KEEP_MS, REFRESH_S, AnnouncedReads
from synckairos.revocations.channel import ControlChannel
from synckairos.signing_keys.table import NewSigningKey, SigningKey, SigningKeyTable
from synckairos.telemetry import log
from synckairos.telemetry.invalid_data import report_invalid_data
from synckairos.wire.control_entry import EffectiveEntry, SigningKeyChange

RETRY_FOR_TOKEN_S = 1.0
"""Seconds after a failed read during which tokens cause no further read."""

logger = log.get_logger(__name__)


class ActiveSigningKeys:
    """The signing keys that this instance uses. `keys` is empty before the first read."""

    def __init__(
        self, table: SigningKeyTable, channel: ControlChannel, retired: RetiredKeys, *, refresh_s: float = REFRESH_S
    ) -> None:
        """Create an empty set. Call this before the first load of `channel`, so that no announcement is missed.

        `retired` gets the keys that were removed. `refresh_s` is the number of seconds between two reads.
        """
        self.keys: tuple[VerificationKey, ...] = ()
        self._table = table
        self._channel = channel
        self._retired = retired
        self._by_id: dict[str, VerificationKey] = {}
        self._removed_at_s: dict[str, float] = {}
        """Instants at which removals arrived, by the id of the key. A read that began before adds no such key again."""
        self._announced = 1
        self._read_up_to = 0
        """Number of announcements of additions that had arrived before the last successful read began."""
        self._reads = AnnouncedReads(self._read, refresh_s)
        self._failed_at_s = float("-inf")
        channel.add_listener(self._apply)

    @property
    def is_complete(self) -> bool:
        """Return whether this instance has all keys that were announced to it.

        Return False before the first read, and between the announcement of a key and the read of this key.
        """
        return self._read_up_to == self._announced

    async def run(self) -> None:
        """Read the keys after each announcement and from time to time, until cancelled."""
        await self._reads.run()

    async def refresh(self) -> bool:
        """Read all keys, or wait for the read that runs. Return whether the read succeeded."""
        return await self._reads.refresh()

    async def catch_up(self) -> bool:
        """Read the keys because a token possibly needs one that is missing. Return whether all keys are here now.

        Return False without a read if the last read failed a moment ago.
        """
        if not self._reads.is_running and time.monotonic() - self._failed_at_s < RETRY_FOR_TOKEN_S:
            return False
        for _ in range(2):  # the read that runs already may have begun before the announcement
            if self.is_complete or not await self.refresh():
                break
        return self.is_complete

    # -- changes ------------------------------------------------------------------------------------------------------

    async def add(self, key: NewSigningKey) -> tuple[SigningKey, bool]:
        """Add a key and announce it to all instances. Return it, and whether an equal request added it before.

        This instance accepts tokens of the key when the method returns, if Postgres answers.

        Raises: the errors of `SigningKeyTable.add` and of `ControlChannel.append`.
        """
        added, is_replay = await self._table.add(key, await self._channel.read_time_ms())
        await self._channel.append(_change(added.signing_key_id, added.tenant, added.created_at_ms, is_removal=False))
        await self.catch_up()
        return added, is_replay

    async def remove(self, principal: Principal, signing_key_id: str) -> None:
        """Remove a key of the principal's tenant and announce its removal. If there is no such key, nothing happens.

        Raises: the errors of `ControlChannel.append`. StoreUnavailable. The outcome is then unknown, and the caller can
            try again.
        """
        now_ms = await self._channel.read_time_ms()
        removed_at_ms = await self._table.remove(principal.tenant, signing_key_id, now_ms)
        if removed_at_ms is None:
            return
        self._forget(signing_key_id)
        await self._channel.append(_change(signing_key_id, principal.tenant, removed_at_ms, is_removal=True))

    def _apply(self, entry: EffectiveEntry) -> None:
        if not isinstance(entry, SigningKeyChange):
            return
        if entry.is_removal:
            self._forget(entry.signing_key_id)
        elif entry.signing_key_id not in self._by_id and entry.signing_key_id not in self._removed_at_s:
            self._announced += 1
            self._reads.announce()

    def _forget(self, signing_key_id: str) -> None:
        now_s = time.monotonic()
        for each in [each for each, at_s in self._removed_at_s.items() if now_s - at_s > KEEP_MS / 1000]:
            del self._removed_at_s[each]
        self._removed_at_s[signing_key_id] = now_s
        self._replace({each: key for each, key in self._by_id.items() if each != signing_key_id})

    async def _read(self) -> bool:
        announced = self._announced
        try:
            rows = await self._table.read_all()
        except StoreUnavailable as fault:
            self._failed_at_s = time.monotonic()
            logger.debug("signing keys not read", cause=fault.code)
            return False
        found: dict[str, VerificationKey] = {}
        for row in rows:
            if row.signing_key_id in self._removed_at_s:
                continue
            key = self._by_id.get(row.signing_key_id) or _parse(row)
            if key is not None:
                found[row.signing_key_id] = key
        self._replace(found)
        self._read_up_to = announced
        return True

    def _replace(self, keys: dict[str, VerificationKey]) -> None:
        """Replace all keys. Old keys that are not in `keys` are retired, so their tokens and sockets end."""
        gone = [key for signing_key_id, key in self._by_id.items() if signing_key_id not in keys]
        self._by_id = keys
        self.keys = tuple(keys.values())
        for key in gone:
            key.is_retired = True
            assert key.name is not None
            self._retired.retire(key.name)


def _parse(row: SigningKey) -> VerificationKey | None:
    """Return the key of a row. Report an invalid row and return None."""
    try:
        key = parse_public_key(row.pem)
        if key.algorithm != row.algorithm:
            raise ValueError("the key has another algorithm than its row")
    except ValueError as fault:
        report_invalid_data("sync_signing_keys", fault)
        return None
    return VerificationKey(
        key.algorithm,
        key.material,
        key_id=row.kid,
        issuer=row.issuer,
        tenants=frozenset((row.tenant,)),
        name=row.signing_key_id,
    )


def _change(signing_key_id: str, tenant: str, at_ms: int, *, is_removal: bool) -> SigningKeyChange:
    return SigningKeyChange(
        signing_key_id=signing_key_id, tenant=tenant, at_ms=at_ms, until_ms=at_ms + KEEP_MS, is_removal=is_removal
    )
