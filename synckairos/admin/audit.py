"""What operators ask on the command line, as lines of text: `synckairos audit …` and `synckairos verify-audit`.

Opens the stores, asks the audit, and tells; what is asked and answered is the audit's own.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from synckairos.audit.verify import AuditVerifier, VerifiedSession, open_verifier
from synckairos.clock.recovery import OutagePolicy
from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.store.connect import open_store
from synckairos.store.failed_entries import FailedEntries, FailedEntry
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.field_types import parse_uuid
from synckairos.wire.instants import render_instant


class AuditFaultsFound(SyncKairosError):
    """The audit doesn't say what the engine says; everything about it was told before."""

    code = "BAD_AUDIT"


class NoSuchEntry(SyncKairosError):
    """Nothing of this id was set aside."""

    code = "NO_SUCH_ENTRY"


async def list_failed_entries(settings: Settings) -> list[str]:
    """Return two lines for each entry that was set aside, oldest failure first; none where nothing was."""
    async with _open_failed_entries(settings) as isolation:
        return [line for each in await isolation.load_set_aside() for line in _told(each)]


async def retry_failed_entries(settings: Settings, entry_id: str | None) -> int:
    """Have an entry that was set aside, or all of them where none is named, tried again; return how many.

    Raises:
        NoSuchEntry: the one named isn't there.
        StoreUnavailable, StoreMismatch: Redis doesn't answer, or isn't ours.
    """
    async with _open_failed_entries(settings) as isolation:
        sent = await isolation.retry_set_aside(entry_id)
    if entry_id is not None and not sent:
        raise NoSuchEntry(f"No entry {entry_id} was set aside: `synckairos audit failed` lists those that were")
    return sent


async def verify_audit(settings: Settings, session_id: str | None) -> AsyncIterator[str]:
    """Verify one session, or all of them where none is named; yield a line for each finding, and a sum at the end.

    Raises:
        BadAudit: after the last line, where there was any fault; or there is no such session.
        StoreUnavailable: Postgres isn't reachable, or not migrated.
    """
    sessions = versions = faults = 0
    policy = OutagePolicy.parse(settings.outage_policy)
    async with open_verifier(settings.database_url, policy) as verifier:
        async for verified in verifier.verify_all() if session_id is None else _one(verifier, session_id):
            sessions += 1
            versions += verified.versions
            faults += sum(finding.is_fault for finding in verified.findings)
            for line in _findings(verified):
                yield line
    yield ", ".join(_counted(*each) for each in ((sessions, "session"), (versions, "version"), (faults, "fault")))
    if faults:
        raise AuditFaultsFound("The audit isn't what the engine says: see docs/operate/verify-audit.md")


async def _one(verifier: AuditVerifier, session_id: str) -> AsyncIterator[VerifiedSession]:
    try:
        verified = await verifier.verify_session(parse_uuid(session_id))
    except ValueError as fault:
        raise AuditFaultsFound(f"ID {fault}") from None
    if verified is None:
        raise AuditFaultsFound(
            f"Postgres has nothing of session {session_id}: there was none, or it is on its way, or only archived"
        )
    yield verified


def _findings(verified: VerifiedSession) -> Iterator[str]:
    for each in verified.findings:
        yield f"{verified.session_id}  version {each.version} of epoch {each.epoch}: {each.kind}: {each.text}"


def _counted(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


@asynccontextmanager
async def _open_failed_entries(settings: Settings) -> AsyncIterator[FailedEntries]:
    keys = Keys(settings.key_prefix, settings.partitions)
    async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        await open_store(pipe, keys)  # with another number of partitions we would look in the wrong places
        yield FailedEntries(pipe, keys)


def _told(entry: FailedEntry) -> tuple[str, str]:
    """Tell which version an entry is, and why Postgres refuses it."""
    fields = {name.decode(errors="replace"): value for name, value in entry.entry.fields.items()}
    session_id, epoch, version = (
        fields.get(name, b"?").decode(errors="replace") for name in ("session_id", "epoch", "version")
    )
    since = render_instant(entry.first_failed_at_ms)
    often = f"{entry.retries + 1} times" if entry.retries else "once"
    return (
        f"{entry.entry.entry_id}  session {session_id}, version {version} of epoch {epoch}",
        f"    refused {often} since {since}: {' '.join(entry.error.split())}",
    )
