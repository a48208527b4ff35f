"""What operators ask on the command line, as lines of text: `synckairos audit …` and `synckairos verify-audit`.

Opens the stores, asks the audit, and tells; what is asked and answered is the audit's own.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from synckairos.audit import failed as audit_failed
from synckairos.config import Settings
from synckairos.errors import SyncKairosError
from synckairos.store.isolation import Isolated, Isolation
from synckairos.store.keys import Keys
from synckairos.store.pipe import RedisPipe
from synckairos.store.redis import open_store
from synckairos.wire.instant import render_instant


class NoSuchEntry(SyncKairosError):
    """Nothing of this id was set aside."""

    code = "NO_SUCH_ENTRY"


async def failed(settings: Settings) -> list[str]:
    """Return two lines for each entry that was set aside, oldest failure first; none where nothing was."""
    async with _isolation(settings) as (isolation, keys):
        return [line for each in await audit_failed.failed(isolation, keys) for line in _told(each)]


async def retry(settings: Settings, entry_id: str | None) -> int:
    """Have an entry that was set aside, or all of them where none is named, tried again; return how many.

    Raises:
        NoSuchEntry: the one named isn't there.
        StoreUnavailable, StoreMismatch: Redis doesn't answer, or isn't ours.
    """
    async with _isolation(settings) as (isolation, keys):
        sent = await audit_failed.retry(isolation, keys, entry_id)
    if entry_id is not None and not sent:
        raise NoSuchEntry(f"No entry {entry_id} was set aside: `synckairos audit failed` lists those that were")
    return sent


@asynccontextmanager
async def _isolation(settings: Settings) -> AsyncIterator[tuple[Isolation, Keys]]:
    keys = Keys(settings.key_prefix, settings.partitions)
    async with RedisPipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        await open_store(pipe, keys)  # with another number of partitions we would look in the wrong places
        yield Isolation(pipe, keys), keys


def _told(entry: Isolated) -> tuple[str, str]:
    """Tell which version an entry is, and why Postgres refuses it."""
    fields = {name.decode(errors="replace"): value for name, value in entry.delivery.fields.items()}
    session_id, epoch, version = (
        fields.get(name, b"?").decode(errors="replace") for name in ("session_id", "epoch", "version")
    )
    since = render_instant(entry.first_failed_at_ms)
    often = f"{entry.tries + 1} times" if entry.tries else "once"
    return (
        f"{entry.delivery.entry_id}  session {session_id}, version {version} of epoch {epoch}",
        f"    refused {often} since {since}: {' '.join(entry.error.split())}",
    )
