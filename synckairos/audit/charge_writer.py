"""Writer of charges: inserts charges, and makes the charges of lost, amended and undone turns void."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from synckairos.audit.batch_statements import arrays, execute
from synckairos.audit.charge_coverage import SessionKey
from synckairos.audit.entry_rows import BatchRows, ChargeRow
from synckairos.clock.model import SyncMode
from synckairos.clock.transition import EventType
from synckairos.postgres.transaction import Transaction
from synckairos.session_names import session_name

_CONTINUES_OTHER_EPOCH = frozenset({EventType.SESSION_RECOVERED, EventType.SESSION_IMPORTED})


async def write_charges(transaction: Transaction, rows: BatchRows, disputed: Sequence[tuple[str, str, int]]) -> None:
    """Insert the charges of a batch, except those of disputed versions. Make those of lost and undone versions void.

    The event rows and projections must be written before.
    """
    left_out = set(disputed)
    await insert_charges(
        transaction,
        [row for row in rows.charges if not left_out or _version_of(row) not in left_out],
    )
    continued = {row.session_key for row in rows.events if row.event_type in _CONTINUES_OTHER_EPOCH}
    if continued:
        await void_lost_charges(transaction, [*continued])
    amended = {row.session_key for row in rows.events if row.event_type == EventType.SESSION_AMENDED}
    charged = {(row.tenant, row.session_id) for row in rows.charges}
    amendable = {row.session_key for row in rows.sessions if row.sync_mode == SyncMode.COUNT_UP} & (charged | amended)
    if amendable:
        await void_amended_charges(transaction, [*amendable], [*amended])
    undone = {row.session_key for row in rows.events if row.event_type == EventType.TURN_UNDONE}
    if undone:
        await void_undone_charges(transaction, [*undone])


def _version_of(row: ChargeRow) -> tuple[str, str, int]:
    return session_name(row.tenant, str(row.session_id)), row.epoch, row.version


def _session_arrays(sessions: Sequence[SessionKey], tenants: str, ids: str) -> dict[str, list[Any]]:
    """Return sessions as two parameters, whose names are `tenants` and `ids`."""
    return {tenants: [tenant for tenant, _ in sessions], ids: [session_id for _, session_id in sessions]}


async def insert_charges(transaction: Transaction, charges: Sequence[ChargeRow]) -> None:
    """Insert the charges that Postgres does not have.

    The charges of a version to a participant must be complete, and in the order of their begins.

    Raises: RowsRejected if psycopg cannot send a value.
    """
    first: dict[tuple[str, UUID, str, int, UUID], ChargeRow] = {}
    further = [row for row in charges if first.setdefault(row[:5], row) is not row]
    if first:
        await execute(transaction, "insert_charges", arrays(ChargeRow._fields, [*first.values()]))
    if further:
        await execute(transaction, "insert_further_charges", arrays(ChargeRow._fields, further))


async def void_lost_charges(transaction: Transaction, sessions: Sequence[SessionKey]) -> None:
    """Make the charges of versions void after which sessions do not continue, because the versions were lost."""
    await execute(transaction, "void_lost_charges", _session_arrays(sessions, "tenants", "session_ids"))


async def void_amended_charges(
    transaction: Transaction, sessions: Sequence[SessionKey], amended: Sequence[SessionKey]
) -> None:
    """Make the charges of versions void that an amendment replaces.

    `sessions` are the sessions that can have such charges. `amended` are those of them that an amendment in this batch
    concerns.
    """
    values = _session_arrays(sessions, "tenants", "session_ids")
    values |= _session_arrays(amended, "amended_tenants", "amended_ids")
    await execute(transaction, "void_amended_charges", values)


async def void_undone_charges(transaction: Transaction, sessions: Sequence[SessionKey]) -> None:
    """Make the charges of versions void that an undo took back."""
    await execute(transaction, "void_undone_charges", _session_arrays(sessions, "tenants", "session_ids"))
