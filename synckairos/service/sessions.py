"""The session service: executes commands and reads sessions for REST, sockets and the timekeeper.

`CommandExecutor` executes the commands. A session that Redis does not have is restored first.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from synckairos.clock.commands import Expire, Start
from synckairos.errors import SessionNotFound
from synckairos.limits.client_work_budgets import ClientWorkLimits
from synckairos.limits.running_request import charge_task
from synckairos.principal import Principal, Role, timekeeper_of
from synckairos.service.authorization import find_role, has_session_role, require_session_role
from synckairos.service.command_executor import CommandExecutor
from synckairos.service.command_metrics import measure_command
from synckairos.service.create import SessionCreator
from synckairos.service.exclusive_start import ExclusiveStarter
from synckairos.service.expire import OverdueBatchCommitter
from synckairos.service.label_rights import ReservedLabels
from synckairos.service.past_versions import PastVersionReader
from synckairos.service.requests import CommandRequest, CreateRequest, SessionResult
from synckairos.service.restore import SessionRestorer
from synckairos.service.role_finder import RoleFinder, load_members
from synckairos.service.session_cache import SessionCache
from synckairos.session_names import session_name, split_session_name
from synckairos.store.known_versions import KnownVersion
from synckairos.store.rate_meter import RateMeter
from synckairos.store.sessions import SessionStore
from synckairos.store.store_generation import Generations
from synckairos.store.stored_session import SessionLoadResult
from synckairos.wire.document_scan import extract_labels

T = TypeVar("T")


class Sessions:
    """Executes commands on sessions and reads sessions. Refusals are raised as subclasses of `SyncKairosError`.

    After StoreUnavailable the outcome of a command is unknown. Its subclass OutboxFull is an exception: the command was
    not executed. A retry with the same command id gets the outcome or executes the command. A request with a meter is
    counted against its rate limits.
    """

    def __init__(
        self,
        store: SessionStore,
        past_versions: PastVersionReader,
        restorer: SessionRestorer,
        generations: Generations,
        on_commit: Callable[[int], None],
        work: ClientWorkLimits,
        clock_edition: int = 2,
        reserved_labels: Sequence[ReservedLabels] = (),
    ) -> None:
        """Create the service from its parts.

        After each commit of new versions, `on_commit` is called with the number of the partition. It is synchronous and
        must not raise. `work` has the budgets of the clients. `clock_edition` is the edition of the clock's rules for
        new sessions. `reserved_labels` has the labels that only admins change.
        """
        self._store = store
        self._past_versions = past_versions
        self._restorer = restorer
        self._cache = SessionCache()
        self._roles = RoleFinder(store, restorer, self._cache)
        self._executor = CommandExecutor(
            store, self._cache, self._roles, past_versions, restorer, on_commit, work, reserved_labels
        )
        self._creator = SessionCreator(
            store, past_versions, restorer, generations, self._cache, on_commit, work.tenants, clock_edition
        )
        self._exclusive = ExclusiveStarter(store, self._executor, past_versions, self.read)
        self._expirer = OverdueBatchCommitter(store, self._cache, on_commit)
        self._running: set[asyncio.Task[Any]] = set()

    # -- reads --------------------------------------------------------------------------------------------------------

    async def now_ms(self) -> int:
        """Return the time of Redis in ms since the Unix epoch."""
        return await self._store.now_ms()

    async def check_writable(self) -> None:
        """Check that Redis accepts writes. Raises: StoreUnavailable if it does not."""
        await self._store.check_writable()

    async def is_store_of_newer_release(self) -> bool:
        """Return whether Redis has data of a release whose format this release cannot read.

        Raises: StoreUnavailable if Redis does not answer.
        """
        return await self._store.has_newer_format()

    async def read(self, principal: Principal, session_id: str, meter: RateMeter | None = None) -> SessionResult:
        """Commit the overdue transitions of a session, then return the latest state of the session.

        The commit ensures that no clock is shown past its zero. If no transition is overdue and Redis has the session,
        the read takes one round trip. `principal` is the caller, or the timekeeper if the server itself reads the
        session.

        Raises: SessionNotFound if the session does not exist or the caller cannot reach it. RateLimitExceeded,
            StoreUnavailable.
        """
        await load_members(principal, session_id)
        role, name = find_role(principal, session_id), session_name(principal.tenant, session_id)
        loaded = await self._store.load(name, meter=meter, held=self._cache.find_snapshot(name))
        stored = await self._restorer.complete_load(name, loaded)
        if stored is None or stored.snapshot.deleted:
            raise SessionNotFound(session_id)
        self._cache.check_stored_document(name, stored.snapshot, self._store.keys.session(name))
        if role is None:
            await self._roles.find_role_by_labels(principal, session_id, extract_labels(stored.snapshot.document))
        if stored.due_ms is not None and stored.due_ms <= loaded.now_ms:
            return await self.commit_overdue(name)
        return SessionResult.from_stored_session(stored, loaded.now_ms)

    async def read_as_server(self, session_name: str) -> SessionResult:
        """Read a session as `read`, for the server itself. `session_name` is the name of the session in its tenant.

        Raises: the errors of `read`.
        """
        tenant, session_id = split_session_name(session_name)
        return await self.read(timekeeper_of(tenant), session_id)

    async def find_role(self, principal: Principal, session_id: str) -> Role:
        """Return the role of a caller on a session. See `RoleFinder.find_role` for the errors."""
        return await self._roles.find_role(principal, session_id)

    async def require_role(self, principal: Principal, session_id: str, verb: str) -> Role:
        """Check that a caller is allowed to use a verb on a session. Return the role of the caller on the session.

        If the role of the caller allows the verb, the method returns without a check that the session exists.

        Raises:
            SessionNotFound: the caller cannot reach a session with this id. Also if its role does not allow the verb
                and the session does not exist.
            Forbidden: the session exists and the caller can reach it, but its role does not allow the verb.
        """
        role = await self.find_role(principal, session_id)
        if not has_session_role(role, verb):
            await self.read(principal, session_id)  # a missing session is 404 for each role
            require_session_role(role, verb)
        return role

    async def read_at_instant(
        self, principal: Principal, session_id: str, at_ms: int, meter: RateMeter | None = None
    ) -> SessionResult:
        """Return a session as it was at the instant `at_ms`, in ms since the Unix epoch.

        For an instant in the future, return the latest state.

        Raises: SessionNotFound if the instant is before the creation or after the deletion, and the errors of `read`.
        """
        await self.find_role(principal, session_id)
        with suppress(SessionNotFound):
            current = await self.read(principal, session_id, meter)
            if current.session.updated_at_ms <= at_ms:
                return current
        return await self._past_versions.read_at_instant(session_name(principal.tenant, session_id), at_ms)

    # -- lost versions ------------------------------------------------------------------------------------------------

    def list_known_versions(self) -> Iterator[tuple[str, KnownVersion]]:
        """Return the names and newest known versions of the sessions that this instance has used, newest first."""
        return self._store.known.list_newest_first()

    async def find_lost_versions(self, versions: Sequence[tuple[str, KnownVersion]]) -> list[tuple[str, KnownVersion]]:
        """Return the items of `versions` whose version Redis has lost, or possibly lost. Three round trips.

        Each item has the name of a session in its tenant and its newest known version. A session that Redis does not
        have was possibly evicted, so it is an item of the result only if its version was seen a short time ago.

        Raises: StoreUnavailable if Redis does not answer.
        """
        found, now_ms = await self._store.find_version_tags(versions), await self._store.now_ms()
        return [
            (name, known)
            for (name, known), item in zip(versions, found, strict=True)
            if (known.is_recent(now_ms) if item is None else known.is_possibly_missing(*item))
        ]

    async def recover_lost_version(self, session_name: str, lost: KnownVersion) -> None:
        """Continue a session under a new epoch if Redis has lost the version `lost`. Otherwise change nothing.

        Raises: the errors of `read`.
        """
        await self.read_as_server(session_name)
        stored = await self._store.load(session_name)
        if stored.stored is None or stored.stored.snapshot.epoch != lost.epoch:
            return
        (found,) = await self._store.find_version_tags([(session_name, lost)])
        if found is not None and lost.is_possibly_missing(*found):
            await self._restorer.recover_lost_versions(session_name, stored.stored, lost)

    # -- commands -----------------------------------------------------------------------------------------------------

    async def execute(self, request: CommandRequest, loaded: SessionLoadResult | None = None) -> SessionResult:
        """Execute a command and return the session after the command, or replay its first answer.

        A command id is executed at most once. If the command id was decided before, the first answer is replayed. The
        execution takes two round trips, and one more for each conflict with another commit. If `loaded` is given, the
        command starts from this load; then the first round trip is saved, and `meter` is not counted. The command runs
        in the task of the caller. If that task is cancelled, the command is committed completely or not at all.

        Raises: the refusal of the command, SessionNotFound, RateLimitExceeded or StoreUnavailable.
        """
        if isinstance(request.command, Start) and request.command.is_exclusive:
            return await measure_command(request.verb, self._exclusive.execute(request))
        return await measure_command(request.verb, self._executor.execute(request, loaded))

    async def execute_shielded(self, request: CommandRequest) -> SessionResult:
        """Execute a command in a separate task, and return its result like `execute`.

        If the caller is cancelled, the command continues in the background.

        Raises: the errors of `execute`.
        """
        return await self._shield(lambda: self.execute(request))

    async def create(self, request: CreateRequest) -> SessionResult:
        """Create a session and return it. If the caller is cancelled, the creation continues in the background.

        Raises: SessionExists, and the errors of `execute`.
        """
        return await self._shield(lambda: measure_command("create", self._creator.create(request)))

    async def commit_overdue(self, session_name: str) -> SessionResult:
        """Commit a session's overdue transitions, and return the session after these transitions.

        `session_name` is the name of the session in its tenant.
        The instant of each transition is its own deadline. If nothing is overdue, nothing is committed. If the caller
        is cancelled, the commit continues in the background.

        Raises: the errors of `execute`.
        """
        tenant, session_id = split_session_name(session_name)
        return await self.execute_shielded(CommandRequest(timekeeper_of(tenant), session_id, Expire(), "expire"))

    async def commit_overdue_batch(self, due: Sequence[tuple[str, SessionLoadResult]]) -> list[bool]:
        """Commit the overdue transitions of many loaded sessions in one round trip.

        See `OverdueBatchCommitter.commit_overdue` for the results and the errors.
        """
        return await self._expirer.commit_overdue(due)

    async def wait_for_shielded_commands(self) -> None:
        """Wait until all shielded commands have ended, including commands that start during the wait."""
        while self._running:
            await asyncio.wait(self._running)

    async def _shield(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        # The outcome of a cancelled Redis command is unknown. So the work continues if its caller is cancelled.
        task = asyncio.ensure_future(charge_task(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            return await asyncio.shield(task)
        finally:
            del task  # with it, this frame and the traceback of an error would be a reference cycle
