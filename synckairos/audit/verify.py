"""Verification of the audit: reads the rows of sessions from Postgres and replays them through the clock engine.

The verification reads only Postgres. It does not check versions in the outbox.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from synckairos.audit.entry_rows import EventRow
from synckairos.audit.replay_check import AuditReplayCheck, ReplayFinding, find_recovered_version
from synckairos.audit.row_documents import RowDocuments
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.clock.transition import Charge
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool, translate_postgres_errors
from synckairos.postgres.transaction import Row, Transaction
from synckairos.session_names import session_name, split_session_name
from synckairos.wire.instants import datetime_to_ms

_SQL = "verify.sql"
_IDS_PER_PAGE = 500
_ROWS_PER_FETCH = 500
_NIL = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class VerifiedSession:
    """Result of the verification of one session.

    `session_id` is the name of the session in its tenant. `versions` and `epochs` are the numbers of versions and
    epochs in Postgres, which were all checked.
    """

    session_id: str
    versions: int
    epochs: int
    findings: tuple[ReplayFinding, ...]


@asynccontextmanager
async def open_verifier(database_url: str, policy: OutageChargePolicy) -> AsyncIterator["AuditVerifier"]:
    """Open a connection to Postgres and yield a verifier. The connection is closed at the end of the block.

    `policy` is the configured outage policy.

    Raises: StoreUnavailable if Postgres is unreachable or not migrated.
    """
    pool = PostgresPool(database_url, "verify", max_connections=1, host="any", access=cross_tenant_access())
    await pool.check_reachable()
    with translate_postgres_errors():
        async with pool:
            yield AuditVerifier(pool, policy)


class AuditVerifier:
    """Verifier of sessions. Each session is verified in one transaction."""

    def __init__(self, pool: PostgresPool, policy: OutageChargePolicy) -> None:
        self._pool = pool
        self._policy = policy
        self.total: int | None = None
        """Number of sessions in Postgres when `verify_each_session` began; None before."""

    async def verify_session(self, name: str) -> VerifiedSession | None:
        """Verify the session `name`, and return the result. Return None if Postgres has no row of the session.

        Only a part of the rows is in memory at a time.
        """
        session = dict(zip(("tenant", "session_id"), split_session_name(name), strict=True))
        findings: list[ReplayFinding] = []
        newest: dict[str, EventRow] = {}
        versions = 0
        # All queries for a session must use one snapshot of the database. Otherwise a drain between two queries would
        # look like a gap.
        async with self._pool.transaction(isolation="REPEATABLE READ", read_only=True) as transaction:
            archived = await _fetch(transaction, "removed_versions", **session)
            replay = AuditReplayCheck(self._policy, {row[0]: row[1] for row in archived})
            charges = await _load_charges(transaction, session)
            statement = _statement("rows")
            async with transaction.stream("rows", statement, session, binary=True) as cursor:
                cursor.itersize = _ROWS_PER_FETCH
                documents = RowDocuments()
                async for *values, whole_version, bodies in cursor:
                    row = _with_document(EventRow(*values), documents, whole_version, bodies)
                    bases = await _recovery_bases(transaction, row) if row.command == "recover" else ()
                    said = None if charges is None else charges.get((row.epoch, row.version), ())
                    findings += replay.replay_row(row, bases, said)
                    newest[row.epoch] = row
                    versions += 1
            findings += [finding async for finding in _check_other_tables(transaction, session, newest)]
        if not versions and not findings:
            return None
        return VerifiedSession(name, versions, len(newest), tuple(findings))

    async def verify_each_session(self) -> AsyncIterator[VerifiedSession]:
        """Verify all sessions in Postgres one after the other, and yield each result, in the order of session ids."""
        tenant, after = "", _NIL
        self.total = (await self._pool.fetch(_statement("count_sessions"), {}))[0][0]
        while True:
            values = {"after_tenant": tenant, "after": after, "limit": _IDS_PER_PAGE}
            page = await self._pool.fetch(_statement("session_ids"), values)
            for row in page:
                verified = await self.verify_session(session_name(*row))
                if verified is not None:
                    yield verified
            if not page:
                return
            tenant, after = page[-1]


def _with_document(
    row: EventRow, documents: RowDocuments, whole_version: int | None, bodies: Sequence[bytes] | None
) -> EventRow:
    """Return the row with its document. A document that cannot be built stays splices, which have another hash."""
    with suppress(ValueError):
        return row._replace(snapshot=documents.build_document(row.snapshot, whole_version, bodies))
    return row


async def _load_charges(
    transaction: Transaction, session: Mapping[str, str]
) -> dict[tuple[str, int], tuple[Charge, ...]] | None:
    """Return the charges of a session by epoch and version; None if they are not all filled in yet."""
    if await _fetch(transaction, "has_all_charges", **session) != [(True,)]:
        return None
    charges: dict[tuple[str, int], tuple[Charge, ...]] = {}
    for epoch, version, participant_id, began_at, ended_at in await _fetch(transaction, "charges", **session):
        charge = Charge(participant_id, datetime_to_ms(began_at), datetime_to_ms(ended_at))
        charges[epoch, version] = (*charges.get((epoch, version), ()), charge)
    return charges


async def _recovery_bases(transaction: Transaction, row: EventRow) -> list[bytes]:
    version = find_recovered_version(row)
    values = {"tenant": row.tenant, "session_id": row.session_id, "version": version, "epoch": row.epoch}
    found = await _fetch(transaction, "recovery_bases", **values)
    return [document for (document,) in found]


async def _check_other_tables(
    transaction: Transaction, session: Mapping[str, str], newest: dict[str, EventRow]
) -> AsyncIterator[ReplayFinding]:
    """Compare `sync_conflicts` and `sync_sessions` with the newest version of each epoch. Yield the differences."""
    for epoch, version in await _fetch(transaction, "conflicts", **session):
        yield ReplayFinding(epoch, version, "conflict", "this version arrived a second time with different content")
    projected = await _fetch(transaction, "projections", **session)
    for epoch, version, status, deleted in projected:
        row = newest.get(epoch)
        if row is None or row.version < version:
            yield ReplayFinding(epoch, version, "gap", "this version, and perhaps earlier ones: missing")
        elif (row.version, row.status, row.deleted) != (version, status, deleted):
            yield ReplayFinding(epoch, row.version, "projection", "sync_sessions differs")
    if newest and not projected:
        epoch, row = next(reversed(newest.items()))
        yield ReplayFinding(epoch, row.version, "projection", "sync_sessions has no row")


async def _fetch(transaction: Transaction, name: str, **values: object) -> list[Row]:
    return await transaction.fetch(_statement(name), values, binary=True)


def _statement(name: str) -> bytes:
    return load_statements(_SQL, "synckairos.audit")[name]
