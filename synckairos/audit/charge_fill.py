"""Fill of charges: adds the charges of versions that do not say them, from the documents of consecutive versions.

Versions of earlier releases and imports do not say what they charge. Until the charges of a session are filled in, time
reports count the time between its versions. The fill works online, session by session and in small transactions. The
columns `charged_epoch` and `charged_version` of `sync_sessions` have the progress, so it can stop at any time.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from synckairos.audit.charge_coverage import SessionKey
from synckairos.audit.charge_writer import (
    insert_charges,
    void_amended_charges,
    void_lost_charges,
    void_undone_charges,
)
from synckairos.audit.entry_rows import BatchRows, ChargeRow, build_charge_rows
from synckairos.audit.row_documents import RowDocuments
from synckairos.clock.charges import charges_between
from synckairos.clock.commands import Undo
from synckairos.clock.model import Session
from synckairos.clock.recorded_times import RECORDING_EVENTS
from synckairos.clock.transition import Charge, Event, EventType
from synckairos.clock.undo import undo_charges
from synckairos.errors import ValidationFailed
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool, translate_postgres_errors
from synckairos.postgres.transaction import Row, Transaction
from synckairos.session_names import session_name, split_session_name
from synckairos.telemetry import log
from synckairos.wire.body_parser import parse_audited_args
from synckairos.wire.instants import datetime_to_ms
from synckairos.wire.session_parser import parse_session
from synckairos.wire.v2_state_parser import is_v2_epoch

_SESSIONS_PER_PAGE = 200
_VERSIONS_PER_STEP = 500
"""Maximum number of versions in one transaction. A drain of the same session waits for it."""
_BYTES_PER_STEP = 4 << 20
"""Approximate bytes of documents in one transaction."""
_NIL = "00000000-0000-0000-0000-000000000000"
_INVALID_STATE = (LookupError, TypeError, ValueError, AttributeError)  # errors that an invalid document causes

logger = log.get_logger(__name__)


class _SessionProgress(NamedTuple):
    """The newest version of a session, and the version up to which its charges are complete."""

    epoch: str
    version: int
    charged_epoch: str | None
    charged_version: int | None


class _Version(NamedTuple):
    epoch: str
    version: int
    occurred_at: datetime
    event_type: str
    participant_id: str | None
    time_used_ms: int | None
    deleted: bool
    snapshot: bytes
    args: str | None


class ChargeFiller:
    """Fills in missing charges.

    All methods that use Postgres raise StoreUnavailable if it is unreachable or not migrated.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._noted: dict[str, None] = {}

    def note_incomplete_sessions(self, rows: BatchRows) -> None:
        """Remember those sessions of a written batch whose charges are incomplete, for `fill_noted_sessions`.

        Uses no Postgres.
        """
        self._noted |= {row.session_name: None for row in rows.sessions if row.charged_version is None}

    async def fill_noted_sessions(self) -> None:
        """Fill in the charges of the sessions that `note_incomplete_sessions` remembers, and forget these sessions."""
        while self._noted:
            name = next(iter(self._noted))
            await self.fill_session(name)
            self._noted.pop(name, None)

    async def fill_all_sessions(self) -> int:
        """Fill in the charges of all sessions whose charges are not complete. Return the number of these sessions."""
        count = 0
        async for name in self._incomplete_sessions():
            await self.fill_session(name)
            count += 1
        if count:
            logger.info("charges filled in", sessions=count)
        return count

    async def _incomplete_sessions(self) -> AsyncIterator[str]:
        """Yield the names of the sessions of all tenants whose charges are not complete."""
        tenant, after = "", _NIL
        while True:
            with translate_postgres_errors():
                values = {"after_tenant": tenant, "after": after, "limit": _SESSIONS_PER_PAGE}
                page = await self._pool.fetch(_statement("sessions_to_fill"), values, access=cross_tenant_access())
            for row in page:
                yield session_name(*row)
            if len(page) < _SESSIONS_PER_PAGE:
                return
            tenant, after = page[-1]

    async def fill_session(self, name: str) -> None:
        """Fill in the missing charges of the session `name`, in transactions of about 500 versions."""
        has_more = True
        while has_more:
            with translate_postgres_errors():
                async with self._pool.transaction(access=cross_tenant_access()) as transaction:
                    has_more = await SessionFill(transaction, name).fill_next_versions()


