"""Implementation of `synckairos import-v2`, and of `synckairos migrate` for a database of SyncKairos v2.

Results are lines of text.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from synckairos.admin.older_instances import WATCH_S, find_older_instances
from synckairos.admin.progress import NO_PROGRESS, Progress
from synckairos.audit.drain_wakeups import DrainWakeupSender
from synckairos.audit.entry_rows import ParticipantRow
from synckairos.audit.v2_table_conversion import TakeoverResult
from synckairos.audit.v2_takeover import convert_new_v2_rows, take_over_v2_database
from synckairos.clock.commands import Delete, VersionPrecondition
from synckairos.config import Settings
from synckairos.errors import DatabaseNotMigrated, SessionNotFound, StoreUnavailable, SyncKairosError
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.participant_sessions.update_after_drain import SummaryRefresh
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.postgres.migrate import migrate, pending_migrations
from synckairos.service.assembly import build_session_service
from synckairos.service.import_v2_sessions import IMPORTER, ImportEffect, ImportRequest, SessionImporter
from synckairos.service.requests import CommandRequest
from synckairos.service.sessions import Sessions
from synckairos.store.connect import check_store_settings, make_pipe
from synckairos.store.keys import Keys
from synckairos.store.v2_sessions import V2Change, V2Store
from synckairos.wire.v2_state_parser import V2StateMalformed, parse_v2_session

PASS_S = 30.0
"""Seconds between two passes over all sessions of v2 during `--follow`.

