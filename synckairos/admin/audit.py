"""Implementation of the commands `synckairos audit …` and `synckairos verify-audit`. Results are lines of text."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import orjson

from synckairos.admin.progress import NO_PROGRESS, Progress
from synckairos.audit.verify import AuditVerifier, VerifiedSession, open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.session_names import split_session_name
from synckairos.store.connect import check_store_settings, make_pipe
from synckairos.store.failed_entries import FailedEntries, FailedEntry
from synckairos.store.keys import Keys
from synckairos.wire.instants import render_instant


class AuditFaultsFound(SyncKairosError):
    """The verification found faults, which were printed before, or Postgres has no rows of the session."""

    code = "BAD_AUDIT"


class FailedEntryNotFound(SyncKairosError):
    """No entry with this id was set aside."""

    code = "NO_SUCH_ENTRY"


async def list_failed_entries(settings: Settings, *, as_json: bool = False) -> list[str]:
    """Return two lines of text for each entry that was set aside, the oldest failure first.

    If `as_json` is True, return one line of JSON for each entry instead. Return an empty list if no entry was set
    aside.

    Raises: StoreUnavailable, StoreMisconfigured.
    """
    async with _open_failed_entries(settings) as failed_entries:
        entries = await failed_entries.load_set_aside_entries()
    return [line for each in entries for line in ((_entry_json(each),) if as_json else _entry_lines(each))]


async def retry_failed_entries(settings: Settings, entry_id: str | None) -> int:
    """Schedule a retry of the set-aside entry `entry_id`, or of all set-aside entries if `entry_id` is None.

    A worker retries the entries at its next sweep. Return the number of scheduled entries.

    Raises:
        FailedEntryNotFound: No entry with this id was set aside.
        StoreUnavailable, StoreMisconfigured: Redis is unreachable, or was created with other settings.
    """
    async with _open_failed_entries(settings) as failed_entries:
        count = await failed_entries.retry_set_aside(entry_id)
    if entry_id is not None and not count:
        raise FailedEntryNotFound(
            f"No entry {entry_id} was set aside: `synckairos audit failed` lists the entries that were set aside"
        )
    return count


async def verify_audit(
    settings: Settings, session_id: str | None, progress: Progress = NO_PROGRESS
) -> AsyncIterator[str]:
    """Verify the audit of one session, or of all sessions if `session_id` is None.

    Yield a line for each finding, and a line with the totals at the end. `progress` gets the number of verified
    sessions.

    Raises:
        AuditFaultsFound: There are faults; raised after the last line. Or Postgres has no rows of the session
            `session_id`; raised without any line.
        StoreUnavailable: Postgres is unreachable or not migrated.
    """
    sessions = versions = faults = 0
    policy = OutageChargePolicy.parse(settings.outage_policy)
    async with open_verifier(settings.database_url, policy) as verifier:
        async for verified in (
            verifier.verify_each_session() if session_id is None else _verify_one(verifier, session_id)
        ):
            sessions += 1
            versions += verified.versions
            faults += sum(finding.contradicts_audit for finding in verified.findings)
            progress.report("verifying sessions", sessions, verifier.total)
            for line in _finding_lines(verified):
                yield line
    yield ", ".join(_count_text(*each) for each in ((sessions, "session"), (versions, "version"), (faults, "fault")))
    if faults:
        raise AuditFaultsFound("The audit differs from what the engine computes: see docs/operate/verify-audit.md")


async def _verify_one(verifier: AuditVerifier, session_id: str) -> AsyncIterator[VerifiedSession]:
    verified = await verifier.verify_session(session_id)
    if verified is None:
        raise AuditFaultsFound(
            f"Postgres has no rows of session {session_id}. It does not exist, or is in the outbox or in cold storage"
        )
    yield verified


def _finding_lines(verified: VerifiedSession) -> Iterator[str]:
    for each in verified.findings:
        yield f"{verified.session_id}  version {each.version} of epoch {each.epoch}: {each.kind}: {each.text}"


def _count_text(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


@asynccontextmanager
async def _open_failed_entries(settings: Settings) -> AsyncIterator[FailedEntries]:
    async with make_pipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        keys = await check_store_settings(pipe, Keys(settings.key_prefix, settings.partitions))
        yield FailedEntries(pipe, keys)


def _entry_json(entry: FailedEntry) -> str:
    name, epoch, version = (_field(entry, name) for name in ("session_id", "epoch", "version"))
    tenant, session_id = _split_name(name)
    values = {
        "entry_id": entry.entry.entry_id,
        "tenant": tenant,
        "session_id": session_id,
        "epoch": epoch,
        "version": int(version) if version is not None and version.isdigit() else None,
        "attempts": entry.retries + 1,
        "first_failed_at": render_instant(entry.first_failed_at_ms),
        "error": entry.error,
    }
    return orjson.dumps(values).decode()


def _split_name(name: str | None) -> tuple[str | None, str | None]:
    """Return the tenant and the id of a session. Without a valid name, return None and `name`."""
    try:
        return (None, None) if name is None else split_session_name(name)
    except ValueError:
        return None, name


def _field(entry: FailedEntry, name: str) -> str | None:
    value = entry.entry.fields.get(name.encode())
    return None if value is None else value.decode(errors="replace")


def _entry_lines(entry: FailedEntry) -> tuple[str, str]:
    """Return two lines that describe an entry: its version, and the reason why Postgres rejects it."""
    session_id, epoch, version = (_field(entry, name) or "?" for name in ("session_id", "epoch", "version"))
    since = render_instant(entry.first_failed_at_ms)
    often = f"{entry.retries + 1} times" if entry.retries else "once"
    return (
        f"{entry.entry.entry_id}  session {session_id}, version {version} of epoch {epoch}",
        f"    rejected {often} since {since}: {' '.join(entry.error.split())}",
    )