class SessionFill:
    """The fill of one session inside one transaction."""

    def __init__(self, transaction: Transaction, name: str) -> None:
        """Begin the fill of the session `name`. It runs in `transaction`."""
        self._transaction = transaction
        tenant, session_id = split_session_name(name)
        self._session: SessionKey = tenant, UUID(session_id)
        self._values = {"tenant": tenant, "session_id": session_id}

    async def fill_next_versions(self) -> bool:
        """Fill in the charges of the next versions. Return whether further versions are left."""
        rows = await self._fetch("lock_session")
        if not rows:
            return False
        progress = _SessionProgress(*rows[0])
        if progress[:2] == progress[2:4]:
            return False
        after, state = 0, None
        if progress.charged_epoch == progress.epoch and progress.charged_version is not None:
            after = progress.charged_version
            state = _parse(await self._fetch("version", epoch=progress.epoch, version=after))
        else:
            await self._fill_earlier_epochs(progress)
        last = await self._fill_page(progress.epoch, after, state, across_gaps=is_v2_epoch(progress.epoch))
        if last is None:
            return False  # the next version is a failed entry: it is filled in when Postgres has it
        await self._transaction.execute(
            _statement("save_progress"),
            {**self._values, "epoch": progress.epoch, "version": last.version},
        )
        if last.version < progress.version:
            return True
        await void_lost_charges(self._transaction, [self._session])
        await void_amended_charges(self._transaction, [self._session], [self._session])
        await void_undone_charges(self._transaction, [self._session])
        return False

    async def _fill_earlier_epochs(self, progress: _SessionProgress) -> None:
        for (epoch,) in await self._fetch("earlier_epochs", epoch=progress.epoch):
            after, state = 0, None
            while (last := await self._fill_page(epoch, after, state, across_gaps=True)) is not None:
                after, state = last.version, _parse([(last.snapshot, last.deleted)])

    async def _fill_page(self, epoch: str, after: int, before: Session | None, *, across_gaps: bool) -> _Version | None:
        """Insert the charges of the versions after the version `after`, whose state is `before`. Return the last one.

        The page ends before a gap. With `across_gaps`, the version after a gap charges the time of the missing versions
        too, because they will never arrive. Return None if there is no version before the next gap.
        """
        values = {"after": after, "limit": _VERSIONS_PER_STEP, "max_bytes": _BYTES_PER_STEP}
        page = _with_documents(await self._fetch("versions", epoch=epoch, **values))
        if not across_gaps:
            page = _before_first_gap(page, after)
        if not page:
            return None
        if after == 0:
            before = await self._state_before_epoch(page[0])
        rows: list[ChargeRow] = []
        for version in page:
            charges, before = _derive_charges(before, version)
            rows += build_charge_rows(self._session, version.epoch, version.version, charges)
        await insert_charges(self._transaction, rows)
        return page[-1]

    async def _state_before_epoch(self, first: _Version) -> Session | None:
        if first.event_type not in (EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED):
            return None
        values = {"epoch": first.epoch, "version": first.version, "occurred_at": first.occurred_at}
        return _parse(await self._fetch("version_before_epoch", **values))

    async def _fetch(self, name: str, **values: Any) -> list[Row]:
        return await self._transaction.fetch(_statement(name), {**self._values, **values}, binary=True)


def _with_documents(rows: Iterable[Row]) -> list[_Version]:
    """Return the versions of these rows with their documents. A document that cannot be built stays splices."""
    documents, page = RowDocuments(), []
    for *values, whole_version, bodies in rows:
        version = _Version(*values)
        with suppress(ValueError):
            version = version._replace(snapshot=documents.build_document(version.snapshot, whole_version, bodies))
        page.append(version)
    return page


def _before_first_gap(page: Sequence[_Version], after: int) -> list[_Version]:
    """Return the versions of `page` that follow the version `after` without a gap.

    If `after` is 0, any version can be the first.
    """
    first = after + 1 if after else min((each.version for each in page), default=0)
    return [each for at, each in enumerate(page) if each.version == first + at]


def _derive_charges(before: Session | None, version: _Version) -> tuple[Iterable[Charge], Session | None]:
    """Return the charges of a version, and the state for the next version.

    `before` is the state of the version before. If it is None, the version before is missing: only an import then
    charges the time that was used before. If the document is invalid, no time is charged, and the state is `before`.
    """
    try:
        after = parse_session(version.snapshot, version.deleted)
        event = Event(
            EventType(version.event_type),
            datetime_to_ms(version.occurred_at),
            version.participant_id,
            used_ms=version.time_used_ms,
        )
    except _INVALID_STATE:
        return (), before
    if event.type is EventType.TURN_UNDONE:
        return _derive_undo_charges(version, after), after
    if before is None and event.type not in (EventType.SESSION_IMPORTED, *RECORDING_EVENTS):
        return (), after
    return charges_between(before, event, after), after


def _derive_undo_charges(version: _Version, undone: Session) -> tuple[Charge, ...]:
    """Return the charges of an undo. The audited arguments name the restored turn."""
    try:
        command = parse_audited_args("undo", orjson.loads(version.args or "{}")).to_command()
    except (ValidationFailed, *_INVALID_STATE):
        return ()
    restored = command.restored if isinstance(command, Undo) else None
    return () if restored is None else undo_charges(undone, restored)


def _parse(rows: Sequence[Row]) -> Session | None:
    try:
        return parse_session(*rows[0]) if rows else None
    except _INVALID_STATE:
        return None


def _statement(name: str) -> bytes:
    return load_statements("charge_fill.sql", "synckairos.audit")[name]