Passes are needed because messages of v2 can be lost.
"""

_AT_ONCE = 32  # maximum number of imports at the same time


class ImportsFailed(SyncKairosError):
    """Some sessions of v2 were not imported. The command has printed them."""

    code = "IMPORTS_FAILED"


class _NotImportable(Exception):
    """A session of v2 cannot be imported. The message is the reason."""


# -- the database -----------------------------------------------------------------------------------------------------


async def take_over_and_migrate(
    settings: Settings, progress: Progress = NO_PROGRESS, *, watch_s: float = WATCH_S
) -> list[str]:
    """Take over a database of v2 if it is one, apply the migrations, and convert rows that v2 wrote later.

    Then separate the tenants in the database, if no instance of an older release is heard for `watch_s` seconds. Return
    a line of text for each change, and for each step that the operator must take.

    Raises:
        V2TakeoverRefused: See `take_over_v2_database`.
        InvalidMigrations, PrivilegeMissing, StoreUnavailable: See `migrate`.
    """
    lines: list[str] = []
    with _naming_schema_url(settings):
        taken = await take_over_v2_database(
            settings.schema_url, lambda count: progress.report("converting sessions of v2", count)
        )
    if taken is not None:
        lines += [
            f"took over v2's database: {_count(taken.sessions, 'session')}, {_count(taken.events, 'event')}",
            "v2's tables are in the schema synckairos_v2; v2 can go on writing until `synckairos import-v2 --finish`",
            "do not run v2's own migrations on this database any more: they drop tables of this product",
            *_named(taken),
        ]
    with _naming_schema_url(settings):
        notices: list[str] = []
        applied = await migrate(
            settings.schema_url,
            on_file=lambda name, count, total: progress.report(f"applying {name}", count, total),
            logins=_logins(settings),
            find_older_instances=lambda: _watch(settings, progress, watch_s),
            on_notice=notices.append,
        )
    lines += [f"applied {name}" for name in applied] + notices
    if taken is None:
        progress.report("converting later rows of v2")
        lines += await convert_rows_since_takeover(settings)
    return lines


def _logins(settings: Settings) -> list[str]:
    """Return the login of servers and workers, if it can differ from the login that changes the schema."""
    login = urlsplit(settings.database_url).username
    return [] if login is None else [unquote(login)]


async def _watch(settings: Settings, progress: Progress, watch_s: float) -> list[str]:
    progress.report(f"listening for instances of older releases for {watch_s:g} s")
    return await find_older_instances(settings, watch_s)


@contextmanager
def _naming_schema_url(settings: Settings) -> Iterator[None]:
    """Name DATABASE_DIRECT_URL in errors about Postgres if this setting is used."""
    try:
        yield
    except StoreUnavailable as fault:
        if settings.database_direct_url is not None and fault.setting == "DATABASE_URL":
            fault.setting = "DATABASE_DIRECT_URL"
        raise


async def convert_rows_since_takeover(settings: Settings, *, finish: bool = False) -> list[str]:
    """Convert the rows that v2 wrote after the takeover. Return a line of text for each change.

    `finish` must be True only if v2 has stopped; further rows of v2 are then refused.

    Raises: The exceptions of `take_over_v2_database`. If `finish` is True, also StoreUnavailable if a migration is
        missing.
    """
    if finish:
        await _check_migrated(settings)

    async def refresh(participants: Sequence[ParticipantRow]) -> None:
        if participants:
            async with make_pipe(settings.redis_url, settings.redis_timeout_s) as pipe:
                keys = await check_store_settings(pipe, Keys(settings.key_prefix, settings.partitions))
                await SummaryRefresh(pipe, keys).refresh_imported(participants)

    with _naming_schema_url(settings):
        later = await convert_new_v2_rows(settings.schema_url, refresh, last=finish)
    if later is None:
        return []
    lines = [f"converted {_count(later.events, 'later event')} of v2"] if later.events else []
    if finish:
        lines.append("v2's writes are no longer accepted; its tables stay in the schema synckairos_v2")
    return lines + _named(later)


async def _check_migrated(settings: Settings) -> None:
    """Raise StoreUnavailable if a migration is not applied to the database.

    Without the migrations, Postgres could not store the versions of imported sessions.
    """
    if await pending_migrations(settings.database_url):
        raise DatabaseNotMigrated


def _named(result: TakeoverResult) -> list[str]:
    return [
        *(f"{each}: v2's rows have no readable state; they stay in synckairos_v2 alone" for each in result.unreadable),
        *(
            f"{each}: changed here after the takeover; its later rows stay in synckairos_v2 alone"
            for each in result.left_out
        ),
    ]


# -- live sessions ----------------------------------------------------------------------------------------------------


async def import_sessions(
    settings: Settings,
    redis_url: str,
    prefix: str,
    *,
    stop: asyncio.Event | None = None,
    progress: Progress = NO_PROGRESS,
) -> AsyncIterator[str]:
    """Import the live sessions of v2 from the Redis `redis_url`, whose keys have the prefix `prefix`.

    Yield a line for each fault, lines that report the progress, and a summary at the end. If `stop` is None, import all
    sessions of v2 in one pass. Otherwise import all sessions, and then each change of v2 until the event `stop` is set.
    A final pass then imports the sessions that changed in the meantime.

    Raises:
        ImportsFailed: At least one session was not imported. Other sessions stay imported. Raised after the last line.
        ImportAlreadyRunning: Another import from this Redis is running.
        StoreUnavailable, StoreMisconfigured: A store does not answer, Redis is unsafe to write to, or the database
            is not migrated.
    """
    await _check_migrated(settings)
    async with _open(settings, redis_url, prefix, progress) as imports, imports.v2.hold_import_lease():
        if stop is not None:
            async for line in imports.follow(stop):
                yield line
        async for line in imports.pass_over():
            yield line
        yield imports.summary()
        for line in await convert_rows_since_takeover(settings):
            yield line
        failed = len(imports.faults)
    if failed:
        raise ImportsFailed(f"{_count(failed, 'session')} of v2 could not be imported; v2 still has them")


class _Imports:
    """One run of an import: the store of v2, the importer, and the outcome for each session."""

    def __init__(self, v2: V2Store, importer: SessionImporter, sessions: Sessions, progress: Progress) -> None:
        self.v2 = v2
        self.faults: dict[str, str] = {}
        self._importer = importer
        self._sessions = sessions
        self._progress = progress
        self._counts: Counter[ImportEffect] = Counter()
        self._states: dict[str, str] = {}
        self._gone: set[str] = set()
        self._spellings: dict[str, str] = {}

    async def pass_over(self) -> AsyncIterator[str]:
        """Import all sessions of v2, except those whose state did not change since their import in this run.

        Failed imports are tried again. Yield a line for each new fault. Yield one line per run for each session that
        this run or an earlier run imported and that v2 does not have any more.
        """
        seen: set[str] = set()
        async for page in self.v2.session_ids():
            ids = [each for each in dict.fromkeys(page) if each not in seen]
            seen.update(ids)
            async for line in self._import_all(ids):
                yield line
            self._progress.report("reading sessions of v2", len(seen))
        for each in sorted(self.faults.keys() - seen):
            del self.faults[each]  # v2 does not have this session any more
        async for marked in self.v2.imported_ids():
            for session_id in sorted(set(marked) - seen - self._gone):
                self._gone.add(session_id)
                yield f"{session_id}: v2 no longer has it (deleted, or unchanged for an hour); it stays here"

    async def follow(self, stop: asyncio.Event) -> AsyncIterator[str]:
        """Import each change of v2 until `stop` is set."""
        self._progress.announce("following v2; stop with Ctrl-C when all clients have moved")
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        async for change in self.v2.listen_for_changes(stop):
            if change.session_id is None or loop.time() >= due_s:
                async for line in self.pass_over():
                    yield line
                due_s = loop.time() + PASS_S
                self._progress.report(f"following v2 ({self.summary()})")
            async for line in self._take_change(change):
                yield line

    async def _take_change(self, change: V2Change) -> AsyncIterator[str]:
        if change.session_id is None:
            return
        if not change.is_deleted:
            async for line in self._import_all([change.session_id]):
                yield line
        elif (await self.v2.read([change.session_id]))[0] is None:
            yield await self._delete(change.session_id)

    def summary(self) -> str:
        """Return a line with the number of imports by outcome, and the number of failed sessions."""
        counts = [f"{self._counts[outcome]:,} {outcome}" for outcome in ImportEffect]
        return f"{', '.join(counts)}, {len(self.faults):,} failed"

    async def _import_all(self, session_ids: Sequence[str]) -> AsyncIterator[str]:
        """Import sessions in parallel. Yield a line for each new fault."""
        states = await self.v2.read(session_ids)
        places = asyncio.Semaphore(_AT_ONCE)

        async def limited(session_id: str, state: bytes) -> str | None:
            async with places:
                return await self._import(session_id, state)

        found = [(each, state) for each, state in zip(session_ids, states, strict=True) if state is not None]
        for line in await asyncio.gather(*(limited(*each) for each in found)):
            if line is not None:
                yield line

    async def _import(self, session_id: str, state: bytes) -> str | None:
        """Import one session if its state changed. Return a line if the import fails for a new reason."""
        digest = hashlib.blake2b(state, digest_size=16).hexdigest()
        if self._states.get(session_id) == digest:
            return None
        try:
            spelling = self._spellings.setdefault(session_id.lower(), session_id)
            if spelling != session_id:
                raise _NotImportable(f"session_id: v2 also has {spelling}, which differs only in case")
            request = _parse(session_id, state, digest)
            result = await self._importer.import_session(request)
            await self.v2.mark_imported(session_id, _render_mark(request, result.epoch, result.version))
        except (_NotImportable, SyncKairosError) as fault:
            reason = str(fault)
            if self.faults.get(session_id) == reason:
                return None
            self.faults[session_id] = reason
            return f"{session_id}: {reason}"
        self.faults.pop(session_id, None)
        self._states[session_id] = digest
        self._counts[result.outcome] += 1
        return None

    async def _delete(self, session_id: str) -> str:
        """Delete an imported session that v2 deleted, if it was not changed in this product.

        Return a line with the result.
        """
        self._gone.add(session_id)
        stored = await self._importer.find_unchanged_import(session_id.lower())
        if stored is None:
            return f"{session_id}: v2 deleted it; it stays here, because it was not imported or was changed here"
        snapshot = stored.snapshot
        precondition = VersionPrecondition(etags=((snapshot.version, snapshot.epoch),))
        request = CommandRequest(IMPORTER, session_id.lower(), Delete(), "delete", precondition=precondition)
        with suppress(SessionNotFound):
            await self._sessions.execute(request)
        return f"{session_id}: v2 deleted it; it is deleted here too"


def _parse(session_id: str, state: bytes, digest: str) -> ImportRequest:
    try:
        values: Any = orjson.loads(state)
        session = parse_v2_session(values)
    except orjson.JSONDecodeError as fault:
        raise _NotImportable(f"malformed JSON: {fault}") from None
    except V2StateMalformed as fault:
        raise _NotImportable(str(fault)) from None
    if session.session_id != session_id.lower():
        raise _NotImportable(f"session_id: the key belongs to another session than {session.session_id}")
    return ImportRequest(session, values, digest)


def _render_mark(request: ImportRequest, epoch: str, version: int) -> bytes:
    v2 = {"version": request.values["version"], "updated_at": request.values["updated_at"], "digest": request.digest}
    return orjson.dumps({"v2": v2, "epoch": epoch, "version": version})


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


@asynccontextmanager
async def _open(settings: Settings, redis_url: str, prefix: str, progress: Progress) -> AsyncIterator[_Imports]:
    """Open the stores of v2 and of this product, and the session service of this product."""
    keys = Keys(settings.key_prefix, settings.partitions)
    async with AsyncExitStack() as stack:
        theirs = await stack.enter_async_context(make_pipe(redis_url, settings.redis_timeout_s))
        pipe = await stack.enter_async_context(make_pipe(settings.redis_url, settings.redis_timeout_s))
        keys = await check_store_settings(pipe, keys)
        pool = await stack.enter_async_context(open_history_pool(settings))
        history = HistoryReader(pool, ColdStorage(settings.archive_url))
        wakeups = DrainWakeupSender(settings.queue_redis_url, settings.key_prefix, settings.redis_timeout_s)
        wakeups.start_sending()
        stack.push_async_callback(wakeups.close)
        service = build_session_service(settings, pipe, keys, history, wakeups.request_drain, ClientWorkLimits())
        stack.push_async_callback(service.sessions.wait_for_shielded_commands)
        importer = SessionImporter(service.store, service.restorer, service.generations, wakeups.request_drain)
        v2 = V2Store(theirs, redis_url, settings.redis_timeout_s, prefix)
        yield _Imports(v2, importer, service.sessions, progress)
